"""Turns of an agent: start one, wait for its whole reply, stop it.

What is known of OpenClaw 2026.9.6 and relied on here: a run's id is the idempotency key of the call that started it;
the same key answers the same run while the gateway's process lives, and is forgotten with it; the user message of a
run stands in the transcript as `<key>:user` from the moment the turn starts; a message that was accepted but still
queued when the gateway was killed is *not* run after its restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from clawbus.errors import GatewayAway, Refused
from clawbus.gateway import transcript
from clawbus.gateway.rpc import GatewayRpc

_CUT_CHARS = 4096  # agent.wait cuts terminalReply.text here
_WAIT_S = 60.0
_FINAL_S = 2.0  # the final event comes before the wait's answer, or about then

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """How a turn ended. `text` is the whole reply, or the reason."""

    outcome: Literal["done", "failed", "timed_out", "aborted"]
    text: str


class TurnLost(Exception):
    """The gateway's process is another one now: what became of the run is unknown."""


class Turns:
    """Turns on one gateway."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc

    async def start(self, agent: str, session_key: str, message: str, key: str, timeout_s: int) -> None:
        """Start a turn, or join the one that this key has started already. Raises GatewayAway or Refused."""
        await self._rpc.call(
            "agent",
            {
                "message": message,
                "agentId": agent,
                "sessionKey": session_key,
                "idempotencyKey": key,
                "deliver": False,
                "timeout": timeout_s,
                "inputProvenance": transcript.provenance(session_key, "nats_task"),
            },
        )

    async def wait(self, session_key: str, key: str, boot_id: str) -> TurnResult:
        """Wait for the end of a run. Raises TurnLost if the gateway was restarted since `boot_id`."""
        with self._final_of(key) as final:
            while True:
                try:
                    await self._rpc.ready.wait()
                    if self._rpc.boot_id != boot_id:
                        raise TurnLost
                    answer = await self._rpc.call(
                        "agent.wait", {"runId": key, "timeoutMs": round(_WAIT_S * 1000)}, _WAIT_S + 30
                    )
                    if answer.get("endedAt") is not None:
                        return await self._result(session_key, key, answer, final)
                    if (forgotten := await self._forgotten(session_key, key)) is not None:
                        return forgotten
                except GatewayAway:
                    await asyncio.sleep(0.2)

    async def begun(self, session_key: str, key: str) -> bool:
        """Whether the turn of a key has begun, by the transcript. Such a call must not be made again: the gateway
        forgets the key of a finished run after five minutes. Raises GatewayAway."""
        return (await transcript.read(self._rpc, session_key, 50)).has(key)

    async def _forgotten(self, session_key: str, key: str) -> TurnResult | None:
        """What became of a run that the gateway's wait knows nothing of: None while it runs or is queued.

        It keeps a finished run for ten minutes only; the transcript keeps the reply. Raises TurnLost if there is none.
        """
        seen = await transcript.read(self._rpc, session_key, 50)
        if seen.busy or not seen.has(key):
            return None
        text = seen.reply(key)
        if not text:
            raise TurnLost
        return TurnResult("done", text)

    async def _result(
        self, session_key: str, key: str, answer: dict[str, Any], final: asyncio.Future[str]
    ) -> TurnResult:
        status, stop = answer.get("status"), answer.get("stopReason")
        reply = answer.get("terminalReply") or {}
        if answer.get("aborted") or stop in ("aborted", "rpc", "stop-command"):
            return TurnResult("aborted", "the turn was stopped on the worker's gateway")
        if status == "timeout" or stop == "timeout" or (stop == "toolUse" and not reply.get("text")):
            return TurnResult("timed_out", "the turn took longer than it was given")
        if status != "ok":
            return TurnResult("failed", f"the turn failed: {answer.get('error') or stop or status}")
        text = str(reply.get("text") or "")
        if len(text) >= _CUT_CHARS:
            text = await self._whole_reply(session_key, key, final) or text
        return TurnResult("done", text or "(the agent gave no reply)")

    async def _whole_reply(self, session_key: str, key: str, final: asyncio.Future[str]) -> str:
        """The last message of the run: from its `chat` final event, which is as the model wrote it.

        If that event was missed (this node or the connection was restarted meanwhile), from `chat.history`, where
        OpenClaw masks what looks like a secret.
        """
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(final, _FINAL_S)
        log.warning("run %s: the reply comes from chat.history, where what looks like a secret is masked", key)
        return (await transcript.read(self._rpc, session_key, 50)).reply(key)

    @contextlib.contextmanager
    def _final_of(self, key: str) -> Iterator[asyncio.Future[str]]:
        final: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def listen(name: str, payload: dict[str, Any]) -> None:
            if name == "chat" and payload.get("runId") == key and payload.get("state") == "final" and not final.done():
                final.set_result(transcript.text_of(payload.get("message") or {}))

        with self._rpc.listening(listen):
            yield final

    async def abort(self, session_key: str, key: str | None = None) -> bool:
        """Stop what runs in a session (or one run of it). True if something was stopped. Raises GatewayAway."""
        params = {"key": session_key} | ({"runId": key} if key else {})
        try:
            return (await self._rpc.call("sessions.abort", params)).get("status") == "aborted"
        except Refused:
            return False  # no such session: nothing runs there

    @contextlib.contextmanager
    def watching(self, session_key: str, on_item: Callable[[str], None]) -> Iterator[None]:
        """While a turn runs: `on_item(title)` for each tool call that it starts."""

        def listen(name: str, payload: dict[str, Any]) -> None:
            data = payload.get("data") or {}
            mine = name == "agent" and payload.get("sessionKey") == session_key and payload.get("stream") == "item"
            if mine and data.get("phase") == "start":
                on_item(str(data.get("title") or data.get("name") or "tool"))

        with self._rpc.listening(listen):
            yield
