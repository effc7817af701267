"""One meeting: an agenda goes out, contributions come in on the meeting's topic, one report goes back to all.

Its state is in the streams: what it is stands in the timer of its deadline as long as it lasts, the contributions and
the report in BCAST.
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
_ROOM_BYTES = MAX_BODY_BYTES - 4096  # what is left for the contributions beside the agenda and the names


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting that has begun. `of`: a team, or "all"; `seq`: the number of its agenda in BCAST."""

    id: str
    of: str
    agenda: str
    deadline: datetime
    report_to: str
    series: str = ""
    """The [[recurring]] entry that has called it, if one has."""
    seq: int = 0

    def body(self) -> dict[str, Any]:
        """For the timer of the deadline."""
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
        deadline = datetime.fromisoformat(body["deadline"])
        words = (body["of"], body["agenda"], deadline, body["report_to"], body["series"])
        return cls(meeting_id, *words, seq=int(body["agenda_seq"]))


def asked(org: Org, of: str) -> tuple[str, ...]:
    """As `members`, of a meeting that has begun: nobody if the team has left org.toml since."""
    return tuple(agent.id for agent in org.listeners if of in ("all", agent.team))


def members(org: Org, of: str) -> tuple[str, ...]:
    """The agents that are asked to contribute. Raises InvalidInput if it is neither a team with members nor "all"."""
    found = asked(org, of)
    if not found:
        problem = "no such team" if of not in ("all", *org.team_ids) else "its agents are programs, which do tasks only"
        raise InvalidInput("TEAM", of, problem, f"There are: all, {', '.join(org.team_ids)}.")
    return found


async def begin(context: Context, meeting: Meeting) -> None:
    """Send the agenda out and set the deadline. Once: done again after a crash, it changes nothing."""
    until = f"{meeting.deadline:%H:%M:%S} UTC"
    text = (
        f"A meeting of {meeting.of}, until {until}. The agenda:\n{meeting.agenda}\n\n"
        f'Contribute once, before {until}: nats_pub with to "topic:meeting.{meeting.id}" and type "contribution". Of '
        "several the last one counts. Then one report with all contributions goes to everyone."
    )
    said = _said(context, meeting, "agenda", text).model_copy(
        update={"priority": "high", "expires_at": meeting.deadline}
    )
    ack = await context.bus.publish(_channel(context, meeting), said.encode(), msg_id=said.id)
    meeting = Meeting.read(meeting.id, meeting.body() | {"agenda_seq": ack.seq})
    if not await _is_over(context, meeting):
        await context.at(RULE, meeting.id, meeting.deadline, meeting.body())


async def open_meetings(context: Context) -> list[Meeting]:
    """All that have begun and not ended."""
    bodies = {key: await context.timer(RULE, key) for key in await context.timer_keys(RULE)}
    return [Meeting.read(key, body) for key, body in bodies.items() if body]


async def contributions(context: Context, meeting: Meeting) -> dict[str, str]:
    """What was contributed in time, by whom: a member, or a person of the company. Of several the last one."""
    welcome = {*asked(context.org, meeting.of), *context.org.people}
    pattern = context.subjects.filter("topics", kind="meeting", name=meeting.id)
    found: dict[str, str] = {}
    for stored in await context.bus.stored(BCAST, pattern):
        try:
            said = await context.bus.verifier.envelope(context.subjects, stored)
        except WireError:
            continue
        if said.type == "contribution" and said.sender in welcome and stored.at <= meeting.deadline:
            found[said.sender] = said.body
    return found


async def end(context: Context, meeting: Meeting) -> None:
    """Send the report out and forget the deadline. Once, like `begin`."""
    if not await _is_over(context, meeting):
        text = _report(meeting, asked(context.org, meeting.of), await contributions(context, meeting))
        if meeting.report_to in context.org.people:  # people are not on the agents' channels
            title = _said(context, meeting, "report", "").subject
            await context.tell(
                meeting.report_to, text, cause=(RULE, meeting.id), subject=title, kind="report", task_id=meeting.id
            )
        await context.publish(_channel(context, meeting), _said(context, meeting, "report", text))
    await context.forget_timer(RULE, meeting.id)


def _report(meeting: Meeting, asked: tuple[str, ...], heard: dict[str, str]) -> str:
    silent = [one for one in asked if one not in heard]
    room = _ROOM_BYTES // max(1, len(heard))
    parts = [f"## {one}\n{cut(quoted(text), room)}" for one, text in sorted(heard.items())]
    missing = f"Not heard: {', '.join(silent)}." if silent else "Everyone has contributed."
    agenda = cut(meeting.agenda, 2048)
    return "\n\n".join([f"Report of the meeting of {meeting.of}. The agenda was:\n{agenda}", *parts, missing])


def _said(context: Context, meeting: Meeting, what: str, text: str) -> Envelope:
    return Envelope(
        id=context.message_id(RULE, meeting.id, what),
        type="report" if what == "report" else "message",
        sender=STEWARD,
        to=meeting.of,
        task_id=meeting.id,
        subject=f"{what} of the meeting: {' '.join(meeting.agenda.split())}"[:200],
        body=text,
    )


def _channel(context: Context, meeting: Meeting) -> str:
    if meeting.of == "all":
        return context.subjects.build("all", STEWARD)
    return context.subjects.build("team", STEWARD, team=meeting.of)


async def _is_over(context: Context, meeting: Meeting) -> bool:
    """Whether its report is out."""
    report = _said(context, meeting, "report", "").id
    for stored in await context.bus.stored(BCAST, _channel(context, meeting), meeting.seq):
        with contextlib.suppress(WireError):
            if (await context.bus.verifier.envelope(context.subjects, stored)).id == report:
                return True
    return False
