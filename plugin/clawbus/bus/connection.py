"""The connection to nats-server: connected, lost, refused, connected again. What is listened to outlives all of that.

nats-py reconnects by itself after a server was away. It closes for good when its credentials have expired or were
revoked; then a new client takes over here, with the credentials that lie in the file by then.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
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
from clawbus.bus.server_words import Complaint, complaint_of, is_full
from clawbus.errors import BusAway, BusFull, ClawbusError, InvalidInput, Refused

log = logging.getLogger(__name__)

_AGAIN_S = 0.25
_LOOK_S = 0.5
_REFUSED_S = 5.0
"""The pause between two tries at a server that refuses our key."""
Listener = Callable[[Msg], Awaitable[None]]


class _Client(Client):
    """A client of nats-py that can insist on TLS."""

    def __init__(self, encrypted: bool) -> None:
        super().__init__()
        self._encrypted = encrypted

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py goes on in the clear where the greeting asks for no TLS, and anybody can forge a greeting.
        if self._encrypted and not info.get("tls_required"):
            raise nats.errors.Error("the server does without TLS, and this connection does not")
        await super()._process_info(info, initial_connection)


class Connection:
    """One client after the other, under one identity."""

    def __init__(
        self,
        url: str,
        identity: Identity,
        label: str,
        ca_file: Path | None,
        on_error: Callable[[str], None],
        on_lost: Callable[[], None],
        on_reconnected: Callable[[], None],
    ) -> None:
        """`on_error` gets each text that the server says beside its answers."""
        self.refused = asyncio.Event()
        """Set while the server does not take our key or credentials."""
        self.full = False
        """True if the server last turned us away because too many are connected."""
        self.untrusted = ""
        """The reason why the server's certificate is not valid; empty if it is."""
        self._on_error, self._on_lost, self._on_reconnected = on_error, on_lost, on_reconnected
        self._url = url
        self._identity = identity
        self._label = label
        self._ca_file = ca_file
        self.client = self._new()
        self._closing = False
        self._shown = self._revoked = ""
        """The JWT that the server was shown last, and the one that it has called revoked."""
        self._listeners: dict[int, tuple[str, Listener]] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._ends_when_lost: dict[int, Callable[[], Awaitable[None]]] = {}
        self._numbers = itertools.count()
        self._reopening: asyncio.Task[None] | None = None

    def _new(self) -> Client:
        # With an authority of ours TLS comes before the greeting, which is not believed then.
        return _Client(self._ca_file is None and self._url.startswith("tls://"))

    async def open(self) -> None:
        """Connect, and try until cancelled. Raises errors of nats-py, and OSError."""
        await self.client.connect(
            servers=[self._url],
            name=self._label,
            inbox_prefix=f"_INBOX.{self._identity.name}",
            max_reconnect_attempts=-1,
            ping_interval=20,
            reconnect_time_wait=_REFUSED_S if self.refused.is_set() else _AGAIN_S,  # type: ignore[arg-type]  # seconds
            error_cb=self._complained,
            reconnected_cb=self._reconnected,
            disconnected_cb=self._lost,
            closed_cb=self._closed,
            **self._credentials(),
            **self._tls(),
        )

    def _tls(self) -> dict[str, Any]:
        if self._ca_file is None:
            return {}
        # TLS first: a server in between that offers none is not talked to.
        return {"tls": ssl.create_default_context(cafile=str(self._ca_file)), "tls_handshake_first": True}

    def _credentials(self) -> dict[str, Any]:
        # The file is read at each connect: renewed credentials count from the next one on.
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
        """True if the credentials in the file never count again."""
        creds = self._identity.creds_file
        try:
            return creds is not None and bool(self._revoked) and _jwt(creds) == self._revoked
        except (nats.errors.Error, OSError):  # there are none for now
            return True

    async def refusal(self) -> ClawbusError:
        """The error to raise because `open` did not come through."""
        if not (self.refused.is_set() or self.untrusted or self.full):
            await self._ask_if_full()
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

    async def _ask_if_full(self) -> None:
        # A server that is full as a whole says so below its greeting, then hangs up. nats-py reports the second only.
        where = urlsplit(self._url)
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                reader, writer = await asyncio.open_connection(where.hostname, where.port)
                with contextlib.closing(writer):
                    while not self.full and (line := await reader.readline()):
                        self.full = is_full(line.decode("utf-8", "replace"))

    async def close(self) -> None:
        self._closing = True
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                await self.client.close()

    async def renew(self) -> None:
        """Reconnect with the credentials that lie in the file now."""
        await self.client.force_reconnect()

    async def listen(self, subject: str, listener: Listener, lasting: bool = True) -> Callable[[], Awaitable[None]]:
        """Call `listener` with each message of a subject. Returns the function that ends it. Raises BusAway.

        `lasting`: across all connections; else it ends when this connection is lost.
        """
        # Answers to pull requests are not `lasting`: nats-server 2.15.1 keeps a request of another account while
        # anybody listens at its inbox, and hands messages out to it, though the way back went with the connection.
        # Such messages would be lost until their lease is over.
        number = next(self._numbers)
        try:
            self._subscriptions[number] = await self.client.subscribe(subject, cb=listener)
        except (nats.errors.Error, OSError) as error:
            raise BusAway(f"the bus is away: {error}", "") from None
        self._listeners[number] = (subject, listener)

        async def stop() -> None:
            self._listeners.pop(number, None)
            self._ends_when_lost.pop(number, None)
            with contextlib.suppress(KeyError, nats.errors.Error, OSError):
                await self._subscriptions.pop(number).unsubscribe()

        if not lasting:
            self._ends_when_lost[number] = stop
        return stop

    async def _complained(self, error: Exception) -> None:
        text, complaint = str(error), complaint_of(error)
        log.debug("bus: %s", text)
        if isinstance(error, ssl.SSLCertVerificationError):
            self._is_untrusted(error.verify_message)
        elif complaint is Complaint.FULL:
            self._is_full()
        elif complaint in (Complaint.REVOKED, Complaint.REFUSED):
            self._is_refused(text, complaint is Complaint.REVOKED)
        elif complaint is not Complaint.AWAY:
            self._on_error(text)

    def _is_untrusted(self, why: str) -> None:
        if not self.untrusted:
            log.error("the server at %s does not prove who it is: %s", self._url, why)
        self.untrusted = why

    def _is_full(self) -> None:
        if not self.full:
            log.error("the server is full: it turns %s away; trying again", self._identity.name)
        self.full = True

    def _is_refused(self, text: str, revoked: bool) -> None:
        if revoked:
            self._revoked = self._shown
        if not self.refused.is_set():
            log.error("the server refuses %s (%s); asking again every %g s", self._identity.name, text, _REFUSED_S)
            self.refused.set()
        self.client.options["reconnect_time_wait"] = _REFUSED_S

    async def _lost(self) -> None:
        if not self._closing:
            log.info("bus: disconnected")
        await self._end_listeners()
        self._on_lost()

    async def _end_listeners(self) -> None:
        """End those that do not outlive their connection, before the next one takes them up."""
        for stop in list(self._ends_when_lost.values()):
            await stop()

    async def _reconnected(self) -> None:
        log.info("bus: connected again")
        self.refused.clear()
        self.full = False
        self.client.options["reconnect_time_wait"] = _AGAIN_S
        self._on_reconnected()

    async def _closed(self) -> None:
        """Start a new client: nats-py gives up when the server closes the connection with a reason."""
        if self._closing or self._reopening is not None or not self.client.last_error:
            return
        await self._complained(self.client.last_error)
        await self._end_listeners()
        self._on_lost()
        self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        """Open a new client, with the credentials of the file, for as long as it takes."""
        while True:
            while self._are_revoked():  # noqa: ASYNC110 - a file: no event to wait for
                await asyncio.sleep(_AGAIN_S)
            self.client = self._new()
            self._subscriptions.clear()
            try:
                await self.open()
                for number, (subject, listener) in list(self._listeners.items()):
                    if number not in self._subscriptions:  # else somebody has begun to listen meanwhile
                        self._subscriptions[number] = await self.client.subscribe(subject, cb=listener)
                if not self.client.is_closed:
                    break
            except (nats.errors.Error, OSError) as error:
                log.error("bus: %s", error)
            await asyncio.sleep(_REFUSED_S)
        self._reopening = None
        await self._reconnected()


def _jwt(creds_file: Path) -> str:
    """The JWT of a credentials file. Raises an error of nats-py, which it takes for a reason to try again."""
    try:
        return read_creds(creds_file)
    except InvalidInput as error:
        raise nats.errors.Error(f"no authentication: {error.message}") from None
