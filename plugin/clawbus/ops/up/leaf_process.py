"""The process `clawbus leaf`: it runs the leaf node, renews its credentials, and says when the hub comes or goes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clawbus.bus import Bus, gateway_reader
from clawbus.bus.credential_renewal import keep_fresh
from clawbus.bus.identity import Identity
from clawbus.bus.server_words import is_refusal
from clawbus.client.company import Company
from clawbus.errors import BusAway, ClawbusError, Refused
from clawbus.ops.supervisor import Service, Supervisor
from clawbus.ops.supervisor.supervisor import all_or_none
from clawbus.provision import server
from clawbus.provision.credential_service import renew
from clawbus.provision.credentials import credentials
from clawbus.provision.leaf_config import Hub, leaf_config, log_file, look
from clawbus.provision.ports import Port
from clawbus.settings import Home, write_secret
from clawbus.wire.channels import INBOX

log = logging.getLogger(__name__)

_SERVER = "nats-server"
_LOOK_EVERY_S = 2.0
_READY_S = 15.0
_ERROR = re.compile(r"\[ERR\] (?:\S+ - lid:\d+ - )?(.*)")  # the number is another one at each try
_LOG_TAIL_BYTES = 8192
Say = Callable[[str], None]


@dataclass(frozen=True)
class LeafProcess:
    """A leaf node to run. `port`: on the loopback. `authority`: the certificate that the hub's must follow from."""

    company: Company
    hub: Hub
    port: int
    authority: Path
    program: server.Server
    say: Say

    async def run(self) -> None:
        """Run until cancelled. Raises InvalidInput if the hub's address turns out to be no port for leaf nodes."""
        folder = Home(self.company.home.root / "leaf")
        gateways = [gateway.id for gateway in self.company.gateways_here]
        async with Supervisor(folder, self._on_event) as supervisor:
            read = self._written()
            await supervisor.add(self._service())
            work = [self._follow_changes(supervisor, read), *(self._keep(gateway) for gateway in gateways)]
            await all_or_none(work)

    def _service(self) -> Service:
        ready = functools.partial(server.wait_ready, self.port, _READY_S)
        argv = server.command(self.program, self._config_file)
        return Service(_SERVER, argv, {}, log_file(self.company.home), ready)

    @property
    def _config_file(self) -> Path:
        return self.company.home.dir("leaf") / "leaf.conf"

    def _written(self) -> str:
        """Write the configuration if it has changed. Returns all that the server reads: it, and its credentials."""
        company = Company.open(self.company.org_file)
        gateways = [gateway.id for gateway in company.gateways_here]
        text = leaf_config(company.home, company.org, gateways, self.hub, self.port, self.authority)
        if not self._config_file.exists() or self._config_file.read_text() != text:
            write_secret(self._config_file, text)
        creds = (company.home.key(f"gw-{gateway}").with_suffix(".creds") for gateway in gateways)
        return "\n".join([text, *(file.read_text() for file in creds)])

    async def _follow_changes(self, supervisor: Supervisor, read: str) -> None:
        """Restart the server when org.toml or credentials have changed: it reads both only at its start."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                now = self._written()
            except ClawbusError as error:
                log.warning("the leaf goes on with what it has: %s", error.message)
                continue
            if now != read:
                read = now
                await supervisor.stop(_SERVER)
                await supervisor.add(self._service())
                self.say("the leaf has taken in what has changed")

    async def _keep(self, gateway: str) -> None:
        """Renew a gateway's credentials, and watch its link."""
        company, key_name = self.company, f"gw-{gateway}"
        shown = credentials(company.home, company.org, key_name)
        again = functools.partial(renew, company.home, company.org, key_name)
        async with company.connect(key_name, f"leaf {gateway}", wait_s=None) as bus:
            await all_or_none([keep_fresh(_Courier(shown, bus), again), self._watch(gateway, bus)])

    async def _watch(self, gateway: str, bus: Bus) -> None:
        told = before = ""
        while True:
            state = await self._state(gateway, bus)
            # At the start a link takes a moment: only a second look at the same state is news.
            if state != told and (told or state in (before, self._linked)):
                self.say(f"{gateway}: {state}")
                told = state
            before = state
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _state(self, gateway: str, bus: Bus) -> str:
        """The state of the link to the hub, in words. The hub is asked: here nothing shows that a cable was cut."""
        try:
            with contextlib.suppress(Refused):
                await bus.api(f"CONSUMER.INFO.{INBOX}.{gateway_reader(gateway)}", timeout_s=_LOOK_EVERY_S)
        except BusAway:
            if await look(self.hub, self.company.org.bus) is Port.NOBODY:
                return f"nobody answers at {self.hub}; what is sent waits here"
            error = _last_error(log_file(self.company.home))
            if is_refusal(error):
                return (
                    f"{self.hub} refuses it. Was it shut out? `clawbus invite` there lets it in again, in a new folder"
                )
            return f"{self.hub} answers, but there is no link to it yet: {error}"
        return self._linked

    @property
    def _linked(self) -> str:
        return f"connected to {self.hub}"

    def _on_event(self, name: str, what: str, detail: str) -> None:
        if what in ("died", "not ready"):
            self.say(f"the leaf's {name} {what} {detail}".rstrip())


@dataclass
class _Courier:
    """Asks for newer credentials through the leaf, as the node behind it does. The leaf shows them to the hub."""

    identity: Identity
    bus: Bus

    async def ask(self, subject: str, data: bytes, timeout_s: float = 5.0) -> bytes:
        return await self.bus.ask(subject, data, timeout_s)

    async def reconnect(self) -> None:
        """Does nothing: `_follow_changes` restarts the server when the file has changed."""


def _last_error(log: Path) -> str:
    """The last error in the log of the leaf's server."""
    with contextlib.suppress(OSError):
        found = _ERROR.findall(log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace"))
        if found:
            return str(found[-1])
    return f"its log is {log}"
