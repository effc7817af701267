"""The joining machine: it spends a code, and gets org.toml and credentials for keys that never leave it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from clawbus.bus.identity import agent_key, load_or_create
from clawbus.bus.jwt import write_creds
from clawbus.errors import Away, ClawbusError, InvalidInput, Refused
from clawbus.ops.enrol import protocol
from clawbus.ops.enrol.invite_code import Code
from clawbus.ops.enrol.staging import Staging
from clawbus.org import Org, load_text
from clawbus.provision import joined_machine as here
from clawbus.provision.ca import pin_of
from clawbus.settings import Home, write_secret

_CA = "ca.pem"
_CONFIRMED_S = 2.0
_LOOK = "Nothing was sent to it. Look who answers there; if the company's machine is a new one, make a new code."
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def enter(code: Code, org_file: Path) -> Org:
    """Spend a code. Writes `org_file` and the folder `.clawbus` beside it, all or nothing. Returns the org.

    Raises Refused (there is a company already; the authority is not that of the code; the code is wrong, used or
    expired), Away (nobody answers), InvalidInput (the offer cannot be read).
    """
    staging, org = Staging(code, org_file), None
    try:
        async with asyncio.timeout(protocol.WITHIN_S):
            authority = await authority_of(code)
            async with _call(code, _trusting(authority)) as streams:
                org = await _converse(streams, code, staging, authority)
                with contextlib.suppress(
                    Away, TimeoutError, OSError
                ):  # this machine has joined; the code expires anyway
                    await protocol.send(streams[1], protocol.Confirmation())
                    await asyncio.wait_for(streams[0].read(), _CONFIRMED_S)  # closed: the code is used
                return org
    except TimeoutError:
        if org is not None:  # the time ran out while the other side closed the connection
            return org
        error = Away(f"{code.url} has not let this machine in within {protocol.WITHIN_S:g} s", "Try again.")
        raise staging.explained(error) from None
    except ClawbusError as error:
        raise staging.explained(error) from None
    finally:
        staging.clear()


async def _converse(streams: Streams, code: Code, staging: Staging, authority: str) -> Org:
    reader, writer = streams
    await protocol.receive(reader, protocol.Certificate)
    try:
        await protocol.send(writer, protocol.Claim(secret=code.secret, keys=staging.keys_of(code.gateways)))
        offer = await protocol.receive(reader, protocol.Offer)
        org = _read(code, offer)
        keys = _make_keys(staging.home, org, offer)
        staging.begin()
        await protocol.send(writer, protocol.PublicKeys(keys=keys))
        grant = await protocol.receive(reader, protocol.Credentials)
    except Refused:  # the company's own machine knows the secret by now, and the code is no good
        staging.forget()
        raise
    _keep(staging.home, code, offer, grant, authority)
    staging.settle(offer.org)
    return org


async def authority_of(code: Code) -> str:
    """The authority's certificate. Raises Refused if it is not the one that the code pins; Away. Sends nothing."""
    unproven = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unproven.minimum_version = ssl.TLSVersion.TLSv1_3
    unproven.check_hostname, unproven.verify_mode = False, ssl.CERT_NONE
    async with _call(code, unproven) as (reader, _):
        try:
            shown = (await protocol.receive(reader, protocol.Certificate)).ca
            pin = pin_of(shown)
        except protocol.HungUp:  # the words are ours, and the right machine may be busy
            raise
        except ClawbusError:  # until the pin fits, none of the other side's words are shown
            raise Refused(f"{code.url} does not answer as the machine that made the code", _LOOK) from None
        except ValueError:
            pin = ""
    if pin != code.pin:
        problem = f"{code.url} shows another authority than the code pins: it is not the machine that made the code"
        raise Refused(problem, _LOOK)
    return shown


def _trusting(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


@contextlib.asynccontextmanager
async def _call(code: Code, context: ssl.SSLContext) -> AsyncIterator[Streams]:
    try:
        reader, writer = await asyncio.open_connection(
            code.host, code.port, ssl=context, server_hostname=code.host, limit=protocol.MOST_BYTES
        )
    except ssl.SSLCertVerificationError as error:
        remedy = "Look whether the clocks of both machines are right, and bus.hosts in the company's org.toml."
        raise Refused(f"{code.url} does not prove who it is: {error.verify_message}", remedy) from None
    except (OSError, UnicodeError):  # UnicodeError: what cannot be a name
        raise Away(
            f"nobody lets machines in at {code.url}",
            f"The code was good until {code.until} or its first use. The company's `clawbus up` has to run, and that "
            "port to be reachable from here.",
        ) from None
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _read(code: Code, offer: protocol.Offer) -> Org:
    org = load_text(offer.org, Path("org.toml"))
    known = {gateway.id for gateway in org.gateways}
    if org.company != code.company or not offer.gateways or not {*offer.gateways} <= known:
        raise InvalidInput("offer", org.company, "does not fit the code", "Make a new code with `clawbus invite`.")
    return org


def _make_keys(staged: Home, org: Org, offer: protocol.Offer) -> dict[str, str]:
    """Make the keys of the offered gateways and of their agents. Returns the public halves by name."""
    names = [f"gw-{gateway}" for gateway in offer.gateways]
    names += [agent_key(agent.id) for gateway in offer.gateways for agent in org.agents_of(gateway)]
    return {name: load_or_create(name, staged.key(name)).public_key for name in names}


def _keep(staged: Home, code: Code, offer: protocol.Offer, grant: protocol.Credentials, authority: str) -> None:
    for gateway in offer.gateways:
        name = f"gw-{gateway}"
        if name not in grant.credentials:
            raise InvalidInput("grant", name, "no credentials came for it", "Make a new code with `clawbus invite`.")
        seed = staged.key(name)
        write_creds(seed.with_suffix(".creds"), grant.credentials[name], seed)
    write_secret(staged.dir("tls") / _CA, authority)
    url = f"tls://{code.host}:{offer.port}"
    here.write(staged, here.JoinedMachine(gateways=offer.gateways, url=url, ca=f"tls/{_CA}"))
