"""A company on two machines with a cable between them: its own, and one that has joined and stands behind a leaf.

Each is a network namespace. On the company's own runs a real `clawbus up`; on the other what the test starts: the leaf,
the node of an agent, the program of another. Both folders lie in the test's, so that a node's socket can be called.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from clawbus.settings import Home
from tests.company import ROOT, until
from tests.netns import Machine, Wire, two_machines

CLAWBUS = [sys.executable, "-m", "clawbus", "-v"]


def branch_toml(listen: str, credentials: str) -> str:
    """The CEO, a program, lives on the company's own machine; the CTO, with a node, and Ada, a program, elsewhere."""
    return f"""
company = "acme"
policies.lease = "10s"
bus.listen = "{listen}"
bus.credentials = "{credentials}"
[[gateways]]
id = "hq"
kind = "program"
[[gateways]]
id = "lab"
port = 19789
elsewhere = true
[[gateways]]
id = "shop"
kind = "program"
elsewhere = true
[[agents]]
id = "ceo-genesis"
role = "role-ceo"
gateway = "hq"
[[agents]]
id = "cto-athena"
role = "role-cto"
reports_to = "ceo-genesis"
gateway = "lab"
[[agents]]
id = "eng-ada"
reports_to = "cto-athena"
gateway = "shop"
[[humans]]
id = "owner"
"""


class Branch:
    """Both machines. Processes are named by what they are: up, hq; leaf, lab, shop."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        self.wire = wire
        self.folders = {wire.hub.name: folder / "own", wire.other.name: folder / "elsewhere"}
        for place in self.folders.values():
            place.mkdir()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.home = Home(self.folders[wire.other.name] / ".clawbus")

    # -- processes ---------------------------------------------------------------------------------------------------

    def log(self, name: str) -> Path:
        return next(iter(self.folders.values())).parent / f"{name}.log"

    def start(self, name: str, machine: Machine, *command: str) -> None:
        with self.log(name).open("ab") as log:
            self.processes[name] = machine.start(
                *command, log=log, cwd=self.folders[machine.name], env={"PYTHONPATH": str(ROOT)}
            )

    def clawbus(self, machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return machine.run(*CLAWBUS, *words, cwd=self.folders[machine.name], timeout_s=90)

    async def says(self, name: str, text: str, timeout_s: float = 40.0) -> None:
        """Wait until a process has printed a text."""

        async def look() -> bool:
            said = self.log(name).read_text()
            assert text in said or self.processes[name].poll() is None, said
            return text in said

        await until(look, f"{name} says {text!r}", timeout_s)

    def forget(self, name: str) -> None:
        """What a process has printed is not looked at again."""
        os.truncate(self.log(name), 0)

    def end(self, name: str, signum: int = signal.SIGTERM) -> int:
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        return process.wait(30)

    async def leaf(self, *options: str) -> None:
        """Start the leaf, and wait until both of its gateways are connected."""
        self.start("leaf", self.wire.other, *CLAWBUS, "leaf", *options)
        for gateway in ("lab", "shop"):
            await self.says("leaf", f"{gateway}: connected to")

    async def agents(self) -> None:
        """Start who works: the programs of both machines, and the node of the CTO."""
        self.start("hq", self.wire.hub, sys.executable, "-m", "tests.program", "--org", "org.toml", "--gateway", "hq")
        self.start("lab", self.wire.other, *CLAWBUS, "node", "--gateway", "lab")
        self.start("shop", self.wire.other, sys.executable, "-m", "tests.program", "--org", "org.toml", "--gateway", "shop")  # fmt: skip

        async def look() -> bool:
            found = await self.tool("nats_org", online=True)
            return {"ceo-genesis", "eng-ada"} <= {one["id"] for one in found["data"].get("agents", [])}

        async def listens() -> bool:
            try:
                return bool((await self.tool("nats_org"))["ok"])
            except OSError:
                return False

        await until(listens, "the node's socket", 40)
        await until(look, "both programs online, as the node behind the leaf sees it", 40)

    # -- what agents and people do -----------------------------------------------------------------------------------

    async def call(self, tool: str, **params: Any) -> Awaitable[dict[str, Any]]:
        """A tool call of the CTO, over its node's socket, as the shim makes it. Returns when it is made: await the answer."""
        reader, writer = await asyncio.open_unix_connection(self.home.socket("lab"), limit=4 << 20)
        call = {"v": 1, "tool": tool, "params": params, "agentId": "cto-athena", "sessionKey": "agent:cto-athena:main"}
        writer.write(json.dumps(call).encode() + b"\n")
        await writer.drain()

        async def answer() -> dict[str, Any]:
            said: dict[str, Any] = json.loads(await reader.readline())
            writer.close()
            return said

        return answer()

    async def tool(self, tool: str, **params: Any) -> dict[str, Any]:
        """As `call`, with the answer."""
        return await (await self.call(tool, **params))

    def program(self, script: str) -> str:
        """A Python program on the company's own machine, which speaks for the owner. Returns what it prints."""
        lines = "\n".join(f"        {line}" for line in script.strip().splitlines())
        whole = f"""
import asyncio
from clawbus import connect
async def main():
    async with connect("org.toml") as client:
{lines}
asyncio.run(main())
"""
        run = self.wire.hub.run(sys.executable, "-c", whole, cwd=self.folders[self.wire.hub.name])
        assert run.returncode == 0, run.stderr
        return run.stdout

    def owner(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the owner, on the company's own machine."""
        return self.clawbus(self.wire.hub, *words)

    def waiting(self, who: str) -> list[dict[str, Any]]:
        """What waits in an inbox, as the owner sees it."""
        run = self.owner("inbox", who, "--json", "--limit", "256")
        assert run.returncode == 0, run.stderr
        found: list[dict[str, Any]] = json.loads(run.stdout)
        return found


@contextlib.asynccontextmanager
async def branch(folder: Path, *agents: str, credentials: str = "7d") -> AsyncIterator[Branch]:
    """A company that is up, and a machine that has joined it with these agents; no leaf yet."""
    with two_machines() as wire:
        two = Branch(folder, wire)
        (two.folders[wire.hub.name] / "org.toml").write_text(branch_toml(wire.hub.address, credentials))
        two.start("up", wire.hub, *CLAWBUS, "up")
        await two.says("up", "acme is up", 60)
        invited = two.owner("invite", *(agents or ("cto-athena", "eng-ada")))
        assert invited.returncode == 0, invited.stderr
        code = next(word for word in invited.stdout.split() if word.startswith("clawbus1:"))
        joined = two.clawbus(wire.other, "join", code)
        assert joined.returncode == 0, joined.stdout + joined.stderr
        try:
            yield two
        finally:
            for name in reversed(list(two.processes)):
                two.end(name, signal.SIGKILL if name != "up" else signal.SIGTERM)
