"""Reading a session's transcript: what stands there survives the gateway's death, what it has accepted may not.

The user message of a run is kept under `<key of the call>:user`, and each message of the assistant names its run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clawbus.errors import Refused
from clawbus.gateway import reply_text as words
from clawbus.gateway.rpc import GatewayRpc

KEY_PREFIX = "nats-"
"""How the keys of our calls begin, and so our run ids; the gateway's own are UUIDs."""
MAX_CHARS = 500_000
_LAST = 5  # messages: a reason for a failure is the last one, or nearly
_CUT_OFF = ("toolUse", "aborted", "error")
"""Why a message is not the last word of its run, whatever text stands in it."""
_FELL = "run-failed-before-reply"
"""The custom type of the note that OpenClaw leaves of a run that ended before a word of its model, such as while its
provider rests."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The end of a session. `busy`: a run is under way."""

    messages: list[dict[str, Any]]
    busy: bool

    def has(self, *keys: str) -> bool:
        """Whether the message of a call under one of these keys has become part of the session."""
        marks = {f"{key}:user" for key in keys}
        return any(message.get("idempotencyKey") in marks for message in self.messages)

    def answered(self, key: str) -> bool:
        """Whether a message of the assistant, be it only a tool call, belongs to the run of a key."""
        return any(_run_of(message) == key for message in self.messages)

    def called(self, key: str) -> bool:
        """Whether the run of a key has called a tool."""
        mine = (message for message in self.messages if _run_of(message) == key)
        return any(message.get("stopReason") == "toolUse" for message in mine)

    def fell(self, key: str) -> bool:
        """Whether the run of a key has ended before a word of its model; also one under an id of the gateway's own."""
        if self._last(key) is not None:
            return False
        below = False
        for message in self.messages:
            note = message.get("customType") == _FELL
            if note and (below or _run_of(message) == key):
                return True
            below = message.get("idempotencyKey") == f"{key}:user" or (below and message.get("role") == "custom")
        return False

    def began(self, key: str) -> bool:
        """Whether the turn of a key has begun. The message that opened a long one is not among the last ones."""
        return self.has(key) or self.answered(key)

    def run_of(self, key: str) -> str:
        """The id of the run that answered a call; empty if none did.

        What had to wait behind another run is run under an id of the gateway's own: that of the first words below its
        line. Below a later line they would be another's answer; the gateway's own notes name no run.
        """
        if self.answered(key):
            return key
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
        """The last message of the assistant in a run; nothing if the run was cut off there. OpenClaw masks secrets."""
        last = self._last(run)
        return "" if last is None or last.get("stopReason") in _CUT_OFF else text_of(last)

    def timed_out(self, run: str) -> bool:
        """Whether a run was cut off because its time was over."""
        mine = (message for message in self.messages if _run_of(message) == run)
        return any(one.get("stopReason") == "aborted" and "timed out" in str(one.get("errorMessage")) for one in mine)

    def failure(self, run: str) -> str:
        """The error with which a run ended, be it the model's or one that came before it was asked; or nothing."""
        last = self._last(run, "assistant", "custom")
        if last is None:
            return ""
        if last.get("customType") == _FELL:
            return str((last.get("details") or {}).get("error") or last.get("content") or "")
        if last.get("stopReason") != "error":
            return ""
        return str(last.get("errorMessage") or text_of(last) or "the model's request failed")

    def cut_off(self, run: str) -> bool:
        """Whether a run ended in a tool call or in the middle of a message, or nothing is known of its end."""
        last = self._last(run)
        return last is None or last.get("stopReason") in _CUT_OFF

    def ended_mute(self, run: str) -> bool:
        """Whether the last message of a run, which is no tool call, says nothing."""
        last = self._last(run)
        return last is not None and last.get("stopReason") not in _CUT_OFF and words.are_silent(text_of(last))

    def cut_at_limit(self, run: str) -> bool:
        """Whether the last message of a run came to the model's output limit."""
        last = self._last(run)
        return last is not None and last.get("stopReason") == "length"

    def earlier_words(self, run: str) -> str:
        """The last words of a run that say something, perhaps beside a tool call; or nothing."""
        mine = (one for one in reversed(self.messages) if one.get("role") == "assistant" and _run_of(one) == run)
        said = (words.without_token(text_of(one)) for one in mine if one.get("stopReason") != "error")
        return next(
            (
                text
                for text in said
                if not words.are_silent(text) and words.written_call(text) < words.WrittenCall.WHOLE
            ),
            "",
        )

    def _last(self, run: str, *roles: str) -> dict[str, Any] | None:
        """The last message of a run, of the assistant unless other roles are named."""
        said = (one for one in reversed(self.messages) if one.get("role") in (roles or ("assistant",)))
        return next((one for one in said if _run_of(one) == run), None) if run else None


async def read(rpc: GatewayRpc, session_key: str, limit: int, max_chars: int = MAX_CHARS) -> Transcript:
    """The last `limit` messages of a session; an empty transcript if there is no such session. Raises GatewayAway."""
    try:
        answer = await rpc.call("chat.history", {"sessionKey": session_key, "limit": limit, "maxChars": max_chars})
    except Refused:
        return Transcript([], False)
    busy = bool(answer.get("inFlightRun")) or (answer.get("sessionInfo") or {}).get("status") == "running"
    return Transcript(list(answer.get("messages") or []), busy)


async def own_reason(rpc: GatewayRpc, session_key: str, run: str) -> str:
    """Why a run failed, in the words of who refused it; nothing if that is not known. Raises GatewayAway.

    `chat.history` shows OpenClaw's words for it only; `sessions.get` gives the messages as they were kept.
    """
    try:
        answer = await rpc.call("sessions.get", {"key": session_key, "limit": _LAST})
    except Refused:
        return ""
    return Transcript(list(answer.get("messages") or []), False).failure(run)


def _run_of(message: dict[str, Any]) -> str:
    """The run that a message belongs to; `sessions.get` names that of a failure among its details."""
    mine = message.get("__openclaw") or {}
    return str(mine.get("runId") or (message.get("details") or {}).get("runId") or "")


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, without its tool calls."""
    parts = message.get("content") or []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict) and part.get("type") == "text")


def provenance(session_key: str, tool: str) -> dict[str, str]:
    """Says to the gateway, and through it to the model, that no user wrote a message (`isUser=false`)."""
    return {
        "kind": "inter_session",
        "sourceSessionKey": session_key,
        "sourceTool": tool,
        "sourceChannel": "nats",
    }
