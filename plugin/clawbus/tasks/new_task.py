"""The envelopes of a requester: a new task, its cancellation, a control message to its worker."""

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
    """A task as its requester writes it."""

    to: str
    body: str
    label: str = ""
    priority: Priority = "medium"
    run_timeout_s: int | None = None
    deadline_minutes: int | None = None
    """The minutes within which it should be done. A breach is escalated."""
    ack_within_s: int | None = None
    """The seconds within which it should be taken. A breach is escalated."""
    then: OnComplete | None = None
    """The next task of a chain; only along an edge of org.toml."""
    artifacts: tuple[Artifact, ...] = ()
    budget: Budget | None = None
    """A budget below that of its tree."""
    tools: tuple[str, ...] | None = None
    """The only tools that its turn may use, of those that its requester may give (`org.tool_bounds`)."""
    needs_approval: bool = False
    """True if a person decides before it starts."""


def make_task(org: Org, sender: str, new: NewTask, parent: Envelope | None = None) -> Envelope:
    """Check a task and put it into its envelope, before anything is sent.

    `parent`: the task or the message in whose turn it is given. Raises InvalidInput, NotFound (no such agent), Refused
    (a circle, too many hops, no such edge, tools that it may not give).
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
    """The path and the hops of a task. Raises Refused for a circle, or if it was passed on too often."""
    # Only the requester of a task waits for it, so a message does not lengthen the path.
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
    """The tools of its turn: no more than its parent has, and than its sender may give. Raises Refused for more."""
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
    """The time after which a task expires."""
    kept_s = org.policies.task_life_s
    # A little less than the stream keeps it, so that its end is there before the task vanishes.
    return timedelta(seconds=kept_s - min(3600, kept_s / 10))


def cancellation(task: Envelope, by: str) -> Envelope:
    """The end by which a requester or a person takes a task back."""
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
    """The control message that tells a worker that its task was cancelled."""
    return Envelope(id=new_message_id(by), type="control", sender=by, to=to, task_id=task.task_id, body="cancel")


NOTIFY = "notify"
"""The subject of the steward's control message that asks a gateway to write to a person's chat channel."""
STEER = "steer"
"""The subject of a control message whose body is a text for a running task."""


def said_to(task_id: str, by: str, worker: str, text: str) -> Envelope:
    """The control message that steers a running task. A node accepts it only from the requester and from people."""
    return Envelope(
        id=new_message_id(by), type="control", sender=by, to=worker, task_id=task_id, subject=STEER, body=text
    )


def team_note(org: Org, task: Envelope) -> Envelope | None:
    """The note to a team about a task that one of its members will take; None for a task that is not for a team.

    It is a report of low priority, so it wakes nobody. It has a thread id of its own, and its parent is the task.
    """
    if task.to not in org.team_ids:  # the replicas of a pool need no note
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
