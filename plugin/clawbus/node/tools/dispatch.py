"""The six tools, by name: each call is checked, carried out, and answered in words that a model acts on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from clawbus.errors import Away, ClawbusError, Refused
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Inbox, Outbox
from clawbus.node.prompts.untrusted import harmless
from clawbus.node.tools.answer import Answer, Caller
from clawbus.node.tools.backoff import Backoff
from clawbus.node.tools.file_tools import FileTools
from clawbus.node.tools.inbox import InboxTool
from clawbus.node.tools.org import OrgTool
from clawbus.node.tools.params import NatsInbox, NatsOrg, NatsPub, NatsRequest, NatsSpawn, NatsTasks, Params, parse
from clawbus.node.tools.publish import PubTool
from clawbus.node.tools.spawn import SpawnTools
from clawbus.node.tools.tasks import TasksTool
from clawbus.org import Org
from clawbus.tasks.halt_orders import ALL, Order
from clawbus.tasks.roster import Roster


class Tools:
    """The tools of one gateway's agents. `order_of`: the order of people that stands for an agent."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        org: Org,
        ledger: Ledger,
        outbox: Outbox,
        inbox: Inbox,
        spawn_tools: SpawnTools,
        tasks_tool: TasksTool,
        roster: Roster,
        file_tools: FileTools,
        *,
        order_of: Callable[[str], Order | None],
    ) -> None:
        self._ledger = ledger
        self.backoff = Backoff()
        self._order_of = order_of
        self._methods: dict[type[Params], Callable[[Caller, Any], Awaitable[Answer]]] = {
            NatsPub: PubTool(org, ledger, outbox, file_tools).pub,
            NatsRequest: spawn_tools.request,
            NatsInbox: InboxTool(org, ledger, outbox, inbox, file_tools).inbox,
            NatsSpawn: spawn_tools.spawn,
            NatsTasks: tasks_tool.tasks,
            NatsOrg: OrgTool(org, roster).who,
        }

    async def call(self, caller: Caller, tool: str, params: object) -> Answer:
        """Check the parameters, do it, and add how much mail is unread. Never raises a ClawbusError."""
        try:
            asked = parse(tool, params)
            _check_halt(self._order_of(caller.agent), asked)
            answer = await self._methods[type(asked)](caller, asked)
        except ClawbusError as error:
            refusal = Answer(False, harmless(str(error)), {"error": type(error).__name__})
            return refusal if isinstance(error, Away) else await self.backoff.refused(caller.agent, refusal)
        if _sends(asked):
            if not answer.ok and not isinstance(asked, NatsRequest):  # of several nothing was sent
                return await self.backoff.refused(caller.agent, answer)
            self.backoff.taken(caller.agent)
        unread = self._ledger.mail.unread(caller.agent)
        if unread and not isinstance(asked, NatsInbox):
            return replace(answer, text=f"{answer.text}\n(You have {unread} unread in nats_inbox.)")
        return answer


def _check_halt(order: Order | None, asked: Params) -> None:
    """Raises Refused if a call would send something while people have stopped its agent. Reading and cancelling go on.

    `order`: the one that stands for the agent. A paused agent finishes its turn, so it may send. As long as nothing is
    known, the bus keeps what is sent waiting.
    """
    if order is None or order.state != "stopped" or not _sends(asked):
        return
    resume = f"clawbus resume {'--all' if order.target == ALL else order.target}"
    raise Refused(
        f"{order}; nothing was sent",
        f"Do not try again: say so, and end your turn. Only a person can end this (`{resume}`). Reading still works.",
    )


def _sends(asked: Params) -> bool:
    """True if a call says something to others; reading, acknowledging and cancelling do not."""
    if isinstance(asked, NatsInbox):
        return asked.action == "answer"
    if isinstance(asked, NatsTasks):
        return asked.action == "steer"
    return isinstance(asked, NatsPub | NatsRequest | NatsSpawn)
