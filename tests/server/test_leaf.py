"""K3: a machine behind a leaf. Its agents dial the loopback, the leaf dials the hub's port for leaves, and no other."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus.errors import InvalidInput
from clawbus.org import BusConfig
from clawbus.org.bus_config import EVERYWHERE
from clawbus.provision import server
from clawbus.provision.ca import authority
from clawbus.provision.leaf_config import hub_of, look
from clawbus.provision.ports import Port, kind_of, who_answers
from tests.branch import CLAWBUS, Branch, branch
from tests.company import free_ports, until

pytestmark = pytest.mark.timeout(180)  # two machines, up to a dozen processes, and a cut that lasts
CUT_S = 10.0
SAYS = """
for number in range(5):
    await client.send("cto-athena", f"down {number}")
for number in range(3):
    print((await client.start("eng-ada", f"task {number}")).id)
"""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Branch]:
    async with branch(tmp_path) as both:
        yield both


# -- which port is which ------------------------------------------------------------------------------------------------


async def test_k3_the_ports_of_a_real_server_are_told_apart_by_their_greeting(tmp_path: Path) -> None:
    """Clients, leaves, servers of a cluster, the monitoring page, and nobody; also where leaves are not advertised."""
    clients, leaves, cluster, page, quiet, none = free_ports(6)
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{clients}"\nhttp: "127.0.0.1:{page}"\nserver_name: one\n'
        f'leafnodes {{ listen: "127.0.0.1:{leaves}" }}\ncluster {{\n name: one\n listen: "127.0.0.1:{cluster}"\n}}\n'
    )
    silent = tmp_path / "silent.conf"
    silent.write_text(f'port: -1\nleafnodes {{ listen: "127.0.0.1:{quiet}", no_advertise: true }}\n')
    program = server.find_server()
    runs = [subprocess.Popen(server.command(program, one), stderr=subprocess.DEVNULL) for one in (config, silent)]
    try:
        await server.wait_ready(clients, 10)
        await server.wait_ready(quiet, 10)
        found = [await who_answers("127.0.0.1", port) for port in (clients, leaves, cluster, page, quiet, none)]
        assert found == [Port.CLIENTS, Port.LEAVES, Port.SERVERS, Port.SILENT, Port.LEAVES, Port.NOBODY]
        for wrong in (clients, cluster, page):
            with pytest.raises(InvalidInput) as caught:
                await look(hub_of(f"127.0.0.1:{wrong}", "--hub", BusConfig()), BusConfig())
            assert f"127.0.0.1:{wrong} is " in caught.value.message
            assert "Write 127.0.0.1:7422" in caught.value.remedy
        assert await look(hub_of(f"127.0.0.1:{leaves}", "--hub", BusConfig()), BusConfig()) is Port.LEAVES
    finally:
        for run in runs:
            run.kill()
            run.wait()


@pytest.mark.parametrize(
    "line", [b"", b"INFO", b"INFO []", b"INFO {", b"HTTP/1.1 400 Bad Request\r\n", b"INFO " + b"[" * 60_000]
)
def test_what_is_no_greeting_is_taken_for_none(line: bytes) -> None:
    assert kind_of(line) is Port.SILENT


@pytest.mark.parametrize("said", ["hub.example:4222", "tls://hub.example:4222", "hub.example:4300"])
def test_k3_the_port_of_clients_is_refused_without_dialling(said: str) -> None:
    """NATS' usual one, and the one that the company's org.toml names."""
    with pytest.raises(InvalidInput) as caught:
        hub_of(said, "--hub", BusConfig(port=4300))
    assert "is a port for clients; a leaf dials the one for leaves" in caught.value.message
    assert caught.value.remedy.startswith("Write hub.example:7422, or without a port")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "nats://hub.example",
        "http://hub.example",
        "hub.example:99999",
        "a b",
        "tls://me@hub.example",
        "hub.example/x",
        "a..b",
        "h" * 64,
        "[::1]:7422",
        "hub.example:0",
        'hub"example',
        "-x",
        EVERYWHERE,
    ],
)
def test_what_is_no_address_of_a_hub_is_refused(said: str) -> None:
    with pytest.raises(InvalidInput, match="--hub"):
        hub_of(said, "--hub", BusConfig())


@pytest.mark.parametrize(
    ("said", "meant"), [("hub.example", "hub.example:7500"), ("10.0.0.1:4222", "10.0.0.1:4222"), ("tls://h:1", "h:1")]
)
def test_without_a_port_the_one_of_the_org_file_is_dialled(said: str, meant: str) -> None:
    """And 4222 is right where the company has put its leaves there."""
    leaf_port = 4222 if said.startswith("10.") else 7500
    assert str(hub_of(said, "--hub", BusConfig(port=4223, join_port=4224, leaf_port=leaf_port))) == meant


# -- the road through a leaf ----------------------------------------------------------------------------------------------


async def test_k3_agents_behind_a_leaf_dial_the_loopback_only_and_tasks_go_both_ways(two: Branch) -> None:
    """A task from the hub to an agent behind the leaf and back; one from behind it to the hub and back; who is there."""
    await two.leaf()
    await two.agents()
    asked = await asyncio.to_thread(two.owner, "ask", "eng-ada", "count to three", "--timeout", "30")
    assert (asked.returncode, asked.stdout) == (0, "count to three (attempt 1)\n"), asked.stderr
    absent = await asyncio.to_thread(two.program, "print(sorted(await client.offline()))")
    assert absent == "['cto-athena']\n"  # its node is there, its gateway is not
    given = await two.tool("nats_spawn", agentId="ceo-genesis", task="decide")
    assert given["ok"], given
    waited = await two.tool("nats_tasks", action="wait", taskIds=[given["data"]["taskId"]], timeoutSeconds=30)
    assert "decide (attempt 1)" in waited["text"]
    assert dialled(two, "lab") == dialled(two, "shop") == {"127.0.0.1:4222"}
    hub = two.wire.hub.address
    assert {peer for peer in dialled(two, "leaf") if not peer.startswith("127.")} == {f"{hub}:7422"}


async def test_k3_up_runs_the_leaf_by_itself_once_there_is_one(tmp_path: Path) -> None:
    """Until it is told --off; then what runs there dials the hub itself again."""
    async with branch(tmp_path, "eng-ada") as two:
        two.start("leaf", two.wire.other, *CLAWBUS, "leaf")
        await two.says("leaf", "shop: connected to")
        two.end("leaf")
        two.start("up-there", two.wire.other, *CLAWBUS, "up")
        await two.says("up-there", "acme is up on nats://127.0.0.1:4222")
        two.start(
            "shop", two.wire.other, sys.executable, "-m", "tests.program", "--org", "org.toml", "--gateway", "shop"
        )
        asked = await asyncio.to_thread(two.owner, "ask", "eng-ada", "hello", "--timeout", "30")
        assert asked.stdout == "hello (attempt 1)\n", asked.stderr
        two.end("up-there")
        off = two.clawbus(two.wire.other, "leaf", "--off")
        assert f"dials tls://{two.wire.hub.address}:4222" in off.stdout, off.stderr
        two.start("up-again", two.wire.other, *CLAWBUS, "up")
        await two.says("up-again", f"acme is up on tls://{two.wire.hub.address}:4222")


# -- cut and healed -------------------------------------------------------------------------------------------------------


async def test_k3_a_link_that_is_cut_for_ten_seconds_loses_nothing_and_keeps_the_order(two: Branch) -> None:
    """As docs/leaf.md has it: what is said on either side while the link is cut arrives once each, in its order.

    A turn that runs goes on, and its result counts; what had been read before can be read.
    """
    await two.leaf()
    await two.agents()
    assert two.owner("send", "cto-athena", "before").returncode == 0
    await until(lambda: shown(two, 1), "the message before the cut", 20)
    long = two.owner("ask", "eng-ada", "@sleep 6", "--no-wait").stdout.strip()
    await until(lambda: state(two, long, "running"), "the long task runs", 20)
    two.wire.cut()
    began = time.monotonic()
    calls = [await two.call("nats_pub", to="ceo-genesis", message=f"up {number}") for number in range(5)]
    assert [one["body"] for one in await shown(two, 1) or []] == ["before"]
    tasks = (await asyncio.to_thread(two.program, SAYS)).split()
    said = await asyncio.gather(*calls)
    assert all(one["ok"] and "goes out by itself" in one["text"] for one in said), said
    await until(lambda: passed(began, CUT_S), "the cut has lasted", CUT_S + 1)
    two.wire.heal()
    healed = time.monotonic()
    await until(lambda: arrived(two, 5), "what was said behind the leaf", 30)
    bodies = [one["body"] for one in two.waiting("ceo-genesis")]
    assert bodies == [f"up {number}" for number in range(5)]
    found = await until(lambda: shown(two, 6), "what was said at the hub", 30)
    assert [one["body"] for one in found] == ["before", *(f"down {number}" for number in range(5))]
    for task in (long, *tasks):
        await until(lambda task=task: state(two, task, "done"), f"task {task}", 60)  # type: ignore[misc]
    results = [two.owner("task", "result", task).stdout.strip() for task in (long, *tasks)]
    assert results == ["@sleep 6 (attempt 1)", *(f"task {number} (attempt 1)" for number in range(3))]
    assert time.monotonic() - healed < 60
    await two.says("leaf", "nobody answers at")


async def test_k3_a_hub_that_restarts_finds_its_leaves_again(two: Branch) -> None:
    """Its server is killed; the leaf dials again by itself, and what was sent meanwhile is there."""
    await two.leaf()
    await two.agents()
    two.forget("leaf")
    two.end("up")
    said = await two.tool("nats_pub", to="ceo-genesis", message="while it was away")
    assert "goes out by itself" in said["text"]
    await two.says("leaf", "nobody answers at")
    two.start("up", two.wire.hub, *CLAWBUS, "up")
    await two.says("leaf", "lab: connected to")
    await until(lambda: arrived(two, 1), "what was said while the hub was away", 30)


async def test_k3_credentials_are_renewed_through_the_leaf_before_they_end(tmp_path: Path) -> None:
    """The leaf asks for them under the gateway's name, and shows the hub the new ones before the old ones are over."""
    async with branch(tmp_path, "eng-ada", credentials="12s") as two:
        two.start("leaf", two.wire.other, *CLAWBUS, "leaf")
        await two.says("leaf", "shop: connected to")
        began, first = time.monotonic(), two.home.key("gw-shop").with_suffix(".creds").read_text()
        await until(lambda: passed(began, 15), "the first credentials are over", 16)
        two.forget("leaf")
        await two.says("leaf", "the leaf has taken in what has changed")
        assert two.home.key("gw-shop").with_suffix(".creds").read_text() != first
        assert not await complains(two, "Authorization Violation")
        assert not await complains(two, "Authentication Expired")


# -- who it is, and whom it trusts ------------------------------------------------------------------------------------------


async def test_k3_a_leaf_is_its_gateways_and_nobody_else(two: Branch) -> None:
    """Without a key nobody is anybody on the loopback; and a thief's own leaf, with one file, is that gateway only."""
    await two.leaf()
    without = probe(two, "127.0.0.1", "", ["acme.dm.cto-athena.eng-ada"])
    assert "authorization violation" in without["refused"].lower()
    two.end("leaf")
    thief = two.home.root / "thief.conf"
    trusted, creds = two.home.root / "tls/ca.pem", two.home.key("gw-lab").with_suffix(".creds")
    thief.write_text(
        f'listen: "127.0.0.1:4222"\nserver_name: thief\nleafnodes {{ remotes: [ {{ url: "tls://{two.wire.hub.address}:7422", '
        f'credentials: "{creds}", tls: {{ ca_file: "{trusted}" }} }} ] }}\n'
    )
    two.start("thief", two.wire.other, *server.command(server.find_server(), thief))
    asked = ["acme.dm.ceo-genesis.cto-athena", "acme.dm.ceo-genesis.eng-ada", "acme.dm.cto-athena.ceo-genesis",
             "HUB.CONSUMER.INFO.INBOX.gw-lab", "HUB.CONSUMER.INFO.INBOX.gw-shop", "HUB.STREAM.PURGE.INBOX",
             "$JS.API.STREAM.NAMES"]  # fmt: skip
    answered = probe(two, "127.0.0.1", "_INBOX.gw-lab", asked)
    assert [one for one in asked if answered[one] != "none"] == [asked[0], asked[3]], answered
    heard = probe(two, "127.0.0.1", "_INBOX.gw-shop", ["HUB.CONSUMER.INFO.INBOX.gw-lab"])
    assert heard["HUB.CONSUMER.INFO.INBOX.gw-lab"] == "none", "an answer came to another's inbox"


async def test_through_a_leaf_no_answer_lands_on_anothers_subject(two: Branch) -> None:
    """A thief's own leaf checks nothing: with the stolen file, and replies aimed at others, still nothing is stored there."""
    thief = two.home.root / "thief.conf"
    authority, creds = two.home.root / "tls/ca.pem", two.home.key("gw-lab").with_suffix(".creds")
    thief.write_text(
        f'listen: "127.0.0.1:4222"\nserver_name: thief\nleafnodes {{ remotes: [ {{ url: "tls://{two.wire.hub.address}:7422", '
        f'credentials: "{creds}", tls: {{ ca_file: "{authority}" }} }} ] }}\n'
    )
    two.start("thief", two.wire.other, *server.command(server.find_server(), thief))
    answered = probe(two, "127.0.0.1", "_INBOX.gw-lab", ["acme.dm.cto-athena.cto-athena"])
    assert answered["acme.dm.cto-athena.cto-athena"] != "none"
    said = two.wire.other.run(sys.executable, "-c", AIMED, cwd=two.folders[two.wire.other.name])
    assert said.stdout.strip() == "said", said.stderr
    stored = two.wire.hub.run(sys.executable, "-c", STORED, cwd=two.folders[two.wire.hub.name])
    found = json.loads(stored.stdout)
    assert found["acme.dm.cto-athena.cto-athena"] > 10, stored.stderr
    assert not [subject for subject in found if subject.endswith(".owner") or ".keys.ceo-genesis.none" in subject]
    assert {subject.rpartition(".")[2] for subject in found if ".dm." in subject} == {"cto-athena"}


async def test_k3_a_leaf_trusts_the_companys_authority_only(two: Branch) -> None:
    """With another authority there is no link, and it says why; what is not encrypted is not spoken."""
    (two.home.root / "tls/ca.pem").write_text(authority(two.home.root / "other.pem", "acme").pem)
    two.start("leaf", two.wire.other, *CLAWBUS, "leaf")
    await two.says("leaf", "there is no link to it yet")
    await until(lambda: complains(two, "certificate signed by unknown authority"), "the reason in the log", 20)
    assert "connected to" not in two.log("leaf").read_text()


async def test_a_leaf_that_was_shut_out_says_so_once(two: Branch) -> None:
    """Another machine has come in for its gateways: it is told what to do, and not again at each try."""
    await two.leaf()
    two.forget("leaf")
    code = two.owner("invite", "cto-athena", "eng-ada").stdout.strip()
    (two.folders[two.wire.other.name] / "anew").mkdir()
    joined = two.clawbus(two.wire.other, "join", code, "--org", "anew/org.toml")
    assert joined.returncode == 0, joined.stdout + joined.stderr
    log = two.home.root / "logs/leaf.log"
    await until(lambda: passed_on(log, "Authorization Violation", 6), "three tries of each gateway", 60)
    said = [line for line in two.log("leaf").read_text().splitlines() if "refuses it" in line]
    assert sorted(line.partition(":")[0] for line in said) == ["lab", "shop"]
    assert "clawbus invite" in said[0]


async def passed_on(log: Path, words: str, times: int) -> bool:
    return log.read_text().count(words) >= times


# -- where the hub is said ------------------------------------------------------------------------------------------------


async def test_k3_the_hub_is_given_by_option_or_variable_and_a_wrong_port_is_refused(two: Branch) -> None:
    """In words, with exit code 2, and nothing is written; by its number, and by how it greets."""
    hub = two.wire.hub.address
    plain = two.folders[two.wire.hub.name].parent / "plain.conf"
    plain.write_text(f'listen: "{hub}:5222"\n')
    two.start("plain", two.wire.hub, *server.command(server.find_server(), plain))
    await until(lambda: listens(two, f"{hub}:5222"), "the other server", 20)
    for said, words in (
        (f"{hub}:4222", "is a port for clients; a leaf dials the one for leaves"),
        (f"{hub}:5222", "is a port for clients; a leaf dials the one for leaves"),
        (f"{hub}:4223", "is no port of a nats-server"),
    ):
        two.owner("invite", "cto-athena")  # the port for `clawbus join` is open
        for run in (
            two.clawbus(two.wire.other, "leaf", "--hub", said),
            two.wire.other.run("env", f"CLAWBUS_HUB={said}", *CLAWBUS, "leaf", cwd=two.folders[two.wire.other.name]),
        ):
            assert run.returncode == 2, run.stdout + run.stderr
            assert f"{said} {words}" in run.stderr
            assert f"Write {hub}:7422" in run.stderr
        assert "CLAWBUS_HUB = " in run.stderr
    assert json.loads((two.home.root / "here.json").read_text())["leaf"] is None
    two.start("leaf", two.wire.other, "env", f"CLAWBUS_HUB={hub}:7422", *CLAWBUS, "leaf", "--port", "4333")
    await two.says("leaf", "lab: connected to")
    assert "nats://127.0.0.1:4333" in two.log("leaf").read_text()


async def test_k3_the_companys_own_machine_needs_no_leaf(two: Branch) -> None:
    run = two.owner("leaf")
    assert run.returncode == 6
    assert "this is the company's own machine" in run.stderr


# -- looking --------------------------------------------------------------------------------------------------------------


def dialled(two: Branch, name: str) -> set[str]:
    """To where the processes of a group have connections, as the machine behind the leaf sees them."""
    group = two.processes[name].pid
    listed = subprocess.run(["ps", "-e", "-o", "pid=,pgid=,ppid="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in listed.splitlines()]
    ours = {pid for pid, pgid, _ in rows if pgid == group}
    while more := {pid for pid, _, parent in rows if parent in ours} - ours:  # what it has started, in other groups
        ours |= more
    lines = two.wire.other.run("ss", "-Htnp", "state", "established").stdout.splitlines()
    found = set()
    for line in lines:
        if {int(pid) for pid in re.findall(r"pid=(\d+)", line)} & ours and not line.split()[2].endswith(":4222"):
            found.add(line.split()[3])
    return found


def probe(two: Branch, host: str, inbox: str, subjects: list[str]) -> dict[str, str]:
    """What a plain client on the machine behind the leaf is answered: `none` for what nobody answers in two seconds."""
    script = f"""
import asyncio, json
from nats.aio.client import Client
async def main():
    said, client = {{}}, Client()
    async def error(problem):
        said["refused"] = str(problem)
    try:
        await client.connect("nats://{host}:4222", error_cb=error, allow_reconnect=False, inbox_prefix={inbox!r} or "_INBOX")
    except Exception as problem:
        said["refused"] = str(problem)
        return print(json.dumps(said))
    for _ in range(100):  # until the link is up
        try:
            await client.request("HUB.CONSUMER.INFO.INBOX.gw-lab", b"", timeout=0.5)
            break
        except Exception:
            if "shop" in {inbox!r}:
                break
            await asyncio.sleep(0.1)
    for subject in {subjects!r}:
        try:
            said[subject] = (await client.request(subject, b"x" if "dm" in subject else b"", timeout=2)).data.decode()[:80]
        except Exception:
            said[subject] = "none"
    print(json.dumps(said))
asyncio.run(main())
"""
    run = two.wire.other.run(sys.executable, "-c", script)
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return found


async def shown(two: Branch, count: int) -> list[dict[str, str]] | None:
    """The inbox of the CTO, as its node shows it, when it has so many."""
    read = await two.tool("nats_inbox")
    texts = read["text"].split("[clawbus message] ")[1:]
    found = [{"body": re.split(r"<<<[^\n]*\n", text)[1].split("\n", 1)[0]} for text in texts]
    return found if len(found) == count else None


async def arrived(two: Branch, count: int) -> bool:
    return len(await asyncio.to_thread(two.waiting, "ceo-genesis")) >= count


async def state(two: Branch, task: str, wanted: str) -> bool:
    run = await asyncio.to_thread(two.owner, "task", "show", task, "--json")
    return run.returncode == 0 and json.loads(run.stdout)["state"] == wanted


async def passed(began: float, seconds: float) -> bool:
    return time.monotonic() - began >= seconds


async def complains(two: Branch, words: str) -> bool:
    return words in (two.home.root / "logs/leaf.log").read_text()


async def listens(two: Branch, address: str) -> bool:
    return address in two.wire.hub.run("ss", "-Htln").stdout


AIMED = """
import asyncio
from nats.aio.client import Client
async def main():
    client = Client()
    await client.connect("nats://127.0.0.1:4222", inbox_prefix="_INBOX.gw-lab")
    victims = ["acme.dm.ceo-genesis.owner", "acme.tasks.ceo-genesis.high.owner", "acme.state.all.owner", "acme.keys.ceo-genesis.none"]
    pull = b'{"batch":1000,"no_wait":true}'
    calls = [("acme.dm.cto-athena.cto-athena", b"x"), ("HUB.CONSUMER.INFO.INBOX.gw-lab", b""), ("HUB.CONSUMER.MSG.NEXT.INBOX.gw-lab", pull),
             ("HUB.STREAM.MSG.GET.KEYS", b'{"seq":1}')]
    for victim in victims:
        for subject, data in calls * 3:
            await client.publish(subject, data, reply=victim)
    await client.flush()
    await client.request("acme.dm.cto-athena.cto-athena", b"behind all of them", timeout=5)
    print("said")
asyncio.run(main())
"""

STORED = """
import asyncio, json
from pathlib import Path
from clawbus.client.company import Company
from clawbus.provision.streams import stream_configs
async def main():
    company, found = Company.open(Path("org.toml")), {}
    async with company.connect("provisioner") as bus:
        for config in stream_configs(company.org):
            answer = await bus.api(f"STREAM.INFO.{config['name']}", {"subjects_filter": ">"})
            found |= answer["state"].get("subjects") or {}
    print(json.dumps(found))
asyncio.run(main())
"""
