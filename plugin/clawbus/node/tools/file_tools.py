"""Files and progress of the task that an agent works on: attached to its result, said in its events, nobody's mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from clawbus.errors import BusAway, Refused
from clawbus.gateway import SessionKey
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Attachments, Outbox, RateLimits
from clawbus.node.prompts.untrusted import harmless
from clawbus.node.tools.answer import Answer, Caller
from clawbus.node.tools.params import NatsPub
from clawbus.tasks.artifacts import MAX_FILES, Store, foreign, read_inside
from clawbus.wire.envelope import Artifact, Envelope
from clawbus.wire.sanitize import inert

_SHOWN_CHARS = 500

Workspaces = Callable[[str], Awaitable[Path | None]]


class FileTools:
    """Files of all tools; and `nats_pub` with word of the task that its caller works on."""

    def __init__(
        self, ledger: Ledger, outbox: Outbox, store: Store, files: Attachments, workspace_of: Workspaces
    ) -> None:
        self._ledger = ledger
        self._outbox = outbox
        self._store = store
        self._files = files
        self._workspace_of = workspace_of

    async def put(self, caller: Caller, artifacts: Sequence[str] | None) -> tuple[Artifact, ...]:
        """Put files of the caller's workspace on the bus; foreign addresses become references as they are.

        Raises InvalidInput (a path that is none, or lies outside), BusAway or Refused.
        """
        found = []
        for path in artifacts or ():
            if (reference := foreign(path)) is not None:
                found.append(reference)
                continue
            name, data = read_inside(await self._workspace(caller), path)
            found.append(await self._store.put(caller.agent, name, data))
        return tuple(found)

    async def received(self, caller: Caller, *mails: Envelope) -> str:
        """The lines to add to an answer that shows these: where the copies of their files lie."""
        try:
            return await self._files.of(caller.agent, *mails)
        except BusAway:
            return "\n\nFiles came with it; they cannot be fetched while the bus is away. Ask for this again later."

    async def _workspace(self, caller: Caller) -> Path:
        said = Path(caller.workspace) if caller.workspace else await self._workspace_of(caller.agent)
        if said is None:
            raise Refused(
                "it is not known where your workspace is; nothing was attached",
                "Try again when the gateway is back; if that does not help, ask the operator to run: clawbus doctor",
            )
        return said

    async def of_own_task(self, caller: Caller, asked: NatsPub, pace: RateLimits) -> Answer | None:
        """Progress of the task that the caller's session works on, or files for its result. None for all else.

        It is an event of the task, which its requester sees with nats_tasks; nobody is woken. Raises BacklogFull
        for more than `pace` lets through.
        """
        run = self._at_work(caller)
        about = asked.task_id is None or (run is not None and asked.task_id == run.task_id)
        if run is None or not about or not (asked.type == "progress" or (asked.type == "report" and asked.artifacts)):
            return None
        pace.check("words", caller.agent, f"task {run.task_id}")
        had = {artifact.name for artifact in self._ledger.attached.of(run.task_id)}
        artifacts = await self.put(caller, asked.artifacts)
        if len(had | {artifact.name for artifact in artifacts}) > MAX_FILES:
            raise Refused(f"a task takes at most {MAX_FILES} files; {len(had)} are attached", "Pack several into one.")
        with self._ledger.together():
            for artifact in artifacts:
                self._ledger.attached.add(run.task_id, artifact)
            what = inert(" ".join(asked.message.split()), lines=False)[:_SHOWN_CHARS]
            self._outbox.event("progress", run.task_id, run.worker, what=what, said=True, files=len(artifacts) or None)
        files = harmless(", ".join(artifact.name for artifact in artifacts), lines=False)
        names = f" Attached to its result: {files}." if artifacts else ""
        text = f"noted as progress of task {run.task_id}.{names} {run.task.sender} sees it with nats_tasks; go on."
        return Answer(True, text, {"taskId": run.task_id, "attached": [artifact.name for artifact in artifacts]})

    def _at_work(self, caller: Caller) -> Run | None:
        """The task that this session works on now."""
        key = SessionKey.of_bus(caller.session_key)
        run = self._ledger.runs.get(key.id or "") if key is not None else None
        at_work = run is not None and run.session_key == caller.session_key and run.state == "started"
        return run if at_work and run is not None and run.worker == caller.agent else None
