"""In which sessions a turn runs now that the bus has begun there, as the gateway's events tell."""

from __future__ import annotations

from typing import Any

from clawbus.gateway.transcript import KEY_PREFIX


class BusRuns:
    """A listener of a gateway. `turns`: by session the run that the bus has begun; a user's turn there ends that."""

    def __init__(self, turns: dict[str, str]) -> None:
        self._turns = turns

    def __call__(self, name: str, payload: dict[str, Any]) -> None:
        if name != "agent" or payload.get("stream") != "lifecycle":
            return
        session, run, phase = str(payload.get("sessionKey")), str(payload.get("runId")), payload.get("data") or {}
        if phase.get("phase") != "start":
            if self._turns.get(session) == run:
                del self._turns[session]
        elif run.startswith(KEY_PREFIX):
            self._turns[session] = run
        else:
            self._turns.pop(session, None)
