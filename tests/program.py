"""A program that does an agent's tasks, as users write them: the scripted worker of tests and benches.

python -m tests.program --org FILE --gateway ID [--die-at STEP]

What a task says is what it does: `@hang` waits to be stopped, `@sleep S` takes its time, `@work` a little, `@die` kills the
process the first time, `@refuse WHY` fails; anything else is the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import signal
import sys
from pathlib import Path

from clawbus import Refused, Task, serve
from clawbus.node.signals import Probe
from clawbus.node.worker import Worker
from clawbus.org import load

_WORK_S = 0.25


async def handle(task: Task) -> str:
    word, _, rest = task.text.partition(" ")
    if word == "@hang":
        await asyncio.Event().wait()
    elif word == "@sleep":
        await asyncio.sleep(float(rest))
    elif word == "@work":
        await asyncio.sleep(_WORK_S)
    elif word == "@die" and (rest == "always" or task.attempt == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "@refuse":
        raise Refused(rest)
    elif word == "@bug":
        raise ValueError(rest)
    return f"{task.text} (attempt {task.attempt})"


def dying(step: str) -> Probe:
    async def at(_task_id: str, name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def main() -> None:
    parser = argparse.ArgumentParser(description="Do an agent's tasks.")
    parser.add_argument("--org", required=True)
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--die-at", help="A step of the worker at which this process kills itself.")
    options = parser.parse_args()
    if options.die_at:
        vars(sys.modules[serve.__module__])["Worker"] = functools.partial(Worker, probe=dying(options.die_at))
    logging.basicConfig(level=logging.INFO)
    agents = load(Path(options.org)).agents_of(options.gateway)
    asyncio.run(serve(options.org, options.gateway, {agent.id: handle for agent in agents}))


if __name__ == "__main__":
    main()
