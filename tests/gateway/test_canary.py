"""With real OpenClaw gateways: their tokens and a model's key are in no log, transcript, dump, or printed line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from clawbus.gateway.setup.installation import OpenClaw
from tests.canaries import Secret, core_limits, files_of, leaks, planted, processes
from tests.company import duo_toml, free_ports, until
from tests.up import Up

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]

MODEL_KEY, OTHER_KEY = (f"{name}-{token_hex(16)}" for name in ("sk-ant", "sk-other"))
KEPT_BY_OPENCLAW = frozenset({f".clawbus/gateways/lab/openclaw.json{copy}" for copy in ("", ".bak", ".last-good")})
CLAWBUS = [sys.executable, "-m", "clawbus"]


def environ_of(pid: int) -> str:
    return f"/proc/{pid}/environ"


def family_of(pid: int) -> set[int]:
    """A process and all that came of it, in whatever group."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


async def test_no_secret_leaves_a_company_of_gateways(
    tmp_path: Path, claw: OpenClaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's key is in the environment of the gateway whose agent uses that model, and of nobody else."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", MODEL_KEY)
    ports = free_ports(3)
    toml = duo_toml(ports).replace(
        '[[humans]]', '[[agents]]\nid = "qa"\nreports_to = "cto-athena"\ngateway = "lab"\nmodel = "anthropic/claude-sonnet-5"\n[[humans]]'
    )  # fmt: skip
    up = Up(tmp_path, toml)
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    said: list[tuple[str, bytes]] = []

    def run(*args: str) -> str:
        done = subprocess.run([*CLAWBUS, "-vv", *args], check=False, cwd=tmp_path, capture_output=True, timeout=120)
        said.append((f"what `clawbus {args[0]}` prints", done.stdout + done.stderr))
        return done.stdout.decode()

    try:
        await up.ready()
        assert run("ask", "cto-athena", "@reply here") == "here\n"
        assert "dead" not in run("ask", "cto-athena", "@tool nats_org {}")
        run("ask", "ceo-genesis", "@spawn cto-athena @reply there")
        config = up.live.home.root / "gateways" / "lab" / "openclaw.json"
        settings = json.loads(config.read_text())
        settings["skills"]["entries"] = {"weather": {"apiKey": OTHER_KEY}}  # as its user may put it there
        config.write_text(json.dumps(settings, indent=2))
        up.file.write_text(toml.replace(f"port = {ports[2]}", f"port = {ports[2] + 1}"))
        assert '"apiKey": "(not shown)"' in run("plan", "--diff")
        run("plan", "--json")
        up.file.write_text(toml)
        run("doctor", "--json")
        secrets = [
            *planted(tmp_path),
            Secret("a model provider's key", (MODEL_KEY.encode(),)),
            Secret("a key in openclaw.json", (OTHER_KEY.encode(),), KEPT_BY_OPENCLAW),
        ]
        assert {".clawbus/gateways/hq/token", ".clawbus/gateways/lab/token"} <= {one.name for one in secrets}
        names = ("gateway-hq", "gateway-lab", "node-hq", "node-lab", "steward", "nats-server")
        pids = {name: up.pid(name) for name in names}
        assert core_limits(pids) == dict.fromkeys(pids, "0")
        family = family_of(pids["gateway-lab"])
        here = list(processes(but=(up.process.pid,)))
        told = {environ_of(pid) for pid in family | family_of(pids["gateway-lab"])}  # some live shortly
        for name in ("gateway-hq", "node-lab"):
            os.kill(pids[name], signal.SIGABRT)

        async def again() -> bool:
            return all(f"{name} back" in up.log.read_text() for name in ("gateway-hq", "node-lab"))

        await until(again, "both, started again", 120)
        found = [*files_of(tmp_path), *here, *said]
    finally:
        up.end()
    places = {name for name, _ in found}
    assert not [name for name in places if re.search(r"(^|/)core(\.\d+)?$", name)]
    assert any("/sessions/" in name or name.endswith(".jsonl") or "/state/" in name for name in places)
    key = "a model provider's key is in "
    out = leaks(secrets, found)
    assert [one for one in out if one.removeprefix(key) not in told] == []
    assert f"{key}{environ_of(pids['gateway-lab'])}" in out  # where it is needed


async def test_no_secret_is_in_the_demos_json(tmp_path: Path, claw: OpenClaw) -> None:
    """Its company is gone when it ends: its secrets are read while it runs, and looked for in all that it leaves."""
    (tmp_path / "temp").mkdir()
    env = {**os.environ, "TMPDIR": str(tmp_path / "temp")}
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        demo = subprocess.Popen([*CLAWBUS, "-vv", "demo", "--json"], cwd=tmp_path, env=env, stdout=out, stderr=err)
    try:

        async def up() -> bool:
            assert demo.poll() is None, (tmp_path / "err").read_text()
            return "the CEO is asked" in (tmp_path / "err").read_text()

        await until(up, "the demo's company", 300)
        (folder,) = (tmp_path / "temp").glob("clawbus-demo-*")
        secrets = planted(folder)
        here = list(processes())
        assert await asyncio.to_thread(demo.wait, 300) == 0, (tmp_path / "err").read_text()
    finally:
        demo.terminate()  # it ends what it has started; if it was killed, that would run on
        demo.wait(60)
    assert {".clawbus/keys/gw-hq.nk", ".clawbus/gateways/lab/token", ".clawbus/authority/operator.nk"} <= {
        name for one in secrets for name in one.holders
    }
    left = list(files_of(tmp_path))
    assert {"out", "err"} < {name for name, _ in left}
    assert json.loads((tmp_path / "out").read_text())["report"]
    gone = [Secret(one.name, one.values) for one in secrets]
    assert leaks(gone, [*left, *here]) == []
