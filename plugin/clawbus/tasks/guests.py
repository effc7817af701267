"""Guests: the subjects and the JSON of the three published examples, translated into the company's own words.

`komodo` has teams of a company, `hub` operators and topics, `genbrain` agents by role, org-wide. A guest is a plain
client. It may publish on these subjects only, and only if org.toml allows guests. The stream GUEST keeps them and
acknowledges nothing: a plain request must get an agent's answer, and not the receipt of a stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import ValidationError

from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.wire.envelope import MAX_BODY_BYTES, Artifact, OnComplete, Priority, Sla, Type
from clawbus.wire.subjects import check_topic

GUEST = "guest"
"""The name of the guests' key."""
ANSWERS = "_R_."
"""The prefix of the reply subjects that the server makes for requests of another account. No others are answered."""


def guest_subjects(org: Org) -> tuple[str, ...]:
    """The subjects on which guests may publish; none while org.toml does not allow guests."""
    if not org.guests.enabled:
        return ()
    komodo, hub, genbrain = org.guests.komodo, org.guests.hub, org.guests.genbrain
    found = [f"{komodo}.all", *(f"{komodo}.{team}" for team in org.team_ids), f"{komodo}.dm.*"]
    found += [f"{hub}.operators.*.inbox", f"{hub}.topics.*.*", f"{hub}.global.announcements"]
    found += [f"{genbrain}.agents.*.{box}" for box in ("tasks", "inbox", "status")]
    found += [f"{genbrain}.org.{box}" for box in ("broadcasts", "events", "deadletter")]
    if genbrain != org.company:  # else it is a channel of the company, where only its own keys publish
        found.append(f"{genbrain}.learning.*")
    return tuple(found)


Box = Literal["tasks", "dm", "all", "team", "topics", "learning"]


@dataclass(frozen=True, slots=True)
class Place:
    """The company's own address for a guest's message. `box`: the channel. `to`: agents, a team, a topic or "all"."""

    box: Box
    to: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict)
    """The channel's tokens besides `to`."""
    queues: tuple[str, ...] = ()
    """The receivers that may be given a task there: the pool of the role's replicas first, then its agents."""


def place(org: Org, subject: str) -> Place | None:
    """The place of a subject of `guest_subjects`; None if it means nobody of the company."""
    first, *rest = subject.split(".")
    found: Place | None = None
    if first == org.guests.komodo:
        found = _komodo(org, rest)
    if found is None and first == org.guests.hub:
        found = _hub(org, rest)
    if found is None and first == org.guests.genbrain:
        found = _genbrain(org, rest)
    return found if found is not None and found.to else None


def role(org: Org, word: str) -> tuple[str, ...]:
    """The agents that `cto` or `operator-backend` means: the agent of that id, else those whose role is role-<word>."""
    name = word.removeprefix("operator-")
    for agent_id in (word, name):
        if agent_id in org.agents_by_id:
            return (agent_id,)
    return tuple(agent.id for agent in org.agents_by_role.get(f"role-{name}", ()))


def _of_role(org: Org, box: Box, word: str) -> Place:
    """The place of a role. Its replicas share a queue: the pool of that name, or the pool that has just them."""
    agents, name = role(org, word), word.removeprefix("operator-")
    pools = [pool for pool in org.pools if pool.id == name or (len(agents) > 1 and {*pool.members} == {*agents})]
    found = agents or next((pool.members for pool in pools), ())
    return Place(box, found, queues=(*(pool.id for pool in pools), *found))


def _komodo(org: Org, rest: list[str]) -> Place | None:
    if rest == ["all"]:
        return Place("all", ("all",))
    if len(rest) == 1 and rest[0] in org.team_ids:
        return Place("team", (rest[0],), {"team": rest[0]})
    if len(rest) == 2 and rest[0] == "dm":
        agents = (rest[1],) if rest[1] in org.agents_by_id else ()
        return Place("dm", agents, queues=agents)
    return None


def _hub(org: Org, rest: list[str]) -> Place | None:
    if rest == ["global", "announcements"]:
        return Place("all", ("all",))
    if len(rest) == 3 and rest[0] == "operators" and rest[2] == "inbox":
        return _of_role(org, "dm", rest[1])
    if len(rest) == 3 and rest[0] == "topics":
        return _topic(rest[1], rest[2])
    return None


def _genbrain(org: Org, rest: list[str]) -> Place | None:
    if len(rest) == 3 and rest[0] == "agents":
        if rest[2] == "status":
            return _topic("status", rest[1])
        return _of_role(org, "tasks" if rest[2] == "tasks" else "dm", rest[1])
    if rest == ["org", "broadcasts"]:
        return Place("all", ("all",))
    if len(rest) == 2 and rest[0] == "org":
        return _topic("status", rest[1])
    if len(rest) == 2 and rest[0] == "learning":
        return Place("learning", ("learning",))
    return None


def _topic(kind: str, name: str) -> Place | None:
    try:
        check_topic("topic", f"{kind}.{name}")
    except InvalidInput:
        return None
    return Place("topics", (f"{kind}.{name}",), {"kind": kind, "name": name})


_TEXTS = ("message", "context", "question", "description", "summary", "title", "subject", "text", "insight")
_TITLES = ("subject", "title", "re", "question")
_ASSIGNMENTS = ("task", "task_assignment", "task_assigned")
_TYPES = frozenset(get_args(Type)) - {"task", "result", "control"}
_MAX_ARTIFACTS = 20
_DEEPEST = 32
"""The same as in the company's own messages (`wire.strict_json`)."""
MAX_WAIT_S = 600
"""The longest that a guest may wait for an answer."""


@dataclass(frozen=True, slots=True)
class Words:
    """A guest's message, in the fields of an envelope. `asks`: it is a query, whose sender may wait for an answer.

    The text, its subject, its priority, an SLA, an `on_complete` and addresses of artifacts go where the company looks
    for them. All that was sent stands below the text, a claimed sender included, so nothing is lost.
    """

    kind: Type
    text: str
    title: str = ""
    priority: Priority = "medium"
    sla: Sla | None = None
    on_complete: OnComplete | None = None
    artifacts: tuple[Artifact, ...] = ()
    asks: bool = False
    wait_s: int = 30
    unmet: str = ""
    """A sentence about what it asks for and does not get; empty if there is nothing."""


def read(org: Org, data: bytes, box: Box) -> Words:
    """Read a message that arrived for a box. It never raises: what is no JSON object, or a very deep one, is a text."""
    text = data.decode("utf-8", "replace")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or _is_deep(fields, _DEEPEST):
        return Words(_plain_kind(box), _bounded(text) or "(nothing was said)")
    inner = fields.get("payload")
    flat = {**fields, **inner} if isinstance(inner, dict) else fields
    kind = _kind(str(fields.get("type", "")), box)
    then, unmet = _on_complete(org, flat.get("on_complete"))
    return Words(
        kind=kind,
        text=_body(flat, fields, text),
        title=_whole(next((str(flat[key]) for key in _TITLES if flat.get(key)), ""))[:200],
        priority=_priority(flat.get("priority")),
        sla=_sla(flat.get("sla")),
        on_complete=then,
        artifacts=_artifacts(flat),
        asks=fields.get("type") == "query",
        wait_s=_seconds(flat.get("reply_timeout_seconds")),
        unmet=unmet if kind == "task" else "",
    )


def _plain_kind(box: Box) -> Type:
    return "task" if box == "tasks" else "insight" if box == "learning" else "message"


def _kind(word: str, box: Box) -> Type:
    # A task goes to one agent's queue. What is posted to many is no task, since all of them read it.
    if box == "tasks" or (box == "dm" and (word in _ASSIGNMENTS or word == "query")):
        return "task"
    if box == "learning":
        return "insight"
    return next((kind for kind in get_args(Type) if kind == word and kind in _TYPES), "message")


def _is_deep(value: Any, levels: int) -> bool:
    """True if it is nested deeper than `levels`: indented, it would grow, or could not be written at all."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deep(part, levels - 1) for part in parts)


def _body(flat: dict[str, Any], fields: dict[str, Any], sent: str) -> str:
    main = next((flat[key] for key in _TEXTS if isinstance(flat.get(key), str) and flat[key].strip()), "")
    # A long one is cut in any case, so it is not indented first.
    rest = sent if len(sent) > MAX_BODY_BYTES else json.dumps(fields, ensure_ascii=False, indent=1)
    return _bounded(f"{main}\n\nAs it was sent:\n{rest}" if main else rest)


def _bounded(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_BODY_BYTES:
        return data.decode()
    return f"{data[: MAX_BODY_BYTES - 100].decode('utf-8', 'ignore')}\n[cut here: {len(data)} bytes were sent]"


def _whole(text: str) -> str:
    """The text without half surrogate pairs, which JSON can write and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _priority(word: Any) -> Priority:
    return next((known for known in get_args(Priority) if known == str(word).lower()), "medium")


def _sla(value: Any) -> Sla | None:
    try:
        return Sla.model_validate(value) if isinstance(value, dict) else None
    except ValidationError:
        return None


def _on_complete(org: Org, value: Any) -> tuple[OnComplete | None, str]:
    """The `on_complete` of a task, and a sentence if it is certain that nobody will take over.

    `publish_to` names a subject. It counts if it is an agent's, and later only if org.toml names the edge.
    """
    if value is None:
        return None, ""
    subject = _whole(str(value.get("publish_to", ""))) if isinstance(value, dict) else ""
    target = place(org, subject)
    if target is None or not target.queues:
        return None, f"nobody takes over: its on_complete.publish_to is {subject[:200]!r}, which is nobody's queue"
    led_to = {edge.to for edge in org.edges}
    to = next((queue for queue in target.queues if queue in led_to), target.queues[0])
    return OnComplete(to=to, template=_whole(str(value.get("payload_template", "")))[:64]), ""


def _artifacts(flat: dict[str, Any]) -> tuple[Artifact, ...]:
    listed = flat.get("artifacts")
    many = [_whole(uri) for uri in listed if isinstance(uri, str)] if isinstance(listed, list) else []
    uris = [_whole(flat["artifact_path"]), *many] if isinstance(flat.get("artifact_path"), str) else many
    return tuple(Artifact(name=(uri.rsplit("/", 1)[-1] or uri)[:255], uri=uri[:2000]) for uri in uris[:_MAX_ARTIFACTS])


def _seconds(value: Any) -> int:
    return int(min(max(value, 1), MAX_WAIT_S)) if isinstance(value, int | float) and value == value else 30  # noqa: PLR0124 - nan
