"""Steering: what is said to a task that waits or runs, from the bus into its turn (ADR 9).

It counts when it stands in the transcript: the gateway's "accepted" is a promise in memory, and one that still waits
for the next model request is gone after a kill. So it stays in the ledger until then; what a crash has taken is said
again, in the message that opens the next attempt. Each one's fate is an event `steered` of its task.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from clawbus.errors import GatewayAway, InvalidInput, Refused
from clawbus.gateway import KEY_PREFIX, GatewayRpc, Turns
from clawbus.node.ledger import Ledger, Run, Steer
from clawbus.node.mailbox import Outbox
from clawbus.node.prompts import frames
from clawbus.node.worker.oversight import starts_by_a_persons_word
from clawbus.org import Org
from clawbus.tasks.ends import Ends
from clawbus.wire.envelope import Envelope, check_body

log = logging.getLogger(__name__)

_MOST_WAITING = 20
_STRANGER = "{} neither gave it nor is a person of the company"
_DECIDED = "a person decides on this task before it starts, as it stands: give what is to be added as a task of its own"
_JOINED_S = 5.0
_AGAIN_S = 0.2
_LIVE = ("lifecycle", "item", "assistant", "usage", "command_output")
"""Events of a turn that takes steers: `run_status` comes before that, and so does its line in the transcript."""


class Steering:
    """Hands on what is said to the tasks of one gateway. Only a task's requester and the people are heard.

    Of a task that a person has to let start only the people: he has read its text, and nothing that came after it.
    """

    def __init__(self, rpc: GatewayRpc, ledger: Ledger, outbox: Outbox, ends: Ends, org: Org) -> None:
        self._rpc = rpc
        self._turns = Turns(rpc)
        self._ledger = ledger
        self._outbox = outbox
        self._ends = ends
        self._org = org
        self._live: dict[str, asyncio.Event] = {}  # run id -> set once the run takes steers
        self._news: dict[str, asyncio.Event] = {}  # task id -> set when something was said to it
        self._given: dict[str, str] = {}  # key of a steer that no transcript shows yet -> its session
        self._own_turns: set[asyncio.Task[None]] = set()
        rpc.listeners.append(self._hear)

    # -- from the bus -------------------------------------------------------------------------------------------------

    async def take(self, note: Envelope, worker: str) -> None:
        """A control message that steers a task of `worker`; one that names none is nobody's. Raises BusAway."""
        if not note.task_id:
            return
        steer = Steer(note.id, note.task_id, note.sender, note.body, "")
        run = self._ledger.runs.get(steer.task_id)
        if self._ledger.steers.knows(steer.id):  # its ack was lost
            return
        why = await self._objection(steer, note.to, run)
        with self._ledger.together():
            self._ledger.steers.add(steer)
            if why is not None:
                self._settle(steer, worker, "refused", why)
            elif run is None or run.state == "held":
                self._say(steer, worker, "kept", "it is told when it starts")
        if (news := self._news.get(steer.task_id)) is not None:
            news.set()

    async def _objection(self, steer: Steer, to: str, run: Run | None) -> str | None:
        """The reason why a steer is not taken; None if it is, as far as is known yet."""
        try:
            check_body("steer", steer.text)
        except InvalidInput as error:
            return error.message
        if run is not None and (why := self._why_not(steer, run)):
            return why
        requester = run.task.sender if run is not None else steer.sender
        end = await self._ends.read(steer.task_id, requester, run.task.to if run is not None else to)
        if end is not None or (run is not None and run.state not in ("held", "started")):
            return "it has ended"
        if run is not None and steer.task_id not in self._news and self._ledger.raised.latest(run.session_key):
            return "it waits for the answer to its blocker, which reaches it; this does not"
        waiting = len(self._ledger.steers.open(steer.task_id))
        return f"{waiting} wait already" if waiting >= _MOST_WAITING else None

    def _why_not(self, steer: Steer, run: Run) -> str:
        """The reason why its sender may not say that to a task; empty if it may."""
        if steer.sender in self._org.people:
            return ""
        if steer.sender != run.task.sender:
            return _STRANGER.format(steer.sender)
        return _DECIDED if starts_by_a_persons_word(self._org, run.task, run.worker) else ""

    # -- into the turn ------------------------------------------------------------------------------------------------

    def opening(self, run: Run, fresh: bool) -> str:
        """The steers below the task in the message that opens an attempt. `fresh`: that message is not given yet."""
        self._live.setdefault(run.key, asyncio.Event())
        texts = []
        for steer in self._allowed(run):
            if fresh or steer.key == run.key:
                self._ledger.steers.given(steer.id, run.key)
                texts.append("\n\n" + frames.steer(steer.sender, steer.text, run.task_id, run.key + steer.id))
        return "".join(texts)

    async def attend(self, run: Run) -> None:
        """While an attempt runs: tell it what was said, in its order, until cancelled."""
        news = self._news.setdefault(run.task_id, asyncio.Event())
        in_hand: set[str] = set()
        try:
            await self._until_live(run)
            async with asyncio.TaskGroup() as group:
                while True:
                    news.clear()
                    for steer in self._allowed(run):
                        if steer.id not in in_hand:
                            in_hand.add(steer.id)
                            key = await self._give(run, steer)
                            group.create_task(self._watch(run, steer, key), name=f"steer-{steer.id}")
                    await news.wait()
        finally:
            self._news.pop(run.task_id, None)
            self._live.pop(run.key, None)

    async def close(self, run: Run) -> bool:
        """After the end of a turn: say what it has not heard. True if the gateway may still hold some of that."""
        left = self._ledger.steers.open(run.task_id)
        for steer in left:
            try:
                heard = await self._was_heard(run, steer)
            except (GatewayAway, Refused):
                heard = False
            # Its key stays among the given: the gateway may yet make a turn of its own of it, which is stopped then.
            self._settle(steer, run.worker, "heard" if heard else "late", "" if heard else "its turn had ended")
        return any(steer.key for steer in left)

    async def _was_heard(self, run: Run, steer: Steer) -> bool:
        """True if a turn that is over had heard it. Raises GatewayAway or Refused."""
        if steer.key == run.key:  # it stood in the message that opened the attempt
            return await self._turns.has_started(run.session_key, run.key)
        stands = steer.key in self._given and await self._turns.steer_arrived(run.session_key, steer.key, 0)
        return bool(stands) and steer.key in self._given  # else that line opens a turn of its own, begun meanwhile

    async def _until_live(self, run: Run) -> None:
        """Until the run takes steers: one that comes earlier would be a turn of its own, after this one.

        A node that was restarted in the turn may have missed the sign: then the transcript has it, or a few seconds
        are enough.
        """
        live = self._live.setdefault(run.key, asyncio.Event())
        while not live.is_set():
            try:
                if await self._turns.at_work(run.session_key, run.key):
                    return
                async with asyncio.timeout(_JOINED_S):
                    await live.wait()
            except TimeoutError:
                if await self._turns.has_started(run.session_key, run.key):
                    return
            except GatewayAway:
                await self._rpc.ready.wait()
                await asyncio.sleep(_AGAIN_S)

    def _allowed(self, run: Run) -> list[Steer]:
        """The steers to tell. Some came before it was known whose task it is: those of strangers are refused here."""
        found = []
        for steer in self._ledger.steers.open(run.task_id):
            if why := self._why_not(steer, run):
                self._settle(steer, run.worker, "refused", why)
            else:
                found.append(steer)
        return found

    async def _give(self, run: Run, steer: Steer) -> str:
        """Give one steer to the running turn. Returns the key of the message that brings it."""
        while True:
            try:
                if steer.key == run.key:  # the message that opened this attempt
                    return steer.key
                # One that an earlier life of this node has given may be heard, or dropped, or may wait there still.
                heard = await self._turns.steer_arrived(run.session_key, steer.key, 0) if steer.key else False
                key = f"{KEY_PREFIX}{uuid.uuid4().hex}" if heard is False else steer.key
                self._ledger.steers.given(steer.id, key)
                self._given[key] = run.session_key
                if not heard:
                    text = frames.steer(steer.sender, steer.text, run.task_id, key)
                    await self._turns.steer(run.session_key, text, key)
            except GatewayAway:
                await self._rpc.ready.wait()
                await asyncio.sleep(_AGAIN_S)
            except Refused as refusal:
                self._settle(steer, run.worker, "refused", refusal.message)
                return ""
            else:
                return key

    async def _watch(self, run: Run, steer: Steer, key: str) -> None:
        """Wait until a steer is heard, and say so. One that becomes a turn of its own is left to `close`."""
        heard: bool | None = True if key == run.key else None
        while key and heard is None:
            try:
                heard = await self._turns.steer_arrived(run.session_key, key)
            except (GatewayAway, Refused):
                await self._rpc.ready.wait()
            await asyncio.sleep(_AGAIN_S)
        if heard and (key == run.key or key in self._given):
            self._given.pop(key, None)
            self._settle(steer, run.worker, "heard")

    # -- what came of it ----------------------------------------------------------------------------------------------

    def _hear(self, name: str, payload: dict[str, Any]) -> None:
        """Two signs of the gateway: a run takes steers now; a steer has become a turn of its own, which is stopped."""
        key, stream = str(payload.get("runId")), payload.get("stream")
        if name != "agent" or not key.startswith(KEY_PREFIX):
            return
        if key in self._given:
            if stream in ("run_status", "lifecycle"):
                self._stop(self._given.pop(key), key)
        elif stream in _LIVE and (live := self._live.get(key)) is not None:
            live.set()

    def _stop(self, session_key: str, key: str) -> None:
        async def stop() -> None:
            try:
                await self._turns.abort(session_key, key)
            except GatewayAway:
                log.debug("the gateway is away, and that turn with it")

        log.info("a steer came too late for its turn and is stopped: %s in %s", key, session_key)
        task = asyncio.get_running_loop().create_task(stop())
        self._own_turns.add(task)
        task.add_done_callback(self._own_turns.discard)

    def _settle(self, steer: Steer, worker: str, outcome: str, why: str = "") -> None:
        self._ledger.steers.settle(steer.id, outcome)
        self._say(steer, worker, outcome, why)

    def _say(self, steer: Steer, worker: str, outcome: str, why: str = "") -> None:
        detail = {"outcome": outcome, "by": steer.sender} | ({"why": why} if why else {})
        self._outbox.event("steered", steer.task_id, worker, **detail)


def deaf(outbox: Outbox) -> Callable[[Envelope, str], Awaitable[None]]:
    """For a worker that is a program: it cannot be told anything while it works, and says so."""

    async def take(note: Envelope, worker: str) -> None:
        why = f"{worker} is a program, which hears nothing while it works"
        if note.task_id:
            outbox.event("steered", note.task_id, worker, outcome="refused", by=note.sender, why=why)

    return take
