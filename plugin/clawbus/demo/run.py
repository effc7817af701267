"""The demo: two real gateways, one real nats-server, one task there and its report back; and one kill, if asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from clawbus.client.watch import WatchEvent
from clawbus.demo.model.brain import question
from clawbus.demo.stage import KILLS, LIMIT_S, Outcome, Stage, Wish, on_stage
from clawbus.errors import Away


async def run(wish: Wish, say: Callable[[str], None], show: Callable[[WatchEvent], None]) -> Outcome:
    """Do it. `say` gets a line of ours, `show` each thing that happens to a task.

    Everything that was started has ended when this returns or raises. Raises ClawbusError.
    """
    async with on_stage(wish, "duo", {}, say) as stage:
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with stage.replies(lambda text: None if said.done() else said.set_result(text)):
            await stage.ask_ceo(question(str(wish.app)))
            following = asyncio.create_task(_follow(stage, wish, show))
            try:
                stage.outcome.recommendation = await _first(stage, said, following)
                await _heard_last(stage.outcome)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
    return stage.outcome


async def _first(stage: Stage, said: asyncio.Future[str], following: asyncio.Task[None]) -> str:
    """The recommendation; or what went wrong on the way to it."""
    await stage.until(said, following)
    if following.done() and not said.done():
        following.result()
    if not said.done():
        raise Away(f"the CEO gave no recommendation within {LIMIT_S:g} s")
    return said.result()


async def _heard_last(outcome: Outcome) -> None:
    """Give the last event, that the report was announced, a moment to arrive: it is said after the reply began."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while not any(event.kind == "announced" for event in outcome.events):  # noqa: ASYNC110 - bounded
                await asyncio.sleep(0.05)


async def _follow(stage: Stage, wish: Wish, show: Callable[[WatchEvent], None]) -> None:
    """Show what happens, and kill what is to be killed once the worker is in the middle of its turn."""
    to_kill = KILLS.get(wish.kill or "")
    while True:
        event = await stage.heard.get()
        show(event)
        await stage.see(event)
        if to_kill and event.kind == "progress":
            pid, to_kill = stage.supervisor.pid(to_kill), None
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)
