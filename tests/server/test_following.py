"""A machine that has joined follows org.toml: what is lost on the way is made good, and who leaves takes nobody along.

Both folders are on one machine here; the server is under a real `clawbus up`, and so is the other folder where it matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.identity import load_or_create
from clawbus.bus.jwt import claims_of, tags_of
from clawbus.client.company import Company
from clawbus.errors import BusAway, ClawbusError
from clawbus.ops.enrol import org_sync as following
from clawbus.ops.enrol.org_sync import caught_up, follow
from clawbus.ops.enrol.registrar_process import Answers, digest_of
from clawbus.ops.supervisor.pid_files import take_lock
from clawbus.provision import remote_keys as elsewhere
from clawbus.settings import write_secret
from tests.company import free_ports, until
from tests.up import Up

pytestmark = pytest.mark.timeout(180)
PORTS = free_ports(5)
AIDE = '[[agents]]\nid = "aide"\ngateway = "den"\n'


def org_toml(*gateways: str, more: str = "") -> str:
    """The boss is a program at home; each other gateway is a user's own, elsewhere, with an agent of its name."""
    entries = "".join(
        f'[[gateways]]\nid = "{one}"\nport = {PORTS[3 + number]}\nown = false\ntoken_file = "token"\nelsewhere = true\n'
        f'[[agents]]\nid = "{one}-agent"\ngateway = "{one}"\n'
        for number, one in enumerate(gateways)
    )
    return (
        f'company = "acme"\n[bus]\nport = {PORTS[0]}\njoin_port = {PORTS[1]}\nleaf_port = {PORTS[2]}\nlisten = "0.0.0.0"\n'
        'hosts = ["127.0.0.1"]\n[[gateways]]\nid = "hq"\nkind = "program"\n[[agents]]\nid = "boss"\ngateway = "hq"\n'
        f"{entries}{more}"
    )


@dataclass
class Two:
    hub: Up
    there: Path

    @property
    def company(self) -> Company:
        return Company.open(self.there / "org.toml")

    def clawbus(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command on the machine that has joined."""
        return subprocess.run(
            [sys.executable, "-m", "clawbus", *words], cwd=self.there, capture_output=True, text=True, check=False, timeout=60
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Path]:
        """`clawbus up` there; yields its log."""
        log = self.there / "up.log"
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "clawbus", "up"], cwd=self.there, stdout=out, stderr=out)

        async def is_up() -> bool:
            assert process.poll() is None, log.read_text()
            return "acme is up" in log.read_text()

        try:
            await until(is_up, "clawbus up there", 60)
            yield log
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    """A company, and a folder that has joined it as the home of two gateways: den is asked before lab."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "token").write_text("a token that nobody asks for\n")
    (tmp_path / "there" / "token").chmod(0o600)
    both = Two(Up(tmp_path / "hub", org_toml("den", "lab")), tmp_path / "there")
    try:
        await both.hub.ready()
        invited = await asyncio.to_thread(both.hub.run, "invite", "den-agent", "lab-agent", "--json")
        assert invited.returncode == 0, invited.stderr
        joined = await asyncio.to_thread(both.clawbus, "join", json.loads(invited.stdout)["code"], "--json")
        assert joined.returncode == 0, joined.stderr
        yield both
    finally:
        both.hub.end()


def ours(two: Two) -> bool:
    """Whether both machines have the same org.toml."""
    return (two.there / "org.toml").read_text() == two.hub.file.read_text()


async def test_n12_a_gateway_that_leaves_takes_no_other_of_its_machine_along(two: Two) -> None:
    """One of two is removed while `up` runs there: the other one goes on, and hears of this change and of the next."""
    async with two.up() as log:
        await two.hub.apply(org_toml("lab"))
        await until(lambda: _true(ours(two)), "the change there", 60)
        await until(lambda: _true("node-den ended" in log.read_text()), "the end of its node", 30)
        await two.hub.apply(org_toml("lab", more='[[agents]]\nid = "aide"\ngateway = "lab"\n'))
        await until(lambda: _true(ours(two)), "the next change there", 60)
        await until(lambda: _true((two.hub.live.home.root / "keys" / "agent-aide.pub").exists()), "the new key", 30)


async def test_n12_what_has_left_meanwhile_does_not_keep_the_rest_from_starting(two: Two) -> None:
    """One of two was removed while nothing ran there: `up` takes that over first, and starts what is left."""
    await two.hub.apply(org_toml("lab"))
    assert not ours(two)
    async with two.up() as log:
        assert ours(two)
        assert "lab-agent" in log.read_text()
        assert "node-den" not in log.read_text()


async def test_n12_a_gateway_that_is_shut_out_does_not_keep_the_rest_from_starting(two: Two) -> None:
    """An agent was taken from one of two: its gateway has to be invited anew; the other one goes on, and starts again."""
    aide = '[[agents]]\nid = "aide"\ngateway = "den"\n'
    async with two.up() as log:
        await two.hub.apply(org_toml("den", "lab", more=aide))
        await until(lambda: _true((two.hub.live.home.root / "keys" / "agent-aide.pub").exists()), "the new key", 60)
        await until(lambda: _true(ours(two)), "the change there", 60)
        given = two.hub.live.home.root / "keys" / "gw-den.jwt"
        await until(lambda: _true("aide" in str(tags_of(claims_of(given.read_text())))), "credentials with it", 60)
        said = await two.hub.apply(org_toml("den", "lab"))
        assert "gw-den is shut out" in said
        await until(lambda: _true(ours(two)), "the next change there", 60)
        await until(lambda: _true("node-den ended" in log.read_text()), "the end of its node", 30)
    async with two.up() as log:
        assert "lab-agent" in log.read_text()
        assert "gateway den: " in log.read_text()
        assert "node-den" not in log.read_text()


async def test_up_says_at_once_that_the_whole_machine_was_shut_out(two: Two) -> None:
    await two.hub.apply(org_toml())
    run = await asyncio.to_thread(two.clawbus, "up")
    assert run.returncode == 6, run.stdout + run.stderr
    assert "This machine was shut out" in run.stderr
    assert "died" not in run.stdout


async def test_a_second_up_takes_nothing_over_behind_the_first_ones_back(two: Two) -> None:
    """The first one looks for what differs from its file: a change that another has written there, it would not see."""
    with take_lock(two.company.home.dir("run")):  # as an `up` that runs
        await two.hub.apply(org_toml("den", "lab", more=AIDE))
        run = await asyncio.to_thread(two.clawbus, "up")
        assert run.returncode == 6, run.stdout + run.stderr
        assert "already runs for this company" in run.stderr
        assert not ours(two)
    assert (await caught_up(two.company)).org.agents_of("den")[1:]
    assert ours(two)


async def test_n12_who_was_refused_for_a_while_is_let_in_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the server had against it has passed: it is started again, with what has changed since."""
    creds = two.company.home.key("gw-den").with_suffix(".creds")
    good = creds.read_text()
    write_secret(creds, two.company.home.key("gw-lab").with_suffix(".creds").read_text())  # signed by the wrong key
    await two.hub.apply(org_toml("den", "lab", more=AIDE))
    company = await caught_up(two.company)
    assert [one.id for one in company.gateways_here] == ["lab"]
    known = two.hub.live.home.root / "keys" / "agent-aide.pub"
    assert not known.exists()
    monkeypatch.setattr(following, "EVERY_S", 0.1)
    monkeypatch.setattr(following, "_OUT_S", 0.1)
    told = asyncio.Event()

    async def changed() -> None:
        assert {one.id for one in two.company.gateways_here} == {"den", "lab"}
        assert known.exists()
        told.set()

    work = asyncio.create_task(follow(company, changed))
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(told.wait(), 3)
        write_secret(creds, good)
        await asyncio.wait_for(told.wait(), 60)
        assert not work.done()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_up_starts_with_what_is_there_while_the_company_is_away(two: Two) -> None:
    before = (two.there / "org.toml").read_text()
    two.hub.end()
    assert (await caught_up(two.company)).org.gateways == two.company.org.gateways
    assert (two.there / "org.toml").read_text() == before


async def test_what_fails_on_the_way_is_tried_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, and processes that could not take the change in: neither ends what follows, nor is it left there."""
    monkeypatch.setattr(following, "EVERY_S", 0.1)
    failed: list[str] = []
    told: list[bool] = []

    def write(path: Path, text: str) -> None:
        if not failed:
            failed.append(path.name)
            raise OSError(28, "No space left on device")
        write_secret(path, text)

    async def changed() -> None:
        told.append(ours(two))
        if len(told) == 1:
            raise ClawbusError("a gateway did not start")
        if len(told) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(following, "write_secret", write)
    work = asyncio.create_task(follow(two.company, changed))
    try:
        await two.hub.apply(org_toml("den", "lab", more='[[agents]]\nid = "aide"\ngateway = "lab"\n'))
        await until(lambda: _true(len(told) == 3), "the third try", 60)
        assert told == [True, True, True]
        assert failed == ["org.toml"]
        assert not work.done()
        await two.hub.apply(org_toml("den", "lab"))
        await until(lambda: _true(len(told) == 4), "the next change", 60)
        assert ours(two)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@dataclass
class Asked:
    subject: str
    data: bytes
    reply: str = "_INBOX.gw-lab.x"
    headers: dict[str, str] | None = None


async def test_a_key_that_could_not_be_published_is_published_when_it_is_told_again(tmp_path: Path) -> None:
    """The bus was away just then, or the registrar was killed: the machine tells its keys again, as nobody has answered."""
    (tmp_path / "org.toml").write_text(org_toml("lab"))
    company = Company.open(tmp_path / "org.toml")
    key = load_or_create("agent-lab-agent", tmp_path / "made-there.nk").public_key
    question = Asked("acme.creds.gw-lab", json.dumps({"keys": {"agent-lab-agent": key}}).encode())
    said: list[bool] = []

    async def publish() -> None:
        said.append(len(said) > 0)
        if not said[-1]:
            raise BusAway("the bus did not answer")

    async with contextlib.AsyncExitStack() as stack:
        me = load_or_create("provisioner", tmp_path / "provisioner.nk")
        bus = Bus(company.url, me, "test")  # never connected: the question comes to the answers directly
        stack.push_async_callback(bus._connection.close)
        answers = Answers(company, bus, publish)
        assert "error" in json.loads(await answers._answer(question))
        assert elsewhere.public_key(company.home, "agent-lab-agent") == key
        assert json.loads(await answers._answer(question)) == {}
        assert json.loads(await answers._answer(question)) == {}
        assert said == [False, True]  # once it is published, no more
        another = Answers(company, bus, publish)  # a registrar after the one that has died
        assert json.loads(await another._answer(question)) == {}
        assert said == [False, True, True]


async def test_an_org_toml_with_a_mark_before_its_first_letter_is_sent_without(tmp_path: Path) -> None:
    """As editors of Windows write it. Both sides mean the text: a machine that has taken it over gets it once."""
    (tmp_path / "org.toml").write_text("\ufeff" + org_toml("lab"))
    company = Company.open(tmp_path / "org.toml")

    async def publish() -> None: ...

    async with contextlib.AsyncExitStack() as stack:
        bus = Bus(company.url, load_or_create("provisioner", tmp_path / "provisioner.nk"), "test")  # never connected
        stack.push_async_callback(bus._connection.close)
        answers = Answers(company, bus, publish)
        for digest, sent in (("another", org_toml("lab")), (digest_of(org_toml("lab")), None)):
            answer = await answers._answer(Asked("acme.creds.gw-lab", json.dumps({"org": digest}).encode()))
            assert json.loads(answer) == {"org": sent}


async def _true(found: bool) -> bool:
    return found
