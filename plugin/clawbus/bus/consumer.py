"""Pull requests to durable consumers, sent by the wire API: nats-py's own `fetch` stalls when the server restarts.

`Consumer` pulls without end, for mail and control. A pull request lives in the server's memory, so it is sent again
after a reconnect, when it runs out, and when two heartbeats are missed (nats-server ADR-13, ADR-37).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.msg import Msg

from clawbus.bus.bus import Bus
from clawbus.bus.messages import Delivery, handed_out, stored_seq
from clawbus.errors import BusAway
from clawbus.retry import retry

log = logging.getLogger(__name__)

EXPIRES_S = 30.0
HEARTBEAT_S = 5.0
_AGAIN_S = 0.5


def delivery_of(message: Msg) -> Delivery:
    """The delivery in a consumer's message; its reply subject is `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>…`."""
    headers = message.headers or {}
    return Delivery(
        message.subject,
        message.data,
        message.reply,
        headers.get("Nats-Msg-Id", ""),
        stored_seq(message.reply),
        handed_out(message.reply),
        dict(headers),
    )


def status_of(message: Msg) -> str | None:
    """The code of a status message (100 heartbeat, 404, 408, 409); None for a real message."""
    return None if message.reply else (message.headers or {}).get("Status")


async def ask(bus: Bus, stream: str, durable: str, inbox: str, request: dict[str, Any]) -> None:
    """Send one pull request; the answers arrive on `inbox`."""
    await bus.tell(
        f"{bus.identity.api}.CONSUMER.MSG.NEXT.{stream}.{durable}", json.dumps(request).encode(), reply=inbox
    )


def patient(batch: int) -> dict[str, Any]:
    """The body of a pull request that waits at the server, with heartbeats."""
    return {"batch": batch, "expires": round(EXPIRES_S * 1e9), "idle_heartbeat": round(HEARTBEAT_S * 1e9)}


class Consumer:
    """Hands each message of a durable consumer to `handler`, one after the other, while it runs."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        durable: str,
        handler: Callable[[Delivery], Awaitable[None]],
        batch: int = 64,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._durable = durable
        self._handler = handler
        self._batch = batch
        self._queue: asyncio.Queue[Msg | None] = asyncio.Queue()

    async def drain(self) -> None:
        """Handle all messages that wait now. Raises BusAway."""
        while waiting := await fetch_now(self._bus, self._stream, self._durable, self._batch):
            for delivery in waiting:
                await self._handle(delivery)

    async def catch_up(self) -> None:
        """As `drain`, but wait while the bus is away."""
        await retry(self.drain, BusAway, _AGAIN_S)

    async def run(self) -> None:
        """Handle messages until cancelled. An error of the handler is logged; its message comes again after 5 s."""
        self._bus.on_reconnect.append(self._request_is_lost)
        try:
            while True:
                await retry(self._one_request, BusAway, _AGAIN_S)
        finally:
            self._bus.on_reconnect.remove(self._request_is_lost)

    def _request_is_lost(self) -> None:
        self._queue.put_nowait(None)

    async def _one_request(self) -> None:
        """Send one request; handle what it brings until it is used up, refused, lost or silent. Raises BusAway."""
        inbox = self._bus.new_inbox()
        stop = await self._bus.listen(inbox, self._queue.put_nowait, lasting=False)
        try:
            await ask(self._bus, self._stream, self._durable, inbox, patient(self._batch))
            left = self._batch
            while left:
                async with asyncio.timeout(2 * HEARTBEAT_S + 1):  # wait_for of Python 3.11 can swallow a cancellation
                    message = await self._queue.get()
                if message is None:  # reconnected: the request was lost with the old connection
                    return
                status = status_of(message)
                if status is None:
                    left -= 1
                    await self._handle(delivery_of(message))
                elif status != "100":
                    await self._pause_if_refused(status, message)
                    return
        except TimeoutError:
            log.info("pull %s/%s: two heartbeats missed, asking again", self._stream, self._durable)
        finally:
            await stop()
            await self._finish_late()

    async def _finish_late(self) -> None:
        """Handle the messages that came between the last look and the end of the subscription."""
        while not self._queue.empty():
            message = self._queue.get_nowait()
            if message is not None and status_of(message) is None and message.reply:
                await self._handle(delivery_of(message))

    async def _pause_if_refused(self, status: str, message: Msg) -> None:
        if status not in ("404", "408"):
            text = (message.headers or {}).get("Description", "")
            log.info("pull %s/%s: %s %s", self._stream, self._durable, status, text)
            await asyncio.sleep(1.0)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handler(delivery)
        except Exception:
            log.exception("handling %s failed; it comes again in 5 s", delivery.subject)
            with contextlib.suppress(BusAway):
                await self._bus.nak(delivery.ack_subject, 5.0)


async def fetch_now(bus: Bus, stream: str, durable: str, batch: int) -> list[Delivery]:
    """Take at most `batch` messages that wait now; each comes under a lease. Raises BusAway."""
    inbox = bus.new_inbox()
    answers: asyncio.Queue[Msg] = asyncio.Queue()
    stop = await bus.listen(inbox, answers.put_nowait, lasting=False)
    found: list[Delivery] = []
    try:
        await ask(bus, stream, durable, inbox, {"batch": batch, "no_wait": True})
        while len(found) < batch:
            async with asyncio.timeout(HEARTBEAT_S):
                message = await answers.get()
            if status_of(message) is not None:
                break
            found.append(delivery_of(message))
    except TimeoutError:
        raise BusAway(f"no answer from {stream}", "Run `clawbus doctor`.") from None
    finally:
        await stop()
    return found
