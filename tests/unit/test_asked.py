"""`clawbus apply` and the `clawbus up` that it asks: also one that is only starting, or already ending."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from clawbus.running import ask_up
from clawbus.settings import Home
from tests.company import until

UP = """
import asyncio, sys
from pathlib import Path
from clawbus.running import asked, survive_questions
from clawbus.settings import Home
from clawbus.supervisor.record import take_lock

async def do(force_souls, say):
    say("heard")

async def main():
    home = Home(Path(sys.argv[1]))
    survive_questions()
    lock = take_lock(home.dir("run"))
    for listens in (False, True, False):
        print(listens, flush=True)
        work = asyncio.create_task(asked(home, do) if listens else asyncio.sleep(60))
        await asyncio.to_thread(sys.stdin.readline)
        work.cancel()
        await asyncio.wait({work})

asyncio.run(main())
"""


async def test_an_up_that_is_starting_or_ending_is_not_ended_by_the_question(tmp_path: Path) -> None:
    """The signal's own action would end it, and leave server, gateways and nodes without anybody to end them."""
    home = Home(tmp_path / ".clawbus")
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UP, str(home.root), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert up.stdin
    assert up.stdout
    assert await up.stdout.readline() == b"False\n"  # it has the lock, and starts
    answer = asyncio.create_task(ask_up(home, force_souls=False))

    async def is_put() -> bool:
        return (home.root / "run" / "apply.json").exists()

    await until(is_put, "the question")
    up.stdin.write(b"\n")
    assert await up.stdout.readline() == b"True\n"  # it has started
    assert await asyncio.wait_for(answer, 30) == ["heard"]
    up.stdin.write(b"\n")
    assert await up.stdout.readline() == b"False\n"  # it ends what it has started
    os.kill(up.pid, signal.SIGUSR1)
    up.stdin.write(b"\n")
    assert await up.wait() == 0
