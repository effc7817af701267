"""`clawbus apply` and the `clawbus up` that it asks: also one that is only starting, or already ending."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from clawbus.errors import Away, Refused
from clawbus.ops.up import ask_up
from clawbus.ops.up.control_file import ask_restart
from clawbus.settings import Home, write_secret
from tests.company import until

UP = """
import asyncio, sys
from pathlib import Path
from clawbus.errors import NotFound
from clawbus.ops.up import answer_questions, survive_questions
from clawbus.settings import Home
from clawbus.ops.supervisor.pid_files import take_lock

done = []

async def do(force_souls, say):
    done.append(force_souls)
    say(f"done so far: {done}")

async def restart(service):
    if service == "gateway-none":
        raise NotFound(f"no service {service!r} is supervised")
    done.append(service)

async def main():
    home = Home(Path(sys.argv[1]))
    survive_questions()
    lock = take_lock(home.dir("run"))
    for listens in (False, True, False):
        print(listens, flush=True)
        work = asyncio.create_task(answer_questions(home, do, restart) if listens else asyncio.sleep(60))
        await asyncio.to_thread(sys.stdin.readline)
        work.cancel()
        await asyncio.wait({work})

asyncio.run(main())
"""


async def starting(home: Home) -> asyncio.subprocess.Process:
    """An `up` that has the lock, and does not listen yet: it does when it gets a line, and no more after another."""
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UP, str(home.root), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert up.stdout
    assert await up.stdout.readline() == b"False\n"
    return up


async def put(home: Home) -> str:
    """The question, when it is put."""

    async def look() -> str:
        question = home.root / "run" / "apply.json"
        return question.read_text() if question.exists() else ""

    return await until(look, "the question")


async def test_an_up_that_is_starting_or_ending_is_not_ended_by_the_question(tmp_path: Path) -> None:
    """The signal's own action would end it, and leave server, gateways and nodes without anybody to end them."""
    home = Home(tmp_path / ".clawbus")
    up = await starting(home)
    assert up.stdin
    assert up.stdout
    answer = asyncio.create_task(ask_up(home, force_souls=False))
    await put(home)
    with pytest.raises(Refused, match="another `clawbus apply` is under way"):
        await ask_up(home, force_souls=True)
    up.stdin.write(b"\n")
    assert await up.stdout.readline() == b"True\n"  # it has started
    assert await asyncio.wait_for(answer, 30) == ["done so far: [False]"]
    up.stdin.write(b"\n")
    assert await up.stdout.readline() == b"False\n"  # it ends what it has started
    os.kill(up.pid, signal.SIGUSR1)
    up.stdin.write(b"\n")
    assert await up.wait() == 0


async def test_what_nobody_has_answered_is_not_done_by_the_next_up(tmp_path: Path) -> None:
    """`apply --force-souls`, and `up` died: a plain `up`, days later, replaces nothing that somebody has written since.

    Not even if `apply` was killed, too, and could not take its question back.
    """
    home = Home(tmp_path / ".clawbus")
    up = await starting(home)
    answer = asyncio.create_task(ask_up(home, force_souls=True))
    question = await put(home)
    up.kill()
    await up.wait()
    with pytest.raises(Away, match="has ended meanwhile"):
        await asyncio.wait_for(answer, 30)
    left = home.root / "run" / "apply.json"
    assert not left.exists()

    write_secret(left, question)
    up = await starting(home)
    assert up.stdin
    assert up.stdout
    up.stdin.write(b"\n")
    assert await up.stdout.readline() == b"True\n"  # it listens
    assert await asyncio.wait_for(ask_up(home, force_souls=False), 30) == ["done so far: [False]"]
    up.kill()
    await up.wait()


async def test_a_node_asks_the_up_that_runs_to_restart_its_gateway(tmp_path: Path) -> None:
    """It is done once, by the one `up`; without one nobody does it, and that is said."""
    home = Home(tmp_path / ".clawbus")
    assert not await ask_restart(home, "gateway-lab")
    up = await starting(home)
    assert up.stdin
    assert up.stdout
    up.stdin.write(b"\n")
    assert await up.stdout.readline() == b"True\n"  # it listens
    assert await asyncio.wait_for(ask_restart(home, "gateway-lab"), 30)
    with pytest.raises(Away, match="no service 'gateway-none' is supervised"):
        await asyncio.wait_for(ask_restart(home, "gateway-none"), 30)
    assert await asyncio.wait_for(ask_up(home, force_souls=False), 30) == ["done so far: ['gateway-lab', False]"]
    up.kill()
    await up.wait()
