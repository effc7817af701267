"""A disk that is full, and a server that could not write: who speaks hears it, and the company goes on by itself.

Here without a disk of its own: the server may write no file any longer than it is (a real write error, EFBIG), or what
counts as full is more than any disk has. `tests/host` fills a real one.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawbus import disk
from clawbus.bus import Bus
from clawbus.errors import BusAway, DiskFull, NotKept
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Outbox
from clawbus.ops.supervisor import Service, Supervisor
from clawbus.provision.stream_health import watching
from clawbus.settings import Home
from clawbus.wire.channels import INBOX, STREAMS
from clawbus.wire.subjects import new_message_id
from tests.company import Live, free_ports, until
from tests.server.office import alert_of, clawbus, office, steward
from tests.server.test_odd_cases import CEO, node, said
from tests.trying import trying
from tests.up import Up

pytestmark = pytest.mark.timeout(180)

FIRM = """
company = "acme"
bus.port = {port}
[[gateways]]
id = "ci"
kind = "program"
[[agents]]
id = "builder"
gateway = "ci"
[[humans]]
id = "owner"
"""


def stop_writing(pid: int) -> None:
    """From now on each write of that process to a file fails, as on a full disk; what it starts is not bound by it."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))


def let_write(pid: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    one = Up(tmp_path, FIRM.format(port=free_ports(1)[0]))
    try:
        yield one
    finally:
        one.live.end()
        one.end()


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within this process every disk is full, until it is undone."""
    monkeypatch.setattr(disk, "FULL_BYTES", 1 << 62)


async def test_a_server_that_could_not_write_is_started_anew_within_ten_seconds(up: Up) -> None:
    """Nobody has to do anything: mail and tasks go on, and the terminal says what has happened."""
    await up.ready()
    await up.live.start("program-ci")
    before = up.pid("nats-server")
    stop_writing(before)
    async with up.live.owner() as bus:
        bus.store = None
        with pytest.raises(BusAway):  # not kept, or lost with the server that is being started anew by then
            await bus.publish("acme.dm.owner.owner", b"{}", msg_id=new_message_id("owner"), timeout_s=1.0)
        await until(lambda: _kept(bus), "a message is kept again", 10)
    assert up.pid("nats-server") != before
    said = up.log.read_text()
    assert f"nats-server could not write {INBOX}: what is said there is not kept" in said
    assert f"nats-server keeps what is said again, in {INBOX}, too" in await until(
        lambda: _log(up), "the end of it", 10
    )
    done = up.run("ask", "builder", "hello", "--timeout", "30")
    assert (done.returncode, done.stdout.strip()) == (0, "hello (attempt 1)"), done.stderr


async def _kept(bus: Bus) -> bool:
    try:
        await bus.publish("acme.dm.owner.owner", b"{}", msg_id=new_message_id("owner"), timeout_s=0.5)
    except BusAway:  # it is being started
        return False
    return True


async def _log(up: Up) -> str:
    text = up.log.read_text()
    return text if "keeps what is said again" in text else ""


async def test_who_speaks_and_the_doctor_say_which_stream_keeps_nothing(tmp_path: Path) -> None:
    """The server answers everything else, and each other stream; a restart mends it, room on the disk alone does not."""
    async with office(tmp_path) as company, watching(company.home, company.org) as look:
        assert await look() == []
        pid = company.processes["nats-server"].pid
        assert await checked(company, "streams") == (True, "each has taken a write, and given it back", "")
        stop_writing(pid)
        async with company.owner() as bus:
            with pytest.raises(NotKept, match="answers, but keeps nothing now: what was sent is not ack") as ours:
                await bus.publish("acme.dm.ceo.owner", b"{}", msg_id=new_message_id("owner"), timeout_s=1.0)
            assert "`clawbus up` starts it again" in ours.value.remedy
            assert "`clawbus doctor`" in ours.value.remedy
            bus.store = None  # as on another machine, where nothing is known of that disk
            with pytest.raises(NotKept) as theirs:
                await bus.publish("acme.dm.ceo.owner", b"{}", msg_id=new_message_id("owner"), timeout_s=1.0)
            assert "Look at the disk of its machine" in theirs.value.remedy
        assert await look() == [INBOX]
        let_write(pid)
        ok, detail, remedy = await checked(company, "streams")
        assert (ok, detail.startswith(f"{INBOX} took no write: ")) == (False, True)
        assert "clawbus up" in remedy
        company.kill("nats-server")
        await company.start("nats-server")
        assert (await checked(company, "streams"))[0] is True


async def test_the_doctors_writes_leave_nothing_behind(tmp_path: Path) -> None:
    """Nor does anybody hear of them: no reader, no alert."""
    async with office(tmp_path, "[guests]\nenabled = true\n") as company, steward(company):
        assert (await checked(company, "streams"))[0] is True
        async with company.owner() as bus:
            for stream in STREAMS:
                state = (await bus.api(f"STREAM.INFO.{stream.name}", {"subjects_filter": "*.probe.>"}))["state"]
                assert state.get("subjects") is None, stream.name
        code, alerts = await clawbus(company, "alerts")
        assert (code, alerts) == (0, [])


async def test_who_watches_the_server_may_ask_it_and_nothing_else(tmp_path: Path) -> None:
    """His credentials lie beside the authority's keys while a company is up."""
    async with office(tmp_path) as company, watching(company.home, company.org):
        creds = company.home.root / "authority" / "watcher.creds"
        assert creds.stat().st_mode & 0o077 == 0
        async with trying(company.org.url, creds) as one:
            assert await one.may_publish("$SYS.REQ.SERVER.PING.HEALTHZ")
            for subject in ("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.X.KICK", "acme.x"):
                assert not await one.may_publish(subject), subject
            for subject in (">", "$SYS.>", "_INBOX.>", "_INBOX.system.>"):
                assert not await one.may_hear(subject), subject
    assert not creds.exists()


async def checked(company: Live, name: str) -> tuple[bool | None, str, str]:
    _, checks = await clawbus(company, "doctor")
    (one,) = (check for check in checks if check["name"] == name)
    return one["ok"], one["detail"], one["remedy"]


async def test_on_a_full_disk_nothing_is_begun_and_the_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even tried: a stream whose write has failed would have to be mended afterwards."""
    async with office(tmp_path) as company, company.owner() as bus, watching(company.home, company.org) as look:
        fill(monkeypatch)
        with pytest.raises(DiskFull) as full:
            await bus.publish("acme.dm.ceo.owner", b"{}", msg_id=new_message_id("owner"))
        assert full.value.message == f"the disk of {company.home.root} is full; nothing was sent"
        assert "free space there" in full.value.remedy
        assert (await bus.api(f"STREAM.INFO.{INBOX}"))["state"]["messages"] == 0
        monkeypatch.undo()
        assert (await bus.publish("acme.dm.ceo.owner", b"{}", msg_id=new_message_id("owner"))).seq == 1
        assert await look() == []


async def test_what_an_agent_says_waits_in_the_ledger_until_there_is_room(
    bus_only: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool says why, and that it goes out by itself; it does, once."""
    async with node(bus_only, tmp_path) as (hq, bus, ledger):
        bus.store = bus_only.home.root
        fill(monkeypatch)
        assert await hq.outbox.send("acme.dm.cto-athena.ceo-genesis", said(sender=CEO, to="cto-athena")) is False
        assert hq.outbox.away == f"the disk of {bus_only.home.root} is full"
        assert ledger.outbox.count() == 1
        monkeypatch.undo()
        await hq.outbox.drain()
        assert ledger.outbox.count() == 0
        assert await _messages(bus_only, INBOX) == 1


async def _messages(company: Live, stream: str) -> int:
    async with company.owner() as bus:
        return int((await bus.api(f"STREAM.INFO.{stream}"))["state"]["messages"])


async def test_a_ledger_without_room_says_so_in_our_words(bus_only: Live, tmp_path: Path) -> None:
    """And takes no half of it: what is said then was not sent, and what is said later is."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        async with bus_only.company.connect("gw-hq") as bus:
            outbox = Outbox(bus, ledger, bus_only.company.subjects, None)
            pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
            ledger._db.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(DiskFull) as full:
                outbox.later("acme.dm.cto-athena.ceo-genesis", new_message_id(CEO), b"x" * 400_000)
            assert full.value.message == f"the disk of {tmp_path} is full; nothing was sent"
            ledger._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
            assert await outbox.send("acme.dm.cto-athena.ceo-genesis", said(sender=CEO, to="cto-athena"))


async def test_a_disk_that_is_nearly_full_is_an_alert_that_clears_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is still time to free space."""
    async with office(tmp_path) as company, steward(company) as one:
        room = next(duty for duty in one.duties if duty.rule == "room")
        monkeypatch.setattr("clawbus.steward.duties.stream_capacity.low_bytes", lambda _: 1 << 62)
        await room.tick()
        alert = await alert_of(company, "room", "disk", True)
        assert f"The disk of {company.home.root} has " in alert.text
        assert "Free space there" in alert.text
        monkeypatch.undo()
        await room.tick()
        await alert_of(company, "room", "disk", False)


async def test_the_first_up_says_what_it_may_need_and_the_next_one_does_not(up: Up) -> None:
    """The sum of what its streams may hold, and what is free."""
    await up.ready()
    first = up.log.read_text()
    assert "the streams take room as they fill, up to 8.7 GiB under" in first
    assert f"{up.live.home.root}, where" in first
    up.end()
    again = Up(up.file.parent, up.file.read_text())
    try:
        await again.ready()
        assert again.log.read_text().count("the streams take room as they fill") == 1
    finally:
        again.end()


async def test_a_server_that_dies_while_nothing_can_be_recorded_is_started_when_it_can(tmp_path: Path) -> None:
    """The pid file of a restarted process may find no room: its keeper tries on, and leaves no process behind."""
    said: list[str] = []
    home = Home(tmp_path / ".clawbus")
    async with Supervisor(home, lambda _name, what, detail: said.append(f"{what} {detail}")) as supervisor:
        await supervisor.add(Service("sleeper", ["sleep", "600"], {}, home.log("sleeper")))
        first = supervisor.pid("sleeper")
        record = home.dir("run") / "sleeper.pid"
        blocker = record.with_name(f".sleeper.pid.{os.getpid()}")
        blocker.mkdir()  # where the file is written before it takes its place
        await supervisor.restart("sleeper")

        async def refused() -> bool:
            return any("cannot be recorded" in one for one in said)

        await until(refused, "the pid file is missed", 10)
        blocker.rmdir()

        async def back() -> bool:
            return supervisor.pid("sleeper") not in (None, first) and record.exists()

        await until(back, "it runs again, and is recorded", 15)


async def test_a_restarted_service_keeps_its_place_and_is_no_death(tmp_path: Path) -> None:
    """The server has to end after all that speaks to it, also when it was started anew meanwhile."""
    said: list[tuple[str, str]] = []
    home = Home(tmp_path / ".clawbus")
    async with Supervisor(home, lambda name, what, _detail: said.append((name, what))) as supervisor:
        for name in ("server", "node"):
            await supervisor.add(Service(name, ["sleep", "600"], {}, home.log(name)))
        first = supervisor.pid("server")
        await supervisor.restart("server")

        async def back() -> bool:
            return supervisor.pid("server") not in (None, first)

        await until(back, "the server runs again", 10)
        assert [*supervisor.services] == ["server", "node"]
        assert ("server", "died") not in said
    assert [name for name, what in said if what == "stopped"] == ["server", "node", "server"]


def test_a_folder_tells_whether_it_can_be_written(tmp_path: Path) -> None:
    """By trying; and how much is free also where a folder is still to be made."""
    assert disk.why_unwritable(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert disk.why_unwritable(tmp_path / "missing") == "No such file or directory"
    assert disk.free_bytes(tmp_path / "a" / "b") == pytest.approx(disk.free_bytes(tmp_path), rel=0.1)
    assert disk.full(tmp_path, "x") is None
    assert disk.in_words(9_294_577_664) == "8.7 GiB"
    assert disk.in_words(3 * 1024 * 1024) == "3 MiB"
