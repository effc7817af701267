"""The demo of a whole company: three real gateways, and the published workflow from end to end.

The CEO gives the task to the CTO, who has to ask before it runs anything; the CEO may not answer that, so the question
climbs to a person, whose answer lets the task go on. When it is done, Security checks the report, with no hand between,
and the CEO hears of both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clawbus.client.person import Person
from clawbus.client.watch import WatchEvent
from clawbus.demo.model.brain import question
from clawbus.demo.stage import CTO, LIMIT_S, Outcome, Stage, Wish, on_stage
from clawbus.errors import Away
from clawbus.org import STEWARD
from clawbus.tasks.new_message import NewMessage, make_message

ANSWER = "Do not run them: nobody has looked at that code yet. Reading it is enough."
"""The person's answer to the blocker, unless the person gives another."""
_CHANGES = {'escalate = "15m"': 'escalate = "5s"'}
"""A demo does not wait a quarter of an hour for a CEO who may not answer."""


async def run(
    wish: Wish, say: Callable[[str], None], show: Callable[[WatchEvent], None], ask: Callable[[str], str] | None = None
) -> Outcome:
    """Do it. `ask` lets the person at the terminal answer the blocker; without it the demo answers in his name."""
    async with on_stage(wish, "workflow", _CHANGES, say) as stage:
        story = _Story(stage, say, show, ask)
        with stage.replies(story.heard_ceo):
            await stage.ask_ceo(f"{question(str(wish.app))}\nLet Security look at the report before you decide.")
            try:
                async with asyncio.timeout(LIMIT_S):
                    await story.run()
            except TimeoutError:
                raise Away(f"the company had not come to an end within {LIMIT_S:g} s") from None
        stage.outcome.recommendation = "\n\n".join(story.said)
    return stage.outcome


class _Story:
    """Follows what happens, plays the person, and knows when it is over: the CEO has spoken about the last result."""

    def __init__(
        self,
        stage: Stage,
        say: Callable[[str], None],
        show: Callable[[WatchEvent], None],
        ask: Callable[[str], str] | None,
    ) -> None:
        self._stage = stage
        self._say = say
        self._show = show
        self._ask = ask
        self._chained = ""
        self.said: list[str] = []
        self._news = asyncio.Event()

    def heard_ceo(self, text: str) -> None:
        if text:
            self.said.append(text)
            self._news.set()

    async def run(self) -> None:
        """Until the CEO's reply names the task that Security did."""
        following = asyncio.create_task(self._follow())
        try:
            while not (self._chained and any(self._chained in text for text in self.said)):
                news = asyncio.create_task(self._news.wait())
                try:
                    await self._stage.until(news, following)
                finally:
                    news.cancel()
                if following.done():
                    following.result()
                self._news.clear()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        people = self._stage.company.org.people
        while True:
            event = await self._stage.heard.get()
            self._show(event)
            await self._stage.see(event)
            if event.kind == "accepted" and event.who == STEWARD:
                self._chained = event.task_id
                self._news.set()
            elif event.kind == "escalated" and event.to in people:
                await self._answer(event)

    async def _answer(self, event: WatchEvent) -> None:
        """The person answers the blocker that has climbed to him: with `clawbus send`, or here."""
        company = self._stage.company
        answer = await asyncio.to_thread(self._ask, "May the project's tests be run?") if self._ask else ANSWER
        self._say(f"{event.to} answers {CTO}: {answer}")
        mail = make_message(company.org, event.to, NewMessage(CTO, answer, about=event.task_id))
        await Person(company, self._stage.bus, event.to).send(mail)
