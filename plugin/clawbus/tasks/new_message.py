"""Messages of agents and people: checked, and put into envelopes, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.org.addressing import LEARNING, channel_of, resolve
from clawbus.org.tool_bounds import bound_of
from clawbus.tasks.budget import tree_of
from clawbus.wire.envelope import MAX_PATH, Envelope, Priority, Sla, Type, check_body, check_label
from clawbus.wire.subjects import check_task_id, new_message_id, new_task_id

_TO_LEARNING = ("insight", "confirm")


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as its sender writes it. `about`: a task, a thread, or the insight that it confirms."""

    to: str
    body: str
    type: Type = "message"
    subject: str = ""
    priority: Priority = "medium"
    about: str | None = None
    deadline_minutes: int | None = None


def make_message(org: Org, sender: str, new: NewMessage, cause: Envelope | None = None) -> Envelope:
    """Check a message and put it into its envelope. Raises InvalidInput or NotFound.

    `cause`: the task or the message in whose turn it is written (`Ledger.cause`). A blocker goes to its sender's
    superior, whatever `to` says.
    """
    to = _superior(org, sender) if new.type == "blocker" else resolve(org, "to", new.to)
    check_body("message", new.body)
    check_label("subject", new.subject)
    if new.about is not None:
        check_task_id("taskId", new.about)
    _check_learning(new, to)
    # A blocker, an insight and a broadcast have a thread id of their own, under which their events stand.
    own_thread = new.type != "confirm" and (new.type == "blocker" or channel_of(org, to) != "dm")
    hops, path = _passed_on(cause)
    return Envelope(
        id=new_message_id(sender),
        type=new.type,
        sender=sender,
        to=to,
        task_id=new_task_id() if own_thread else new.about,
        trace_id=tree_of(cause) if cause else new_task_id(),
        parent=(new.about if own_thread else None) or (cause.task_id if cause else None),
        path=path,
        hops=hops,
        subject=new.subject,
        body=new.body,
        priority=new.priority,
        sla=Sla(complete_within_minutes=new.deadline_minutes) if new.deadline_minutes else None,
        tools=bound_of(org, cause) if cause else None,
    )


def make_answer(org: Org, sender: str, mail: Envelope, body: str, cause: Envelope | None = None) -> Envelope:
    """The answer to a message, to its sender alone. It has the message's priority; for a blocker, at least high.

    `cause`: the task or the message in whose turn it is written. Raises InvalidInput.
    """
    check_body("message", body)
    hops, path = _passed_on(cause if cause is not None and cause.hops > mail.hops else mail)
    return Envelope(
        id=new_message_id(sender),
        type="message",
        sender=sender,
        to=mail.sender,
        task_id=mail.task_id,
        trace_id=tree_of(mail),
        parent=mail.id,
        path=path,
        hops=hops,
        subject=f"Re: {mail.subject}"[:200],
        body=body,
        priority="high" if mail.type == "blocker" and mail.priority != "critical" else mail.priority,
        tools=bound_of(org, cause) if cause else None,
    )


def _passed_on(cause: Envelope | None) -> tuple[int, tuple[str, ...]]:
    """The hops and the path of a message that is written because of a task or a message."""
    if cause is None:
        return 0, ()
    # A task's hop was counted when it was given.
    hops = cause.hops if cause.type == "task" else min(cause.hops + 1, 64)
    return hops, (*cause.path, cause.sender)[-MAX_PATH:]


def _superior(org: Org, sender: str) -> str:
    above = org.superior(sender)
    if above is None:
        raise InvalidInput("type", "blocker", f"{sender} reports to nobody", "Send a message to whom it concerns.")
    return above


def _check_learning(new: NewMessage, to: str) -> None:
    if to == LEARNING and new.type not in _TO_LEARNING:
        known = " and ".join(_TO_LEARNING)
        raise InvalidInput("type", new.type, f"{LEARNING} takes {known} only", "Send it to an agent, a team or all.")
    if to == LEARNING and new.type == "confirm" and new.about is None:
        raise InvalidInput("taskId", None, "missing; a confirm names its insight", "Put the insight's id there.")
