"""What else obeys a stop: the steward, the tools of a node whose gateway is away, the commands of people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import STEWARD_READER
from clawbus.client.halt import order
from clawbus.errors import Halted
from clawbus.steward.duty import Duty
from clawbus.tasks import NewTask
from clawbus.tasks.halt_orders import State
from clawbus.wire.channels import ENDS, TASKS, TIMERS
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event
from tests.company import Live, free_ports, until
from tests.server.office import SEC, clawbus, events_of, give, office, steward, stored, work
from tests.server.test_steward_chains import EDGE, THEN
from tests.server.test_steward_recurring import CHECK
from tests.up import Up


async def say(company: Live, state: State, target: str = "all", why: str = "") -> None:
    async with company.owner() as bus:
        await order(bus, company.company, "owner", target, state, why)


async def came_again(company: Live, stream: str) -> None:
    """Wait until the steward has given a message back, and has got it once more."""

    async def look() -> bool:
        async with company.company.connect("provisioner") as bus:
            return int((await bus.api(f"CONSUMER.INFO.{stream}.{STEWARD_READER}"))["num_redelivered"]) > 0

    await until(look, f"a message of {stream} to come again")


async def tasks(company: Live, to: str) -> list[Envelope]:
    return await stored(company, TASKS, company.company.subjects.filter("tasks", to=to, priority="*"))


async def test_n7_the_steward_gives_nothing_away_while_it_is_stopped(tmp_path: Path) -> None:
    """A chain and recurring work wait; each goes on once when the company does."""
    async with office(tmp_path, EDGE + CHECK) as company:
        await say(company, "stopped")
        async with steward(company):
            first = await give(company, NewTask("cto", "rate limits", then=THEN), say=True)
            await work(company, "done")
            await came_again(company, ENDS)
            await came_again(company, TIMERS)
            assert await tasks(company, "security") == []
            assert await tasks(company, "cto") == []
            assert await events_of(company, first.task_id or "", "chained") == []
            await say(company, "running")
            assert (await work(company, "no holes", key=SEC)).parent == first.task_id
            assert (await work(company, "up")).subject == "recurring: health"


class Stumbling(Duty):
    """Is stopped eight times by what a message is about, then fails once, and then can."""

    rule = "stumbling"
    calls = 0

    async def on_event(self, event: Event) -> None:
        self.calls += 1
        if self.calls <= 8:
            raise Halted("stopped")
        if self.calls == 9:
            raise ValueError("a mistake of ours")


async def test_n7_a_long_stop_uses_up_none_of_a_messages_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given back because of a stop has not failed: what fails once after it is tried again."""
    monkeypatch.setattr("clawbus.steward.steward._AGAIN_S", 0.05)
    async with office(tmp_path) as company, steward(company) as one:
        duty = Stumbling(one.context)
        one.duties.append(duty)
        await give(company, NewTask("cto", "x"), say=True)

        async def came_through() -> bool:
            return duty.calls == 10

        await until(came_through, "the message to come once more", 20)


async def test_n7_a_person_hears_of_the_stop_wherever_he_asks(tmp_path: Path) -> None:
    async with office(tmp_path) as company:
        await say(company, "stopped", why="too dear")
        code, said = await clawbus(company, "ask", "cto", "x", "--no-wait")
        assert (code, set(said)) == (0, {"task_id", "state"})
        code, said = await clawbus(company, "state")
        assert (code, said["agents"]["cto"], said["away"]) == (0, "stopped", ["ceo", "cto", "security"])
        (stands,) = said["orders"]
        assert (stands["target"], stands["state"], stands["by"], stands["why"]) == (
            "all",
            "stopped",
            "owner",
            "too dear",
        )
        _, checks = await clawbus(company, "doctor")
        (bus,) = [check for check in checks if check["name"].startswith("bus ")]
        assert "the company is stopped by owner: too dear" in bus["detail"]


async def test_n7_a_stopped_agent_may_read_and_may_not_send(tmp_path: Path) -> None:
    """The refusal says who stopped it, why, and that trying again does not help; no gateway is needed for it."""
    async with office(tmp_path) as company:
        await company.start("node-hq")
        task = await company.tool("hq", "ceo", "nats_spawn", agentId="cto", task="before")
        assert task["ok"], task
        await say(company, "stopped", why="too dear")

        async def refused() -> bool:
            return not (await company.tool("hq", "ceo", "nats_pub", to="cto", message="x"))["ok"]

        await until(refused, "the node to obey")
        sends: list[tuple[str, dict[str, Any]]] = [
            ("nats_pub", {"to": "cto", "message": "x"}),
            ("nats_spawn", {"agentId": "cto", "task": "x"}),
            ("nats_spawn", {"tasks": [{"agentId": "cto", "task": "x"}, {"agentId": "security", "task": "y"}]}),
            ("nats_request", {"agentId": "cto", "task": "x"}),
            ("nats_inbox", {"action": "answer", "messageId": "1", "message": "x"}),
            ("nats_tasks", {"action": "steer", "taskIds": [task["data"]["taskId"]], "message": "x"}),
        ]
        for tool, params in sends:
            answer = await company.tool("hq", "ceo", tool, **params)
            assert answer["text"] == (
                "the company is stopped by owner: too dear; nothing was sent\nDo not try again: say so, and end your "
                "turn. Only a person can end this (`clawbus resume --all`). Reading still works."
            ), tool
        reads: list[tuple[str, dict[str, str]]] = [
            ("nats_inbox", {}),
            ("nats_tasks", {"action": "list"}),
            ("nats_org", {}),
        ]
        assert [(await company.tool("hq", "ceo", tool, **params))["ok"] for tool, params in reads] == [True] * 3
        cancelled = await company.tool("hq", "ceo", "nats_tasks", action="cancel", taskIds=[task["data"]["taskId"]])
        assert cancelled["ok"], cancelled
        assert len(await stored(company, TASKS, "acme.tasks.>")) == 1
        await say(company, "paused", target="ceo")
        await say(company, "running")

        async def sent() -> bool:  # a paused agent finishes its turn, and may send in it
            return bool((await company.tool("hq", "ceo", "nats_pub", to="cto", message="x"))["ok"])

        await until(sent, "the node to obey")


PROGRAM = """
company = "acme"
bus.port = {port}
[[gateways]]
id = "shop"
kind = "program"
[[agents]]
id = "qa"
gateway = "shop"
[[humans]]
id = "owner"
"""


async def test_n7_up_shows_what_is_stopped(tmp_path: Path) -> None:
    up = Up(tmp_path, PROGRAM.format(port=free_ports(1)[0]))
    try:
        await up.ready()
        stopped = up.run("stop", "--all", "--why", "a drill")
        assert stopped.returncode == 0, stopped.stderr
        assert "the company is stopped: no turn begins" in stopped.stdout
        assert "away; they obey when they are back: qa" in stopped.stdout

        async def shown() -> bool:
            return "the company is stopped by owner: a drill" in up.log.read_text()

        await until(shown, "the stop on the screen")
        assert up.run("pause", "qa").returncode == 0
        resumed = up.run("resume", "--all", "--json")
        assert json.loads(resumed.stdout)["state"] == "running"
        state = up.run("state")
        assert "qa is paused by owner" in state.stdout

        async def over() -> bool:
            return "the company may work again" in up.log.read_text()

        await until(over, "its end on the screen")
    finally:
        up.end()
