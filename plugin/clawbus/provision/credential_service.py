"""Getting newer credentials: made here where the company's authority lies, asked for over the bus elsewhere.

Only the public key and the JWT travel: the seed stays where it was made.
"""

from __future__ import annotations

import json

from clawbus.bus.credential_renewal import Renewable
from clawbus.bus.identity import Identity
from clawbus.bus.jwt import claims_of, write_creds
from clawbus.errors import Refused
from clawbus.org import Org
from clawbus.provision.accounts import credentials_subject
from clawbus.provision.authority import Authority
from clawbus.provision.credentials import credentials, mint
from clawbus.settings import Home


async def renew(home: Home, org: Org, key_name: str, bus: Renewable) -> None:
    """See to it that credentials with more of their life before them lie in the key's file.

    Raises BusAway, Refused (with the registrar's words), or InvalidInput.
    """
    if Authority(home).is_here:
        credentials(home, org, key_name)
        return
    me = bus.identity
    question = json.dumps({"key": me.public_key}).encode()
    token = _token(me, await bus.ask(credentials_subject(org.company, key_name), question))
    write_creds(me.seed_file.with_suffix(".creds"), token, me.seed_file)


def answer(home: Home, org: Org, key_name: str, question: bytes, known_key: str) -> bytes:
    """The registrar's answer to such a question. `known_key`: the public key that the company knows by that name.

    The server has seen to it that only the key's holder asks under its name; another public key is refused even so.
    """
    try:
        asked = json.loads(question)["key"]
    except (ValueError, TypeError, KeyError):
        asked = None
    if not known_key or asked != known_key:
        return json.dumps({"error": f"{key_name} is not the key that asks"}).encode()
    return json.dumps({"jwt": mint(home, org, key_name, known_key, org.bus.credentials_s)}).encode()


def _token(me: Identity, data: bytes) -> str:
    try:
        reply = json.loads(data)
        error = reply.get("error")
    except (ValueError, AttributeError):
        error, reply = "the answer is no JSON object", {}
    token = reply.get("jwt")
    if error or not isinstance(token, str):
        raise Refused(f"no new credentials for {me.name}: {error or 'there is no JWT in the answer'}", "")
    if claims_of(token).get("sub") != me.public_key:
        raise Refused(f"the new credentials are not for the key of {me.name}", "")
    return token
