"""A task that has raised a blocker waits for the answer, however its agent ended that turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.gateway import GatewayRpc, TurnResult, Turns
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker import Slots
from clawbus.node.worker.blocker_wait import BlockerWait
from clawbus.wire.envelope import Envelope
from clawbus.wire.subjects import Subjects

THREAD = "b" * 26


class Answered(Turns):
    """The turn that has heard the answer has ended."""

    async def wait(self, *_what: object) -> TurnResult:
        return TurnResult("done", "then I go on")


@pytest.mark.parametrize(
    ("turn", "text"),
    [
        (TurnResult("done", "asked"), "then I go on"),
        (TurnResult("failed", "the agent ended its turn without a word", mute=True), "then I go on"),
        (TurnResult("failed", "the turn failed: 401"), "the turn failed: 401"),
        (TurnResult("timed_out", "the turn took longer"), "the turn took longer"),
    ],
)
async def test_a_turn_that_ended_without_a_word_waits_for_the_answer(
    tmp_path: Path, turn: TurnResult, text: str
) -> None:
    task = Envelope(id="t-1", type="task", sender="ceo", to="cto", task_id="t" * 26, body="x")
    run = Run(task, "cto", "started", "", 1, "k", "b", None)
    with Ledger(tmp_path / "ledger.db") as ledger:
        session = run.session_key
        ledger.raised.add(THREAD, "cto", session)
        ledger.raised.answered(THREAD, "cto", "nats-2", "boot")
        outbox = Outbox(Bus.__new__(Bus), ledger, Subjects("acme"), None)
        blocked = BlockerWait(Answered(GatewayRpc(1, Path("none"))), ledger, outbox, Slots(1))
        assert (await blocked.last_word(run, turn)).text == text
