"""Reading a session's transcript: what stands there survives the gateway's death, what it has accepted may not.

The user message of a run is kept under `<key of the call>:user`, and each message of the assistant names its run.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from clawbus.errors import Refused
from clawbus.gateway.rpc import GatewayRpc

KEY_PREFIX = "nats-"
"""How the keys of our calls begin, and so our run ids; the gateway's own are UUIDs."""
MAX_CHARS = 500_000


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
        return any(message.get("__openclaw", {}).get("runId") == key for message in self.messages)

    def called(self, key: str) -> bool:
        """Whether the run of a key has called a tool."""
        mine = (message for message in self.messages if message.get("__openclaw", {}).get("runId") == key)
        return any(message.get("stopReason") == "toolUse" for message in mine)

    def began(self, key: str) -> bool:
        """Whether the turn of a key has begun. The message that opened a long one is not among the last ones."""
        return self.has(key) or self.answered(key)

    def reply(self, key: str) -> str:
        """The last message of the assistant in the run of a key; or nothing. OpenClaw masks secrets here."""
        for message in reversed(self.messages):
            if message.get("role") == "assistant" and message.get("__openclaw", {}).get("runId") == key:
                return text_of(message)
        return ""

    def reply_to(self, key: str) -> str:
        """The last message of the run, under whatever name, that answered a call; or nothing.

        The gateway's own notes, such as that a command was blocked, name no run.
        """
        below = iter(self.messages)
        if self.answered(key) or not any(message.get("idempotencyKey") == f"{key}:user" for message in below):
            return ""
        said = [*itertools.takewhile(lambda message: message.get("role") != "user", below)]
        said = [one for one in said if one.get("role") == "assistant" and one.get("__openclaw", {}).get("runId")]
        return text_of(said[-1]) if said else ""

    def timed_out(self, key: str) -> bool:
        """Whether the run of a key was cut off because its time was over."""
        mine = (message for message in self.messages if message.get("__openclaw", {}).get("runId") == key)
        return any(one.get("stopReason") == "aborted" and "timed out" in str(one.get("errorMessage")) for one in mine)


async def read(rpc: GatewayRpc, session_key: str, limit: int, max_chars: int = MAX_CHARS) -> Transcript:
    """The last `limit` messages of a session; an empty transcript if there is no such session. Raises GatewayAway."""
    try:
        answer = await rpc.call("chat.history", {"sessionKey": session_key, "limit": limit, "maxChars": max_chars})
    except Refused:
        return Transcript([], False)
    busy = bool(answer.get("inFlightRun")) or (answer.get("sessionInfo") or {}).get("status") == "running"
    return Transcript(list(answer.get("messages") or []), busy)


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
