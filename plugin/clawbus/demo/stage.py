"""The stage of both demos: a company of the examples, on free ports, in a folder of its own; and what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from clawbus.bus import Bus
from clawbus.client.company import Company
from clawbus.client.watch import WatchEvent, watching
from clawbus.demo.trouble import Trouble, explained
from clawbus.errors import Away, ClawbusError, InvalidInput
from clawbus.gateway import KEY_PREFIX, GatewayRpc, SessionKey
from clawbus.gateway.setup import managed_gateway as own
from clawbus.gateway.setup.installation import OpenClaw
from clawbus.ops.supervisor import Supervisor
from clawbus.ops.up import SERVER, ServicePlan, running
from clawbus.settings import asset_folder
from clawbus.wire.envelope import Status

KILLS = {"worker": "gateway-lab", "node": "node-lab", "server": SERVER}
"""The process that --kill kills: the worker's gateway with the turn in it, the worker's node, or the bus."""
CEO, CTO = "ceo-genesis", "cto-athena"
SESSION = str(SessionKey(CEO, "main"))
LIMIT_S = 420.0
_PACE_S = 1.5
"""With --kill the scripted model thinks that long before each answer, so that there is a middle to be killed in."""
_ASKED = f"demo-{os.getpid()}"
"""The run of the CEO's first turn."""
ENDED_BADLY = frozenset(get_args(Status)) - {"done"}
_PORT = re.compile(r"^port = \d+", re.MULTILINE)


@dataclass(frozen=True)
class Wish:
    """The options of a demo. `model` is "scripted" or provider/model."""

    app: Path
    claw: OpenClaw
    kill: str | None = None
    model: str = own.SCRIPTED
    nats_server: Path | None = None


@dataclass
class Outcome:
    """The results of a demo."""

    folder: Path
    tasks: list[dict[str, Any]] = field(default_factory=list)
    events: list[WatchEvent] = field(default_factory=list)
    report: str = ""
    recommendation: str = ""
    took_s: float = 0.0

    @property
    def timeline(self) -> Path:
        return self.folder / "timeline.json"


@dataclass(frozen=True)
class Stage:
    """A company that is up: its first person's connection, the gateway of its CEO, and what is said of tasks."""

    company: Company
    supervisor: Supervisor
    bus: Bus
    rpc: GatewayRpc
    heard: asyncio.Queue[WatchEvent]
    outcome: Outcome
    trouble: Trouble

    async def ask_ceo(self, text: str) -> None:
        """A message of the user, as a chat would bring it."""
        params = {"message": text, "agentId": CEO, "sessionKey": SESSION, "deliver": False}
        await self.rpc.call("agent", {**params, "idempotencyKey": _ASKED})

    async def see(self, event: WatchEvent) -> None:
        """Keep what has happened to a task. Raises ClawbusError if it has ended, and not well."""
        self.outcome.events.append(event)
        if event.kind in ENDED_BADLY:
            view = await self.company.history(self.bus).task(event.task_id)
            text = f"the task of {event.who} ended {event.kind}: {view.result}"
            raise await explained(text, self.company.org.model, self.rpc)

    async def until(self, *work: asyncio.Future[Any]) -> None:
        """Wait until one of these is done. Raises ClawbusError if a turn of the CEO fails before."""
        told = self.trouble.told
        await asyncio.wait({told, *work}, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if told.done() and not any(one.done() for one in work):
            raise await explained(told.result(), self.company.org.model, self.rpc)

    @contextlib.contextmanager
    def replies(self, hear: Callable[[str], None]) -> Iterator[None]:
        """The CEO's replies in turns that an announce has begun: their run ids are keys of ours."""

        def listen(name: str, payload: dict[str, Any]) -> None:
            ours = str(payload.get("runId", "")).startswith(KEY_PREFIX) and payload.get("sessionKey") == SESSION
            if name == "chat" and payload.get("state") == "final" and ours:
                parts = (payload.get("message") or {}).get("content") or []
                hear("".join(part.get("text", "") for part in parts if isinstance(part, dict)))

        with self.rpc.listening(listen):
            yield


def app_folder(given: Path | None) -> Path:
    """The tree to be looked at: the given one, or the example. Raises InvalidInput if there is no such folder."""
    app = (given or asset_folder("examples") / "node18-app").resolve()
    if not app.is_dir():
        raise InvalidInput("--app", str(given), "no such folder", "Name the folder of a Node project.")
    return app


@contextlib.asynccontextmanager
async def on_stage(
    wish: Wish, example: str, changes: dict[str, str], say: Callable[[str], None]
) -> AsyncIterator[Stage]:
    """Bring the company of an example up, with `changes` to its text, and end all of it after.

    On success only the timeline and the logs stay in the folder of the outcome, after Ctrl-C nothing does. Raises
    ClawbusError, with the logs to look at.
    """
    home = Path(tempfile.mkdtemp(prefix="clawbus-demo-"))
    company, spare = _company(home, example, wish.model, changes)
    scripted = wish.model == own.SCRIPTED
    pace_s = _PACE_S if wish.kill else 0.0
    plan = ServicePlan(company, wish.claw, wish.nats_server, spare if scripted else None, model_pace_s=pace_s)
    outcome, began = Outcome(home), time.monotonic()
    try:
        async with running(plan, say, _watch_deaths(wish, say)) as supervisor:
            say(f"ready after {time.monotonic() - began:.1f} s; the CEO is asked about {wish.app}")
            async with _connected(company, supervisor, outcome, say) as stage:
                yield stage
    except ClawbusError as error:
        error.remedy = f"{error.remedy}\nThe logs are in {company.home.root / 'logs'}".strip()
        raise
    except asyncio.CancelledError:
        shutil.rmtree(home, ignore_errors=True)
        raise
    outcome.took_s = time.monotonic() - began
    _tidy(company, home)


@contextlib.asynccontextmanager
async def _connected(
    company: Company, supervisor: Supervisor, outcome: Outcome, say: Callable[[str], None]
) -> AsyncIterator[Stage]:
    hq = company.org.agent(CEO).gateway
    rpc = GatewayRpc(company.org.gateway(hq).port, company.token_file(hq))
    async with company.connect_person(None) as (bus, _), watching(bus, company.subjects) as heard, rpc.running():
        try:
            async with asyncio.timeout(60):
                await rpc.ready.wait()
        except TimeoutError:
            raise Away(f"the gateway {hq} took no connection within 60 s", "") from None
        trouble = Trouble(SESSION, _ASKED, lambda: any(one.kind == "accepted" for one in outcome.events), say)
        with rpc.listening(trouble.on_event):
            yield Stage(company, supervisor, bus, rpc, heard, outcome, trouble)
        views = await company.history(bus).tasks()
        outcome.tasks = [view.as_json() for view in views]
        outcome.report = next((view.result for view in reversed(views) if view.worker == CTO), "")


def _watch_deaths(wish: Wish, say: Callable[[str], None]) -> Callable[[str, str, str], None]:
    """Deaths and returns of processes, said as they happen."""
    dead: set[str] = set()

    def on_event(name: str, what: str, detail: str) -> None:
        if what == "died":
            dead.add(name)
            say(f"{name} died ({detail})" + (": killed by this demo" if KILLS.get(wish.kill or "") == name else ""))
        elif what == "restarting":
            say(f"{name} retrying: it is started again {detail}")
        elif what == "ready" and name in dead:
            dead.discard(name)
            say(f"{name} is back, ready {detail}")

    return on_event


def _company(home: Path, example: str, model: str, changes: dict[str, str]) -> tuple[Company, int]:
    """A company of the examples, on ports that are free; and one port more."""
    text = (asset_folder("examples") / example / "org.toml").read_text("utf-8")
    for old, new in {'model = "scripted"': f'model = "{model}"', **changes}.items():
        text = text.replace(old, new)
    ports = _free_ports(len(_PORT.findall(text)) + 1)
    org_file = home / "org.toml"
    org_file.write_text(_PORT.sub(lambda _: f"port = {ports.pop()}", text), "utf-8")
    return Company.open(org_file), ports[0]


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
    shutil.move(company.home.root / "logs", home / "logs")
    shutil.rmtree(company.home.root, ignore_errors=True)
    (home / "org.toml").unlink(missing_ok=True)
