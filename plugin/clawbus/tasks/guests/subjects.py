"""Where guests are heard: the subjects of the three published examples.

`komodo` (teams of a company), `hub` (operators and topics), `genbrain` (agents by role, org-wide). A guest may publish
on these subjects only, and only where org.toml says so. The subjects go into a stream of their own, which acknowledges
nothing: a plain request must get an agent's answer, and not the receipt of a stream.
"""

from __future__ import annotations

from clawbus.org import Org

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
