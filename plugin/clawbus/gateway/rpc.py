"""The gateway's WebSocket RPC, protocol 4 (OpenClaw docs/gateway/protocol): connect, call, listen, reconnect.

The gateway's token gives full operator rights. It is read from its file for each connect, and stands in no log and no
message.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import websockets

from clawbus import __version__
from clawbus.errors import ClawbusError, GatewayAway, NotBegun, Refused
from clawbus.gateway.run_phases import RunPhases
from clawbus.retry import Backoff

if TYPE_CHECKING:  # `websockets` loads its client when it first connects: commands that never do start sooner
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

PROTOCOL = 4
_FIRST_S, _LONGEST_S = 0.2, 2.0
_CONNECT_S = 15.0
_MAX_FRAME_BYTES = 26_214_400  # the gateway's own policy.maxPayload

Listener = Callable[[str, dict[str, Any]], None]


class GatewayRpc:
    """A lasting connection to one gateway. `ready` is set while calls can be made, `gone` while not.

    `may_begin` is called before each turn that is begun for an agent; it raises NotBegun where it may not be (ADR 21).
    """

    def __init__(self, port: int, token_file: Path, may_begin: Callable[[str], None] | None = None) -> None:
        self._url = f"ws://127.0.0.1:{port}"
        self._token_file = token_file
        self._socket: ClientConnection | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.gone.set()
        self.boot_id = ""
        """The id of the gateway's process. Another id means that it was restarted and has forgotten its runs."""
        self.runs = RunPhases()
        """The phases of its runs, by its events."""
        self.listeners: list[Listener] = [self.runs.on_event]
        """Called with (event name, payload) for each event, in order."""
        self.on_change: list[Callable[[bool], None]] = []
        """Called with True when the gateway becomes ready, with False when it goes."""
        self.may_begin = may_begin or _nothing_begins

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[GatewayRpc]:
        """Keep connected, and reconnect, while the block runs."""
        task = asyncio.create_task(self._keep_connected(), name="gateway-rpc")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @contextlib.contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call `listener` with each event while the block runs."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    async def call(self, method: str, params: dict[str, Any], timeout_s: float = 30.0) -> dict[str, Any]:
        """Send one request; return its payload.

        Raises NotBegun (not connected, or draining), GatewayAway (lost, or no answer within `timeout_s`) or Refused.
        """
        socket = self._socket
        if socket is None or not self.ready.is_set():
            raise NotBegun("the gateway is away", "Start it, or wait until it is back.")
        return await self._call(socket, method, params, timeout_s)

    async def _call(
        self, socket: ClientConnection, method: str, params: dict[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        number = str(next(self._numbers))
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await socket.send(json.dumps({"type": "req", "id": number, "method": method, "params": params}))
            async with asyncio.timeout(timeout_s):
                frame = await future
        except (websockets.WebSocketException, OSError):
            raise GatewayAway(f"the gateway was lost during {method}", "It will be tried again.") from None
        except TimeoutError:
            raise GatewayAway(
                f"the gateway did not answer {method} within {timeout_s:g} s", "Look at its log."
            ) from None
        finally:
            self._waiting.pop(number, None)
        if not frame.get("ok"):
            raise _refusal(method, frame.get("error") or {})
        return frame.get("payload") or {}

    async def _keep_connected(self) -> None:
        backoff = Backoff(_FIRST_S, _LONGEST_S)
        while True:
            try:
                async with websockets.connect(
                    self._url,
                    max_size=_MAX_FRAME_BYTES,
                    compression=None,
                    proxy=None,
                    open_timeout=_CONNECT_S,
                    ping_interval=20,
                    ping_timeout=60,
                ) as socket:
                    await self._serve(socket)
                backoff.reset()
            except (OSError, TimeoutError, websockets.WebSocketException, GatewayAway) as error:
                log.debug("gateway: %s", error)
                if self.ready.is_set():
                    backoff.reset()
            except Refused as refusal:
                log.error("gateway: %s", refusal)
                backoff.slow_down()
            except Exception:
                log.exception("gateway: the connection failed in a way that nobody expected")
                backoff.slow_down()
            finally:
                self._lost()
            await backoff.wait()

    async def _serve(self, socket: ClientConnection) -> None:
        reader = asyncio.create_task(self._read(socket))
        try:
            hello = await self._call(socket, "connect", self._hello(), _CONNECT_S)
            before, self._socket = self.boot_id, socket
            self.boot_id = str(hello["server"].get("bootId", ""))
            if self.boot_id != before:
                self.runs.clear()
            log.info("gateway: connected, OpenClaw %s", hello["server"].get("version"))
            self.gone.clear()
            self.ready.set()
            self._notify(True)
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _hello(self) -> dict[str, Any]:
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise Refused(
                f"the gateway's token cannot be read: {error}",
                "Set token_file of this gateway in org.toml, or run `clawbus join`.",
            ) from None
        client = {"id": "gateway-client", "version": __version__, "platform": sys.platform, "mode": "backend"}
        return {
            "minProtocol": PROTOCOL,
            "maxProtocol": PROTOCOL,
            "client": client,
            "role": "operator",
            "scopes": ["operator.admin", "operator.read", "operator.write"],
            "caps": [],
            "auth": {"token": token},
        }

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            frame = json.loads(text)
            if frame.get("type") == "res":
                future = self._waiting.get(frame.get("id", ""))
                if future is not None and not future.done():
                    future.set_result(frame)
            elif frame.get("type") == "event":
                self._on_event(frame.get("event", ""), frame.get("payload") or {})

    def _on_event(self, name: str, payload: dict[str, Any]) -> None:
        for listener in list(self.listeners):
            try:
                listener(name, payload)
            except Exception:  # one listener's mistake must not cut the node off from its gateway
                log.exception("an event %s was not understood", name)

    def _lost(self) -> None:
        was_ready, self._socket = self.ready.is_set(), None
        self.ready.clear()
        self.gone.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(GatewayAway("the gateway was lost", "It will be tried again."))
        if was_ready:
            log.info("gateway: gone")
            self._notify(False)

    def _notify(self, ready: bool) -> None:
        for callback in list(self.on_change):
            callback(ready)


def _nothing_begins(agent: str) -> None:
    """For a connection that begins no turns: the demo's, the doctor's."""
    raise NotBegun(f"this connection begins no turn of {agent}", "Give GatewayRpc the check of a `Halt`.")


def _refusal(method: str, error: dict[str, Any]) -> ClawbusError:
    text = f"the gateway refused {method}: {error.get('message', 'no reason given')}"
    if error.get("retryable") or error.get("code") == "UNAVAILABLE":
        return NotBegun(text, "It is starting or draining; it will be tried again.")
    return Refused(text, "Look at `clawbus doctor` and at the gateway's log.")
