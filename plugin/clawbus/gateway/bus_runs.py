"""The sessions in which a turn of the bus runs now, by the gateway's events."""

from __future__ import annotations

from typing import Any

from clawbus.gateway.transcript import KEY_PREFIX


class BusRuns:
    """A listener of a gateway. It keeps in `turns`, by session, the run that the bus has begun there."""

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
        else:  # a user's turn has taken its place
            self._turns.pop(session, None)
