"""Oversight: what a person wants to see before an agent starts on it, or before its report goes out.

The question and the decision are events of the task: they survive every process, any node reads them, and only the
events of people count as a decision. Whoever asked for the task, and on whatever way it came, the worker's node asks.
A decision is about what was asked: it names its digest, so that it serves no other text, receiver or sender, nor other
files, tools or next tasks than those that were shown below the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clawbus.node.ledger import Run
from clawbus.node.mailbox import Outbox
from clawbus.org import STEWARD, Org, Oversight
from clawbus.tasks import History
from clawbus.wire.envelope import MAX_BODY_BYTES, Artifact, Envelope, Status
from clawbus.wire.events import Event
from clawbus.wire.sanitize import inert

Side = Literal["dispatch", "report"]
_LEVELS: dict[str, Side] = {"ask_dispatch": "dispatch", "ask_report": "report"}
_SHOWN_BYTES = MAX_BODY_BYTES  # a task is shown whole
_NO_REPORT = "\n\n[files stay with the worker: a person sees each report of it before it goes out, and this is none]"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`go`: it may go on. If not, `refused` says why; it is None as long as nobody has decided."""

    go: bool
    refused: str | None = None
    status: Status = "failed"
    """The status with which a refused task ends."""


class OversightGate:
    """Asks people, and reads what they have decided."""

    def __init__(self, org: Org, outbox: Outbox, history: History) -> None:
        self._org = org
        self._outbox = outbox
        self._history = history

    async def may_start(self, task: Envelope, worker: str) -> Verdict:
        """Before the first turn of a task. Raises BusAway."""
        return await self._verdict("dispatch", task, worker, task.body, _brought(task))

    async def may_report(self, run: Run, files: Sequence[Artifact]) -> Verdict:
        """Before the end of a task is written, and these files with it. Raises BusAway.

        Only a report is asked for. A failure is not: so it goes out, and leaves its files behind.
        """
        outcome = run.outcome
        if outcome is None or outcome.status is None:
            return Verdict(True)
        if outcome.status != "done":
            rule = _rule(self._org, "report", run.task, run.worker)
            stay = bool(files) and _is_asked(self._org, "report", run.task, rule)
            return Verdict(False, outcome.body + _NO_REPORT, outcome.status) if stay else Verdict(True)
        return await self._verdict("report", run.task, run.worker, outcome.body, _files(files))

    async def _verdict(self, side: Side, task: Envelope, worker: str, text: str, more: str) -> Verdict:
        """`more`: what goes along with the text; it is shown whole."""
        rule = _rule(self._org, side, task, worker)
        if not _is_asked(self._org, side, task, rule):
            return Verdict(True)
        digest = _digest(side, task, text, more)
        events = await self._history.events(task.task_id)
        said = [event for event in events if (event.detail.get("side"), event.detail.get("digest")) == (side, digest)]
        decided = next((event for event in said if self._decides(event, task)), None)
        if decided is None:
            takers = self._org.may_take(task.to)  # of a group one asks for all: the decision serves any of them
            if not any(event.kind == "waiting_approval" and event.sender in takers for event in said):
                to = self._org.decider(rule, task.sender, worker)
                detail = {"side": side, "to": to, "label": task.subject, "for": task.sender, "digest": digest}
                self._outbox.event("waiting_approval", task.task_id or "", worker, **detail, text=_shown(text) + more)
            return Verdict(False)
        if decided.kind == "approved":
            return Verdict(True)
        why = f": {decided.detail['why']}" if decided.detail.get("why") else ""
        return Verdict(
            False, f"{decided.sender} did not let {'it start' if side == 'dispatch' else 'the report out'}{why}"
        )

    def _decides(self, event: Event, task: Envelope) -> bool:
        """A person's word, to a question of somebody who may take the task: others' may have shown another text."""
        by_person = event.kind in ("approved", "refused") and event.sender in self._org.people
        return by_person and event.detail.get("to") in self._org.may_take(task.to)


def starts_by_a_persons_word(org: Org, task: Envelope, worker: str) -> bool:
    """True if a person decides before a task starts: on its text, so no agent adds to it afterwards."""
    return _is_asked(org, "dispatch", task, _rule(org, "dispatch", task, worker))


def _rule(org: Org, side: Side, task: Envelope, worker: str) -> Oversight | None:
    rules = org.watching(_asked_first(task), task.to, worker)
    return next((rule for rule in rules if _LEVELS.get(rule.level) == side), None)


def _is_asked(org: Org, side: Side, task: Envelope, rule: Oversight | None) -> bool:
    """A person who asks for something himself has decided."""
    asked = rule is not None or (side == "dispatch" and bool(task.needs_approval))
    return asked and task.sender not in org.people


def _asked_first(task: Envelope) -> str:
    """On whose behalf it is: the steward gives the next task of a chain, and is no way around an edge's rule."""
    if task.sender != STEWARD:
        return task.sender
    return next((agent for agent in reversed(task.path) if agent != STEWARD), STEWARD)


def _shown(text: str) -> str:
    """The text for a person. A cut shows, for a decision is about the whole."""
    data = text.encode("utf-8", "replace")
    if len(data) <= _SHOWN_BYTES:
        return text
    shown = data[:_SHOWN_BYTES].decode("utf-8", "ignore")
    return f"{shown}\n[cut here: {_SHOWN_BYTES} of {len(data)} bytes; the rest is not shown]"


def _files(files: Sequence[Artifact]) -> str:
    """One line for each, by which no other can pass for it: its hash, or where it lies."""
    lines = [f"- {file.name}, " + (f"at {file.uri}" if file.uri else f"sha256 {file.sha256}") for file in files]
    return "\n\nFiles:\n" + "\n".join(inert(line, lines=False) for line in lines) if lines else ""


def _brought(task: Envelope) -> str:
    """The files, tools and next task that a task brings beside its text: a person has to know of them."""
    more = _files(task.artifacts)
    if task.tools is not None:
        more += f"\n\nTools, at most: {', '.join(task.tools) or 'none'}"
    if (then := task.on_complete) is not None:
        more += f"\n\nWhen it is done: a task for {then.to}"
        more += f", template {inert(then.template, lines=False)}" if then.template else ""
    return more


def _digest(side: Side, task: Envelope, text: str, more: str) -> str:
    """The digest of what a decision is about: whose task for whom, with which files and tools, and the whole text.

    Of what brings nothing beside its text it is as ever: what people were asked before an update, they have answered.
    """
    about = task.model_dump_json(include={"task_id", "sender", "to", "subject", "artifacts", "on_complete", "tools"})
    found = hashlib.sha256(f"{side}\n{about}\n{text}".encode("utf-8", "replace")).hexdigest()
    return (hashlib.sha256(f"{found}\n{more}".encode("utf-8", "replace")).hexdigest() if more else found)[:32]
