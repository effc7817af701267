"""One real company per module: nats-server, two OpenClaw gateways, two nodes, a scripted model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup.installation import OpenClaw
from tests.company import Live, live

MAIN = "agent:ceo-genesis:main"


@pytest.fixture(scope="module")
def brain() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def duo(tmp_path_factory: pytest.TempPathFactory, claw: OpenClaw, brain: ScriptedModel) -> AsyncIterator[Live]:
    async with live(tmp_path_factory.mktemp("duo"), claw, brain.url) as company:
        await company.start("gateway-hq", "gateway-lab", "node-hq", "node-lab")
        await company.online("ceo-genesis", "cto-athena")
        await company.say("hq", "ceo-genesis", "@reply hello")  # a session must exist to be woken
        yield company


def turns_of(brain: ScriptedModel, task_id: str) -> int:
    """How often the model was asked to begin a task."""
    return sum(1 for turn in brain.turns if turn.get("task") == task_id and turn.get("first"))
