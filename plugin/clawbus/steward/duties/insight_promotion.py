"""Learning: when an insight is trusted enough, people are asked, or it comes into use; the record of what is in use."""

from __future__ import annotations

from typing import ClassVar

from clawbus.org import STEWARD
from clawbus.steward.context import quoted
from clawbus.steward.duty import Duty
from clawbus.tasks.learning import ASKED, PROMOTED, WITHDRAWN, Insight, insights
from clawbus.wire.envelope import Envelope


class InsightPromotion(Duty):
    """org.learning has the numbers. What is done stands in the stream, and is not done again."""

    rule: ClassVar[str] = "learning"

    async def on_learning(self, said: Envelope) -> None:
        if said.sender == STEWARD:
            return
        insight = (await insights(self.context.bus, self.context.org)).get(said.task_id or "")
        if insight is None:
            return
        auto = self.context.org.learning.promotion == "auto"
        if insight.state == "awaiting" and (insight.decision == "promote" or auto):
            await self._record(insight, PROMOTED)
        elif insight.state == "awaiting" and not insight.asked:
            await self._ask(insight)
        elif insight.recorded and insight.state in ("refused", "retracted"):
            await self._record(insight, WITHDRAWN)

    async def _ask(self, insight: Insight) -> None:
        text = (
            f"{insight.author} ({insight.gateway or 'no gateway'}) says:\n{quoted(insight.text)}\n\n"
            f"Trust is at {insight.trust} %, confirmed by {', '.join(insight.confirmed_by)}. If you promote it, every "
            f"agent reads it with its tasks, until {insight.expires_at:%Y-%m-%d}.\n"
            f"clawbus learning promote {insight.id}\nclawbus learning refuse {insight.id}"
        )
        title = f"an insight asks to be promoted: {insight.subject}".rstrip(": ")
        for person in self.context.org.alerted:
            cause = (self.rule, insight.id)
            await self.context.tell(person, text, cause=cause, subject=title, priority="high", task_id=insight.id)
        await self._record(insight, ASKED)

    async def _record(self, insight: Insight, word: str) -> None:
        said = Envelope(
            id=self.context.message_id(self.rule, insight.id, word, insight.decisions),
            type="confirm",
            sender=STEWARD,
            to="learning",
            task_id=insight.id,
            body=word,
        )
        await self.context.publish(self.context.subjects.build("learning", STEWARD), said)
