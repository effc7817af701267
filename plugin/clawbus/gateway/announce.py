"""Announces: messages to a session that are not from its user, and the proof that they have arrived."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from clawbus.errors import GatewayAway, Refused
from clawbus.gateway import transcript
from clawbus.gateway.rpc import GatewayRpc


class Announcements:
    """The announces on one gateway."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc

    async def session_exists(self, session_key: str) -> bool:
        """True if the gateway has the session. Raises GatewayAway."""
        try:
            answer = await self._rpc.call("sessions.describe", {"key": session_key})
        except Refused:
            return False
        return answer.get("session") is not None

    async def announce(
        self, agent: str, session_key: str, message: str, key: str, from_session: str, timeout_s: int | None = None
    ) -> None:
        """Give a session a message that is not from its user; a busy session queues it. Raises GatewayAway, Refused.

        `timeout_s`: the time that its turn may take; its reply then reaches no chat. An accepted message may still be
        lost: see `arrived`.
        """
        self._rpc.may_begin(agent)
        # `inputProvenance` makes the gateway say that no user wrote it (OpenClaw
        # docs/gateway/protocol/operator-methods). With `internalEvents` it would stand in that one prompt only, and not
        # in the transcript or in later turns.
        params: dict[str, Any] = {
            "message": message,
            "agentId": agent,
            "sessionKey": session_key,
            "idempotencyKey": key,
            "inputProvenance": transcript.provenance(from_session, "nats_spawn"),
        }
        if timeout_s is None:
            params |= {"deliver": True, "bestEffortDeliver": True}
        else:
            params |= {"deliver": False, "timeout": timeout_s}
        with self._rpc.runs.beginning(key, agent, session_key):
            await self._rpc.call("agent", params)

    async def arrived(self, session_key: str, keys: tuple[str, ...]) -> str | None:
        """The newest of `keys` whose message stands in the session's transcript; None if none. Raises GatewayAway."""
        seen = await transcript.read(self._rpc, session_key, 200, 20_000)
        return next((key for key in reversed(keys) if seen.has(key)), None)

    async def until_arrived(self, session_key: str, key: str, boot_id: str) -> bool:
        """Wait until an announce stands in the transcript. False if it never will: then announce it again."""
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
        """Wait until the run has started or ended, at most 30 s. Returns the gateway's answer if it has ended."""
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
