"""A gateway that fails every turn of an agent before its model is asked (ADR 26), and aborts that must not make one.

Twenty times, beside other work:
    for n in $(seq 20); do pytest tests/gateway/test_poisoned.py tests/gateway/test_steering.py -m gateway -q || break; done
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbus import connect
from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.steward.alert_states import Alert
from tests.company import Live, duo_toml, free_ports, live, until
from tests.gateway.hurting import hurt, hurting
from tests.server.office import alert_of
from tests.up import Up

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]
TOML = """
company = "acme"
bus.port = {0}
policies.lease_s = 10
[[gateways]]
id = "hq"
port = {1}
[[agents]]
id = "ceo"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto"
role = "role-devops"
reports_to = "ceo"
gateway = "hq"
"""


@pytest.fixture
async def up(tmp_path: Path, claw: OpenClaw, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Up]:
    monkeypatch.setenv("CLAWBUS_OPENCLAW", str(hurting(claw, tmp_path).script.parent))
    company = Up(tmp_path, TOML.format(*free_ports(2)))
    try:
        await company.ready()
        yield company
    finally:
        company.end()


async def told(live: Live, task_id: str) -> dict[str, list[Any]]:
    """What was said of a task's attempts, by kind of event."""
    async with live.owner() as bus:
        events = await live.company.history(bus).events(task_id)
    return {kind: [one.detail.get("attempt") for one in events if one.kind == kind]
            for kind in ("started", "retrying", "interrupted", "breaker_open")}  # fmt: skip


def is_first_attempt(said: dict[str, list[Any]]) -> bool:
    return set(said["started"]) == {1} and said["retrying"] == said["breaker_open"] == []


async def test_up_restarts_a_gateway_of_its_own_whose_turns_fail_before_a_model_is_asked(up: Up) -> None:
    """Tasks, mail and the announce of a result wait; then each ends as if nothing had been, at its first attempt."""
    gateway = up.pid("gateway-hq")
    async with connect(up.file) as client:
        for agent in ("ceo", "cto"):  # the last one's database is still open
            assert (await client.ask(agent, "@reply well", timeout_s=120)).text == "well"
        await hurt(up.live.home, "hq")
        given = [await client.start("cto", f"@reply after-{number}") for number in range(6)]
        mail = await client.start("ceo", "@reply ceo-after")
        results = [await client.wait(task, 240) for task in (*given, mail)]
    assert [one.text for one in results] == [*(f"after-{number}" for number in range(6)), "ceo-after"]
    said = [await told(up.live, task.id) for task in (*given, mail)]
    assert all(is_first_attempt(one) for one in said), said
    assert any(one["interrupted"] for one in said)  # it did fail
    assert up.pid("gateway-hq") != gateway
    shown = up.log.read_text()
    assert shown.count("gateway-hq is restarted: its turns fail before a model is asked") == 1
    assert "gateway-hq died" not in shown
    assert "received SIGTERM; shutting down" in up.live.home.log("gateway-hq").read_text()  # OpenClaw's words

    async def no_alert() -> bool:  # that of the tasks which waited clears with the steward's next look
        return (await asyncio.to_thread(up.run, "alerts")).returncode == 0

    await until(no_alert, "every alert to clear", 60)
    assert up.run("doctor").returncode == 0, up.run("doctor").stdout


def doctor_of(company: Live, gateway: str) -> dict[str, Any]:
    """What `clawbus doctor` says of a gateway."""
    done = subprocess.run(
        [sys.executable, "-m", "clawbus", "doctor", "--json"], check=False, cwd=company.org_file.parent,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    (line,) = [one for one in json.loads(done.stdout) if one["name"] == f"gateway {gateway}"]
    return {**line, "code": done.returncode}


async def test_a_gateway_of_others_has_an_alert_that_names_it_and_its_tasks_wait(
    tmp_path: Path, claw: OpenClaw, model: ScriptedModel
) -> None:
    """Nobody restarts what is not ours. When somebody has, all goes on by itself, and the alert is gone."""
    ports = free_ports(3)
    toml = duo_toml(ports).replace(
        f'id = "lab"\nport = {ports[2]}',
        f'id = "lab"\nport = {ports[2]}\nown = false\ntoken_file = ".clawbus/gateways/lab/token"',
    )
    async with live(tmp_path, hurting(claw, tmp_path), model.url, toml) as duo:
        await duo.start("gateway-hq", "gateway-lab", "node-hq", "node-lab", "steward-1")
        await duo.online("ceo-genesis", "cto-athena")
        await duo.say("hq", "ceo-genesis", "@reply hello")
        first = await duo.spawn("@reply well")
        assert (await duo.settled(first)).state == "done"
        assert doctor_of(duo, "lab")["ok"]
        await hurt(duo.home, "lab")
        given = [await duo.spawn(f"@reply after-{number}") for number in range(4)]
        alert: Alert = await alert_of(duo, "gateway", "lab", True)
        assert "The gateway lab fails every turn of cto-athena before a model is asked" in alert.text
        assert f"Restart it: end the OpenClaw gateway on port {ports[2]}" in alert.text
        line = doctor_of(duo, "lab")
        assert (line["ok"], line["code"]) == (False, 1)
        assert "fails every turn of cto-athena" in line["detail"]
        assert "Restart it" in line["remedy"]
        assert doctor_of(duo, "hq")["ok"]
        assert [(await duo.view(task)).ended_by for task in given] == [""] * 4
        duo.kill("gateway-lab", signal.SIGTERM)
        await duo.start("gateway-lab")
        views = [await duo.settled(task, 180) for task in given]
        assert [(view.state, view.result) for view in views] == [("done", f"after-{n}") for n in range(4)]
        said = [await told(duo, task) for task in given]
        assert all(is_first_attempt(one) for one in said), said
        await alert_of(duo, "gateway", "lab", False)
        assert doctor_of(duo, "lab")["ok"]
        assert (await duo.settled(await duo.spawn("@reply given after"))).state == "done"  # no breaker is open


@pytest.mark.asyncio(loop_scope="module")
async def test_cancels_in_waves_of_twelve_hurt_nobody_else(duo: Live) -> None:
    """Each is cancelled while its turn is prepared, or is at work; those between them end well, at their first try."""
    kept: list[str] = []
    for wave in range(3):
        kept += await _a_wave(duo, wave)
    views = [await duo.settled(task, 180) for task in kept]
    assert {(view.state, view.result.split()[-1]) for view in views} == {("done", "kept")}
    said = [await told(duo, task) for task in kept]
    assert all(is_first_attempt(one) for one in said), said
    assert (await duo.settled(await duo.spawn("@reply still alive"))).result == "still alive"
    assert "admission is closed" not in duo.home.log("gateway-lab").read_text()


async def _a_wave(duo: Live, wave: int) -> list[str]:
    """Twelve tasks at once, of which three are kept; the cancel of each comes a little later than that of the last."""
    tasks = await asyncio.gather(*(duo.spawn(f"@exec sleep 0.{n}\n@reply kept") for n in range(12)))
    kept, ended = tasks[wave::4], [task for task in tasks if task not in tasks[wave::4]]

    async def cancel(number: int, task_id: str) -> dict[str, Any]:
        async def later() -> bool:
            said = await told(duo, task_id)
            return bool(said["started"]) or number % 3 == 0  # some are cancelled before they begin

        await until(later, f"{task_id} begun", 120)
        return await duo.tool("hq", "ceo-genesis", "nats_tasks", action="cancel", taskIds=[task_id])

    answers = await asyncio.gather(*(cancel(number, task) for number, task in enumerate(ended)))
    assert all(answer["ok"] for answer in answers), answers
    return list(kept)


@pytest.mark.asyncio(loop_scope="module")
async def test_work_that_a_restarted_gateway_resumes_while_its_model_thinks_is_not_done_twice(
    duo: Live, brain: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said by such a run before its model's first word; it is stopped before, and the next attempt goes on."""
    monkeypatch.setattr(brain, "pace_s", 20.0)
    task_id = await duo.spawn("@reply thought over")

    async def thinking() -> bool:
        return any(turn.get("task") == task_id for turn in brain.turns)

    await until(thinking, "the model to think", 60)
    duo.kill("gateway-lab")
    await duo.start("gateway-lab")
    view = await duo.settled(task_id, 180)
    assert (view.state, view.result) == ("done", "thought over")
    session = await duo.transcript("lab", f"agent:cto-athena:nats:{task_id}")
    assert [text for role, text in session if role == "assistant" and text] == ["thought over"]
