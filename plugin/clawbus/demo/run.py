"""The demo: two real gateways, one real nats-server, one task there and its report back; and one kill, if asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clawbus.assets import folder
from clawbus.company import Company
from clawbus.demo.brain import question
from clawbus.errors import Away, ClawbusError, InvalidInput
from clawbus.flow import FlowEvent, watching
from clawbus.gateway import KEY_PREFIX, GatewayRpc, own
from clawbus.gateway.openclaw import OpenClaw
from clawbus.org import load
from clawbus.running import SERVER, Plan, running
from clawbus.supervisor import Supervisor

KILLS = {"worker": "gateway-lab", "node": "node-lab", "server": SERVER}
"""What --kill kills: the worker's gateway with the turn in it, the worker's node, or the bus."""
CEO, CTO, SESSION = "ceo-genesis", "cto-athena", "agent:ceo-genesis:main"
_LIMIT_S = 420.0
_PACE_S = 1.5
"""With --kill the scripted model thinks that long before each answer, so that there is a middle to be killed in."""


@dataclass(frozen=True)
class Wish:
    """What the demo is asked to do. `model` is "scripted" or provider/model."""

    app: Path
    claw: OpenClaw
    kill: str | None = None
    model: str = own.SCRIPTED
    nats_server: Path | None = None


@dataclass
class Outcome:
    """What came of it."""

    folder: Path
    tasks: list[dict[str, Any]] = field(default_factory=list)
    events: list[FlowEvent] = field(default_factory=list)
    report: str = ""
    recommendation: str = ""
    took_s: float = 0.0

    @property
    def timeline(self) -> Path:
        return self.folder / "timeline.json"


def app_folder(given: Path | None) -> Path:
    """The tree to be looked at: the given one, or the example. Raises InvalidInput if there is no such folder."""
    app = (given or folder("examples") / "node18-app").resolve()
    if not app.is_dir():
        raise InvalidInput("--app", str(given), "no such folder", "Name the folder of a Node project.")
    return app


async def run(wish: Wish, say: Callable[[str], None], show: Callable[[FlowEvent], None]) -> Outcome:
    """Do it. `say` gets a line of ours, `show` each thing that happens to a task.

    Everything that was started has ended when this returns or raises. On success only the timeline and the logs
    stay in the folder of the outcome, after Ctrl-C nothing does. Raises ClawbusError, with the logs to look at.
    """
    home = Path(tempfile.mkdtemp(prefix="clawbus-demo-"))
    outcome = Outcome(home)
    ports = _free_ports(4)
    company = _company(home, wish.model, ports)
    scripted = wish.model == own.SCRIPTED
    plan = Plan(company, wish.claw, wish.nats_server, ports[3] if scripted else None,
                model_pace_s=_PACE_S if wish.kill else 0.0)  # fmt: skip
    began = time.monotonic()
    try:
        async with running(plan, say, _watch_deaths(wish, say)) as supervisor:
            say(f"ready after {time.monotonic() - began:.1f} s; the CEO is asked about {wish.app}")
            await _conversation(company, supervisor, wish, outcome, show)
    except ClawbusError as error:
        error.remedy = f"{error.remedy}\nThe logs are in {company.home.root / 'logs'}".strip()
        raise
    except asyncio.CancelledError:
        shutil.rmtree(home, ignore_errors=True)
        raise
    outcome.took_s = time.monotonic() - began
    _tidy(company, home)
    return outcome


async def _conversation(company: Company, supervisor: Supervisor, wish: Wish, outcome: Outcome,
                        show: Callable[[FlowEvent], None]) -> None:  # fmt: skip
    """Ask the CEO, watch what comes of it, and take the recommendation that follows the report."""
    hq = company.org.agent(CEO).gateway
    rpc = GatewayRpc(company.org.gateway(hq).port, company.token_file(hq))
    async with (
        company.connect_person(None) as (bus, _),
        watching(bus, company.subjects) as heard,
        rpc.running(),
        _recommendation(rpc) as said,
    ):
        try:
            await asyncio.wait_for(rpc.ready.wait(), 60)
        except TimeoutError:
            raise Away(f"the gateway {hq} took no connection within 60 s", "") from None
        await rpc.call("agent", {
            "message": question(str(wish.app)), "agentId": CEO,
            "sessionKey": SESSION, "idempotencyKey": f"demo-{os.getpid()}", "deliver": False})  # fmt: skip
        following = asyncio.create_task(_follow(heard, supervisor, wish, outcome, show))
        try:
            outcome.recommendation = await _first(said, following)
            await _heard_last(outcome)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        views = await company.history(bus).tasks()
        outcome.tasks = [view.as_json() for view in views]
        outcome.report = next((view.result for view in reversed(views) if view.worker == CTO), "")


async def _first(said: asyncio.Future[str], following: asyncio.Task[None]) -> str:
    """The recommendation; or what went wrong on the way to it."""
    waiting: set[asyncio.Future[Any]] = {said, following}
    await asyncio.wait(waiting, timeout=_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
    if following.done() and not said.done():
        following.result()
    if not said.done():
        raise Away(f"the CEO gave no recommendation within {_LIMIT_S:g} s")
    return said.result()


async def _heard_last(outcome: Outcome) -> None:
    """Give the last event, that the report was announced, a moment to arrive: it is said after the reply began."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while not any(event.kind == "announced" for event in outcome.events):  # noqa: ASYNC110 - bounded
                await asyncio.sleep(0.05)


async def _follow(heard: asyncio.Queue[FlowEvent], supervisor: Supervisor, wish: Wish, outcome: Outcome,
                  show: Callable[[FlowEvent], None]) -> None:  # fmt: skip
    """Show what happens, and kill what is to be killed once the worker is in the middle of its turn."""
    to_kill = KILLS.get(wish.kill or "")
    while True:
        event = await heard.get()
        outcome.events.append(event)
        show(event)
        if to_kill and event.kind == "progress":
            pid, to_kill = supervisor.pid(to_kill), None
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def _recommendation(rpc: GatewayRpc) -> AsyncIterator[asyncio.Future[str]]:
    """The CEO's reply in the turn that the announce of the report has begun: its run id is a key of ours."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def listen(name: str, payload: dict[str, Any]) -> None:
        ours = str(payload.get("runId", "")).startswith(KEY_PREFIX) and payload.get("sessionKey") == SESSION
        if name == "chat" and payload.get("state") == "final" and ours and not said.done():
            parts = (payload.get("message") or {}).get("content") or []
            said.set_result("".join(part.get("text", "") for part in parts if isinstance(part, dict)))

    with rpc.listening(listen):
        yield said


def _watch_deaths(wish: Wish, say: Callable[[str], None]) -> Callable[[str, str, str], None]:
    """Deaths and returns of processes, said as they happen."""
    dead: set[str] = set()

    def on_event(name: str, what: str, detail: str) -> None:
        if what == "died":
            dead.add(name)
            say(f"{name} lost ({detail})" + (": killed by this demo" if KILLS.get(wish.kill or "") == name else ""))
        elif what == "restarting":
            say(f"{name} retrying: it is started again {detail}")
        elif what == "ready" and name in dead:
            dead.discard(name)
            say(f"{name} is back, ready {detail}")

    return on_event


def _company(home: Path, model: str, ports: list[int]) -> Company:
    """The duo of the examples, on ports that are free."""
    text = (folder("examples") / "duo" / "org.toml").read_text("utf-8")
    for port, free in zip(("4222", "18789", "18909"), ports, strict=False):
        text = text.replace(f"port = {port}", f"port = {free}")
    org_file = home / "org.toml"
    org_file.write_text(text.replace('model = "scripted"', f'model = "{model}"'), "utf-8")
    load(org_file)
    return Company.open(org_file)


def _free_ports(count: int) -> list[int]:
    """Free ports; gateways use some above their own, so each is far from the next."""
    found: list[int] = []
    port = 21_000 + os.getpid() % 5_000
    while len(found) < count:
        port += 130
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _tidy(company: Company, home: Path) -> None:
    """Keep the logs; the gateways' states, keys and streams go."""
    logs = home / "logs"
    shutil.move(company.home.root / "logs", logs)
    shutil.rmtree(company.home.root, ignore_errors=True)
    (home / "org.toml").unlink(missing_ok=True)
