"""Errors of a demo's model, in its gateway's own words: nobody waits for a reply that will not come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from clawbus.errors import ClawbusError
from clawbus.gateway import GatewayRpc
from clawbus.gateway.setup import managed_gateway as own
from clawbus.settings import key_name, variable

_GIVEN_S = 10.0
"""A task that the CEO has given is heard of within moments of his reply."""
_LATER = "Leave --model out, and the scripted model answers: it needs no key."


class Trouble:
    """Hears what the CEO's gateway says of the turns in one session. `told` ends with the first that failed.

    `asked` is the run of the person's own question: a reply to it after which `given()` is still false ends it, too.
    """

    def __init__(self, session: str, asked: str, given: Callable[[], bool], say: Callable[[str], None]) -> None:
        self._session, self._asked, self._given, self._say = session, asked, given, say
        self._error = ""
        self.told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """An event of the gateway, see `GatewayRpc.listening`."""
        if payload.get("sessionKey") != self._session:
            return
        data = payload.get("data") or {}
        if name == "chat" and payload.get("state") == "error":
            self._tell(f"the CEO's turn failed. Its gateway says: {payload.get('errorMessage') or self._error}")
        elif name == "chat" and payload.get("state") == "final" and payload.get("runId") == self._asked:
            asyncio.get_running_loop().call_later(_GIVEN_S, self._look, _text(payload))
        elif name == "agent" and data.get("phase") == "finishing" and data.get("error"):
            self._error = str(data["error"])
        elif name == "agent" and data.get("phase") == "retrying":
            self._say(f"the CEO's model does not answer: {self._error} {data.get('message', '')}".rstrip())

    def _look(self, reply: str) -> None:
        if not self._given():
            self._tell(f"the CEO gave nobody the task, and answered: {reply or '(nothing)'}")

    def _tell(self, text: str) -> None:
        if not self.told.done():
            self.told.set_result(text)


async def explained(text: str, model: str, rpc: GatewayRpc) -> ClawbusError:
    """An error with a remedy that fits the model: a name that OpenClaw knows, a key that is set."""
    if model == own.SCRIPTED:
        return ClawbusError(text)
    provider = model.partition("/")[0]
    known: list[str] = []
    with contextlib.suppress(ClawbusError):
        listed = (await rpc.call("models.list", {"view": "all"})).get("models") or []
        known = sorted(f"{one.get('provider')}/{one.get('id')}" for one in listed if one.get("provider") == provider)
    key = key_name(provider)
    hints = [f"This OpenClaw knows: {', '.join(known)}."] if known and model not in known else []
    hints += [f"{key} is not set."] if variable(key) is None else []
    hints = hints or [f"Look whether the key in {key} is good, and whether this machine reaches {provider}."]
    return ClawbusError(text, " ".join([*hints, _LATER]))


def _text(payload: dict[str, Any]) -> str:
    parts = (payload.get("message") or {}).get("content") or []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict))
