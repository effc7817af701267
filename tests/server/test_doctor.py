"""The doctor on a machine where little runs: it reports, and never raises or changes anything."""

from __future__ import annotations

import io
import socket
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from clawbus import org as orgs
from clawbus.errors import BusAway
from clawbus.ops.doctor import Check, examine, render
from clawbus.org import Org
from clawbus.provision import server
from clawbus.provision.config import write_config
from clawbus.settings import Home


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def org() -> Org:
    gateways = [{"id": "hq", "port": free_port()}, {"id": "lab", "port": free_port(), "own": False}]
    agents = [{"id": "ceo", "gateway": "hq"}, {"id": "cto", "gateway": "lab"}]
    data = {"company": "acme", "bus": {"port": free_port()}, "gateways": gateways, "agents": agents}
    return orgs.parse(data)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


async def test_without_a_company_the_programs_are_looked_at() -> None:
    """`clawbus doctor` before `clawbus init` says what this machine has."""
    assert [check.name for check in await examine(None, None)] == ["Node.js", "OpenClaw", "nats-server"]


async def test_what_does_not_run_has_its_remedy(org: Org, tmp_path: Path) -> None:
    """Each part that is down is a failure with a command beside it; what cannot be known is no failure."""
    home = Home(tmp_path / ".clawbus")
    checks = by_name(await examine(org, home))
    for name in (f"bus {org.url}", "gateway hq", "node of hq"):
        assert checks[name].ok is False
        assert "clawbus up" in checks[name].remedy
    assert "openclaw gateway run" in checks["gateway lab"].remedy
    assert checks["plugin in hq"].ok is None
    assert not home.root.exists()


async def test_the_bus_is_asked_when_it_greets(org: Org, tmp_path: Path) -> None:
    """A server that greets is then asked for JetStream, and its refusal is reported with the remedy."""

    async def answers() -> str:
        return "5 streams"

    async def refuses() -> str:
        raise BusAway("JetStream does not answer", "Look at the log.")

    home = Home(tmp_path / ".clawbus")
    config = write_config(home, org)
    process = subprocess.Popen(server.command(server.find_server(), config), env={})
    try:
        await server.wait_ready(org.bus.port, 5)
        name = f"bus {org.url}"
        assert by_name(await examine(org, home, probe_bus=answers))[name] == Check(name, True, "5 streams")
        refused = by_name(await examine(org, home, probe_bus=refuses))[name]
        assert (refused.ok, refused.remedy) == (False, "Look at the log.")
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("width", [20, 40, 200])
def test_it_fits_any_terminal(width: int) -> None:
    """Nothing is cut off or wider than the terminal, and text of others is not read as markup."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    render([Check("node of hq", False, "[red]no answer[/red] " * 4, "Run `clawbus up`.")], console)
    assert max(len(line) for line in out.getvalue().splitlines()) <= width
    text = " ".join(out.getvalue().split())
    assert text.count("[red]no answer[/red]") == 4
    assert text.endswith("Run `clawbus up`.")
