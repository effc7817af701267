"""A session's transcript. What stands there survives the gateway's process; what it has only accepted may not.

The user message of a run stands under `<key of the call>:user`. Each message of the assistant names its run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clawbus.errors import Refused
from clawbus.gateway import reply_text as words
from clawbus.gateway.openclaw_words import is_time_over
from clawbus.gateway.rpc import GatewayRpc

KEY_PREFIX = "nats-"
"""The beginning of each key of our calls, and so of our run ids. The gateway's own run ids are UUIDs."""
MAX_CHARS = 500_000
_LAST = 5  # messages: a reason for a failure is the last one, or nearly
_CUT_OFF = ("toolUse", "aborted", "error")
"""The stop reasons with which a message is not the last word of its run, whatever its text."""
_FAILED_BEFORE_MODEL = "run-failed-before-reply"
"""The custom type of OpenClaw's note on a run that ended before a word of its model, as while its provider rests."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The last messages of a session. `busy`: a run is under way."""

    messages: list[dict[str, Any]]
    busy: bool

    def has(self, *keys: str) -> bool:
        """True if the message of a call under one of these keys stands here."""
        marks = {f"{key}:user" for key in keys}
        return any(message.get("idempotencyKey") in marks for message in self.messages)

    def answered(self, key: str) -> bool:
        """True if a message of the assistant, be it only a tool call, belongs to the run of a key."""
        return any(_run_of(message) == key for message in self.messages)

    def called_tool(self, key: str) -> bool:
        """True if the run of a key has called a tool."""
        mine = (message for message in self.messages if _run_of(message) == key)
        return any(message.get("stopReason") == "toolUse" for message in mine)

    def failed_before_model(self, key: str) -> bool:
        """True if the run of a key, also under an id of the gateway's own, ended before a word of its model."""
        if self._last(key) is not None:
            return False
        below = False
        for message in self.messages:
            note = message.get("customType") == _FAILED_BEFORE_MODEL
            if note and (below or _run_of(message) == key):
                return True
            below = message.get("idempotencyKey") == f"{key}:user" or (below and message.get("role") == "custom")
        return False

    def has_started(self, key: str) -> bool:
        """True if the turn of a key has begun. The message that opened a long turn may not be among the last ones."""
        return self.has(key) or self.answered(key)

    def run_of(self, key: str) -> str:
        """The id of the run that answered a call; empty if none did."""
        if self.answered(key):
            return key
        # A message that waited behind another run is run under an id of the gateway's own. The first words below it
        # have that id. Below a later message they would answer that one; the gateway's own notes name no run.
        below = iter(self.messages)
        if not any(message.get("idempotencyKey") == f"{key}:user" for message in below):
            return ""
        for message in below:
            if message.get("role") == "user":
                return ""
            if message.get("role") == "assistant" and (run := _run_of(message)):
                return run
        return ""

    def reply(self, run: str) -> str:
        """The text of a run's last message, with secrets masked by OpenClaw; empty if the run was cut off there."""
        last = self._last(run)
        return "" if last is None or last.get("stopReason") in _CUT_OFF else text_of(last)

    def timed_out(self, run: str) -> bool:
        """True if a run was cut off because its time was over."""
        aborted = (m for m in self.messages if _run_of(m) == run and m.get("stopReason") == "aborted")
        return any(is_time_over(str(message.get("errorMessage"))) for message in aborted)

    def failure(self, run: str) -> str:
        """The error with which a run ended, of its model or from before it was asked; empty if there is none."""
        last = self._last(run, "assistant", "custom")
        if last is None:
            return ""
        if last.get("customType") == _FAILED_BEFORE_MODEL:
            return str((last.get("details") or {}).get("error") or last.get("content") or "")
        if last.get("stopReason") != "error":
            return ""
        return str(last.get("errorMessage") or text_of(last) or "the model's request failed")

    def cut_off(self, run: str) -> bool:
        """True if a run ended in a tool call or in the middle of a message, or nothing is known of its end."""
        last = self._last(run)
        return last is None or last.get("stopReason") in _CUT_OFF

    def ended_mute(self, run: str) -> bool:
        """True if the last message of a run is no tool call and says nothing."""
        last = self._last(run)
        return last is not None and last.get("stopReason") not in _CUT_OFF and words.are_silent(text_of(last))

    def cut_at_limit(self, run: str) -> bool:
        """True if the last message of a run reached the model's output limit."""
        last = self._last(run)
        return last is not None and last.get("stopReason") == "length"

    def earlier_words(self, run: str) -> str:
        """The last text of a run that says something, perhaps beside a tool call; empty if there is none."""
        for message in reversed(self.messages):
            if message.get("role") != "assistant" or _run_of(message) != run or message.get("stopReason") == "error":
                continue
            text = words.without_token(text_of(message))
            if not words.are_silent(text) and words.written_call(text) < words.WrittenCall.WHOLE:
                return text
        return ""

    def _last(self, run: str, *roles: str) -> dict[str, Any] | None:
        """The last message of a run, of the assistant unless other roles are named."""
        found = (message for message in reversed(self.messages) if message.get("role") in (roles or ("assistant",)))
        return next((message for message in found if _run_of(message) == run), None) if run else None


async def read(rpc: GatewayRpc, session_key: str, limit: int, max_chars: int = MAX_CHARS) -> Transcript:
    """The last `limit` messages of a session; an empty transcript if there is no such session. Raises GatewayAway."""
    try:
        answer = await rpc.call("chat.history", {"sessionKey": session_key, "limit": limit, "maxChars": max_chars})
    except Refused:
        return Transcript([], False)
    busy = bool(answer.get("inFlightRun")) or (answer.get("sessionInfo") or {}).get("status") == "running"
    return Transcript(list(answer.get("messages") or []), busy)


async def own_reason(rpc: GatewayRpc, session_key: str, run: str) -> str:
    """The provider's words for the failure of a run; empty if they are not known. Raises GatewayAway."""
    # `chat.history` gives OpenClaw's words for it; `sessions.get` gives the messages as they were kept.
    try:
        answer = await rpc.call("sessions.get", {"key": session_key, "limit": _LAST})
    except Refused:
        return ""
    return Transcript(list(answer.get("messages") or []), False).failure(run)


def _run_of(message: dict[str, Any]) -> str:
    """The run of a message; `sessions.get` names that of a failure among its details."""
    mine = message.get("__openclaw") or {}
    return str(mine.get("runId") or (message.get("details") or {}).get("runId") or "")


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, without its tool calls."""
    parts = message.get("content") or []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict) and part.get("type") == "text")


def provenance(session_key: str, tool: str) -> dict[str, str]:
    """The fields that tell the gateway, and through it the model, that no user wrote a message (`isUser=false`)."""
    return {
        "kind": "inter_session",
        "sourceSessionKey": session_key,
        "sourceTool": tool,
        "sourceChannel": "nats",
    }
