"""Fixtures: a real nats-server for each test that wants one; OpenClaw found or installed once for all gateway tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from clawbus.client.company import Company
from clawbus.demo.model.server import ScriptedModel
from clawbus.gateway.setup import installation as openclaw
from clawbus.ops.apply.apply import write_server_config
from tests.company import Live, duo_toml, free_ports, live

# A change is judged by the same examples each time, on a busy machine, too; `make test-long` looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=5000, deadline=None)
settings.load_profile("fixed")


@pytest.fixture
async def bus_only(tmp_path: Path) -> AsyncIterator[Live]:
    """A company with its nats-server up and provisioned, and nothing else."""
    async with live(tmp_path, None) as company:
        yield company


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A company whose server is down: whatever reaches the network fails with exit code 5, not with 2 or 4."""
    (tmp_path / "org.toml").write_text(duo_toml(free_ports(3)))
    write_server_config(Company.open(tmp_path / "org.toml"))
    return tmp_path


@pytest.fixture(scope="session")
def claw() -> openclaw.OpenClaw:
    """The real OpenClaw. One that is missing is installed, as `make demo` would; a failure fails the test."""
    return asyncio.run(openclaw.find(install=True, say=print))


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server
