"""A task is done when all that belongs to it is there: each attached file is read back from the bus before the end."""

from __future__ import annotations

from collections.abc import Sequence

from clawbus.errors import BusAway, ClawbusError
from clawbus.tasks.artifacts import Store
from clawbus.wire.envelope import Artifact, Envelope


class ArtifactCheck:
    """Adds the attached files to an outcome, or turns it into a failure that says what is wrong with one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, outcome: Envelope, files: Sequence[Artifact]) -> Envelope:
        """The outcome with the files of its task: those that it was let out with, whatever was attached since.

        An outcome other than `done` takes along what is whole. Raises BusAway.
        """
        whole, wrong = [], []
        for artifact in files:
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
