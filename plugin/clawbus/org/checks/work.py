"""Work that the file itself gives: pools, chains, recurring work; and the numbers of learning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clawbus.org.checks.draft import Draft, Entry
from clawbus.org.duration import seconds
from clawbus.org.mistakes import Wrong, near
from clawbus.org.policies import Learning

_WORDS = ("worker", "requester", "task", "result", "label")


def pools(draft: Draft) -> Iterator[Wrong]:
    """The members of a pool are agents, each once."""
    for pool in draft.entries("pools"):
        seen: set[str] = set()
        for place, member in pool.texts("members"):
            if member not in draft.agents:
                yield Wrong(place, "no such agent", near(member, draft.agents))
            elif member in seen:
                yield Wrong(place, "is in this pool twice", "Name it once.")
            seen.add(member)


def edges(draft: Draft) -> Iterator[Wrong]:
    """From and to somebody who takes tasks; what follows after that needs an edge, too."""
    pairs = {(edge.text("from"), edge.text("to")) for edge in draft.entries("edges")}
    seen: set[tuple[str | None, ...]] = set()
    for edge in draft.entries("edges"):
        yield from _known(edge, ("from", "to", "then"), draft.takers)
        source, to, then = edge.text("from"), edge.text("to"), edge.text("then")
        if source is not None and source == to:
            yield Wrong(edge.at("to"), "the edge leads back to where it begins", "Name another.")
        if then in draft.takers and (to, then) not in pairs:
            yield Wrong(edge.at("then"), f"there is no edge from {to} to there", "Add that edge, or remove `then`.")
        if (same := (source, to, edge.text("name"))) in seen and source and to:
            yield Wrong(edge.place, f"a second edge from {source} to {to} of that name", "Give each its own `name`.")
        seen.add(same)
        yield from _template(edge)


def _template(edge: Entry) -> Iterator[Wrong]:
    placeholders = re.findall(r"\{(\w+)\}", edge.text("template") or "")
    wrong = [word for word in dict.fromkeys(placeholders) if word not in _WORDS]
    if wrong:
        known = f"Known: {', '.join(f'{{{word}}}' for word in _WORDS)}."
        problem = f"no placeholder: {', '.join(f'{{{word}}}' for word in wrong)}"
        yield Wrong(edge.at("template"), problem, near(wrong[0], _WORDS, known) if len(wrong) == 1 else known)


def recurring(draft: Draft) -> Iterator[Wrong]:
    """One time (`every`, `cron`) and one thing to do (`task` and `to`, `meeting`) for each."""
    for entry in draft.entries("recurring"):
        if ("every" in entry.values) == ("cron" in entry.values):
            problem = "has both every and cron" if "every" in entry.values else "says neither every nor cron"
            yield Wrong(entry.place, problem, 'One of them says when: every = "24h", or cron = "0 0 9 * * mon-fri".')
        yield from _job(entry)
        yield from _known(entry, ("to",), draft.takers)
        yield from _known(entry, ("meeting",), draft.meeting_places)
        yield from _known(entry, ("report_to",), draft.members)
        lasts, every = _seconds(entry, "lasts"), _seconds(entry, "every")
        if lasts and every and lasts >= every and entry.text("meeting"):
            yield Wrong(entry.at("lasts"), "the next meeting begins before this one has ended", "Make it shorter.")


def _job(entry: Entry) -> Iterator[Wrong]:
    task, to, meeting = (entry.text(key) for key in ("task", "to", "meeting"))
    if meeting and (task or to):
        yield Wrong(entry.at("meeting"), "a meeting and a task in one entry", "Make two entries of it.")
    elif task and not to:
        yield Wrong(entry.at("to"), "missing", "Say who gets the task.")
    elif to and not task:
        yield Wrong(entry.at("task"), "missing", f"Say what {to} is to do.")
    elif not meeting and not to:
        yield Wrong(entry.place, "has neither task and to nor meeting", "Say what is to be done.")


def learning(draft: Draft) -> Iterator[Wrong]:
    """An insight does not begin where it would be promoted."""
    entry, fields = draft.top.table("learning"), Learning.model_fields
    start, over = (
        fields[key].default if (number := entry.number(key)) is None else number
        for key in ("start_trust", "promote_over")
    )
    if start > over:
        key = "promote_over" if "promote_over" in entry.values else "start_trust"
        yield Wrong(entry.at(key), "an insight would be promoted before anybody has confirmed it",
                    "promote_over must not be below start_trust.")  # fmt: skip


def _known(entry: Entry, keys: tuple[str, ...], known: frozenset[str]) -> Iterator[Wrong]:
    for key in keys:
        name = entry.text(key)
        if name is not None and name not in known:
            yield Wrong(entry.at(key), "there is nobody of that id", near(name, known))


def _seconds(entry: Entry, key: str) -> int | None:
    try:
        value = seconds(entry.values.get(key))
    except ValueError:
        return None
    return value if isinstance(value, int) else None
