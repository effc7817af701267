"""The Python face on a real nats-server: tasks from a program, done by a program, over the bus like any other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import BacklogFull, Client, InvalidInput, NotFound, Refused, Result, Task, connect, serve
from clawbus.errors import Missing
from clawbus.wire.channels import INBOX, TASKS
from tests import command
from tests.company import ROOT, Live, free_ports, live, until

TOML = """
company = "acme"
bus.port = {port}
policies.lease_s = 5
policies.quota = 3
[[gateways]]
id = "shop"
kind = "program"
slots = 8
[[agents]]
id = "qa"
role = "role-qa"
gateway = "shop"
[[agents]]
id = "ops"
role = "role-ops"
gateway = "shop"
[[humans]]
id = "owner"
[[humans]]
id = "ci"
"""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Live]:
    """A company without any OpenClaw: two agents whose work a program does."""
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0])) as company:
        yield company


async def echo(task: Task) -> str:
    return f"{task.requester}: {task.text}"


class Serving:
    """`serve` beside the test, in its own process."""

    def __init__(self, shop: Live, **handlers: object) -> None:
        self._serving = serve(shop.org_file, "shop", {"qa": echo, "ops": echo, **handlers})  # type: ignore[dict-item]

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._serving)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def test_import_clawbus_is_cheap_and_offers_a_dozen_names() -> None:
    """Neither nats nor pydantic is imported before a name is asked for."""
    code = (
        "import sys, clawbus; assert not {'nats', 'pydantic', 'click'} & set(sys.modules); print(len(clawbus.__all__))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "12\n"


async def test_n15_a_program_starts_a_task_and_a_program_answers_it(shop: Live) -> None:
    """No model, no node and no gateway in the middle; nothing is left in the inbox once the result is in hand."""
    async with Serving(shop), connect(shop.org_file, "ci") as client:
        result = await client.ask("qa", "is it green?", timeout_s=20)
        assert (result.status, result.text, result.by) == ("done", "ci: is it green?", "qa")
    async with shop.owner() as bus:
        assert await bus.stored(INBOX, "acme.dm.>") == []
        assert await bus.stored(TASKS, "acme.tasks.>") == []
        view = await shop.company.history(bus).task(result.task_id)
    assert (view.state, view.delivery, view.attempts) == ("done", "answered", 1)


async def test_several_results_stand_in_the_order_of_their_tasks(shop: Live) -> None:
    async with Serving(shop), connect(shop.org_file) as client:
        tasks = [await client.start("qa", f"number {n}", room_s=20) for n in range(12)]
        results = await client.wait_all(tasks, timeout_s=20)
    assert [one.text for one in results] == [f"owner: number {n}" for n in range(12)]


async def test_the_same_key_is_the_same_task(shop: Live) -> None:
    """A program that was killed and begins again does not give its work twice; another person's key is another's."""
    async with connect(shop.org_file) as client, connect(shop.org_file, "ci") as ci:
        first = await client.start("qa", "build 7", key="build-7")
        async with connect(shop.org_file) as again:
            assert (await again.start("qa", "build 7", key="build-7")).id == first.id
        assert (await ci.start("qa", "build 7", key="build-7")).id != first.id
        async with shop.owner() as bus:
            assert len(await bus.stored(TASKS, "acme.tasks.*.*.owner")) == 1
        async with Serving(shop):
            result = await client.wait(first, 20)
            assert (await client.wait(await client.start("qa", "build 7", key="build-7"), 20)) == result
    assert await shop.ends(first.id) == 1


async def test_a_full_backlog_is_said_or_waited_for(shop: Live) -> None:
    """BacklogFull at once; with `room_s` the task goes out as soon as there is room."""
    async with connect(shop.org_file) as client:
        tasks = [await client.start("qa", f"number {n}") for n in range(3)]
        with pytest.raises(BacklogFull):
            await client.start("qa", "one too many")
        with pytest.raises(BacklogFull):
            await client.start("qa", "one too many", room_s=0.2)
        patient = asyncio.create_task(client.start("qa", "one too many", room_s=None))
        async with Serving(shop):
            tasks.append(await asyncio.wait_for(patient, 20))
            assert all(one.done for one in await client.wait_all(tasks, 20))


async def test_what_a_handler_raises_is_why_the_task_has_failed(shop: Live) -> None:
    async def refusing(_: Task) -> str:
        raise Refused("not on a Friday")

    async def broken(_: Task) -> str:
        raise KeyError("x")

    async with Serving(shop, qa=refusing, ops=broken), connect(shop.org_file) as client:
        said, bug = await asyncio.gather(client.ask("qa", "deploy"), client.ask("ops", "deploy"))
    assert (said.status, said.text) == ("failed", "not on a Friday")
    assert (bug.status, bug.text) == ("failed", "KeyError: 'x'")


async def test_a_handler_that_takes_too_long_is_timed_out(shop: Live) -> None:
    async with Serving(shop, qa=hang), connect(shop.org_file) as client:
        result = await client.wait(await client.start("qa", "deploy", run_timeout_s=1), 20)
    assert result.status == "timed_out"


async def hang(_: Task) -> str:
    await asyncio.Event().wait()
    return "never"


async def test_a_cancelled_task_stops_its_handler(shop: Live) -> None:
    """The handler is cancelled where it waits; the task has one end, and that is the cancellation."""
    stopped, began = asyncio.Event(), asyncio.Event()

    async def patient(_: Task) -> str:
        try:
            began.set()
            return await hang(_)
        finally:
            stopped.set()

    async with Serving(shop, qa=patient), connect(shop.org_file) as client:
        task = await client.start("qa", "deploy")
        await asyncio.wait_for(began.wait(), 20)
        await until(lambda: _running(client, task), "started, as the bus has it")
        won, end = await client.cancel(task.id)
        await asyncio.wait_for(stopped.wait(), 20)
        assert (won, end.status, end.by) == (True, "cancelled", "owner")
    assert await shop.ends(task.id) == 1


async def _running(client: Client, task: Task) -> bool:
    return (await client.look(task.id)).state == "running"


async def test_being_stopped_is_no_strike_and_the_work_goes_on_with_the_next_start(shop: Live) -> None:
    seen: list[int] = []

    async def note(task: Task) -> str:
        seen.append(task.attempt)
        return await hang(task) if len(seen) < 5 else "at last"

    async with connect(shop.org_file) as client:
        task = await client.start("qa", "deploy")
        for count in range(1, 5):
            async with Serving(shop, qa=note):
                await until(lambda count=count: _came(seen, count), f"start {count}")  # type: ignore[misc]
        async with Serving(shop, qa=note):
            result = await client.wait(task, 20)
    assert (result.status, result.text, seen) == ("done", "at last", [1, 1, 1, 1, 1])


async def _came(seen: list[int], count: int) -> bool:
    return len(seen) == count


async def test_a_task_that_kills_its_worker_three_times_is_dead(shop: Live) -> None:
    """policies.strikes attempts, each ended by the death of its process; then the task ends as dead, with the reason."""
    async with connect(shop.org_file) as client:
        task = await client.start("qa", "@die always")
        waiting = asyncio.create_task(client.wait(task, 50))
        for _ in range(3):
            shop.launch("program-shop")
            await shop.died("program-shop")
        await shop.start("program-shop")
        result: Result = await waiting
    assert result.status == "dead"
    assert result.text == "3 attempts were started, and each was interrupted"
    assert await shop.ends(task.id) == 1


async def test_messages_are_sent_read_and_gone(shop: Live) -> None:
    async with connect(shop.org_file) as owner, connect(shop.org_file, "ci") as ci:
        await ci.send("owner", "the build is red", subject="build 7")
        (seen,) = await owner.inbox()
        assert (seen.sender, seen.subject, seen.text) == ("ci", "build 7", "the build is red")
        assert await owner.read() == [seen]
        assert await owner.inbox() == []
        await ci.send("qa", "hello")
        assert [one.text for one in await owner.inbox("qa")] == ["hello"]
        with pytest.raises(NotFound, match="'nobdy' has no inbox"):
            await owner.inbox("nobdy")
        with pytest.raises(InvalidInput, match="type = 'task': no message"):
            await owner.send("qa", "hello", type="task")


async def test_mistakes_are_told_before_anything_happens(shop: Live) -> None:
    """Unknown names, an OpenClaw gateway, a handler too few, a second process for one gateway."""
    async with connect(shop.org_file) as client:
        with pytest.raises(NotFound, match="Agents: qa, ops"):
            await client.start("quality", "x")
        with pytest.raises(InvalidInput, match="empty"):
            await client.start("qa", " ")
        with pytest.raises(InvalidInput, match="priority = 'urgent': refused") as wrong:
            await client.start("qa", "x", priority="urgent")  # type: ignore[arg-type]
        assert wrong.value.remedy == "It should be 'critical', 'high', 'medium' or 'low'."
        with pytest.raises(InvalidInput, match="type = 'shout': refused"):
            await client.send("qa", "x", type="shout")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no such person"):
        async with connect(shop.org_file, "nobody"):
            pass
    with pytest.raises(InvalidInput, match="not the agents of shop"):
        await serve(shop.org_file, "shop", {"qa": echo})
    await shop.start("program-shop")
    with pytest.raises(Missing, match="serves shop already"):
        await serve(shop.org_file, "shop", {"qa": echo, "ops": echo})


async def run(shop: Live, *argv: str) -> tuple[int, str]:
    """A program beside org.toml: its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, cwd=shop.org_file.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode or 0, out.decode()


async def test_the_example_runs(shop: Live) -> None:
    """examples/ci-task.py, as it stands: its exit code is the task's; begun again it finds its result."""
    script = str(ROOT / "examples" / "ci-task.py")
    async with Serving(shop):
        code, out = await run(shop, script, "qa", "Run the tests.")
        assert (code, out.splitlines()[1:]) == (0, ["owner: Run the tests."])
        assert await run(shop, script, "qa", "Run the tests.") == (0, out)


async def test_the_command_line_stands_on_it(shop: Live) -> None:
    """ask, tasks, task show, task result, task cancel, send and inbox, with the exit codes of docs/cli.md."""

    async def clawbus(*argv: str) -> tuple[int, str]:
        run = await asyncio.to_thread(command.clawbus, *argv, "--org", str(shop.org_file))
        return run.returncode, run.stdout + run.stderr

    async with Serving(shop, ops=hang):
        assert await clawbus("ask", "qa", "hello") == (0, "owner: hello\n")
        code, task_id = await clawbus("ask", "ops", "wait for me", "--no-wait", "--as", "ci")
        assert code == 0
        assert (await clawbus("ask", "ops", "and me", "--timeout", "0.2"))[0] == 5
        assert (await clawbus("task", "result", task_id.strip()))[0] == 5
        assert await clawbus("task", "cancel", task_id[:8]) == (0, f"cancelled {task_id[:8]}\n")
        assert (await clawbus("task", "result", task_id.strip()))[0] == 1
        code, out = await clawbus("tasks")
        assert (code, out.count("\n")) == (0, 3)
        assert "is away" not in out
    assert (await clawbus("send", "qa", "stand-up at nine"))[0] == 0
    assert "stand-up at nine" in (await clawbus("inbox", "qa"))[1]
    assert await clawbus("inbox", "owner") == (0, "The inbox of owner is empty.\n")
    assert "is away" in (await clawbus("tasks", "--open"))[1]
    assert (await clawbus("ask", "nobody", "x"))[0] == 4
