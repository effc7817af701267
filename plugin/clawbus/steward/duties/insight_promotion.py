"""Insight promotion: when an insight is trusted enough, people are asked, or it comes into use."""

from __future__ import annotations

from typing import ClassVar

from clawbus.org import STEWARD
from clawbus.steward.context import quoted
from clawbus.steward.duty import Duty
from clawbus.tasks.learning import ASKED, PROMOTED, WITHDRAWN, Insight, insights
from clawbus.wire.envelope import Envelope


class InsightPromotion(Duty):
    """[learning] of org.toml has the numbers. The steward records in the stream what it has done, and does it once."""

    rule: ClassVar[str] = "learning"

    async def on_learning(self, message: Envelope) -> None:
        if message.sender == STEWARD:
            return
        insight = (await insights(self.context.bus, self.context.org)).get(message.task_id or "")
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
        record = Envelope(
            id=self.context.message_id(self.rule, insight.id, word, insight.decisions),
            type="confirm",
            sender=STEWARD,
            to="learning",
            task_id=insight.id,
            body=word,
        )
        await self.context.publish(self.context.subjects.build("learning", STEWARD), record)
