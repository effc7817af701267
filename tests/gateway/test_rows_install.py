"""Row C6: each way into a gateway that somebody has set up, with the real openclaw, until its model calls one of the tools."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clawbus.gateway.setup import installation as openclaw
from tests.company import free_ports
from tests.gateway.test_join import NAMES, Model, UserGateway, turn

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
SKILLS = {folder.name for folder in (ROOT / "skills").iterdir()}


async def by_join(mine: UserGateway, claw: openclaw.OpenClaw) -> None:
    """`clawbus join`."""
    argv = [sys.executable, "-m", "clawbus", "join", "--config", str(mine.config), "--state", str(mine.folder / "state"),
            "--socket", str(mine.socket), "--yes"]  # fmt: skip
    done = await asyncio.to_thread(
        subprocess.run, argv, check=False, cwd=mine.folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def by_hand(mine: UserGateway, claw: openclaw.OpenClaw) -> None:
    """OpenClaw's own commands, on the folders of the clone."""
    command = mine.joining(claw).openclaw
    for args in (
        ("plugins", "install", str(ROOT / "plugin" / "openclaw"), "--force", "--accept-capabilities"),
        ("config", "set", "plugins.entries.clawbus.config.socket", str(mine.socket)),
        ("plugins", "enable", "clawbus", "--accept-capabilities"),
        *(("skills", "install", str(ROOT / "skills" / name)) for name in sorted(SKILLS)),
    ):
        done = await command.run(*args)
        assert done.code == 0, (args, done.out, done.err)


@pytest.mark.parametrize("install", [by_join, by_hand])
async def test_c6_installed_as_openclaw_installs_plugins_and_skills(
    tmp_path: Path, claw: openclaw.OpenClaw, install: Any
) -> None:
    """The skills are ready, the model is offered the six tools, and its call reaches the node's socket."""
    model, calls = Model(), asyncio.Queue[dict[str, Any]]()

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.put_nowait(json.loads(await reader.readline()))
        writer.write(b'{"ok":true,"text":"nobody is online"}\n')
        writer.close()

    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    mine = UserGateway(tmp_path, free_ports(1)[0], server.sockets[0].getsockname()[1])
    mine.write()
    await install(mine, claw)
    joining = mine.joining(claw)
    listed = (await joining.openclaw.run("skills", "list", "--json")).data()["skills"]
    ready = {skill["name"] for skill in listed if skill["eligible"] and not skill["disabled"]}
    assert ready >= SKILLS
    async with server, await asyncio.start_unix_server(node, mine.socket), mine.running(joining) as rpc:
        await turn(rpc, 1)
    assert {tool["function"]["name"] for tool in model.tools()} == {*NAMES}
    assert model.answers() == ["nobody is online"]
    assert (calls.get_nowait()["tool"], calls.qsize()) == ("nats_org", 0)
