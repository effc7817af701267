"""What a change of org.toml takes from a key: our own programs' tries of it alarm nobody, and all others still do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.client.company import Company
from clawbus.ops.apply.apply import apply_bus
from clawbus.provision import withdrawn_rights as taken
from clawbus.steward.duties.server_refusals import ServerRefusals
from clawbus.steward.steward import Steward
from tests.company import Live, free_ports, until
from tests.server.office import alert_of, office
from tests.trying import trying
from tests.up import Up

PORTS = free_ports(4)


@contextlib.asynccontextmanager
async def renamed(folder: Path) -> AsyncIterator[tuple[Live, Steward]]:
    """A company whose CTO has another name since a moment ago, and its steward."""
    async with office(folder) as firm:
        firm.company.identity("gw-lab")
        firm.org_file.write_text(
            firm.org_file.read_text().replace('id = "cto"', 'id = "cto-new"').replace('"cto"', '"cto-new"')
        )
        changed = Company.open(firm.org_file)
        await apply_bus(changed, {}, lambda _: None)
        async with changed.connect("steward") as bus:
            steward = Steward(changed.org, bus, folder)
            running = asyncio.create_task(steward.run())
            try:
                yield firm, steward
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


async def refused(firm: Live, steward: Steward, *subjects: str, key: str = "gw-lab") -> None:
    """Try these with a key of the company; until the steward has read that the server refused them."""
    company = Company.open(firm.org_file)
    before = _counted(steward, key)
    async with trying(company.org.url, company.identity(key).creds_file) as one:
        for subject in subjects:
            assert not await one.may_publish(subject), subject

    async def all_read() -> bool:
        return _counted(steward, key) >= before + len(subjects)

    await until(all_read, f"{subjects} read in the server's log")


def _counted(steward: Steward, key: str) -> int:
    return sum(duty.counted[key] for duty in steward.duties if isinstance(duty, ServerRefusals))


async def test_what_was_a_keys_own_a_moment_ago_alarms_nobody(tmp_path: Path) -> None:
    """The presence of an agent that has left, its mail and its tasks; anything else raises the alert at once."""
    async with renamed(tmp_path) as (firm, steward):
        await refused(
            firm, steward, "acme.presence.cto", "acme.dm.ceo.cto", "acme.events.aaaaaaaaaaaaaaaaaaaaaaaaaa.cto"
        )
        assert await steward.context.alerts.raised("refused") == []
        await refused(firm, steward, "acme.presence.ceo")
        alert = await alert_of(firm, "refused", "gw-lab", True)
        assert "has tried to publish acme.presence.ceo, which is not its own" in alert.text


async def test_another_key_may_not_speak_for_who_has_left(tmp_path: Path) -> None:
    async with renamed(tmp_path) as (firm, steward):
        await refused(firm, steward, "acme.presence.cto", key="gw-hq")
        await alert_of(firm, "refused", "gw-hq", True)


async def test_what_is_tried_later_is_an_alert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with renamed(tmp_path) as (firm, steward):
        monkeypatch.setattr(taken, "HEARD_WITHIN_S", 0.0)
        await refused(firm, steward, "acme.presence.cto")
        await alert_of(firm, "refused", "gw-lab", True)


def town(*agents: str, person: str) -> str:
    """Agents, each in a gateway of the user's that is down; the ports are the same each time."""
    parts = [f'company = "acme"\nbus.port = {PORTS[0]}\n[[humans]]\nid = "{person}"\n']
    for port, agent in zip(PORTS[1:], agents, strict=False):
        home = agent.partition("-")[0]
        parts.append(
            f'[[gateways]]\nid = "{home}"\nown = false\nport = {port}\n[[agents]]\nid = "{agent}"\ngateway = "{home}"\n'
        )
    return "".join(parts)


async def test_an_apply_leaves_no_alert_and_the_screen_goes_on(tmp_path: Path) -> None:
    """Who loses an agent, a whole gateway, or the name of a person does not knock with what has been revoked."""
    up = Up(tmp_path, town("hq-ceo", "lab-cto", "sec-argus", person="jo"))
    try:
        await up.ready()
        await up.apply(town("hq-ceo", "lab-athena", "sec-argus", person="joe"))
        await up.apply(town("hq-ceo", "lab-athena", person="joe"))
        assert up.run("ask", "hq-ceo", "Hello", "--no-wait").returncode == 0

        async def shown() -> bool:
            return "joe → hq-ceo" in up.log.read_text()

        await until(shown, "the task of the person's new name on the screen of `up`")
        assert "authentication error" not in (tmp_path / ".clawbus" / "logs" / "nats-server.log").read_text()
        assert up.run("alerts").stdout == "Nothing is raised.\n"
    finally:
        up.end()
