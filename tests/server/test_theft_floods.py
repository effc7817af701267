"""A stolen key says no more than is its own, but much of it: what the others notice, and whether people hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clawbus.bus import Bus
from clawbus.bus.signing import HEADER, Signer
from clawbus.errors import Unverified
from clawbus.provision import server
from clawbus.provision.config import write_config
from clawbus.provision.permission_probe import LABEL
from clawbus.provision.streams import MOST_ENDS
from clawbus.steward.steward import Steward
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.new_task import cancellation
from clawbus.tasks.roster import Roster
from clawbus.wire.channels import ENDS, EVENTS, INBOX, TIMERS
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.company import Live, free_ports, live, until
from tests.server.office import alert_of
from tests.server.test_permissions import TOML
from tests.trying import Trying, trying

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(3))) as company:
        yield company


@contextlib.asynccontextmanager
async def thief(firm: Live, key: str = "gw-lab") -> AsyncIterator[Trying]:
    async with trying(firm.org.url, firm.company.identity(key).creds_file) as one:
        yield one


async def forge(firm: Live, one: Trying, subject: str) -> None:
    """Say something there, signed with the one key that lies in a gateway's credentials file."""
    sender = subject.rpartition(".")[2]
    mine, number = Signer("acme", sender, firm.company.identity("gw-lab").seed_file), new_message_id(sender)
    headers = {"Nats-Msg-Id": number, HEADER: mine.header(subject, b"{}", number)}
    assert await one.may_publish(subject, b"{}", headers=headers)


@contextlib.asynccontextmanager
async def stewarded(firm: Live) -> AsyncIterator[Steward]:
    async with firm.company.connect("steward") as bus:
        one = Steward(firm.org, bus, firm.org_file.parent)
        running = asyncio.create_task(one.run())
        try:
            yield one
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_what_is_signed_with_a_wrong_key_is_turned_away_at_once(firm: Live) -> None:
    """Whoever reads it reads on: a tenth of a second for each would hold up everybody whose words lie behind it."""
    subject = f"acme.events.{new_task_id()}.cto"
    async with thief(firm) as one, firm.owner() as owner:
        for _ in range(200):
            await forge(firm, one, subject)
        await until(lambda: _holds(owner, EVENTS, subject, 200), "all of it")
        stored = await owner.stored(EVENTS, subject)
        began = time.monotonic()
        for message in stored:
            with pytest.raises(Unverified, match="forged"):
                await owner.verifier.check(message)
        assert time.monotonic() - began < 10
        assert owner.verifier.refused == {"forged": 200}


async def test_a_flood_under_one_name_does_not_hide_a_forgery_under_another(firm: Live) -> None:
    """The steward says it once a minute for each name, and reads on."""
    async with stewarded(firm) as one, thief(firm) as attacker:
        for _ in range(300):
            await forge(firm, attacker, f"acme.events.{new_task_id()}.cto")
        await forge(firm, attacker, f"acme.events.{new_task_id()}.dev")
        await alert_of(firm, "forged", "cto", True)
        await alert_of(firm, "forged", "dev", True)
        assert one.context.bus.verifier.refused == {"forged": 301}
        set_again = (await one.context.bus.api(f"STREAM.INFO.{TIMERS}"))["state"]["last_seq"]
        assert set_again < 20


async def test_nobody_is_kept_from_ending_a_task_by_writing_on_and_on(firm: Live) -> None:
    """A write on a task's end expects what its writer has seen: somebody who wrote there for ever would always be first.

    One sender has room for a few on one task.
    """
    task = make_task(firm.org, "owner", NewTask("ceo", "work"))
    subject = f"acme.end.{task.task_id}.cto"

    async def on_and_on(one: Trying) -> None:
        while True:
            await forge(firm, one, subject)

    async with thief(firm) as one, firm.owner() as owner:
        writing = asyncio.create_task(on_and_on(one))
        try:
            await until(lambda: _holds(owner, ENDS, subject, MOST_ENDS), "his first ones")
            won, end = await firm.company.ends(owner).write(cancellation(task, "owner"), "owner", "ceo")
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        assert (won, end.status) == (True, "cancelled")
        assert await _holds(owner, ENDS, subject, MOST_ENDS)
        assert not await _holds(owner, ENDS, subject, MOST_ENDS + 1)


async def _holds(bus: Bus, stream: str, subject: str, count: int) -> bool:
    return len(await bus.stored(stream, subject)) >= count


async def test_a_persons_key_does_not_make_others_hear_an_agents_presence(firm: Live) -> None:
    """He can have what he has said himself sent on as it is, to a subject of others; who is there, it says to nobody."""
    said, mine = {"v": 1, "ready": True, "state": "stopped"}, "acme.dm.owner.owner"
    roster, heard = Roster(firm.company.subjects), asyncio.Event()

    def hear(message: Any) -> None:
        roster.on_presence(message)
        heard.set()

    async with firm.company.connect_person("auditor") as (auditor, _), thief(firm, "me-owner") as one:
        await auditor.listen(firm.company.subjects.everything("presence"), hear)
        await auditor.flush()
        assert await one.may_publish(mine, json.dumps(said).encode())
        asked = json.dumps({"last_by_subj": mine}).encode()
        await until(lambda: _holds(auditor, INBOX, mine, 1), "what he has said")
        assert await one.may_publish("HUB.DIRECT.GET.INBOX", asked, reply="acme.presence.ceo")
        async with asyncio.timeout(10):
            await heard.wait()  # it does come, on the CEO's subject
        assert not roster.has_heard(["ceo"])
        async with firm.company.connect("gw-hq") as hq:
            await hq.tell("acme.presence.ceo", json.dumps(said).encode())
            await until(lambda: _is_online(roster), "the CEO's own")


async def _is_online(roster: Roster) -> bool:
    return roster.online("ceo")


async def test_whoever_calls_himself_the_doctor_is_alarmed_of_when_he_goes_on(firm: Live) -> None:
    """`clawbus doctor` tries a handful; its name is no cloak for who tries them over and over."""
    async with stewarded(firm) as one, firm.company.connect("gw-lab", LABEL) as bus:
        for _ in range(300):
            await bus.tell("HUB.STREAM.PURGE.TASKS", b'{"filter":"none"}')
        await bus.flush()
        assert "STREAM.PURGE.TASKS" in (await alert_of(firm, "refused", "gw-lab", True)).text
        (duty,) = [duty for duty in one.duties if duty.rule == "refused"]
        counted: Mapping[str, int] = duty.counted  # type: ignore[attr-defined]
        await until(lambda: _all(counted), "all of them counted")


async def _all(counted: Mapping[str, int]) -> bool:
    return counted["gw-lab"] == 300


async def test_what_is_refused_does_not_fill_the_disk(tmp_path: Path) -> None:
    """Each refusal is a line of the server's log, as long as the subject that was tried: old files of it go."""
    firm = Live(tmp_path, TOML.format(ports=free_ports(3)), None, "")
    config = write_config(firm.home, firm.org)
    said = config.read_text()
    config.write_text(said.replace("logfile_size_limit: 16MB", "logfile_size_limit: 64KB"))
    assert config.read_text() != said
    process = subprocess.Popen(server.command(server.find_server(), config))
    try:
        await server.wait_ready(firm.org.bus.port, 20)
        async with thief(firm) as one:
            for _ in range(400):
                assert not await one.may_publish(f"acme.{'x' * 3000}")
        files = sorted((firm.home.root / "logs").iterdir())
        assert 1 < len(files) <= 5
        assert sum(file.stat().st_size for file in files) < 400_000
    finally:
        process.terminate()
        process.wait(20)
