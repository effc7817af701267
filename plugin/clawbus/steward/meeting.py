"""One meeting: an agenda goes out, contributions come in on the meeting's topic, one report goes back to all.

The streams hold its state. While it lasts, the timer of its deadline says what it is. BCAST has the contributions and
the report.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clawbus.errors import InvalidInput, WireError
from clawbus.org import STEWARD, Org
from clawbus.steward.context import Context, quoted
from clawbus.wire.channels import BCAST
from clawbus.wire.envelope import MAX_BODY_BYTES, Envelope, cut

RULE = "meetings"
_ROOM_BYTES = MAX_BODY_BYTES - 4096  # the rest of the report is for the agenda and the names


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting that has begun. `of`: a team, or "all". `seq`: the number of its agenda in BCAST."""

    id: str
    of: str
    agenda: str
    deadline: datetime
    report_to: str
    series: str = ""
    """The id of the [[recurring]] entry that has called it; empty if a person has."""
    seq: int = 0

    def body(self) -> dict[str, Any]:
        """The body of the timer of its deadline."""
        return {
            "of": self.of,
            "agenda": self.agenda,
            "deadline": self.deadline.isoformat(),
            "report_to": self.report_to,
            "series": self.series,
            "agenda_seq": self.seq,
        }

    @classmethod
    def read(cls, meeting_id: str, body: dict[str, Any]) -> Meeting:
        deadline, seq = datetime.fromisoformat(body["deadline"]), int(body["agenda_seq"])
        return cls(meeting_id, body["of"], body["agenda"], deadline, body["report_to"], body["series"], seq)


def asked(org: Org, of: str) -> tuple[str, ...]:
    """The agents that a meeting has asked to contribute; empty if its team has left org.toml since."""
    return tuple(agent.id for agent in org.listeners if of in ("all", agent.team))


def members(org: Org, of: str) -> tuple[str, ...]:
    """The agents that a new meeting asks to contribute. Raises InvalidInput if `of` is neither "all" nor a team."""
    found = asked(org, of)
    if not found:
        problem = "no such team" if of not in ("all", *org.team_ids) else "its agents are programs, which do tasks only"
        raise InvalidInput("TEAM", of, problem, f"There are: all, {', '.join(org.team_ids)}.")
    return found


async def begin(context: Context, meeting: Meeting) -> None:
    """Publish the agenda and set the timer of the deadline. Done again after a crash, it changes nothing."""
    until = f"{meeting.deadline:%H:%M:%S} UTC"
    text = (
        f"A meeting of {meeting.of}, until {until}. The agenda:\n{meeting.agenda}\n\n"
        f'Contribute once, before {until}: nats_pub with to "topic:meeting.{meeting.id}" and type "contribution". Of '
        "several the last one counts. Then one report with all contributions goes to everyone."
    )
    agenda = _message(context, meeting, "agenda", text)
    agenda = agenda.model_copy(update={"priority": "high", "expires_at": meeting.deadline})
    ack = await context.bus.publish(_subject(context, meeting), agenda.encode(), msg_id=agenda.id)
    meeting = Meeting.read(meeting.id, meeting.body() | {"agenda_seq": ack.seq})
    if not await _has_ended(context, meeting):
        await context.at(RULE, meeting.id, meeting.deadline, meeting.body())


async def open_meetings(context: Context) -> list[Meeting]:
    """The meetings that have begun and not ended."""
    bodies = {key: await context.timer(RULE, key) for key in await context.timer_keys(RULE)}
    return [Meeting.read(key, body) for key, body in bodies.items() if body]


async def contributions(context: Context, meeting: Meeting) -> dict[str, str]:
    """The contributions that came in time: sender -> text. Of several of one sender the last one counts.

    A contribution counts from a member of the meeting and from a person of the company.
    """
    welcome = {*asked(context.org, meeting.of), *context.org.people}
    pattern = context.subjects.filter("topics", kind="meeting", name=meeting.id)
    found: dict[str, str] = {}
    for stored in await context.bus.stored(BCAST, pattern):
        try:
            message = await context.bus.verifier.envelope(context.subjects, stored)
        except WireError:
            continue
        if message.type == "contribution" and message.sender in welcome and stored.at <= meeting.deadline:
            found[message.sender] = message.body
    return found


async def end(context: Context, meeting: Meeting) -> None:
    """Publish the report and take back the timer. Done again, it changes nothing."""
    if not await _has_ended(context, meeting):
        text = _report(meeting, asked(context.org, meeting.of), await contributions(context, meeting))
        if meeting.report_to in context.org.people:  # people are not on the agents' channels
            title = _message(context, meeting, "report", "").subject
            await context.tell(
                meeting.report_to, text, cause=(RULE, meeting.id), subject=title, kind="report", task_id=meeting.id
            )
        await context.publish(_subject(context, meeting), _message(context, meeting, "report", text))
    await context.forget_timer(RULE, meeting.id)


def _report(meeting: Meeting, asked: tuple[str, ...], contributed: dict[str, str]) -> str:
    silent = [member for member in asked if member not in contributed]
    room = _ROOM_BYTES // max(1, len(contributed))
    parts = [f"## {sender}\n{cut(quoted(text), room)}" for sender, text in sorted(contributed.items())]
    missing = f"Not heard: {', '.join(silent)}." if silent else "Everyone has contributed."
    agenda = cut(meeting.agenda, 2048)
    return "\n\n".join([f"Report of the meeting of {meeting.of}. The agenda was:\n{agenda}", *parts, missing])


def _message(context: Context, meeting: Meeting, what: str, text: str) -> Envelope:
    return Envelope(
        id=context.message_id(RULE, meeting.id, what),
        type="report" if what == "report" else "message",
        sender=STEWARD,
        to=meeting.of,
        task_id=meeting.id,
        subject=f"{what} of the meeting: {' '.join(meeting.agenda.split())}"[:200],
        body=text,
    )


def _subject(context: Context, meeting: Meeting) -> str:
    if meeting.of == "all":
        return context.subjects.build("all", STEWARD)
    return context.subjects.build("team", STEWARD, team=meeting.of)


async def _has_ended(context: Context, meeting: Meeting) -> bool:
    """True if its report was published."""
    report = _message(context, meeting, "report", "").id
    for stored in await context.bus.stored(BCAST, _subject(context, meeting), meeting.seq):
        with contextlib.suppress(WireError):
            if (await context.bus.verifier.envelope(context.subjects, stored)).id == report:
                return True
    return False
