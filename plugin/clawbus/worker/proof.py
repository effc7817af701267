"""A task is done when all that belongs to it is there: each attached file is read back from the bus before the end."""

from __future__ import annotations

from clawbus.artifacts import Store
from clawbus.envelope import Envelope
from clawbus.errors import BusAway, ClawbusError
from clawbus.ledger import Ledger, Run


class Proof:
    """Adds the attached files to an outcome, or turns it into a failure that says what is wrong with one."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def of(self, run: Run, outcome: Envelope) -> Envelope:
        """The outcome with the files of its task. An outcome other than `done` takes along what is whole.

        Raises BusAway.
        """
        whole, wrong = [], []
        for artifact in self._ledger.attached.of(run.task_id):
            try:
                if artifact.uri is None:
                    await self._store.get(artifact)
                whole.append(artifact)
            except BusAway:
                raise
            except ClawbusError as error:
                wrong.append(error.message)
        if not wrong or outcome.status != "done":
            return outcome.model_copy(update={"artifacts": tuple(whole)}) if whole else outcome
        body = f"not done: {'; '.join(wrong)}\n\nThe reply was:\n{outcome.body}"
        return outcome.model_copy(update={"status": "failed", "body": body, "artifacts": tuple(whole)})
