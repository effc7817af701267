"""A person's side of oversight: what waits for a decision, and the decision: an event that only a person can write."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from clawbus.bus import Bus
from clawbus.company import Company
from clawbus.errors import NotFound
from clawbus.events import Event, Kind
from clawbus.subjects import check_task_id, new_message_id

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

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat()}


async def waiting(bus: Bus, company: Company) -> list[Approval]:
    """Every question that no person has decided, of tasks that have not ended. Raises BusAway."""
    history = company.history(bus)
    events = await history.events()
    people = company.org.people
    decided = {(one.task_id, one.detail.get("side")) for one in events if one.kind in _DECIDED and one.sender in people}
    ended = {view.task_id for view in await history.tasks(events) if view.ended_by}
    asked: dict[tuple[str, str, str], Approval] = {}  # by who asks, too: nobody hides the question of another
    for one in events:
        key = (one.task_id, str(one.detail.get("side")))
        if one.kind == "waiting_approval" and key not in decided and one.task_id not in ended:
            asked.setdefault((*key, one.sender), _approval(one))
    return list(asked.values())


async def decide(bus: Bus, company: Company, me: str, task_id: str, *, approved: bool, why: str = "") -> Approval:
    """Decide on what waits of a task. Raises NotFound if nothing does, BusAway."""
    check_task_id("ID", task_id)
    asked = next((one for one in await waiting(bus, company) if one.task_id == task_id), None)
    if asked is None:
        raise NotFound(f"nothing of task {task_id} waits for a decision", "List what does with `clawbus approvals`.")
    kind: Kind = "approved" if approved else "refused"
    detail = {"side": asked.side, "to": asked.agent, **({"why": why[:500]} if why else {})}
    event = Event(id=new_message_id(me), kind=kind, task_id=task_id, sender=me, detail=detail)
    await bus.publish(company.subjects.event(task_id, me), event.encode(), msg_id=event.id)
    return asked


def _approval(event: Event) -> Approval:
    said = {name: str(event.detail.get(name) or "") for name in ("side", "for", "label", "text")}
    return Approval(event.task_id, said["side"], event.sender, said["for"], said["label"], said["text"], event.at)
