"""The kill switch, pause and resume, on a real nats-server with programs that do the agents' tasks."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from clawbus import Client, Task, connect, serve
from clawbus.bus import Bus, Stored
from clawbus.client.company import Company
from clawbus.client.halt import WITHIN_S, obedience, order, standing
from clawbus.errors import BusAway, NotBegun, Refused
from clawbus.ops.apply.apply import apply_bus
from clawbus.tasks.halt import Halt
from clawbus.tasks.halt_orders import encode
from clawbus.wire.channels import STATE, TASKS
from clawbus.wire.envelope import now
from clawbus.wire.events import Event
from clawbus.wire.subjects import new_message_id
from tests.company import ROOT, Live, free_ports, live, until
from tests.server.office import clawbus
from tests.syntax import parsed

TOML = """
company = "acme"
bus.port = {port}
policies.lease_s = 5
policies.quota = 100
[[gateways]]
id = "east"
kind = "program"
slots = 4
[[gateways]]
id = "west"
kind = "program"
slots = 4
[[agents]]
id = "amy"
gateway = "east"
[[agents]]
id = "bob"
gateway = "east"
[[agents]]
id = "wes"
gateway = "west"
[[agents]]
id = "zoe"
gateway = "west"
[[pools]]
id = "pair"
members = ["amy", "wes"]
[[humans]]
id = "owner"
[[humans]]
id = "second"
"""


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(port=free_ports(1)[0])) as company:
        yield company


@pytest.fixture
async def client(acme: Live) -> AsyncIterator[Client]:
    async with connect(acme.org_file) as one:
        yield one


class Work:
    """Handlers that say what they do. A task "long" goes on until it is ended, the first time; then it is done."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []

    async def handle(self, task: Task) -> str:
        self.began.append(task.text)
        if task.text.startswith("long") and self.began.count(task.text) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.append(task.text)
        return f"{task.text} (attempt {task.attempt})"

    async def until_began(self, text: str) -> None:
        async def look() -> bool:
            return text in self.began

        await until(look, f"{text} to begin")


@contextlib.asynccontextmanager
async def serving(acme: Live, gateway: str, work: Work, org_file: Path | None = None) -> AsyncIterator[None]:
    handlers = {agent.id: work.handle for agent in acme.org.agents_of(gateway)}
    task = asyncio.create_task(serve(org_file or acme.org_file, gateway, handlers))
    try:
        await obeyed(acme, *handlers)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def obeyed(acme: Live, *agents: str) -> None:
    """Wait until the nodes of these agents say that they do as the orders say."""

    async def look() -> bool:
        async with acme.owner() as bus:
            return {*agents} <= {*(await obedience(bus, acme.company, "owner", 1)).obeys}

    await until(look, f"{agents} to obey", 10)


async def looked_again(acme: Live, agent: str) -> None:
    """Wait until an agent's node has taken in two more orders: so long it has had for whatever it would have begun.

    Take another agent of that node than the one which is not to begin anything.
    """
    async with acme.owner() as bus:
        for state in ("paused", "running"):
            await order(bus, acme.company, "owner", agent, state)
            async with asyncio.timeout(10):
                await obedience(bus, acme.company, "owner", 10)


async def events(acme: Live, kind: str, *tasks: Task) -> list[Event]:
    async with acme.owner() as bus:
        found = await acme.company.history(bus).events()
    return [event for event in found if event.kind == kind and event.task_id in {task.id for task in tasks}]


async def test_n7_a_stop_ends_what_runs_and_nothing_begins_until_it_is_resumed(acme: Live, client: Client) -> None:
    """The task waits unacked and without a strike; when the company goes on it is begun anew, and ends once."""
    work = Work()
    async with serving(acme, "east", work):
        running = await client.start("amy", "long one")
        await work.until_began("long one")
        code, said = await clawbus(acme, "stop", "--all", "--why", "an\x1b[31m odd bill")
        assert (code, said["obeys"], said["away"]) == (0, ["amy", "bob"], ["wes", "zoe"])
        waits = await client.start("amy", "short")
        assert work.ended == ["long one"]
        await looked_again(acme, "bob")
        assert work.began == ["long one"]
        (cut,) = await events(acme, "interrupted", running)
        assert str(cut.detail["why"]).startswith("the company is stopped by owner: an")
        assert "\x1b" not in str(cut.detail["why"])
        async with acme.owner() as bus:
            assert len(await bus.stored(TASKS, "acme.tasks.>")) == 2
        assert (await clawbus(acme, "resume", "--all"))[0] == 0
        results = await client.wait_all([running, waits], 20)
    assert [one.text for one in results] == ["long one (attempt 1)", "short (attempt 1)"]
    assert [await acme.ends(task.id) for task in (running, waits)] == [1, 1]


async def test_n7_who_hears_the_roll_called_looks_at_once(
    acme: Live, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node asks by itself is for those that have not heard it: here it asks once a minute."""
    monkeypatch.setattr("clawbus.tasks.halt._EVERY_S", 60.0)
    monkeypatch.setattr("clawbus.tasks.halt._COUNTS_S", 120.0)
    work = Work()
    async with serving(acme, "east", work):
        await client.start("amy", "long one")
        await work.until_began("long one")
        code, said = await clawbus(acme, "stop", "--all")
        assert (code, said["obeys"], work.ended) == (0, ["amy", "bob"], ["long one"])


@pytest.mark.timeout(120)
async def test_n7_no_turn_starts_anywhere_five_seconds_after_a_stop(acme: Live, client: Client) -> None:
    """With two programs in processes of their own that have work for a minute: measured by their own events."""
    await acme.start("program-east", "program-west")
    tasks = [await client.start(agent, f"@work {n}") for n in range(40) for agent in ("amy", "bob", "wes")]
    await until(lambda: events(acme, "started", *tasks), "the first task to start")
    async with acme.owner() as bus:
        await order(bus, acme.company, "owner", "all", "stopped")
        stored = await bus.last_message(STATE, "acme.state.all.owner")
        found = await obedience(bus, acme.company, "owner")
    obeyed_at = now()
    assert stored is not None
    assert (found.obeys, found.not_yet, found.away) == (["amy", "bob", "wes", "zoe"], [], [])
    await looked_again(acme, "amy")
    started = await events(acme, "started", *tasks)
    late_s = max((event.at - stored.at).total_seconds() for event in started)
    print(f"{len(started)} of {len(tasks)} had started; the last one {late_s:.2f} s after the stop")
    assert late_s < WITHIN_S
    assert max(event.at for event in started) <= obeyed_at
    async with acme.owner() as bus:
        await order(bus, acme.company, "owner", "all", "running")
    results = await client.wait_all(tasks, 60)
    assert Counter(one.status for one in results) == {"done": len(tasks)}
    assert {await acme.ends(task.id) for task in tasks} == {1}


class Wire:
    """A way to the nats-server that can be cut."""

    def __init__(self, port: int, to: int) -> None:
        self.port, self._to = port, to
        self._server: asyncio.Server | None = None
        self._open: list[asyncio.StreamWriter] = []

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._open += [writer, back]
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_n7_a_node_that_reconnects_later_obeys_before_it_begins_anything(acme: Live, client: Client) -> None:
    """It had not heard of the stop, and has a slot free for the task that waits."""
    port = free_ports(2)[1]
    wire, work = Wire(port, acme.org.bus.port), Work()
    far = acme.org_file.with_name("far.toml")
    far.write_text(acme.org_file.read_text().replace(f"bus.port = {acme.org.bus.port}", f"bus.port = {port}"))
    await wire.up()
    async with serving(acme, "west", work, far):
        assert (await client.ask("wes", "before", timeout_s=20)).done
        wire.cut()
        async with acme.owner() as bus:
            await order(bus, acme.company, "owner", "all", "stopped", "while it is cut off")
            assert "wes" in (await obedience(bus, acme.company, "owner", 0.7)).away
        task = await client.start("wes", "while it is cut off")
        healed = time.monotonic()
        await wire.up()
        await obeyed(acme, "wes")
        assert time.monotonic() - healed < WITHIN_S
        await looked_again(acme, "zoe")
        assert work.began == ["before"]
        await clawbus(acme, "resume", "--all")
        assert (await client.wait(task, 20)).done
    wire.cut()


async def test_n7_a_node_that_starts_later_obeys_a_stop_that_has_outlived_the_server(acme: Live) -> None:
    """What a person has ordered stands on disk, and is read before anything is taken or gone on with."""
    work = Work()
    async with connect(acme.org_file) as client:
        task = await client.start("amy", "short")
    assert (await clawbus(acme, "stop", "--all"))[0] == 0
    acme.kill("nats-server")
    await acme.start("nats-server")
    async with connect(acme.org_file) as client, serving(acme, "east", work):
        await looked_again(acme, "bob")
        assert work.began == []
        code, said = await clawbus(acme, "state")
        assert (code, said["agents"]) == (0, dict.fromkeys(("amy", "bob", "wes", "zoe"), "stopped"))
        await clawbus(acme, "resume", "--all")
        assert (await client.wait(task, 20)).done


async def test_n7_pause_lets_one_agent_finish_and_begin_nothing_more(acme: Live, client: Client) -> None:
    """Others of the same gateway work on; a pool's task goes to another member."""
    work = Work()
    go_on = asyncio.Event()

    async def slow(task: Task) -> str:
        await go_on.wait()
        return await work.handle(task)

    east = asyncio.create_task(serve(acme.org_file, "east", {"amy": slow, "bob": work.handle}))
    try:
        async with serving(acme, "west", work):
            running = await client.start("amy", "running")
            await until(lambda: events(acme, "started", running), "the task to start")
            assert (await clawbus(acme, "pause", "amy", "--why", "she is odd"))[0] == 0
            waits = await client.start("amy", "waits")
            pooled = [await client.start("pair", f"for one of two {n}") for n in range(3)]
            assert (await client.ask("bob", "meanwhile", timeout_s=20)).done
            assert {one.by for one in await client.wait_all(pooled, 30)} == {"wes"}
            go_on.set()
            assert (await client.wait(running, 20)).done
            await looked_again(acme, "bob")
            assert "waits" not in work.began
            assert (await clawbus(acme, "resume", "amy"))[0] == 0
            assert (await client.wait(waits, 20)).text == "waits (attempt 1)"
    finally:
        east.cancel()
        await asyncio.gather(east, return_exceptions=True)


async def test_n7_what_waits_for_a_paused_agent_keeps_no_slot_from_others(acme: Live, client: Client) -> None:
    """Its four tasks, which a stop has ended, wait while it is paused; the gateway has four slots."""
    work = Work()
    async with serving(acme, "east", work):
        tasks = [await client.start("amy", f"long {number}") for number in range(4)]
        for number in range(4):
            await work.until_began(f"long {number}")
        await clawbus(acme, "stop", "--all")
        await clawbus(acme, "pause", "amy")
        await clawbus(acme, "resume", "--all")
        assert (await client.ask("bob", "meanwhile", timeout_s=10)).done
        await clawbus(acme, "resume", "amy")
        assert all(one.done for one in await client.wait_all(tasks, 20))


async def test_n7_a_task_that_is_cancelled_or_expires_meanwhile_is_not_begun(acme: Live, client: Client) -> None:
    work = Work()
    async with serving(acme, "east", work):
        task = await client.start("amy", "long one")
        await work.until_began("long one")
        await clawbus(acme, "stop", "--all")
        won, result = await client.cancel(task.id)
        assert (won, result.status) == (True, "cancelled")
        await clawbus(acme, "resume", "--all")
        assert (await client.ask("amy", "next", timeout_s=20)).done
    assert work.began == ["long one", "next"]


async def test_n7_what_has_expired_meanwhile_is_so_by_the_servers_clock(
    acme: Live, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's own clock is ten days ahead: that ends no task whose time is not over."""
    real = now
    monkeypatch.setattr("clawbus.bus.server_clock.now", lambda: real() + timedelta(days=10))
    work = Work()
    async with serving(acme, "east", work):
        task = await client.start("amy", "long one")
        await work.until_began("long one")
        await clawbus(acme, "stop", "--all")
        await clawbus(acme, "resume", "--all")
        assert (await client.wait(task, 20)).status == "done"


async def test_n7_only_a_persons_order_counts_and_one_that_proves_nothing_is_a_stop(acme: Live) -> None:
    """An agent's key cannot even write there; what is not signed, or cannot be read, never lets anything go on."""
    subjects = acme.company.subjects

    async def stands(bus: Bus) -> list[tuple[str, str]]:
        return [(one.state, one.by) for one in (await standing(bus, acme.company)).standing()]

    async with acme.company.connect("gw-east") as bus:
        for subject in (subjects.build("state", "amy", target="all"), subjects.build("state", "owner", target="all")):
            with pytest.raises(Refused):
                await bus.publish(subject, encode("running", ""), msg_id=new_message_id("amy"))
    async with acme.owner() as bus, acme.company.connect("me-second") as another:
        await order(bus, acme.company, "owner", "all", "stopped")
        assert await stands(bus) == [("stopped", "owner")]
        await order(another, acme.company, "second", "all", "running")  # the newest of all people's counts
        assert await stands(bus) == []
        await order(another, acme.company, "second", "amy", "paused")
        assert await stands(bus) == [("paused", "second")]
        bus.signers = {}
        subject = subjects.build("state", "owner", target="amy")
        await bus.publish(subject, encode("running", "let her"), msg_id=new_message_id("owner"))
        assert await stands(bus) == [("stopped", "owner")]
    async with acme.owner() as bus:
        await bus.publish(subject, b'{"state":"asleep"}', msg_id=new_message_id("owner"))
        assert await stands(bus) == [("stopped", "owner")]
        await order(bus, acme.company, "owner", "amy", "running")
        assert await stands(bus) == []


async def test_n7_what_is_not_known_lets_nothing_begin(acme: Live) -> None:
    """Before the first look, and once the bus has not answered for four seconds."""
    async with acme.owner() as bus:
        halt = Halt(bus, acme.org)
        with pytest.raises(NotBegun):
            halt.check("amy")
        running = asyncio.create_task(halt.run())
        async with asyncio.timeout(5):
            await halt.may_begin("amy")
        acme.kill("nats-server")

        async def unknown() -> bool:
            return halt.word("amy") == "unknown"

        await until(unknown, "the state to be unknown", WITHIN_S)
        with pytest.raises(BusAway):
            await halt.read()
        await acme.start("nats-server")
        async with asyncio.timeout(10):
            await halt.may_begin("amy")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_n7_many_orders_over_a_slow_line_are_read_in_several_looks(
    acme: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look is cut off after two seconds: the next one goes on, or nothing would ever begin."""
    async with acme.owner() as bus:
        for number in range(60):
            subject = acme.company.subjects.build("state", "owner", target=f"a{number}")
            await bus.publish(subject, encode("running", ""), msg_id=new_message_id("owner"))
        at_once = bus.next_message

        async def slowly(stream: str, pattern: str, start_seq: int = 1) -> Stored | None:
            await asyncio.sleep(0.05)
            return await at_once(stream, pattern, start_seq)

        monkeypatch.setattr(bus, "next_message", slowly)
        halt = Halt(bus, acme.org)
        running = asyncio.create_task(halt.run())
        try:
            async with asyncio.timeout(15):
                await halt.may_begin("amy")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_n7_the_command_says_what_is_wrong_with_it(acme: Live) -> None:
    for args, wrong in (
        (("stop",), "a stop is for the whole company"),
        (("stop", "amy"), "clawbus pause amy"),
        (("stop", "amy", "--all"), "a stop is for the whole company"),
        (("pause", "pair"), "Name each: amy, wes."),
        (("resume", "nobody"), "no such agent"),
        (("resume",), "say either an agent or --all"),
        (("resume", "amy", "--all"), "say either an agent or --all"),
        (("pause", "all"), "no agent"),
        (("pause", "nobody"), "no such agent"),
    ):
        code, said = await clawbus(acme, *args)
        assert (code in (2, 4), wrong in said) == (True, True), (args, said)


async def test_n7_who_has_left_can_be_resumed_and_comes_back_unpaused(acme: Live) -> None:
    """A pause outlives its agent: without a way to take it back, the next one of that id could do nothing."""
    before = acme.org_file.read_text()
    assert (await clawbus(acme, "pause", "bob"))[0] == 0
    acme.org_file.write_text(before.replace('[[agents]]\nid = "bob"\ngateway = "east"\n', ""))
    await apply_bus(Company.open(acme.org_file), {}, print)
    _, said = await clawbus(acme, "state")
    assert [one["target"] for one in said["orders"]] == ["bob"]
    assert (await clawbus(acme, "resume", "bob"))[0] == 0
    _, said = await clawbus(acme, "state")
    assert said["orders"] == []
    assert (await clawbus(acme, "resume", "bob"))[0] == 4


async def test_n7_a_stop_that_reaches_no_server_says_what_runs_on(acme: Live) -> None:
    """The command has ordered nothing then, and says so: exit code 5, and what ends the turns all the same."""
    acme.kill("nats-server")
    code, said = await clawbus(acme, "stop", "--all")
    assert code == 5
    assert "turns that run go on: to end those, stop their gateways" in said
    code, said = await clawbus(acme, "pause", "nobody")
    assert (code, "no such agent" in said) == (4, True)


def _calls(tree: ast.Module, method: str) -> bool:
    found: Callable[[ast.AST], bool] = lambda node: isinstance(node, ast.Constant) and node.value == method  # noqa: E731
    return any(
        isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "call" and node.args and found(node.args[0])
        for node in ast.walk(tree)
    )


def test_n7_turns_are_begun_in_two_places_and_each_asks_first() -> None:
    """`chat.send` in gateway/turns.py and `agent` in gateway/announce.py: nobody else calls them (but the demo's user)."""
    beginning = set()
    package = ROOT / "plugin" / "clawbus"
    for path in {*package.rglob("*.py")} - {*package.glob("demo/*.py")}:
        tree = parsed(path)
        if _calls(tree, "chat.send") or _calls(tree, "agent"):
            beginning.add(path.name)
            assert "self._rpc.may_begin(agent)" in path.read_text()
    assert beginning == {"turns.py", "announce.py"}
