"""A person's side of oversight: the questions that wait, and the decision, an event that only a person can write."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from clawbus.bus import Bus
from clawbus.client.company import Company
from clawbus.errors import InvalidInput, NotFound, Refused
from clawbus.wire.events import Event, Kind, question_code
from clawbus.wire.subjects import check_task_id, new_message_id

_DECIDED = ("approved", "refused")


@dataclass(frozen=True, slots=True)
class Approval:
    """One question that waits. `side`: "dispatch" (may it start?) or "report" (may it go out?)."""

    task_id: str
    side: str
    agent: str
    requester: str
    label: str
    text: str
    at: datetime
    digest: str
    """The hash of the text in question: a decision is about this text and no other."""

    @property
    def question(self) -> tuple[str, ...]:
        return (self.task_id, self.side, self.digest, self.agent)

    @property
    def code(self) -> str:
        """Tells this question from others about the same task."""
        return question_code(self.agent, self.digest)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat(), "code": self.code}


async def waiting(bus: Bus, company: Company) -> list[Approval]:
    """Every question that no person has decided, of tasks that have not ended. Raises BusAway."""
    history = company.history(bus)
    events = await history.events()
    people = company.org.people
    decided = {_question(event) for event in events if event.kind in _DECIDED and event.sender in people}
    ended = {view.task_id for view in await history.tasks(events) if view.ended_by}
    asked: dict[tuple[str, ...], Approval] = {}  # by who asks, too: nobody hides the question of another
    for event in events:
        if event.kind == "waiting_approval" and _question(event) not in decided and event.task_id not in ended:
            asked.setdefault((*_question(event), event.sender), _approval(event))
    return list(asked.values())


async def decide(
    bus: Bus, company: Company, me: str, task_id: str, *, approved: bool, why: str = "", code: str | None = None
) -> Approval:
    """Decide on what waits of a task. Where several questions about it wait, `code` says which is meant.

    Raises NotFound if nothing waits, InvalidInput if several do or none has that code, Refused if somebody else was
    faster, BusAway.
    """
    check_task_id("ID", task_id)
    found = [question for question in await waiting(bus, company) if question.task_id == task_id]
    if not found:
        before = "".join(f": {_word(decision)} already" for decision in (await _decisions(bus, company, task_id))[-1:])
        problem = f"nothing of task {task_id} waits for a decision{before}"
        raise NotFound(problem, "List what does with `clawbus approvals`.")
    asked = _meant(found, code)
    kind: Kind = "approved" if approved else "refused"
    detail = {"side": asked.side, "to": asked.agent, "digest": asked.digest, **({"why": why[:500]} if why else {})}
    event = Event(id=new_message_id(me), kind=kind, task_id=task_id, sender=me, detail=detail)
    await bus.publish(company.subjects.event(task_id, me), event.encode(), msg_id=event.id)
    first = next(
        (decision for decision in await _decisions(bus, company, task_id) if _question(decision) == asked.question),
        event,
    )
    if first.kind != kind:
        raise Refused(f"{_word(first)} a moment before, and the first word counts", f"clawbus task show {task_id}")
    return asked


def _meant(found: list[Approval], code: str | None) -> Approval:
    """Raises InvalidInput."""
    remedy = "Read them with `clawbus approvals`, and say with --code CODE which you mean."
    fitting = [question for question in found if code in (None, question.code)]
    if not fitting:
        raise InvalidInput("--code", code, "no question about it has this code", remedy)
    if len(fitting) > 1:  # not the same text, or not the same asker: a word for one must not serve another
        raise InvalidInput("ID", found[0].task_id, f"{len(fitting)} questions about it wait", remedy)
    return fitting[0]


async def _decisions(bus: Bus, company: Company, task_id: str) -> list[Event]:
    """The decisions of people on a task's questions, the first one first. Raises BusAway."""
    events = await company.history(bus).events(task_id)
    return [event for event in events if event.kind in _DECIDED and event.sender in company.org.people]


def _word(decision: Event) -> str:
    return f"{decision.sender} has {decision.kind} it"


def _question(event: Event) -> tuple[str, ...]:
    """The key of a question: task, side, digest and asker. A decision names the asker in `to`."""
    asks = event.sender if event.kind == "waiting_approval" else str(event.detail.get("to"))
    return (event.task_id, str(event.detail.get("side")), str(event.detail.get("digest")), asks)


def _approval(event: Event) -> Approval:
    said = {name: str(event.detail.get(name) or "") for name in ("side", "for", "label", "text", "digest")}
    task, by, at = event.task_id, event.sender, event.at
    return Approval(task, said["side"], by, said["for"], said["label"], said["text"], at, said["digest"])
