"""Turns of an agent: start one, steer it while it runs, wait for its whole reply, stop it.

This relies on OpenClaw 2026.9.6:

- A run's id is the idempotency key of the call that started it. While the gateway's process lives, the same key answers
  the same run.
- The user message of a run stands in the transcript as `<key>:user` from the start of the turn.
- A message that was accepted, but still queued when the gateway was killed, is *not* run after its restart.

Turns are started with `chat.send`: others cannot be steered (ADR 9).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from clawbus.errors import GatewayAway, Refused
from clawbus.gateway import reply_text as words
from clawbus.gateway import transcript
from clawbus.gateway.openclaw_words import is_superseded, is_unexplained
from clawbus.gateway.rpc import GatewayRpc
from clawbus.retry import retry
from clawbus.wire.sanitize import inert

_CUT_MARK = "…"  # agent.wait ends a terminalReply.text with it if it has cut it, at 4,096 characters or before
_WAIT_S = 60.0
_TOO_LONG = "the turn took longer than it was given"
_SAID_NOTHING = (
    "the agent ended its turn without a word, so what it has done is not known. Ask it again and say that you need a "
    "report; a person finds its steps in the session of the task"
)
_EARLIER = "[the agent ended its turn without a word; this is the last that it said before]"
_CALL_IN_WORDS = (
    "the agent wrote a tool call as text instead of calling the tool, so nothing came of it. Ask it again; if it does "
    "the same, its model cannot call tools. What it wrote:"
)
_PERHAPS_A_CALL = (
    "[if these last lines are meant as a tool call: the agent wrote it as text instead of calling the tool, so nothing "
    "came of it]"
)
_CUT = "[cut here: the model came to its output limit, and what it would have said after this is missing]"
_NO_ROOM = "The model used up its output limit before it wrote a word."
_REASON_CHARS = 1_000
_KEY = re.compile(r"\b((?:(?:sk|pk|rk|gsk|xai|hf|ghp)[-_]|AIza)\w{2})[\w-]{8,}")
"""A text that looks like a provider's key: `chat.history` hides it, `sessions.get` does not."""
_MOST_MESSAGES = 1000  # that chat.history gives; a long turn has that many
_PREPARED_S = 10.0  # a run's preparation takes from 0.5 to 4 s
_FINAL_S = 2.0  # the final event comes before the wait's answer, or at about the same time
_AGAIN_S = 0.2
_QUEUED_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The end of a turn. `text`: the whole reply, or the reason.

    `idle`: it failed in the gateway itself, without a reason, before it called a tool.
    `mute`: it ended well, but the agent said nothing; so ends a turn that waits for the answer to a blocker.
    """

    outcome: Literal["done", "failed", "timed_out", "aborted"]
    text: str
    idle: bool = False
    mute: bool = False


class TurnLost(Exception):
    """The gateway's process is another one now: the end of the run is unknown."""


class Turns:
    """The turns on one gateway."""

    def __init__(self, rpc: GatewayRpc) -> None:
        self._rpc = rpc

    async def start(self, agent: str, session_key: str, message: str, key: str, timeout_s: int) -> None:
        """Start a turn; if this key has started it already, nothing more is started. Raises GatewayAway or Refused."""
        self._rpc.may_begin(agent)
        with self._rpc.runs.beginning(key, agent, session_key):
            await self._send(session_key, message, key, "nats_task", agentId=agent, timeoutMs=1000 * timeout_s)

    async def steer(self, session_key: str, message: str, key: str) -> None:
        """Give the running turn of a session a message for its next model request; it may skip pending tools.

        The turn has read it when `<key>:user` stands in the transcript. If no turn runs, the message starts one of its
        own under `key`. Raises GatewayAway or Refused.
        """
        await self._send(session_key, message, key, "nats_tasks", queueMode="steer")

    async def _send(self, session_key: str, message: str, key: str, tool: str, **more: object) -> None:
        params = {
            "sessionKey": session_key,
            "message": message,
            "idempotencyKey": key,
            "deliver": False,
            "systemInputProvenance": transcript.provenance(session_key, tool),
            "suppressCommandInterpretation": True,  # `/x`, `!x` and "stop" reach the model as they stand
        }
        await self._rpc.call("chat.send", params | more)

    async def steer_arrived(self, session_key: str, key: str, wait_s: int = 30) -> bool | None:
        """True if a steer stands in the transcript, False if it was dropped, None if it still waits after `wait_s`.

        Raises GatewayAway.
        """
        if (await transcript.read(self._rpc, session_key, 50)).has(key):
            return True
        answer = await self._rpc.call("agent.wait", {"runId": key, "timeoutMs": max(1, 1000 * wait_s)}, 60)
        if (await transcript.read(self._rpc, session_key, 50)).has(key):
            return True
        return False if answer.get("endedAt") is not None else None

    async def wait(
        self, session_key: str, key: str, boot_id: str, steered: Callable[[], bool] = lambda: False
    ) -> TurnResult:
        """Wait for the end of a run. Raises TurnLost if the gateway was restarted since `boot_id`, or never began it.

        A turn that was `steered` may have answered twice, before and after it read the steer: both are its reply.
        """
        with self._final_of(key) as final:

            async def look() -> TurnResult | None:
                await self._rpc.ready.wait()
                if self._rpc.boot_id != boot_id:
                    raise TurnLost
                params = {"runId": key, "timeoutMs": round(_WAIT_S * 1000)}
                answer = await self._rpc.call("agent.wait", params, _WAIT_S + 30)
                if answer.get("endedAt") is not None:
                    self._rpc.runs.is_over(key)
                    return await self._result(session_key, key, answer, final, steered())
                if (forgotten := await self._forgotten(session_key, key)) is not None:
                    return forgotten
                if answer.get("status") == "pending":  # queued behind another run: then the gateway answers at once
                    await asyncio.sleep(_QUEUED_S)
                return None

            while (result := await retry(look, GatewayAway, _AGAIN_S)) is None:
                continue
            return result

    async def has_started(self, session_key: str, key: str) -> bool:
        """True if the turn of a key has begun, by the transcript. Raises GatewayAway.

        Such a call must not be made again: the gateway forgets the key of a finished run after five minutes.
        """
        return (await transcript.read(self._rpc, session_key, 50)).has_started(key)

    async def in_transcript(self, session_key: str, key: str) -> bool:
        """True if the message of a call stands in the transcript. Raises GatewayAway."""
        return (await transcript.read(self._rpc, session_key, 50)).has(key)

    async def was_aborted(self, key: str) -> bool:
        """True if a run was stopped; False also if it ended more than ten minutes ago. Raises GatewayAway."""
        answer = await self._rpc.call("agent.wait", {"runId": key, "timeoutMs": 1})
        return answer.get("endedAt") is not None and _aborted(answer)

    async def at_work(self, session_key: str, key: str) -> bool:
        """True if the agent has said or called something in the turn of a key. Raises GatewayAway."""
        return (await transcript.read(self._rpc, session_key, 50)).answered(key)

    async def _forgotten(self, session_key: str, key: str) -> TurnResult | None:
        """The result, by the transcript, of a run that `agent.wait` no longer knows; None while it runs or is queued.

        Raises TurnLost if there is no reply.
        """
        # The gateway keeps a finished run for ten minutes; the transcript keeps its reply.
        seen = await transcript.read(self._rpc, session_key, 50)
        if not seen.busy and not seen.has_started(key):
            seen = await transcript.read(self._rpc, session_key, _MOST_MESSAGES)
        if seen.busy or not seen.has_started(key):
            return None
        return result_in_transcript(seen, key)

    async def _result(
        self, session_key: str, key: str, answer: dict[str, Any], final: asyncio.Future[str], steered: bool
    ) -> TurnResult:
        status, reply = answer.get("status"), answer.get("terminalReply") or {}
        if _aborted(answer):
            return TurnResult("aborted", "the turn was stopped on the worker's gateway")
        if status == "timeout" or answer.get("stopReason") == "timeout":
            return TurnResult("timed_out", _TOO_LONG)
        text = str(reply.get("text") or "")
        if status != "ok" and not _is_silent(reply):  # OpenClaw calls it an error, too, if an agent says nothing
            return await self._failed(session_key, key, str(answer.get("error") or answer.get("stopReason") or status))
        if not reply:
            return await self._queued_reply(session_key, key)
        if text.endswith(_CUT_MARK) or (steered and text):
            text = await self._whole_reply(session_key, key, final) or text
        try:
            seen = await transcript.read(self._rpc, session_key, 50)
        except GatewayAway:  # the answer is here already
            seen = transcript.Transcript([], False)
        if seen.cut_off(key) and (reply.get("disposition") == "empty" or seen.timed_out(key)):
            # Its time was over while a tool ran: `agent.wait` says "ok", perhaps with the text beside the tool call.
            return TurnResult("timed_out", _TOO_LONG)
        return _result_of_reply(words.without_token(text), seen, key)

    async def _failed(self, session_key: str, key: str, error: str) -> TurnResult:
        """The result of a turn that failed. Raises TurnLost if no model was asked."""
        if is_superseded(error):
            raise TurnLost
        seen = await transcript.read(self._rpc, session_key, 50)
        unexplained = is_unexplained(error)
        error, reason = _without_key(error), await self.reason(session_key, key)
        if unexplained and reason:
            why = [reason]
        else:
            why = [error] if reason in error else [error, f"The reason given: {reason}"]
        why += [_NO_ROOM] if seen.cut_at_limit(key) else []
        return TurnResult("failed", _failure_text(*why), unexplained and not seen.called_tool(key))

    async def _queued_reply(self, session_key: str, key: str) -> TurnResult:
        """The result of a message that waited behind another run, such as one that a restarted gateway resumes.

        Raises TurnLost if no reply stands below it: somebody has stopped that run.
        """
        # It is run under an id of the gateway's own. `agent.wait` says that it has ended, but not how.
        return result_in_transcript(await transcript.read(self._rpc, session_key, _MOST_MESSAGES), key, ended_well=True)

    async def _whole_reply(self, session_key: str, key: str, final: asyncio.Future[str]) -> str:
        """The last message of a run: from its `chat` final event, as the model wrote it.

        Without that event (this node was restarted, or the connection lost): from `chat.history`, where OpenClaw masks
        each text that looks like a secret.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINAL_S):
                return await final
        log.warning("run %s: the reply comes from chat.history, where what looks like a secret is masked", key)
        return (await transcript.read(self._rpc, session_key, 50)).reply(key)

    @contextlib.contextmanager
    def _final_of(self, key: str) -> Iterator[asyncio.Future[str]]:
        final: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def listen(name: str, payload: dict[str, Any]) -> None:
            mine = name == "chat" and payload.get("runId") == key and payload.get("state") == "final"
            if mine and payload.get("message") and not final.done():
                final.set_result(transcript.text_of(payload["message"]))

        with self._rpc.listening(listen):
            yield final

    async def failed_before_model(self, session_key: str, key: str) -> bool:
        """True if a turn has failed in the gateway before its model was asked. Raises GatewayAway."""
        by_events = self._rpc.runs.failed_before_model(key)
        if by_events is not None:
            return by_events
        return (await transcript.read(self._rpc, session_key, 50)).failed_before_model(key)

    async def reason(self, session_key: str, key: str) -> str:
        """The provider's words for the failure of a run; empty if they are not known. Raises GatewayAway."""
        return _without_key(await transcript.own_reason(self._rpc, session_key, key))

    async def abort(self, session_key: str, key: str | None = None, within_s: float = _PREPARED_S) -> bool:
        """Stop what runs in a session, or one run of it. True if something was stopped. Raises GatewayAway.

        A run that is being prepared may first come to its model, for at most `within_s` (see `RunPhases`); it may call
        no tool any more.
        """
        with self._rpc.runs.ending(session_key):
            await self._until_prepared(session_key, key, within_s)
            params = {"key": session_key} | ({"runId": key} if key else {})
            try:
                return (await self._rpc.call("sessions.abort", params)).get("status") == "aborted"
            except Refused:
                return False  # no such session: nothing runs there

    async def _until_prepared(self, session_key: str, key: str | None, within_s: float) -> None:
        """Wait until no run is being prepared. Raises GatewayAway."""
        # The gateway knows a session a moment later than the run that begins it.
        row: dict[str, Any] = {}
        with contextlib.suppress(Refused):
            row = (await self._rpc.call("sessions.describe", {"key": session_key})).get("session") or {}
        runs = {str(run) for run in row.get("activeRunIds") or ()} | self._rpc.runs.open_in(session_key)
        if runs or row.get("status") == "running":
            await self._rpc.runs.prepared(session_key, {key} if key in runs else runs, within_s)

    @contextlib.contextmanager
    def watching(self, session_key: str, on_item: Callable[[str], None]) -> Iterator[None]:
        """Call `on_item(title)` for each tool call that starts in a session while the block runs."""

        def listen(name: str, payload: dict[str, Any]) -> None:
            data = payload.get("data") or {}
            mine = name == "agent" and payload.get("sessionKey") == session_key and payload.get("stream") == "item"
            if mine and data.get("phase") == "start":
                on_item(str(data.get("title") or data.get("name") or "tool"))

        with self._rpc.listening(listen):
            yield


def result_in_transcript(seen: transcript.Transcript, key: str, ended_well: bool = False) -> TurnResult:
    """The result of a call, by a transcript. Raises TurnLost if its run was cut off, or never began.

    `ended_well`: the gateway says that the run of this key did.
    """
    run = seen.run_of(key)
    if seen.timed_out(run):
        return TurnResult("timed_out", _TOO_LONG)
    if error := seen.failure(run):
        return TurnResult("failed", _failure_text(error))
    text = seen.reply(run)
    if not text and not (ended_well and run == key) and not seen.ended_mute(run):
        raise TurnLost
    return _result_of_reply(words.without_token(text), seen, run)


def _result_of_reply(text: str, seen: transcript.Transcript, run: str) -> TurnResult:
    """The result of a run that has ended by itself. Its last words may be none, or no report."""
    kept = seen.reply(run)  # OpenClaw takes the marks of a call out of a reply, sometimes all of it
    text = kept if words.are_silent(text) else text
    cut = f"\n\n{_CUT}" if seen.cut_at_limit(run) else ""
    if words.are_silent(text) or seen.ended_mute(run):  # then the text may be OpenClaw's own
        earlier = seen.earlier_words(run)
        if not earlier:
            return TurnResult("failed", _NO_ROOM if cut else _SAID_NOTHING, mute=True)
        return TurnResult("done", f"{earlier}\n\n{_EARLIER}{cut}")
    call = max(words.written_call(text), words.written_call(kept))
    if call == words.WrittenCall.WHOLE:
        return TurnResult("failed", f"{_CALL_IN_WORDS}\n\n{kept or text}{cut}")
    if call == words.WrittenCall.PERHAPS:
        text += f"\n\n{_PERHAPS_A_CALL}"
    return TurnResult("done", text + cut)


def _without_key(text: str) -> str:
    """A provider's words without a key in them: some providers repeat it."""
    return _KEY.sub(r"\1…", text)


def _failure_text(*reasons: str) -> str:
    """The reasons of a failure, in others' words: bounded, inert, and without a provider's key."""
    texts = [_without_key(reason.strip()) for reason in reasons]
    texts = [text if len(text) <= _REASON_CHARS else f"{text[:_REASON_CHARS]}{_CUT_MARK}" for text in texts]
    return inert("the turn failed: " + "\n".join(texts))


def _is_silent(reply: dict[str, Any]) -> bool:
    """True if an agent ended its turn by one of OpenClaw's tokens for "tell nobody"."""
    text = str(reply.get("text") or "")
    return reply.get("disposition") == "silent" or (bool(text) and words.are_silent(text))


def _aborted(answer: dict[str, Any]) -> bool:
    """True if an answer of `agent.wait` says that the run was stopped."""
    return bool(answer.get("aborted")) or answer.get("stopReason") in ("aborted", "rpc", "stop-command")
