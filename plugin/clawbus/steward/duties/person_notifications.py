"""Person notifications: a message to a person goes to the webhook and the chat channel that org.toml names, too.

A timer of this duty is one notification; `Context.reach` sets it, due at once. Before the duty posts to a webhook, it
sets the timer for the next try, and it takes the timer back when the webhook has answered. So a steward may die in
between, and nothing waits for a slow webhook. The receiver may get a message twice; its `id` shows that.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from typing import Any, ClassVar

from clawbus.errors import ClawbusError, Missing
from clawbus.org import STEWARD, Human
from clawbus.steward.context import Context
from clawbus.steward.duty import Duty
from clawbus.steward.webhook import post, read_url
from clawbus.tasks import NOTIFY
from clawbus.wire.envelope import Envelope, now
from clawbus.wire.sanitize import inert

log = logging.getLogger(__name__)
_WAITS_S = (15, 60, 300, 1800, 7200)
"""The seconds between the tries of a webhook. After the last one it is given up; the inbox has the message anyway."""


class PersonNotifications(Duty):
    """The ways to people that stand in [[humans]] of org.toml."""

    rule: ClassVar[str] = "reach"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._posting: set[asyncio.Task[None]] = set()

    async def on_timer(self, key: str, body: dict[str, Any]) -> None:
        human = next((human for human in self.context.org.humans if human.id == body.get("to")), None)
        if human is None:
            return
        tries = int(body.get("tries", 0))
        if human.channel is not None and tries == 0:
            await self._send_to_channel(human, body)
        if human.webhook_file is not None:
            await self._send_to_webhook(human, key, body, tries)

    async def _send_to_channel(self, human: Human, body: dict[str, Any]) -> None:
        """Ask the gateway's node to write it into the chat. The control message waits on the bus for the node."""
        gateway = human.channel.gateway if human.channel else ""
        agents = self.context.org.agents_of(gateway)
        if not agents:
            log.error(
                "humans[%s].channel: the gateway %s has no agent through which it hears the bus", human.id, gateway
            )
            return
        text = f"{body.get('subject', '')}\n\n{body.get('text', '')}".strip()
        order = {"person": human.id, "text": text, **({"whole": body["whole"]} if body.get("whole") else {})}
        note = Envelope(
            id=f"{str(body['id'])[:119]}-channel",
            type="control",
            sender=STEWARD,
            to=agents[0].id,
            task_id=body.get("task_id"),
            subject=NOTIFY,
            body=json.dumps(order),
        )
        await self.context.publish(self.context.subjects.ctl(agents[0].id, STEWARD), note)

    async def _send_to_webhook(self, human: Human, key: str, body: dict[str, Any], tries: int) -> None:
        if tries < len(_WAITS_S):
            due = now() + timedelta(seconds=_WAITS_S[tries])
            await self.context.at(self.rule, key, due, {**body, "tries": tries + 1})
        posting = asyncio.get_running_loop().create_task(self._post(human, key, body, tries))
        self._posting.add(posting)
        posting.add_done_callback(self._posting.discard)

    async def _post(self, human: Human, key: str, body: dict[str, Any], tries: int) -> None:
        message = {name: body.get(name) for name in ("id", "to", "task_id")}
        # Others have written these words, and a person will read them.
        message |= {name: inert(str(body.get(name) or "")) for name in ("subject", "text")}
        try:
            url = read_url(self.context.folder / (human.webhook_file or ""))
            await post(url, {"v": 1, "company": self.context.org.company, "from": STEWARD, **message})
            await self.context.forget_timer(self.rule, key)
        except Missing as problem:
            log.error("%s is not reached by webhook: %s", human.id, problem)
        except ClawbusError as error:
            rest = f"again in {_WAITS_S[tries]} s" if tries < len(_WAITS_S) else "given up; it lies in the inbox"
            log.warning("%s is not reached by webhook: %s; %s", human.id, error.message, rest)
