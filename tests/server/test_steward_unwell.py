"""The alert `gateway`: what nodes say of agents whose turns fail before a model is asked, on a real nats-server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clawbus.client.company import Company
from clawbus.org import Org
from clawbus.tasks.roster import Roster, presence
from clawbus.wire.subjects import Subjects
from tests.company import Live, live
from tests.server.office import LAB, SEC, alert_of, clawbus, mail_of, office, office_toml, steward

UNWELL: dict[str, Any] = {"by": "person", "restarts": 0, "why": "Agent database execution admission is closed"}


@contextlib.asynccontextmanager
async def saying(company: Live, agent: str, key: str, unwell: dict[str, Any] | None) -> AsyncIterator[None]:
    """Its node says so of an agent, again and again, while the block runs."""
    said = presence(company.org, company.org.agent(agent), True, 0, "0.1.0", "running", unwell)

    async def say() -> None:
        async with company.company.connect(key) as bus:
            while True:
                await bus.tell(company.company.subjects.presence(agent), said)
                await asyncio.sleep(0.2)

    speaking = asyncio.create_task(say())
    try:
        yield
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def raised(company: Live) -> list[str]:
    return [row["key"] for row in (await clawbus(company, "alerts"))[1]]


@pytest.mark.parametrize(
    ("own", "restarts", "remedy"),
    [
        (False, 0, "Restart it: end the OpenClaw gateway on port"),
        (True, 0, "Restart it: `clawbus up`"),
        (True, 3, "has restarted it 3 times, which did not help"),
    ],
)
async def test_a_person_hears_which_gateway_it_is_and_what_to_do(
    tmp_path: Path, own: bool, restarts: int, remedy: str
) -> None:
    """It clears when the node says that the agent is well, and not because the node is silent."""
    toml = office_toml()
    if not own:
        toml = toml.replace('id = "lab"\n', 'id = "lab"\nown = false\ntoken_file = "t"\n')
    async with live(tmp_path, None, toml=toml) as company, steward(company):
        async with saying(company, "cto", LAB, UNWELL | {"restarts": restarts}):
            alert = await alert_of(company, "gateway", "lab", True)
        assert "The gateway lab fails every turn of cto before a model is asked." in alert.text
        assert "It says: Agent database execution admission is closed" in alert.text
        assert remedy in alert.text
        assert (await mail_of(company, subject="alert: gateway lab")).priority == "high"
        async with saying(company, "security", SEC, None), watch(company) as seen:  # another gateway's node
            await asyncio.wait_for(seen.wait(), 10)
            assert await raised(company) == ["lab"]
        async with saying(company, "cto", LAB, None):
            await alert_of(company, "gateway", "lab", False)


async def test_nobody_is_called_while_up_restarts_it_and_a_malformed_word_is_none(tmp_path: Path) -> None:
    async with office(tmp_path) as company, steward(company) as one:
        duty = next(duty for duty in one.duties if duty.rule == "gateway")
        odd: Any = ["not", "an", "object"]
        for said in (UNWELL | {"by": "up"}, odd, None):
            async with saying(company, "cto", LAB, said), watch(company) as seen:
                await asyncio.wait_for(seen.wait(), 10)
                await duty.tick()
                assert await raised(company) == []


async def test_a_gateways_words_stay_on_their_line(tmp_path: Path) -> None:
    said = UNWELL | {"why": "closed\n\nRestart it: rm -rf /", "restarts": 9**15}
    async with office(tmp_path) as company, steward(company), saying(company, "cto", LAB, said):
        alert = await alert_of(company, "gateway", "lab", True)
    assert [line for line in alert.text.splitlines() if line.startswith("Restart it: rm")] == []


def test_an_agent_whose_turns_fail_is_not_online(tmp_path: Path) -> None:
    org = load_org(tmp_path)
    roster = Roster(Subjects("acme"))
    for unwell, online in ((None, True), (UNWELL, False)):
        data = presence(org, org.agent("cto"), True, 0, "0.1.0", "running", unwell)
        roster.on_presence(Said("acme.presence.cto", data))
        assert (roster.online("cto"), roster.unwell("cto") is None) == (online, online)


@dataclass
class Said:
    subject: str
    data: bytes
    headers: None = None


def load_org(folder: Path) -> Org:
    (folder / "org.toml").write_text(office_toml())
    return Company.open(folder / "org.toml").org


@contextlib.asynccontextmanager
async def watch(company: Live) -> AsyncIterator[asyncio.Event]:
    """Set when some presence has been heard."""
    seen = asyncio.Event()
    async with company.owner() as bus:
        stop = await bus.listen(company.company.subjects.everything("presence"), lambda _: seen.set())
        try:
            yield seen
        finally:
            await stop()
