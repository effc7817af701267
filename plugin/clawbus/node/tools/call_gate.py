"""Before each tool call of a turn that came over the bus: may it? The shim asks over the node's socket (ADR 20).

The session says for which task or message the turn runs, and that says what it may use. A sub-agent's session stands
for the turn that has spawned it, so nothing is gained by spawning, nor by outliving that turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from clawbus.errors import ClawbusError, Refused
from clawbus.gateway import GatewayRpc, SessionKey, is_spawned, spawner
from clawbus.node.ledger import Ledger, SpawnedSession
from clawbus.node.prompts.frames import fence
from clawbus.node.tools.answer import Answer
from clawbus.node.tools.params import TOOLS
from clawbus.org import Org
from clawbus.org.tool_bounds import Bound, bound_of, meet, permits
from clawbus.tasks.halt_orders import Order

_WRAPPERS = ("tool_search", "tool_describe", "tool_call")
"""OpenClaw's search for tools; what is called through it is asked about under its own name (docs/tools/tool-search)."""
_ELSEWHERE = ("sessions", "sessions_send", "conversations_send", "conversations_turn", "automations", "cron")
"""These begin turns in sessions that are nobody's children, and so not bounded: no turn that is bounded has them."""
_MAIL = tuple(tool.name for tool in TOOLS)
"""A turn for mail may always answer, ask and pass on: what it sends is bounded as it is."""
_NO_TURN = "clawbus knows of no task and no message for which this turn would run."
_DEPTH = 16
_REMEMBERED = 10_000


class CallGate:
    """Decides for the turns of one gateway. `order_of`: the order of people that stands for an agent (ADR 21)."""

    def __init__(self, org: Org, ledger: Ledger, rpc: GatewayRpc, order_of: Callable[[str], Order | None]) -> None:
        self._org = org
        self._ledger = ledger
        self._rpc = rpc
        self._users: OrderedDict[str, None] = OrderedDict()  # spawned sessions that are known to be users'
        self._order_of = order_of

    async def may(self, session_key: str, tool: str) -> Answer:
        """Decide if a session's turn may call a tool. If not, the text says why. `bus`: the bus began the turn."""
        try:
            turn = await self._turn(session_key)
        except ClawbusError as error:
            unknown = f"it could not be looked up whose sub-agent this is ({error.message}). Try again in a moment."
            return Answer(False, unknown, {"bus": True})
        why = self._objection(turn, tool) if turn else None
        return Answer(why is None, why or "", {"bus": turn is not None})

    async def _turn(self, session_key: str) -> SpawnedSession | None:
        """The turn of the bus to which a session belongs; None for a user's. Raises GatewayAway, Refused."""
        above: str | None = session_key
        begun: datetime | None = None
        for _ in range(_DEPTH):
            if above is not None and SessionKey.of_bus(above):
                turn = SpawnedSession(above, self._ledger.wakes.latest(above, begun))
                return self._descends(session_key, turn)
            if above is None or above in self._users or not is_spawned(above):
                self._remember(session_key)
                return None
            if (known := self._ledger.spawned_sessions.of(above)) is not None:
                return self._descends(session_key, known)
            above, begun = await spawner(self._rpc, above)
        raise Refused(f"more than {_DEPTH} sessions lie above it")

    def _descends(self, session_key: str, turn: SpawnedSession) -> SpawnedSession:
        """Kept of what was spawned: when its turn is over, it is still that turn's."""
        if session_key != turn.root:
            self._ledger.spawned_sessions.add(session_key, turn.root, turn.wake)
        return turn

    def _remember(self, session_key: str) -> None:
        """It is a user's: not asked about again as long as it is among the last ones."""
        self._users[session_key] = None
        self._users.move_to_end(session_key)
        while len(self._users) > _REMEMBERED:
            self._users.popitem(last=False)

    def _objection(self, turn: SpawnedSession, tool: str) -> str | None:
        root, key = turn.root, SessionKey.of_bus(turn.root)
        if key is None:
            return _NO_TURN
        order = self._order_of(key.agent)
        if order is not None and order.state == "stopped":  # its turn is ended; its sub-agents', and what is left of it
            return f"{order}. Do not try again: end your turn."
        if self._rpc.runs.is_ending(root):
            return "this turn is being ended. Do not try again: end your turn."
        task = self._ledger.runs.get(key.id or "")
        if task is not None and task.session_key == root:
            return _why_not(bound_of(self._org, task.task), tool, f"task {task.task_id} of {task.task.sender}")
        mails = [mail.envelope for mail in self._ledger.mail.of_wake(turn.wake)] if turn.wake is not None else []
        if not mails:
            return _NO_TURN
        senders = ", ".join(sorted({mail.sender for mail in mails}))
        bound = meet(*(bound_of(self._org, mail) for mail in mails))
        return None if tool in _MAIL else _why_not(bound, tool, f"what {senders} sent")


def _why_not(bound: Bound, tool: str, what: str) -> str | None:
    if bound is None or tool in _WRAPPERS:
        return None
    if permits(bound, tool) and tool not in _ELSEWHERE:
        return None
    why = "begins turns that would not be bounded" if tool in _ELSEWHERE else "is not among them"
    names = f"\nTheir names and nothing else:\n{fence(', '.join(bound))}" if bound else ""
    most = "only the tools between the marks" if bound else "no tool"
    return (
        f"{what} may use {most}; {tool} {why}. Do not try another way: do what can be done with those, and say in "
        f"your final reply what could not.{names}"
    )
