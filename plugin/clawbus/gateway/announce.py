"""Waking a session with something that is not from its user, and knowing that it has arrived."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from clawbus.errors import GatewayAway, Refused
from clawbus.gateway import transcript
from clawbus.gateway.rpc import GatewayRpc


class Announcements:
    """Announces on one gateway."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc

    async def session_exists(self, session_key: str) -> bool:
        """Whether the gateway still has a session. Raises GatewayAway."""
        try:
            answer = await self._rpc.call("sessions.describe", {"key": session_key})
        except Refused:
            return False
        return answer.get("session") is not None

    async def announce(
        self, agent: str, session_key: str, message: str, key: str, from_session: str, timeout_s: int | None = None
    ) -> None:
        """Give a session a message that is not from its user; a busy session queues it. Raises GatewayAway, Refused.

        With `timeout_s` its turn may take so long, and its reply is delivered to no chat.

        Accepted is not yet safe: see `arrived`. `inputProvenance` makes the gateway say that no user wrote it
        (OpenClaw docs/gateway/protocol/operator-methods); with `internalEvents` instead, the result would stand
        in that one prompt only, and neither in the transcript nor in later turns.
        """
        self._rpc.may_begin(agent)
        said: dict[str, Any] = {
            "message": message,
            "agentId": agent,
            "sessionKey": session_key,
            "idempotencyKey": key,
            "inputProvenance": transcript.provenance(from_session, "nats_spawn"),
        }
        said |= {"deliver": True, "bestEffortDeliver": True} if timeout_s is None else {"deliver": False}
        with self._rpc.runs.beginning(key, agent, session_key):
            await self._rpc.call("agent", said | ({} if timeout_s is None else {"timeout": timeout_s}))

    async def arrived(self, session_key: str, keys: tuple[str, ...]) -> str | None:
        """The newest of `keys` under which a message stands in the session's transcript. Raises GatewayAway."""
        seen = await transcript.read(self._rpc, session_key, 200, 20_000)
        return next((key for key in reversed(keys) if seen.has(key)), None)

    async def until_arrived(self, session_key: str, key: str, boot_id: str) -> bool:
        """Wait until an announce has become part of the session. False if it never will: try again."""
        with self._started(key) as started:
            while True:
                try:
                    restarted = self._rpc.boot_id != boot_id
                    if await self.arrived(session_key, (key,)) is not None:
                        return True
                    if restarted:
                        return False
                    answer = await self._wait_or_start(key, started)
                    if answer.get("endedAt") is not None:
                        self._rpc.runs.is_over(key)
                        return await self.arrived(session_key, (key,)) is not None
                except GatewayAway:
                    await self._rpc.ready.wait()

    async def _wait_or_start(self, key: str, started: asyncio.Event) -> dict[str, Any]:
        """Until the run has started, has ended, or half a minute is over."""
        waiting = asyncio.create_task(self._rpc.call("agent.wait", {"runId": key, "timeoutMs": 30_000}, 45))
        begun = asyncio.create_task(started.wait())
        await asyncio.wait({waiting, begun}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        started.clear()
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return {}

    @contextlib.contextmanager
    def _started(self, key: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()

        def listen(name: str, payload: dict[str, Any]) -> None:
            if name == "agent" and payload.get("runId") == key:
                event.set()

        with self._rpc.listening(listen):
            yield event
