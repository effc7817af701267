"""Chains: the rules of `on_complete`, and the text of the next task. Only edges that org.toml names count."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clawbus.errors import Refused
from clawbus.org import STEWARD, Edge, Org
from clawbus.wire.envelope import MAX_BODY_BYTES, Envelope, OnComplete, cut

_WORD = re.compile(r"\{(worker|requester|task|result|label)\}")
_ROOM_BYTES = MAX_BODY_BYTES - 1024


def edge_for(org: Org, to: str, then: OnComplete, worker: str | None = None) -> Edge | None:
    """The edge by which `then.to` may get the task after one for `to`; None if org.toml names none.

    If `to` is a team or pool without an edge of its own, `worker` must have the edge; if `worker` is None, all members.
    """
    if (edge := org.edge(to, then.to, then.template)) is not None:
        return edge
    members = [worker] if worker else sorted(org.takers(to))
    found = [org.edge(member, then.to, then.template) for member in members]
    return found[0] if found and all(found) else None


def check_chain(org: Org, to: str, then: OnComplete | None) -> None:
    """Check the `on_complete` of a task for `to`. Raises Refused, which names the edges that there are."""
    if then is None or edge_for(org, to, then) is not None:
        return
    known = ", ".join(f"{edge.source} -> {edge.to}" for edge in org.edges) or "none"
    raise Refused(
        f"onComplete = {then.to!r}: org.toml names no edge from {to} to there; nothing was sent",
        f"Give that task yourself when the result is here. Edges: {known}.",
    )


def path_on_behalf(old: Envelope) -> tuple[str, ...]:
    """The path of a task that the steward gives again for another requester, who waits for it as before."""
    return old.path if old.sender == STEWARD else (*old.path, old.sender)


def next_body(edge: Edge, words: Mapping[str, str], result: str) -> str:
    """The text of the next task: the edge's template with its words replaced. A result that does not fit is cut.

    `words`: worker, requester, task, label.
    """
    room = _ROOM_BYTES - sum(len(text.encode()) for text in words.values()) - len(edge.template.encode())
    values = {**words, "result": cut(result, room)}
    return _WORD.sub(lambda match: values[match[1]], edge.template)  # one pass: a result that holds "{task}" keeps it
