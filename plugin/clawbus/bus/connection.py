"""The link to nats-server: connected, lost, refused, connected again; and what is listened to across all of that.

nats-py comes back by itself when a server was away, but closes for good when its credentials have expired or were
revoked. Then a new client takes over here, with whatever credentials lie in the file by then.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from clawbus.bus.identity import Identity, sign
from clawbus.bus.jwt import read_creds
from clawbus.errors import BusAway, BusFull, ClawbusError, InvalidInput, Refused

log = logging.getLogger(__name__)

_AGAIN_S = 0.25
_LOOK_S = 0.5
_REFUSED_S = 5.0
"""A server that refuses us is not asked more often than this."""
_VIOLATION = "permissions violation"
_REVOKED = "revoked"
_REFUSALS = ("authorization", "authentication", "expired", _REVOKED)
_FULL = re.compile(r"maximum (account active )?connections exceeded", re.IGNORECASE)
"""The protocol has words only. The first is of one account, the other of the whole server."""
_SLOW = "timeout"
"""`Authentication Timeout` says that the machine or the network was slow, and nothing of the key."""
Listener = Callable[[Msg], Awaitable[None]]


class _Client(Client):
    """nats-py's own goes on in the clear where the greeting asks for no TLS, and a greeting is anybody's to forge."""

    def __init__(self, encrypted: bool) -> None:
        super().__init__()
        self._encrypted = encrypted

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self._encrypted and not info.get("tls_required"):
            raise nats.errors.Error("the server does without TLS, and this connection does not")
        await super()._process_info(info, initial_connection)


class Connection:
    """One client after the other, under one identity. `on_error` hears what the server says beside the answers."""

    def __init__(self, url: str, identity: Identity, label: str, ca_file: Path | None = None) -> None:
        self.refused = asyncio.Event()
        """Set while the server does not take our key or credentials."""
        self.full = False
        """Whether the server last turned us away since too many are connected."""
        self.untrusted = ""
        """Why the server's certificate does not do, if it does not."""
        self.on_error: Callable[[str], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_back: Callable[[], None] = lambda: None
        self._url = url
        self._identity = identity
        self._label = label
        self._ca_file = ca_file
        self.client = self._new()
        self._closing = False
        self._shown = self._revoked = ""
        """The credentials that the server was shown last, and those that it has said to be revoked."""
        self._listening: dict[int, tuple[str, Listener]] = {}
        self._subscribed: dict[int, Subscription] = {}
        self._fleeting: dict[int, Callable[[], Awaitable[None]]] = {}
        self._numbers = itertools.count()
        self._reopening: asyncio.Task[None] | None = None

    def _new(self) -> Client:
        """With an authority of ours TLS comes first, and there is no greeting to believe."""
        return _Client(self._ca_file is None and self._url.startswith("tls://"))

    async def open(self) -> None:
        """Connect; nats-py goes on trying until it is cancelled. Raises nats' errors and OSError."""
        await self.client.connect(
            servers=[self._url],
            name=self._label,
            inbox_prefix=f"_INBOX.{self._identity.name}",
            max_reconnect_attempts=-1,
            ping_interval=20,
            reconnect_time_wait=_REFUSED_S if self.refused.is_set() else _AGAIN_S,  # type: ignore[arg-type]  # seconds
            error_cb=self._errors,
            reconnected_cb=self._back,
            disconnected_cb=self._lost,
            closed_cb=self._closed,
            **self._credentials(),
            **self._secured(),
        )

    def _secured(self) -> dict[str, Any]:
        """TLS first: a server in between that offers none is not talked to."""
        if self._ca_file is None:
            return {}
        return {"tls": ssl.create_default_context(cafile=str(self._ca_file)), "tls_handshake_first": True}

    def _credentials(self) -> dict[str, Any]:
        """The file is read at each connect: credentials that were renewed count at the next one."""
        creds, seed_file = self._identity.creds_file, self._identity.seed_file
        if creds is None:
            return {"nkeys_seed": str(seed_file)}
        return {
            "user_jwt_cb": lambda: bytearray(self._show(creds).encode()),
            "signature_cb": lambda nonce: base64.b64encode(sign(seed_file, nonce.encode())),
        }

    def _show(self, creds_file: Path) -> str:
        self._shown = _jwt(creds_file)
        return self._shown

    def _are_revoked(self) -> bool:
        """Whether the credentials in the file never count again: they would only be another refusal in the log."""
        creds = self._identity.creds_file
        try:
            return creds is not None and bool(self._revoked) and _jwt(creds) == self._revoked
        except (nats.errors.Error, OSError):  # none, for now
            return True

    async def refusal(self) -> ClawbusError:
        """Why it could not be opened."""
        if not (self.refused.is_set() or self.untrusted or self.full):
            await self._look_whether_full()
        if self.refused.is_set():
            return Refused(
                f"the nats-server at {self._url} does not know the key of {self._identity.name}",
                "If it is ours, run `clawbus up` or `clawbus apply`, which write its credentials; if it is yours, "
                "include .clawbus/nats/account.conf there (docs/cli.md).",
            )
        if self.full:
            return BusFull(
                f"the nats-server at {self._url} is full: too many are connected, with keys like {self._identity.name} "
                "or in all",
                "If one was stolen, `clawbus apply --new-key KEY` on the company's own machine cuts off who holds it "
                "(KEY: gw-ID, guest, me-ID); else end programs that you do not need.",
            )
        if self.untrusted:
            return BusAway(
                f"the server at {self._url} does not prove who it is: {self.untrusted}",
                "Nothing was sent to it. Look at bus.hosts in org.toml, at the clocks, and who answers there.",
            )
        return BusAway(f"no nats-server answers at {self._url}", "Start it with `clawbus up`.")

    async def _look_whether_full(self) -> None:
        """A server that is full as a whole says so below its greeting, and hangs up: nats-py hears only the second."""
        where = urlsplit(self._url)
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                reader, writer = await asyncio.open_connection(where.hostname, where.port)
                with contextlib.closing(writer):
                    while not self.full and (line := await reader.readline()):
                        self.full = _FULL.search(line.decode("utf-8", "replace")) is not None

    async def close(self) -> None:
        self._closing = True
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                await self.client.close()

    async def renew(self) -> None:
        """Connect anew, with the credentials that lie in the file now."""
        await self.client.force_reconnect()

    async def listen(self, subject: str, listener: Listener, lasting: bool = True) -> Callable[[], Awaitable[None]]:
        """Hear a subject until the function that is returned is called, whatever client it takes. Raises BusAway.

        Not `lasting`: until the connection is lost at the latest. For answers to pull requests: nats-server (2.15.1)
        keeps one of another account while anybody listens where its answer is to go, and hands messages out to it,
        though the way back is forgotten with the connection. They would be lost until their lease is over.
        """
        number = next(self._numbers)
        try:
            self._subscribed[number] = await self.client.subscribe(subject, cb=listener)
        except (nats.errors.Error, OSError) as error:
            raise BusAway(f"the bus is away: {error}", "") from None
        self._listening[number] = (subject, listener)

        async def stop() -> None:
            self._listening.pop(number, None)
            self._fleeting.pop(number, None)
            with contextlib.suppress(KeyError, nats.errors.Error, OSError):
                await self._subscribed.pop(number).unsubscribe()

        if not lasting:
            self._fleeting[number] = stop
        return stop

    async def _errors(self, error: Exception) -> None:
        text = str(error)
        log.debug("bus: %s", text)
        if isinstance(error, ssl.SSLCertVerificationError):
            self._is_untrusted(error.verify_message)
        elif _VIOLATION in text.lower():  # it names a subject, and with it whatever an agent is called
            self.on_error(text)
        elif _FULL.search(text):
            self._is_full()
        elif _SLOW not in text.lower() and any(word in text.lower() for word in _REFUSALS):
            self._is_refused(text)
        elif not isinstance(error, OSError):
            self.on_error(text)

    def _is_untrusted(self, why: str) -> None:
        if not self.untrusted:
            log.error("the server at %s does not prove who it is: %s", self._url, why)
        self.untrusted = why

    def _is_full(self) -> None:
        if not self.full:
            log.error("the server is full: it turns %s away; trying again", self._identity.name)
        self.full = True

    def _is_refused(self, text: str) -> None:
        if _REVOKED in text.lower():
            self._revoked = self._shown
        if not self.refused.is_set():
            log.error("the server refuses %s (%s); asking again every %g s", self._identity.name, text, _REFUSED_S)
            self.refused.set()
        self.client.options["reconnect_time_wait"] = _REFUSED_S

    async def _lost(self) -> None:
        if not self._closing:
            log.info("bus: disconnected")
        await self._end_fleeting()
        self.on_lost()

    async def _end_fleeting(self) -> None:
        """Before the next connection takes them up again."""
        for stop in list(self._fleeting.values()):
            await stop()

    async def _back(self) -> None:
        log.info("bus: connected again")
        self.refused.clear()
        self.full = False
        self.client.options["reconnect_time_wait"] = _AGAIN_S
        self.on_back()

    async def _closed(self) -> None:
        """nats-py has given up: the server has closed the connection with a reason."""
        if self._closing or self._reopening is not None or not self.client.last_error:
            return
        await self._errors(self.client.last_error)
        await self._end_fleeting()
        self.on_lost()
        self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        """A new client, which tries for as long as it takes, with the credentials that lie in the file by then."""
        while True:
            while self._are_revoked():  # noqa: ASYNC110 - a file: no event to wait for
                await asyncio.sleep(_AGAIN_S)
            self.client = self._new()
            self._subscribed.clear()
            try:
                await self.open()
                for number, (subject, listener) in list(self._listening.items()):
                    if number not in self._subscribed:  # else somebody has begun to listen meanwhile
                        self._subscribed[number] = await self.client.subscribe(subject, cb=listener)
                if not self.client.is_closed:
                    break
            except (nats.errors.Error, OSError) as error:
                log.error("bus: %s", error)
            await asyncio.sleep(_REFUSED_S)
        self._reopening = None
        await self._back()


def _jwt(creds_file: Path) -> str:
    """Raises an error that nats-py, which asks for it in the midst of connecting, takes for a reason to try again."""
    try:
        return read_creds(creds_file)
    except InvalidInput as error:
        raise nats.errors.Error(f"no authentication: {error.message}") from None
