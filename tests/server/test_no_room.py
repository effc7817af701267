"""What a real nats-server refuses for want of room: each refusal says what is full and which setting widens it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.quota_errors import no_room
from clawbus.errors import BacklogFull, Refused
from clawbus.ops.apply.apply import write_server_config
from clawbus.org import OrgMistakes, load_text
from clawbus.org.stream_sizes import Sizes
from clawbus.provision import server
from clawbus.provision.plan import provision
from clawbus.provision.streams import stream_configs
from clawbus.wire.channels import ENDS, INBOX, SPEND, STREAMS
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.command import clawbus
from tests.company import Live, free_ports, live
from tests.server.office import office, office_toml

MIB = 1024 * 1024
THEIRS = """
company = "acme"
bus.url = "nats://127.0.0.1:{port}"
[[gateways]]
id = "hq"
kind = "program"
[[agents]]
id = "ceo"
gateway = "hq"
"""


@contextlib.asynccontextmanager
async def theirs(folder: Path, of_account: str = "enabled", of_server: str = "") -> AsyncIterator[Live]:
    """A company on somebody else's nats-server, whose account and server have these JetStream settings."""
    (port,) = free_ports(1)
    company = Live(folder, THEIRS.format(port=port), None, "")
    account = write_server_config(company.company)
    account.write_text(account.read_text().replace("jetstream: enabled", f"jetstream: {of_account}"))
    config = folder / "server.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder / "store"}"\n{of_server} }}\n'
        f'accounts {{\ninclude "{account.relative_to(folder)}"\n}}\n'
    )
    process = subprocess.Popen(server.command(server.find_server(), config), stderr=subprocess.DEVNULL)
    try:
        await server.wait_ready(port, 15)
        yield company
    finally:
        company.end()
        process.kill()
        process.wait(10)


LIMITS = [
    (
        10027,
        "{max_streams: 3}",
        "",
        "the account may have no more streams",
        "Raise max_streams of the company's account",
    ),
    (10026, "{max_consumers: 4}", "", "may have no more consumers", "Raise max_consumers of the company's account"),
    (10047, "{max_file: 600MB}", "", "reserves beside the others", "max_file_store in the block jetstream"),
    (10047, "enabled", "max_file_store: 600MB", "what the stream INBOX reserves", "(max_file, or disk_storage)"),
    (
        10122,
        "{disk_max_stream_bytes: 600MB}",
        "",
        "the stream ENDS is larger than a stream may be",
        "(disk_max_stream_bytes)",
    ),
    (
        10121,
        "enabled",
        "limits: {max_ack_pending: 100}",
        "as many messages in hand",
        "max_ack_pending in the block",
    ),
]


@pytest.mark.parametrize(("code", "of_account", "of_server", "what", "wider"), LIMITS)
async def test_a_bound_of_somebody_elses_server_is_named(
    tmp_path: Path, code: int, of_account: str, of_server: str, what: str, wider: str
) -> None:
    """By the code of its answer: consumers, streams, bytes of the server, of the account, of one stream."""
    async with theirs(tmp_path, of_account, of_server) as company:
        with pytest.raises(Refused) as refused:
            await company.provision()
    assert refused.value.code == code
    assert refused.value.message.startswith("no room: ")
    assert what in refused.value.message
    assert wider in refused.value.remedy
    assert "on that nats-server" in refused.value.remedy


@pytest.mark.parametrize(
    ("of_account", "of_server", "code", "wider"),
    [
        ("{max_file: 10MB}", "", 10002, "the storage limit (max_file, or disk_storage) of the company's account"),
        ("enabled", "max_file_store: 10MB", 10023, "max_file_store in the block jetstream"),
    ],
)
async def test_what_the_account_or_the_server_may_keep_is_used_up(
    tmp_path: Path, of_account: str, of_server: str, code: int, wider: str
) -> None:
    """A stream that reserves nothing is taken, and fills the rest: who publishes hears which bound it was."""
    async with theirs(tmp_path, of_account, of_server) as company, company.company.connect("provisioner") as bus:
        config = next(one for one in stream_configs(company.org) if one["name"] == INBOX)
        await bus.api(f"STREAM.CREATE.{INBOX}", config | {"max_bytes": -1})
        refused = await fill(bus, "acme.dm.ceo.owner", 512 * 1024)
    assert refused.code == code
    assert wider in refused.remedy


async def fill(bus: Bus, subject: str, size: int) -> Refused:
    """Publish until it is refused."""
    for _ in range(200):
        try:
            await bus.publish(subject, b"x" * size, msg_id=new_message_id("owner"))
        except Refused as refused:
            return refused
    raise AssertionError(f"{subject} was never refused")


async def bounded(company: Live, stream: str, **bounds: int) -> None:
    config = next(one for one in stream_configs(company.org) if one["name"] == stream)
    async with company.company.connect("provisioner") as bus:
        await bus.api(f"STREAM.UPDATE.{stream}", config | bounds)


async def test_a_full_stream_names_itself_and_its_setting_and_the_setting_widens_it(tmp_path: Path) -> None:
    """`[streams]` in org.toml, and `clawbus apply`: what was refused is taken then, while the company runs."""
    async with office(tmp_path) as company:
        await bounded(company, ENDS, max_bytes=4_000)
        subject = f"acme.end.{new_task_id()}.owner"
        async with company.owner() as bus:
            refused = [await fill(bus, f"acme.end.{new_task_id()}.owner", 3_000) for _ in range(2)][1]
            assert refused.message == "no room: the stream ENDS holds as much as it may"
            assert "`ends = MIB` under [streams] in org.toml, then `clawbus apply`" in refused.remedy
            company.org_file.write_text(company.org_file.read_text() + "[streams]\nends = 2048\n")
            done = await asyncio.to_thread(clawbus, "apply", "--org", str(company.org_file))
            assert done.returncode == 0, done.stdout + done.stderr
            assert (await bus.publish(subject, b"x" * 3_000, msg_id=new_message_id("owner"))).seq > 0
            assert (await bus.api(f"STREAM.INFO.{ENDS}"))["config"]["max_bytes"] == 2048 * MIB


async def test_a_quota_is_not_a_full_stream(tmp_path: Path) -> None:
    """The server has one code for both: of a backlog who gives hears whose it is, and that it goes by itself."""
    async with office(tmp_path) as company, company.owner() as bus:
        await bounded(company, "TASKS", max_msgs_per_subject=2)
        quota = await fill(bus, "acme.tasks.cto.low.owner", 10)
        assert isinstance(quota, BacklogFull)
        assert "the backlog of cto is full" in quota.message
        assert "policies.quota in org.toml" in quota.remedy
        await bounded(company, "TASKS", max_bytes=1_000)
        full = await fill(bus, "acme.tasks.cto.high.owner", 400)
        assert not isinstance(full, BacklogFull)
        assert "the stream TASKS holds as much as it may" in full.message


async def test_a_message_that_is_too_large_is_no_full_disk(tmp_path: Path) -> None:
    """Neither for the stream nor for the server: the way for more is a file."""
    async with office(tmp_path) as company, company.owner() as bus:
        await bounded(company, INBOX, max_msg_size=10_000)
        for size, what in ((20_000, "larger than the stream INBOX takes"), (3 * MIB, "takes in one message: 2097152")):
            refused = await fill(bus, "acme.dm.ceo.owner", size)
            assert what in refused.message
            assert "as a file" in refused.remedy
            assert "disk" not in f"{refused}"
        assert "max_msg_size" in (await fill(bus, "acme.dm.ceo.owner", 20_000)).remedy


async def test_a_company_starts_on_a_disk_that_is_smaller_than_its_streams_may_become(tmp_path: Path) -> None:
    """What a stream may hold is a reservation: by default the server refuses it beyond three quarters of what is free."""
    huge = "[streams]\nart = 1048576\nends = 1048576\nevents = 1048576\n"
    async with live(tmp_path, None, toml=office_toml(huge)) as company, company.owner() as bus:
        assert (await bus.api("STREAM.INFO.ART"))["config"]["max_bytes"] == 1048576 * MIB


def test_each_stream_has_its_size_in_org_toml_and_a_wrong_one_is_a_mistake() -> None:
    assert {stream.name: Sizes().mib(stream.name) for stream in STREAMS} == {one.name: one.size_mib for one in STREAMS}
    assert load_text(office_toml("[streams]\nspend = 2048\n"), Path("org.toml")).streams.spend == 2048
    for line, said in (
        ("spent = 20", "Did you mean 'spend'?"),
        ('spend = "2GiB"', "Write it without quotes"),
        ("spend = 1", "Write 16 or more."),
        ("spend = 2000000", "Write 1048576 or less."),
    ):
        with pytest.raises(OrgMistakes, match="streams") as wrong:
            load_text(office_toml(f"[streams]\n{line}\n"), Path("org.toml"))
        assert said in str(wrong.value)


@pytest.mark.parametrize("text", ["maximum bytes exceeded", "voll", ""])
def test_the_servers_words_decide_nothing_where_it_has_a_code(text: str) -> None:
    """Only that a subject and not its stream is full has none of its own."""
    for code in (10002, 10023, 10026, 10027, 10028, 10047, 10120, 10121, 10122):
        for own, remedy in ((True, "clawbus up"), (False, "on that nats-server")):
            error = no_room(code, text, "CONSUMER.DURABLE.CREATE.TASKS.hq", own)
            assert error is not None
            assert remedy in error.remedy
    assert no_room(10059, "maximum everything", "STREAM.INFO.TASKS", True) is None
    full = no_room(10077, text, "acme.spend.x.ceo", True)
    assert full is not None
    assert SPEND in full.message


async def test_a_server_that_was_started_without_the_bound_says_which_command_mends_it(tmp_path: Path) -> None:
    """An `apply` of this clawbus to a server that an earlier one has started: no setting of org.toml is named."""
    async with live(tmp_path, None, toml=office_toml()) as company:
        conf = company.home.root / "nats" / "nats.conf"
        company.kill("nats-server")
        lines = [line for line in conf.read_text().splitlines() if "max_file_store" not in line]
        conf.write_text(
            "\n".join([*lines, ""]).replace("max_memory_store", "max_file_store: 9000MB\n  max_memory_store")
        )
        log = company.home.log("old").open("ab")
        company.processes["nats-server"] = subprocess.Popen(
            server.command(server.find_server(), conf), stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        await company.ready("nats-server")
        wider = load_text(company.org_file.read_text() + "\n[streams]\nart = 1048576\n", company.org_file)
        async with company.company.connect("provisioner") as bus:
            with pytest.raises(Refused) as refused:
                await provision(bus, wider)
    assert refused.value.code == 10047
    assert refused.value.remedy == "Run `clawbus up` anew: it starts the server without that bound."
