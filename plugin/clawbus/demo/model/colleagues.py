"""The other colleagues in the demo of a whole company: Security checks a report, a worker asks before it runs anything.

Like the rest of the scripted model they decide from what they read: the task, the report, the outputs of commands.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from clawbus.demo.model.conversation import Frame, Turn
from clawbus.demo.model.evaluation import APIS
from clawbus.demo.model.plans import Call, Plan

ASK_FIRST = "Ask your superior before you run any code of the project."
"""The words in a task that make the worker raise a blocker; the demo's CEO writes them."""
BLOCKED = "I wait for an answer: may the project's tests be run?"
_PLACE = re.compile(r"^- ([^\s:]+):(\d+)", re.MULTILINE)
_WHERE = re.compile(r"\bto replace in (/.+?) before Node 22")
_SUPERIOR = re.compile(r"You report to ([a-z0-9-]+)")
_LOOKED = re.compile(r"^I looked at each of the \d+ places .*$", re.MULTILINE)
_REVIEW = re.compile(r"\breview\b", re.IGNORECASE)
_RISKS = {
    "crypto.createCipher(": "derives its key without a salt: data encrypted so should be encrypted anew",
    "fs.rmdir(": "deletes recursively: look at where its path comes from",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place that a report names, and the line that stands there."""

    path: str
    number: str
    text: str

    @property
    def api(self) -> str:
        return next((api.call for api in APIS if api.call in self.text), "")


def is_review(task: str) -> bool:
    """True if a task wants another agent's report checked."""
    return bool(_REVIEW.search(task) and _WHERE.search(task))


def review(task: str) -> Plan:
    """Look at each place that a report names, and say whether it holds."""
    where = _WHERE.search(task)
    folder = where[1] if where else ""
    places: list[Place] = []
    for path, number in dict.fromkeys(_PLACE.findall(task)):
        output = yield Call("exec", {"command": f"sed -n {number}p -- {shlex.quote(f'{folder}/{path}')}"})
        places.append(Place(path, number, output))
    wrong = [place for place in places if not place.api]
    lines = [
        f"I looked at each of the {len(places)} places in {folder}: {len(places) - len(wrong)} hold what is reported."
    ]
    lines += [f"- {place.path}:{place.number} does not: {place.text.strip()[:120]!r}" for place in wrong]
    found = {place.api for place in places}
    lines += [f"- {api} {risk}." for api, risk in _RISKS.items() if api in found]
    lines.append("Security has nothing against it." if not wrong else "Security asks for a new report.")
    return "\n".join(lines)


def verdict(report: str) -> str:
    """The first and the last line of a review that a result brings; empty if it brings none."""
    found = _LOOKED.search(report)
    lines = report.strip().split("\n")
    return f"{found[0]} {lines[-1]}" if found else ""


def may_i_run(turn: Turn) -> Plan:
    """Raise a blocker, to whom the agent's own rules name as superior."""
    superior = _SUPERIOR.search(turn.system)
    output = yield Call(
        "nats_pub",
        {
            "to": superior[1] if superior else "all",
            "type": "blocker",
            "subject": "May the project's tests be run?",
            "message": "The evaluation is ready to start. Running the project's tests would execute its code. May I?",
        },
        repeatable=False,
    )
    return f"{BLOCKED} ({' '.join(output.split())[:160]})"


def about_blockers(messages: tuple[Frame, ...]) -> str:
    """A superior's words on a blocker that only a person can answer: it leaves it, and the bus escalates it."""
    blockers = [message for message in messages if message.field("Type").startswith("blocker")]
    if not blockers:
        return ""
    names = ", ".join(dict.fromkeys(message.field("From") for message in blockers))
    return f"{names} asks for a permission that only a person can give. I leave it unanswered: it goes up by itself."


def answered(turn: Turn) -> str:
    """The answer to the blocker of this session's task; empty if there is none."""
    said = [message for message in turn.messages if not message.field("Type").startswith("blocker")]
    return said[-1].body.strip() if turn.origin and said else ""
