"""Rows N12 and K3 with a real OpenClaw on the second machine: it comes in by one line; its cable is cut and healed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clawbus.gateway.setup import installation as openclaw
from tests.company import until
from tests.gateway.test_join import UserGateway
from tests.netns import Machine, two_machines
from tests.server.test_second_machine import CLAWBUS, Place, invited, org_toml

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]


async def test_n12_a_gateway_of_the_company_on_a_second_machine(tmp_path: Path, claw: openclaw.OpenClaw) -> None:
    """`clawbus up` there runs it; it takes tasks over TLS, and what is given while the cable is cut is done after."""
    with two_machines() as cable:
        hub, there = Place(cable.hub, tmp_path / "hub"), Place(cable.other, tmp_path / "there")
        toml = org_toml(cable.hub.address).replace('kind = "program"\nelsewhere', "port = 18909\nelsewhere")
        (hub.folder / "org.toml").write_text(toml)
        try:
            hub.up()
            await hub.says("acme is up on tls://")
            assert there.clawbus("join", invited(hub)).returncode == 0
            there.up()
            await there.says("acme is up on tls://", 300)
            done = await asyncio.to_thread(hub.clawbus, "ask", "cto", "@reply I am over here")
            assert "I am over here" in done.stdout, done.stdout + done.stderr + there.log.read_text()

            cable.cut()
            asking = asyncio.create_task(asyncio.to_thread(hub.clawbus, "ask", "cto", "@reply and back again"))

            async def queued() -> bool:
                return "queued" in (await asyncio.to_thread(hub.clawbus, "tasks", "--open")).stdout

            await until(queued, "the task at the server", 30)
            cable.heal()
            done = await asking
            assert "and back again" in done.stdout, done.stdout + done.stderr + there.log.read_text()
        finally:
            there.end()
            hub.end()


async def test_k3_a_gateway_of_the_company_behind_a_leaf(tmp_path: Path, claw: openclaw.OpenClaw) -> None:
    """Its node dials the loopback only; an agent's turn calls tools through the leaf; a short cut loses nothing."""
    with two_machines() as cable:
        hub, there = Place(cable.hub, tmp_path / "hub"), Place(cable.other, tmp_path / "there")
        toml = org_toml(cable.hub.address).replace('kind = "program"\nelsewhere', "port = 18909\nelsewhere")
        (hub.folder / "org.toml").write_text(toml)
        try:
            hub.up()
            await hub.says("acme is up on tls://")
            hub.program("hq")
            assert there.clawbus("join", invited(hub)).returncode == 0
            there.start(*CLAWBUS, "leaf")
            await there.says("lab: connected to")
            there.end()
            there.processes.clear()
            there.up()
            await there.says("acme is up on nats://127.0.0.1:4222", 300)
            done = await asyncio.to_thread(hub.clawbus, "ask", "cto", "@reply I am behind a leaf")
            assert "I am behind a leaf" in done.stdout, done.stdout + done.stderr + there.log.read_text()
            passed_on = f"@tool nats_request {json.dumps({'agentId': 'ceo', 'task': 'are you there?'})}"
            done = await asyncio.to_thread(hub.clawbus, "ask", "cto", passed_on)
            assert "are you there? (attempt 1)" in done.stdout, done.stdout + done.stderr + there.log.read_text()
            assert dialled(cable.other) == {f"{cable.hub.address}:7422"}

            cable.cut()
            asking = asyncio.create_task(asyncio.to_thread(hub.clawbus, "ask", "cto", "@reply and back again"))

            async def queued() -> bool:
                return "queued" in (await asyncio.to_thread(hub.clawbus, "tasks", "--open")).stdout

            await until(queued, "the task at the server", 30)
            cable.heal()
            done = await asking
            assert "and back again" in done.stdout, done.stdout + done.stderr + there.log.read_text()
        finally:
            there.end()
            hub.end()


def dialled(machine: Machine) -> set[str]:
    """To where a machine has connections, but for its own loopback."""
    lines = machine.run("ss", "-Htn", "state", "established").stdout.splitlines()
    return {peer for peer in (line.split()[3] for line in lines) if not peer.startswith("127.")}


async def test_n12_a_gateway_of_the_users_own_comes_in_by_the_same_line(
    tmp_path: Path, claw: openclaw.OpenClaw
) -> None:
    """`join CODE` goes on into that gateway's settings; the socket that stands there is its node's on that machine."""
    with two_machines() as cable:
        hub, there = Place(cable.hub, tmp_path / "hub"), Place(cable.other, tmp_path / "there")
        (tmp_path / "mine").mkdir()
        mine = UserGateway(tmp_path / "mine", 18909)
        mine.write()
        theirs = f'port = 18909\nown = false\ntoken_file = "{mine.folder / "token"}"\nelsewhere'
        toml = org_toml(cable.hub.address).replace('kind = "program"\nelsewhere', theirs)
        (hub.folder / "org.toml").write_text(toml)
        try:
            hub.up()
            await hub.says("acme is up on tls://")
            options = ("--config", str(mine.config), "--state", str(mine.folder / "state"), "--yes")
            done = await asyncio.to_thread(there.clawbus, "join", invited(hub), *options)
            assert done.returncode == 0, done.stdout + done.stderr
            entry = mine.settings()["plugins"]["entries"]["clawbus"]
            assert entry["config"]["socket"] == str(there.home.socket("lab"))
            assert "clawbus up" in done.stdout
        finally:
            hub.end()
