"""The registrar: the process that hands out credentials.

Keys that it knows ask on the bus: for newer credentials, and, on a machine elsewhere, for a changed org.toml. Invited
machines come to its join server.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from clawbus.bus import Bus, Message
from clawbus.bus.identity import agent_key, is_public_key
from clawbus.client.company import Company
from clawbus.errors import ClawbusError, InvalidInput, Refused, WireError
from clawbus.ops.enrol.join_server import JoinServer
from clawbus.provision import remote_keys as elsewhere
from clawbus.provision.account_push import push
from clawbus.provision.accounts import credentials_subject
from clawbus.provision.credential_service import answer
from clawbus.provision.permissions import PROVISIONER, grant_of
from clawbus.provision.plan import publish_keys
from clawbus.provision.server_reload import reread
from clawbus.provision.tls import certificate_file, prepare
from clawbus.wire.strict_json import read_object

log = logging.getLogger(__name__)
_CERTIFICATE_S = 3600.0


class Registrar:
    """The registrar of a company. One is enough; two do no harm."""

    def __init__(self, company: Company) -> None:
        self._company = company

    async def run(self) -> None:
        """Run until cancelled. Raises Refused if the server does not know the provisioner's key."""
        company = self._company
        async with company.connect(PROVISIONER, "registrar", wait_s=None) as bus:

            async def learned() -> None:
                now = Company.open(company.org_file)
                await publish_keys(bus, now.org, now.home)

            async def entered() -> None:
                now = Company.open(company.org_file)
                await push(now.home, now.org)  # it shuts out the machine that was there before
                await learned()

            parts = [Answers(company, bus, learned).run()]
            if company.org.bus.shared:
                parts += [JoinServer(company, entered).run(), self._keep_certificate()]
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(part)

    async def _keep_certificate(self) -> None:
        """Renew the server's certificate before it ends. nats-server reads it without losing a connection."""
        home, known = self._company.home, ""
        while True:
            prepare(home, self._company.org)
            # An `invite` or an `apply` may have renewed the file, too.
            if (present := certificate_file(home).read_text()) != known and reread(home):
                known = present
                log.info("nats-server was told to read its certificate")
            await asyncio.sleep(_CERTIFICATE_S)


def digest_of(text: str) -> str:
    """The digest by which a machine says which org.toml it has."""
    return hashlib.sha256(text.encode()).hexdigest()


class Answers:
    """Answers questions on `<company>.creds.<key name>`. The server lets only the key's holder ask there.

    `{"key"}` asks for credentials. `{"org"}` asks for org.toml if its digest is another. `{"keys"}` tells the public
    keys of a gateway's agents; then `on_learned` is called, and again as long as it fails.
    """

    def __init__(self, company: Company, bus: Bus, on_learned: Callable[[], Awaitable[None]]) -> None:
        self._company, self._bus, self._on_learned = company, bus, on_learned
        self._asked: asyncio.Queue[Message] = asyncio.Queue(256)
        self._untold = True  # a registrar before this one may have died between the two

    async def run(self) -> None:
        """Answer until cancelled."""
        stop = await self._bus.listen(credentials_subject(self._company.org.company, "*"), self._on_question)
        try:
            while True:
                message = await self._asked.get()
                try:
                    await self._bus.tell(message.reply, await self._answer(message))
                except ClawbusError as error:
                    log.warning("no answer on %s: %s", message.subject, error.message)
        finally:
            await stop()

    def _on_question(self, message: Message) -> None:
        if message.reply.startswith(("_INBOX.", "_R_.")) and not self._asked.full():
            self._asked.put_nowait(message)  # one that gets no answer is asked again

    async def _answer(self, message: Message) -> bytes:
        name = message.subject.rpartition(".")[2]
        try:
            company = Company.open(self._company.org_file)  # org.toml as it is now
            question = _question(message.data)
            if "org" in question:
                text = company.org_file.read_text("utf-8-sig")  # as `load` reads it
                return json.dumps({"org": None if question["org"] == digest_of(text) else text}).encode()
            if "keys" in question:
                self._untold |= _learned(company, name, question["keys"])
                if self._untold:
                    await self._on_learned()
                    self._untold = False
                return b"{}"
            return _credentials(company, name, message.data)
        except ClawbusError as error:
            log.warning("%s was refused: %s", name, error.message)
            return json.dumps({"error": error.message}).encode()


def _question(data: bytes) -> dict[str, Any]:
    try:
        return read_object(data)
    except WireError as error:
        raise InvalidInput("question", "…", error.message) from None


def _learned(company: Company, name: str, keys: Any) -> bool:
    """Record the keys of agents of the gateway that asks, if none was known before. True if there were any."""
    kind, _, gateway = name.partition("-")
    if kind != "gw":
        return False
    mine = {agent_key(agent.id) for agent in company.org.agents_of(gateway)} & elsewhere.names(company.org)
    # A known key is not replaced. A thief of a gateway's credentials can publish as its agents, but not sign as them.
    new = [agent for agent in sorted(mine) if elsewhere.public_key(company.home, agent) is None]
    given = keys if isinstance(keys, dict) else {}
    learned = [agent for agent in new if isinstance(given.get(agent), str) and is_public_key(given[agent])]
    for agent in learned:
        elsewhere.learn(company.home, agent, given[agent])
    return bool(learned)


def _credentials(company: Company, name: str, question: bytes) -> bytes:
    """The answer with new credentials for a key made elsewhere. Raises Refused if its gateway has lost an agent."""
    grant = grant_of(company.org, name)
    # New credentials would hide from `apply` that the last ones allow more.
    if grant is not None and elsewhere.has_fewer(company.home, grant):
        raise Refused(f"{name} has fewer agents by org.toml", "Run `clawbus apply` on the company's own machine.")
    # None for a key of the company's own machine: only a thief would ask for it here.
    known = elsewhere.public_key(company.home, name)
    reply = answer(company.home, company.org, name, question, known or "")
    if token := json.loads(reply).get("jwt"):
        elsewhere.remember(company.home, name, token)
    return reply
