"""The join server on the company's own machine: a machine with an invite's secret gets credentials for its keys.

It listens only while an invite is open. A stranger can do nothing there but be refused, a few at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from clawbus.bus.identity import agent_key, is_public_key
from clawbus.client.company import Company
from clawbus.errors import Away, ClawbusError, Refused
from clawbus.ops.enrol import protocol
from clawbus.ops.enrol.invites import REMEDY, Invite, Invites, machine_of
from clawbus.provision import remote_keys as elsewhere
from clawbus.provision.credentials import mint
from clawbus.provision.tls import ca_file, certificate_file, prepare

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_AT_ONCE = 8
"""The most connections at once, of ten seconds at most; a further one is closed."""


@dataclass
class JoinServer:
    """The server on the port of `clawbus join`. `on_entered` is called before the machine gets its credentials."""

    company: Company
    on_entered: Callable[[], Awaitable[None]]
    _present: int = 0

    async def run(self) -> None:
        """Listen while an invite is open, until cancelled."""
        invites = Invites(self.company.home)
        while True:
            if invites.opened():
                await self._listen(invites)
            await asyncio.sleep(_LOOK_S)

    async def _listen(self, invites: Invites) -> None:
        bus = self.company.org.bus
        prepare(self.company.home, self.company.org)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate_file(self.company.home))
        try:
            server = await asyncio.start_server(
                self._serve,
                bus.listen,
                bus.enrol_port,
                ssl=context,
                ssl_handshake_timeout=5.0,
                limit=protocol.MOST_BYTES,
            )
        except OSError as error:
            log.error("cannot listen for `clawbus join` on %s:%s: %s", bus.listen, bus.enrol_port, error)
            await asyncio.sleep(_LOOK_S * 20)
            return
        async with server:
            log.info("waiting for `clawbus join` on %s:%s", bus.listen, bus.enrol_port)
            while invites.opened() or self._present:  # noqa: ASYNC110 - invites are in a file; open connections end
                await asyncio.sleep(_LOOK_S)
        log.info("no invite is open any more: not listening for `clawbus join`")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._present += 1
        try:
            if self._present <= _AT_ONCE:
                async with asyncio.timeout(protocol.WITHIN_S):
                    await self._converse(reader, writer)
        except protocol.HungUp:  # each machine does so once, when it has compared the authority's hash
            log.debug("a machine has hung up")
        except ClawbusError as error:
            log.warning("a machine was not let in: %s", error.message)
            with contextlib.suppress(ClawbusError, TimeoutError):
                async with asyncio.timeout(1.0):
                    away = isinstance(error, Away)
                    await protocol.send(writer, protocol.Refusal(error=error.message, remedy=error.remedy, away=away))
        except TimeoutError:
            log.info("a machine that wanted to be let in has said nothing")
        finally:
            self._present -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await protocol.send(writer, protocol.Certificate(ca=ca_file(self.company.home).read_text()))
        company = Company.open(self.company.org_file)  # org.toml as it is now
        invites = Invites(company.home)
        claim = await protocol.receive(reader, protocol.Claim)
        invite = invites.find(claim.secret, machine_of(claim.keys))
        text = company.org_file.read_text("utf-8-sig")  # as `load` reads it
        await protocol.send(writer, protocol.Offer(org=text, gateways=invite.gateways, port=company.org.bus.port))
        keys = (await protocol.receive(reader, protocol.PublicKeys)).keys
        company = Company.open(self.company.org_file)  # again: a gateway may have left org.toml meanwhile
        _check(company, invite, keys)
        invites.begin(invite, machine_of(keys))
        granted = admit(company, invite.gateways, keys)
        await self.on_entered()
        await protocol.send(writer, protocol.Credentials(credentials=granted))
        await protocol.receive(reader, protocol.Confirmation)
        invites.finish(invite)
        log.info("let in: %s", ", ".join(invite.gateways))


def _check(company: Company, invite: Invite, keys: dict[str, str]) -> None:
    """Check that these are keys of exactly the invited gateways and their agents, no key twice. Raises Refused.

    The gateways must still be `elsewhere` in org.toml.
    """
    if not {f"gw-{gateway}" for gateway in invite.gateways} <= elsewhere.names(company.org):
        raise Refused("by the company's org.toml these gateways are not elsewhere any more", REMEDY)
    wanted = {f"gw-{gateway}" for gateway in invite.gateways}
    wanted |= {agent_key(agent.id) for gateway in invite.gateways for agent in company.org.agents_of(gateway)}
    right = all(is_public_key(key) for key in keys.values()) and len({*keys.values()}) == len(keys)
    if {*keys} != wanted or not right:
        raise Refused("these are not the public keys of the invited gateways and their agents", "Update clawbus there.")


def admit(company: Company, gateways: tuple[str, ...], keys: dict[str, str]) -> dict[str, str]:
    """Record these public keys in place of earlier ones of the same names. Returns the gateways' JWTs."""
    home, org = company.home, company.org
    for name, key in keys.items():
        elsewhere.learn(home, name, key)
    granted = {}
    for name in (f"gw-{gateway}" for gateway in gateways):
        granted[name] = mint(home, org, name, keys[name], org.bus.credentials_s)
        elsewhere.remember(home, name, granted[name])
    return granted
