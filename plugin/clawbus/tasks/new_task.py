"""What a requester puts on the bus, as envelopes: tasks, the end of one taken back, words to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from clawbus.errors import InvalidInput, Refused
from clawbus.org import Org
from clawbus.org.tool_bounds import Bound, bound_of, delegable, meet
from clawbus.tasks.budget import narrowed, tree_of
from clawbus.tasks.chains import check_chain
from clawbus.wire.envelope import (
    MAX_TOOLS,
    Artifact,
    Budget,
    Envelope,
    OnComplete,
    Priority,
    Sla,
    check_body,
    check_label,
    now,
)
from clawbus.wire.subjects import given_id, new_message_id, new_task_id

MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as its requester says it."""

    to: str
    body: str
    label: str = ""
    priority: Priority = "medium"
    run_timeout_s: int | None = None
    deadline_minutes: int | None = None
    """By when it should be done; a breach is escalated."""
    ack_within_s: int | None = None
    """By when it should be taken; likewise."""
    then: OnComplete | None = None
    """Who takes over when it is done; only along an edge of org.toml."""
    artifacts: tuple[Artifact, ...] = ()
    budget: Budget | None = None
    """Less than its tree may use; never more."""
    tools: tuple[str, ...] | None = None
    """The only tools that its turn may use; never more than who gives it may give (`rights`)."""
    needs_approval: bool = False
    """A person decides before it starts."""


def make_task(org: Org, sender: str, new: NewTask, parent: Envelope | None = None) -> Envelope:
    """Check a task and put it into its envelope, before anything is sent.

    `parent`: the task or the message in whose turn it is given; only who gave a task waits for it.
    Raises InvalidInput, NotFound (no such agent) or Refused (a circle, too many hops, no such edge).
    """
    takers = org.takers(new.to)
    check_chain(org, new.to, new.then)
    check_body("task", new.body)
    check_label("label", new.label)
    if takers == {sender}:
        raise InvalidInput("agentId", new.to, "that is you", "Use your own sessions_spawn for a sub-agent of yours.")
    path, hops = _passed_on(new.to, takers - {sender}, sender, parent)
    seed, created = new_task_id(), now()
    task_id = given_id(sender, seed)
    return Envelope(
        id=new_message_id(sender),
        type="task",
        sender=sender,
        to=new.to,
        task_id=task_id,
        seed=seed,
        trace_id=tree_of(parent) if parent else task_id,
        parent=parent.task_id if parent else None,
        path=path,
        hops=hops,
        subject=new.label,
        body=new.body,
        priority=new.priority,
        created_at=created,
        expires_at=created + lifetime(org),
        run_timeout_s=new.run_timeout_s or org.policies.run_deadline_s,
        sla=_sla(new),
        on_complete=new.then,
        artifacts=new.artifacts,
        budget=narrowed(parent.budget if parent else None, new.budget),
        tools=_tools(org, sender, new, parent),
        takers=org.members(new.to) or None,
        needs_approval=new.needs_approval or None,
    )


def _passed_on(to: str, takers: frozenset[str], sender: str, parent: Envelope | None) -> tuple[tuple[str, ...], int]:
    """Path and hops of a task. Raises Refused for a circle, and for one that was passed on too often."""
    path = (*parent.path, parent.sender) if parent and parent.type == "task" else ()
    if takers <= {*path}:
        raise Refused(
            f"{to} is already waiting in this chain: {' -> '.join([*path, sender])}",
            "Answer with what you have, or say what is missing in your final reply.",
        )
    hops = parent.hops + 1 if parent else 0
    if hops > MAX_HOPS:
        raise Refused(
            f"the task has been passed on {hops - 1} times; {MAX_HOPS} is the limit",
            "Do it yourself, or report.",
        )
    return path, hops


def _tools(org: Org, sender: str, new: NewTask, parent: Envelope | None) -> Bound:
    """What its turn may use: no more than its parent's, nor than its sender may give; to ask for more is Refused."""
    mine = meet(bound_of(org, parent) if parent else None, delegable(org, sender))
    lost = [name for name in new.tools or () if not meet((name,), mine)]
    if lost:
        raise Refused(
            f"toolsAllow names what {sender} may not give away here: {', '.join(lost)}; nothing was sent",
            f"Leave that out. It may give: {', '.join(mine or ()) or 'nothing'}.",
        )
    found = meet(new.tools, mine)
    if len(found or ()) > MAX_TOOLS:
        raise Refused(
            f"{len(found or ())} names of tools; {MAX_TOOLS} are the most", "Use web_* for all that begin so."
        )
    return found


def _sla(new: NewTask) -> Sla | None:
    if new.deadline_minutes is None and new.ack_within_s is None:
        return None
    return Sla(ack_within_seconds=new.ack_within_s, complete_within_minutes=new.deadline_minutes)


def lifetime(org: Org) -> timedelta:
    """How long a task may wait: a little less than the stream keeps it, so that its end is there before it vanishes."""
    kept_s = org.policies.task_life_s
    return timedelta(seconds=kept_s - min(3600, kept_s / 10))


def cancellation(task: Envelope, by: str) -> Envelope:
    """The end that a requester or a person writes to take a task back."""
    return Envelope(
        id=new_message_id(by),
        type="result",
        sender=by,
        to=task.sender,
        task_id=task.task_id,
        trace_id=task.trace_id,
        status="cancelled",
        subject=task.subject,
        body=f"cancelled by {by}",
    )


def control(task: Envelope, by: str, to: str) -> Envelope:
    """The nudge to the worker of a task that was cancelled."""
    return Envelope(id=new_message_id(by), type="control", sender=by, to=to, task_id=task.task_id, body="cancel")


NOTIFY = "notify"
"""The subject of the steward's control message that has a gateway reach a person over a chat channel of its own."""
STEER = "steer"
"""The subject of a control message that says something to a task; its body is what is said."""


def said_to(task_id: str, by: str, worker: str, text: str) -> Envelope:
    """What steers a task. Its worker's node takes it from the requester and from people only."""
    return Envelope(
        id=new_message_id(by), type="control", sender=by, to=worker, task_id=task_id, subject=STEER, body=text
    )


def team_note(org: Org, task: Envelope) -> Envelope | None:
    """What a team hears of a task that one of its members will take; a pool's replicas need not hear of it.

    A report of low priority: it wakes nobody. It has a thread id of its own, and names the task as its parent.
    """
    if task.to not in org.team_ids:
        return None
    label = f" ({' '.join(task.subject.split())})" if task.subject else ""
    return Envelope(
        id=f"{task.id}-team",
        type="report",
        sender=task.sender,
        to=task.to,
        task_id=new_task_id(),
        parent=task.task_id,
        subject=f"a task for the team: {task.task_id}",
        body=f"Task {task.task_id}{label} was given to the team {task.to}. One member takes it; `clawbus task show "
        f"{task.task_id}` says who. Nothing is asked of the others.",
        priority="low",
    )
