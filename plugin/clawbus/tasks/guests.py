"""Guests"""

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
"""Where the server awaits an answer to what another account has asked: the only replies that are answered."""


def guest_subjects(org: Org) -> tuple[str, ...]:
    """The subjects on which guests are heard; none while they are off.

    A subject that is a channel of the company itself is left out: there, only the company's own keys speak.
    """
    if not org.guests.enabled:
        return ()
    komodo, hub, genbrain = org.guests.komodo, org.guests.hub, org.guests.genbrain
    found = [f"{komodo}.all", *(f"{komodo}.{team}" for team in org.team_ids), f"{komodo}.dm.*"]
    found += [f"{hub}.operators.*.inbox", f"{hub}.topics.*.*", f"{hub}.global.announcements"]
    found += [f"{genbrain}.agents.*.{box}" for box in ("tasks", "inbox", "status")]
    found += [f"{genbrain}.org.{box}" for box in ("broadcasts", "events", "deadletter")]
    if genbrain != org.company:
        found.append(f"{genbrain}.learning.*")
    return tuple(found)


Box = Literal["tasks", "dm", "all", "team", "topics", "learning"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where words of a guest belong. `to`: the agents, a team, a topic or "all"; nobody if the org has no such role."""

    box: Box
    to: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict)
    """Of the channel, besides `to`."""
    queues: tuple[str, ...] = ()
    """Who may be given a task there, the first one first: the pool of the role's replicas, else one of its agents."""


def place(org: Org, subject: str) -> Place | None:
    """The place of a subject that `heard` names; None if nobody of the company is meant."""
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
    """Who is meant by `cto` or `operator-backend`: the agent of that id, else those whose role is role-<word>."""
    name = word.removeprefix("operator-")
    for one in (word, name):
        if any(agent.id == one for agent in org.agents):
            return (one,)
    return tuple(agent.id for agent in org.agents if agent.role == f"role-{name}")


def _of_role(org: Org, box: Box, word: str) -> Place:
    """A role's own place. Its replicas share a queue: the pool of that name, or the one that is made of them."""
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
        agents = tuple(agent.id for agent in org.agents if agent.id == rest[1])
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
"""As in the company's own messages (`strict`)."""
MAX_WAIT_S = 600
"""How long a guest may wait for an answer."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a guest has said, as an envelope wants it. `asks`: he waits for an answer on his reply subject."""

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
    """What he has asked for beside it and does not get, with the reason; empty if there is nothing."""


def read(org: Org, data: bytes, box: Box) -> Words:
    """Read what arrived in a box. Never raises: what is no JSON object, or a very deep one, is a text."""
    text = data.decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or _is_deep(said, _DEEPEST):
        return Words(_plain_kind(box), _bounded(text) or "(nothing was said)")
    inner = said.get("payload")
    flat = {**said, **inner} if isinstance(inner, dict) else said
    kind = _kind(str(said.get("type", "")), box)
    then, unmet = _on_complete(org, flat.get("on_complete"))
    return Words(
        kind=kind,
        text=_body(flat, said, text),
        title=_whole(next((str(flat[key]) for key in _TITLES if flat.get(key)), ""))[:200],
        priority=_priority(flat.get("priority")),
        sla=_sla(flat.get("sla")),
        on_complete=then,
        artifacts=_artifacts(flat),
        asks=said.get("type") == "query",
        wait_s=_seconds(flat.get("reply_timeout_seconds")),
        unmet=unmet if kind == "task" else "",
    )


def _plain_kind(box: Box) -> Type:
    return "task" if box == "tasks" else "insight" if box == "learning" else "message"


def _kind(word: str, box: Box) -> Type:
    """A task goes to one agent's queue; what is posted to many is heard by all of them."""
    if box == "tasks" or (box == "dm" and (word in _ASSIGNMENTS or word == "query")):
        return "task"
    if box == "learning":
        return "insight"
    return next((kind for kind in get_args(Type) if kind == word and kind in _TYPES), "message")


def _is_deep(value: Any, levels: int) -> bool:
    """Whether it is nested deeper than that: what is, grows when it is indented, or cannot be written at all."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deep(part, levels - 1) for part in parts)


def _body(flat: dict[str, Any], said: dict[str, Any], sent: str) -> str:
    main = next((flat[key] for key in _TEXTS if isinstance(flat.get(key), str) and flat[key].strip()), "")
    rest = sent if len(sent) > MAX_BODY_BYTES else json.dumps(said, ensure_ascii=False, indent=1)  # a long one is cut
    return _bounded(f"{main}\n\nAs it was sent:\n{rest}" if main else rest)


def _bounded(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_BODY_BYTES:
        return data.decode()
    return f"{data[: MAX_BODY_BYTES - 100].decode('utf-8', 'ignore')}\n[cut here: {len(data)} bytes were sent]"


def _whole(text: str) -> str:
    """Without half characters, which JSON can write and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _priority(word: Any) -> Priority:
    return next((known for known in get_args(Priority) if known == str(word).lower()), "medium")


def _sla(said: Any) -> Sla | None:
    try:
        return Sla.model_validate(said) if isinstance(said, dict) else None
    except ValidationError:
        return None


def _on_complete(org: Org, said: Any) -> tuple[OnComplete | None, str]:
    """`publish_to` names a subject; it counts if it is an agent's, and later only along an edge of org.toml.

    Beside it: why nobody will take over, where that is certain.
    """
    if said is None:
        return None, ""
    subject = _whole(str(said.get("publish_to", ""))) if isinstance(said, dict) else ""
    target = place(org, subject)
    if target is None or not target.queues:
        return None, f"nobody takes over: its on_complete.publish_to is {subject[:200]!r}, which is nobody's queue"
    led_to = {edge.to for edge in org.edges}
    to = next((one for one in target.queues if one in led_to), target.queues[0])
    return OnComplete(to=to, template=_whole(str(said.get("payload_template", "")))[:64]), ""


def _artifacts(flat: dict[str, Any]) -> tuple[Artifact, ...]:
    listed = flat.get("artifacts")
    many = [_whole(one) for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    uris = [_whole(flat["artifact_path"]), *many] if isinstance(flat.get("artifact_path"), str) else many
    return tuple(Artifact(name=(uri.rsplit("/", 1)[-1] or uri)[:255], uri=uri[:2000]) for uri in uris[:_MAX_ARTIFACTS])


def _seconds(value: Any) -> int:
    return int(min(max(value, 1), MAX_WAIT_S)) if isinstance(value, int | float) and value == value else 30  # noqa: PLR0124 - nan
