"""A real OpenClaw gateway, started from the settings that clawbus writes, under the supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from clawbus import org as orgs
from clawbus.gateway.setup import health as readiness
from clawbus.gateway.setup import installation as openclaw
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.plugin_bundle import assemble
from clawbus.ops.doctor import Check, examine
from clawbus.ops.supervisor import Service, Supervisor
from clawbus.ops.supervisor import pid_files as record
from clawbus.org import Org
from clawbus.settings import Home

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]
READY_S = 300.0  # a restart after kill -9 took 11 to 15 s, and once over four minutes
STOP_S = 10.0


def company() -> Org:
    """One gateway with two agents. Nobody plays their model: these tests run no turn."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    agents = [{"id": "ceo-genesis", "gateway": "hq"}, {"id": "cto-athena", "gateway": "hq"}]
    return orgs.parse({"company": "acme", "gateways": [{"id": "hq", "port": port}], "agents": agents})


async def gateway(home: Home, org: Org) -> tuple[Service, own.ManagedGateway, openclaw.OpenClaw]:
    claw = await openclaw.find(install=True, say=print)
    plugin = assemble(home.dir("plugin") / "clawbus")
    mine = own.write_settings(home, org, "hq", plugin, "http://127.0.0.1:9/v1")

    async def ready() -> None:
        await readiness.wait_ready(mine.port, READY_S)

    argv = claw.argv("gateway", "run")
    env, log = own.environment(mine), home.log("gateway-hq")
    return Service("gateway-hq", argv, env, log, ready, STOP_S, mine.folder), mine, claw


async def test_an_own_gateway_lives_dies_and_comes_back(tmp_path: Path) -> None:
    """It becomes ready, passes OpenClaw's audit without a critical finding, is back after `kill -9`, and ends in time."""
    home, org = Home(tmp_path / ".clawbus"), company()
    service, mine, claw = await gateway(home, org)
    events: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with Supervisor(home, lambda _name, what, detail: events.put_nowait((what, detail))) as supervisor:
        await supervisor.add(service)
        before = mine.config.read_bytes()

        assert await audit(claw, mine) == 0
        assert named(await examine(org, home), "gateway hq").ok is True
        plugin = named(await examine(org, home), "plugin in hq")
        assert plugin.ok is True, plugin
        assert "nats_spawn" in plugin.detail

        first = supervisor.pid(service.name)
        os.kill(first or 0, signal.SIGKILL)
        while (await events.get())[0] != "restarted":
            pass
        while (event := await events.get())[0] != "ready":
            assert event[0] in ("ready", "not ready")
        print("ready again", event[1])
        assert supervisor.pid(service.name) not in (None, first)
        assert await readiness.status_of(mine.port) == 200
        assert mine.config.read_bytes() == before
        last = supervisor.pid(service.name) or 0
        began = time.monotonic()
    assert time.monotonic() - began < STOP_S + 2
    assert record.began_at(last) is None
    assert await readiness.status_of(mine.port) is None


async def audit(claw: openclaw.OpenClaw, mine: own.ManagedGateway) -> int:
    """How many critical findings `openclaw security audit --deep` has."""
    argv = claw.argv("security", "audit", "--deep", "--json")
    run = await asyncio.create_subprocess_exec(
        *argv, env=own.environment(mine), cwd=mine.folder, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await run.communicate()
    report = json.loads(said)
    print(json.dumps(report["findings"], indent=1))
    return int(report["summary"]["critical"])


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)
