"""The rules of a company: bounds, oversight, chains, recurring work. Every number of them is a setting."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from clawbus.org.cron import Cron
from clawbus.org.duration import Seconds
from clawbus.org.members import Flag, Id, Part, Whole
from clawbus.wire.envelope import MAX_TOOLS, ToolName

_DAY_S = 86_400


def _cron(line: str) -> str:
    Cron.parse(line)
    return line


class Policies(Part):
    """Bounds with their defaults. In the file a duration is a text such as "5m", or a number of seconds."""

    lease_s: Annotated[Seconds, Field(alias="lease", ge=5, le=3600)] = 60
    """A crashed worker is noticed after this time. The tutorial's 30 minutes would leave a crash unnoticed as long;
    the lease is renewed while a turn runs, and the 30 minutes became `run_deadline`."""
    run_deadline_s: Annotated[Seconds, Field(alias="run_deadline", ge=1, le=_DAY_S)] = 1800
    quota: Whole = Field(default=20, ge=1, le=10_000)
    """Waiting tasks per sender, receiver and priority; the server refuses the next one."""
    strikes: Whole = Field(default=3, ge=1, le=10)
    """Attempts that were started and ended without an outcome; then the task is a dead letter."""
    breaker: Whole = Field(default=3, ge=1, le=100)
    """So many tasks in a row of one agent for the same receiver that fail for the same reason, and no more are sent."""
    breaker_rest_s: Annotated[Seconds, Field(alias="breaker_rest", ge=1, le=_DAY_S)] = 300
    """After this time one is let through, to see."""
    mail_quota: Whole = Field(default=60, ge=1, le=10_000)
    """Messages of one agent for one receiver in a minute. What is over is refused to it; or it waits on the bus."""
    task_life_s: Annotated[Seconds, Field(alias="task_life", ge=60, le=30 * _DAY_S)] = 3 * _DAY_S
    """A task that nobody has taken by then is ended as timed out (the tutorial's --max-age 72h)."""
    lag_alert: Whole = Field(default=5, ge=1, le=10_000)
    """More waiting tasks than this for one agent raise an alert, which clears by itself."""
    receipts_s: Annotated[Seconds, Field(alias="receipts", ge=1, le=_DAY_S)] = 300
    """An agent that has not been shown a broadcast after this time is flagged."""
    escalate_s: Annotated[Seconds, Field(alias="escalate", ge=1, le=_DAY_S)] = 900
    """A blocker that its receiver has not answered by then goes to the next superior."""
    digest_s: Annotated[Seconds, Field(alias="digest", ge=1, le=_DAY_S)] = 60
    """Messages that do not ask for a turn of their own wait this long for others, and become one turn."""


class Learning(Part):
    """Insights that agents share. Trust is in percent."""

    start_trust: Whole = Field(default=50, ge=0, le=100)
    step: Whole = Field(default=10, ge=1, le=100)
    """Each confirmation from one more gateway adds so much."""
    promote_over: Whole = Field(default=70, ge=0, le=100)
    promotion: Literal["ask", "auto"] = "ask"
    """With "ask" a person has to agree before an insight is put into use."""
    life_s: Annotated[Seconds, Field(alias="life", ge=60, le=180 * _DAY_S)] = 90 * _DAY_S


class Edge(Part):
    """An `on_complete` that is allowed: when `source` has done a task, `to` may get the next one."""

    source: Annotated[Id, Field(alias="from")]
    to: Id
    template: str = "Take over after {worker}. What {requester} had asked for:\n{task}\n\nThe result:\n{result}"
    """The text of the next task. Known: {worker}, {requester}, {task}, {result}, {label}."""
    name: str = ""
    """Its name in a task (`on_complete.template`), such as security_review; if empty, `to` is enough."""
    then: Id | None = None
    """The one that takes over after `to`, by the edge from there: so a chain has more than two links."""


class Recurring(Part):
    """Work without cron: a task for `to`, or a meeting of a team. One of `every` and `cron` says when.

    `cron` has six fields, seconds first, such as "0 0 9 * * mon-fri"; times are UTC.
    """

    id: Id
    to: Id | None = None
    task: str = ""
    meeting: str | None = None
    """A team, or "all"."""
    agenda: str = ""
    lasts_s: Annotated[Seconds, Field(alias="lasts", ge=1, le=_DAY_S)] = 600
    every_s: Annotated[Seconds | None, Field(alias="every", ge=1, le=30 * _DAY_S)] = None
    cron: Annotated[str, AfterValidator(_cron)] | None = None
    report_to: Id | None = None
    """The receiver of the result; the first person if it is not set."""


class Oversight(Part):
    """A person's oversight of an agent, or of one edge (`from`, `to`)."""

    agent: Id | None = None
    source: Annotated[Id | None, Field(alias="from")] = None
    to: Id | None = None
    level: Literal["none", "told", "ask_dispatch", "ask_report"]
    human: Id | None = None
    """The person who is told or asked; if it is not set, the first person is told, and the first one above is asked."""


class Alerts(Part):
    """The people who are told of lag, breaches, dead letters; the first person if it is not set."""

    to: tuple[Id, ...] = ()


class Guests(Part):
    """Plain clients that speak the subjects and JSON of the published examples, without credentials of the company.

    Off unless it is turned on. What they say is shown as unverified. The words are the first tokens of the subjects.
    """

    enabled: Flag = False
    komodo: str = Field(default="komodo-ai", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    hub: str = Field(default="agent-hub", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    genbrain: str = Field(default="genbrain", pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    delegates: Annotated[tuple[ToolName, ...] | None, Field(max_length=MAX_TOOLS)] = None
    """The tools that agents may use for guests; if it is not set: all they have."""


class Budget(Part):
    """Bounds of each tree of tasks: a task, and all that is given because of it. Who asks may name less.

    A tree that has used one of them gives no further task, until a person raises it (`clawbus budget`).
    """

    turns: Whole = Field(default=100, ge=1, le=1_000_000)
    """One task that gives ten, of which each gives ten again, would be 111: it is stopped at the hundredth."""
    minutes: Whole = Field(default=600, ge=1, le=1_000_000)
    """Of all its turns together: 20 turns that each take their whole `policies.run_deadline`."""
    tokens: Whole = Field(default=10_000_000, ge=1, le=1_000_000_000_000)
    """Counted where the gateway reports them: 100 turns of 100,000 each."""
