"""A real company of two: nats-server, two OpenClaw gateways, two nodes, a scripted model.

A test file has one of its own. The files that say `SHARES_A_COMPANY = True` have one together in each process of a
parallel run: each test of theirs leaves all processes running, nothing stopped, and no model that refuses.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from tests.company import Live, live, until

MAIN = "agent:ceo-genesis:main"
PROCESSES = ("gateway-hq", "gateway-lab", "node-hq", "node-lab")


@contextlib.asynccontextmanager
async def two_gateways(folder: Path, claw: OpenClaw, brain: ScriptedModel) -> AsyncIterator[Live]:
    async with live(folder, claw, brain.url) as company:
        await company.start(*PROCESSES)
        await company.online("ceo-genesis", "cto-athena")
        await company.say("hq", "ceo-genesis", "@reply hello")  # a session must exist to be woken
        yield company


@pytest.fixture(scope="session")
def shared_brain() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_duo(
    tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, shared_brain: ScriptedModel
) -> AsyncIterator[Live]:
    async with two_gateways(tmp_path_factory.mktemp("shared"), claw, shared_brain) as company:
        yield company


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_duo(
    tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, brain: ScriptedModel
) -> AsyncIterator[Live]:
    async with two_gateways(tmp_path_factory.mktemp("duo"), claw, brain) as company:
        yield company


@pytest.fixture(scope="module")
def brain(request: pytest.FixtureRequest) -> Iterator[ScriptedModel]:
    if _shares(request):
        yield request.getfixturevalue("shared_brain")
        return
    with ScriptedModel() as server:
        yield server


@pytest.fixture(scope="module")
def _chosen(request: pytest.FixtureRequest) -> Live:
    company: Live = request.getfixturevalue("shared_duo" if _shares(request) else "own_duo")
    return company


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def duo(request: pytest.FixtureRequest, _chosen: Live) -> Live:
    if _shares(request):  # the last file may have left a turn upon its last result, or may have failed half way
        await _chosen.start(*(name for name in ("nats-server", *PROCESSES) if _has_ended(_chosen, name)))
        await _chosen.online("ceo-genesis", "cto-athena")
        for gateway in ("hq", "lab"):
            await until(functools.partial(_at_rest, _chosen, gateway), f"{gateway} at rest", 60)
    return _chosen


def _shares(request: pytest.FixtureRequest) -> bool:
    return getattr(request.module, "SHARES_A_COMPANY", False)


def _has_ended(company: Live, name: str) -> bool:
    process = company.processes.get(name)
    return process is None or process.poll() is not None


async def _at_rest(company: Live, gateway: str) -> bool:
    """True if no turn runs there, be it the bus's or a user's."""
    async with company.rpc(gateway) as rpc:
        answer = await rpc.call("sessions.list", {"activeOnly": True, "limit": 500})
    return not answer.get("sessions")


def turns_of(brain: ScriptedModel, task_id: str) -> int:
    """How often the model was asked to begin a task."""
    return sum(1 for turn in brain.turns if turn.get("task") == task_id and turn.get("first"))
