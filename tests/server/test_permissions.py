"""Who may say, read and hear what: every channel, stream and durable, tried on a real server with each kind of key.

The table here is written by hand, from the rules (docs/security.md, docs/protocol.md) and not from `permissions`; its rows
come from CHANNELS, STREAMS and what the server has, so that a new one cannot be left out.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from clawbus.org import EXTERNAL, STEWARD
from clawbus.provision import leaf_config as leaf
from clawbus.provision import permissions, server, tls
from clawbus.provision.account_push import push
from clawbus.provision.permissions import Rights
from clawbus.wire.channels import CHANNELS, STREAMS, Channel
from clawbus.wire.subjects import Subjects
from tests.company import Live, free_ports, live
from tests.server.test_channel_table import TOKENS
from tests.trying import Trying, joined, trying

pytestmark = pytest.mark.timeout(120)

TOML = """
company = "acme"
bus.port = {ports[0]}
guests.enabled = true
[[gateways]]
id = "hq"
port = {ports[1]}
[[gateways]]
id = "lab"
port = {ports[2]}
[[agents]]
id = "ceo"
role = "role-ceo"
team = "exec"
gateway = "hq"
[[agents]]
id = "cto"
reports_to = "ceo"
team = "build"
gateway = "lab"
[[agents]]
id = "dev"
reports_to = "cto"
team = "build"
gateway = "lab"
[[agents]]
id = "ops"
reports_to = "cto"
team = "build"
gateway = "hq"
[[humans]]
id = "owner"
[[humans]]
id = "auditor"
"""
ACME = Subjects("acme")
EVERYBODY = ("ceo", "cto", "dev", "ops", "owner", "auditor", STEWARD, EXTERNAL, "provisioner", "nobody")
KEYS = ("gw-lab", "me-owner", "steward", "provisioner", "guest")
NAMES = {"gw-lab": ("cto", "dev"), "me-owner": ("owner",), "steward": (STEWARD,), "guest": (), "provisioner": EVERYBODY}
SPEAKERS = {
    "everyone": {"gw-lab", "me-owner", "steward", "provisioner"},
    "agents": {"gw-lab", "steward", "provisioner"},
    "people": {"me-owner", "provisioner"},
    "steward": {"steward", "provisioner"},
    "provisioner": {"provisioner"},
}
"""Channel.by -> the keys whose holders speak there, under their own names."""
READ_BY_GATEWAYS = {"ENDS", "EVENTS", "LEARN", "ART", "KEYS", "STATE", "SPEND"}
NOT_READ_BY_GATEWAYS = {"TASKS", "INBOX", "CTL", "BCAST", "DEAD", "ALERTS", "TIMERS", "GUEST"}
STEWARDS_READ = {"EVENTS", "ENDS", "BCAST", "LEARN", "DEAD", "TIMERS", "INBOX", "CTL", "GUEST"}
GUESTS_SAY = ("komodo-ai.all", "komodo-ai.build", "komodo-ai.dm.cto", "agent-hub.operators.x.inbox",
              "agent-hub.topics.status.deploy", "genbrain.agents.cto.tasks", "genbrain.org.events")  # fmt: skip
HEARD_BY = {
    "presence": {"gw-lab", "me-owner", "steward"}, "roll": {"gw-lab"}, "end": {"me-owner", "steward"},
    **{name: {"me-owner"} for name in ("events", "all", "team", "topics", "alerts")},
    **{name: set() for name in ("tasks", "dm", "ctl", "learning", "art", "dead", "timers", "keys", "state", "spend")},
}  # fmt: skip
"""Channel -> the keys that hear it live, the provisioner's aside."""
PER_STREAM = ("CREATE", "UPDATE", "DELETE", "PURGE", "INFO", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE",
              "LEADER.STEPDOWN", "PEER.REMOVE")  # fmt: skip
PER_DURABLE = ("CREATE", "DURABLE.CREATE", "DELETE", "INFO", "MSG.NEXT", "PAUSE", "UNPIN", "LEADER.STEPDOWN")
OF_ACCOUNT = ("INFO", "STREAM.LIST", "STREAM.NAMES", "ACCOUNT.PURGE.x", "META.LEADER.STEPDOWN", "SERVER.REMOVE")
OUTSIDE = ("$SYS.REQ.SERVER.PING", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.PING", "$SYS.REQ.USER.INFO", "$SRV.PING",
           "_INBOX.gw-hq.x", "_INBOX.me-auditor.x", "_R_.x.y", "$JS.EVENT.ADVISORY.x", "$KV.x.y", "$O.x.y", "acme.x",
           "acme.dm.cto.cto.x", "acme", "other.dm.cto.cto", "x")  # fmt: skip
WIDE = (">", "*.>", "acme.>", "acme.*.>", "*.dm.*.*", "acme.dm.>", "_INBOX.>", "_INBOX.*.x", "_INBOX.gw-hq.>",
        "_INBOX.me-auditor.>", "$JS.>", "$JS.ACK.>", "$JS.EVENT.>", "$SYS.>", "$SRV.>", "HUB.>", "_R_.>", "genbrain.>")  # fmt: skip
Call = tuple[str, bool]
"""A subject, and whether it is allowed."""


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(3))) as company:
        yield company


# -- the table ---------------------------------------------------------------------------------------------------------


def said(row: Channel, sender: str) -> str:
    return ACME.build(row.name, sender, **{token: TOKENS[token] for token in row.tokens})


def speaking(key: str) -> Iterator[Call]:
    """Every channel, under every name of the company."""
    for row, sender in itertools.product(CHANNELS, EVERYBODY):
        allowed = key in SPEAKERS[row.by] and sender in NAMES[key]
        if key == "steward" and sender == EXTERNAL:  # whose words it has translated
            allowed = row.by == "everyone"
        yield said(row, sender), allowed


def of_streams(key: str) -> Iterator[Call]:
    """JetStream's API for every stream, under its own name and under that of the importing accounts."""
    for stream, word in itertools.product((one.name for one in STREAMS), PER_STREAM):
        yield f"HUB.STREAM.{word}.{stream}", key == "provisioner" or stream in stream_words(key).get(word, ())
        yield f"$JS.API.STREAM.{word}.{stream}", key == "provisioner"
    for stream in (one.name for one in STREAMS):
        yield f"HUB.DIRECT.GET.{stream}", key in ("me-owner", "steward", "provisioner")
        yield f"HUB.DIRECT.GET.{stream}.acme.dm.ceo.owner", key == "provisioner"
        yield f"HUB.CONSUMER.CREATE.{stream}", key == "provisioner"
    for word in OF_ACCOUNT:
        yield f"HUB.{word}", key == "provisioner" or (word == "INFO" and key in ("me-owner", "steward"))
        yield f"$JS.API.{word}", key == "provisioner"


def stream_words(key: str) -> dict[str, set[str]]:
    """What a key may ask of which streams."""
    everything = {one.name for one in STREAMS}
    people = {"MSG.GET": everything, "INFO": everything}
    return {
        "gw-lab": {"MSG.GET": READ_BY_GATEWAYS},
        "me-owner": people,
        "steward": {**people, "PURGE": {"TIMERS", "DEAD"}},
    }.get(key, {})


def of_durables(key: str, durables: list[tuple[str, str]]) -> Iterator[Call]:
    """What can be asked of every durable that the server has, and its acknowledgements."""
    for (stream, durable), word in itertools.product(durables, PER_DURABLE):
        mine = key == "provisioner" or is_own(key, stream, durable)
        yield f"HUB.CONSUMER.{word}.{stream}.{durable}", key == "provisioner" or (mine and word in ("INFO", "MSG.NEXT"))
        yield f"$JS.API.CONSUMER.{word}.{stream}.{durable}", key == "provisioner"
    for stream, durable in durables:
        mine = key == "provisioner" or is_own(key, stream, durable)
        yield f"$JS.ACK.{stream}.{durable}.1.1.1.1.0", mine


def is_own(key: str, stream: str, durable: str) -> bool:
    if key == "gw-lab":  # its own, and those of its team, which ops at hq shares
        return durable == "gw-lab" or durable.startswith(("gw-lab-", "grp-build-"))
    return durable == key and (key != "steward" or stream in STEWARDS_READ)


def elsewhere(key: str) -> Iterator[Call]:
    for subject in OUTSIDE:
        yield subject, key == "provisioner"
    for subject in GUESTS_SAY:
        yield subject, key in ("guest", "provisioner")
    for name in ("gw-lab", "gw-hq", "me-owner", "me-auditor", "steward", "provisioner", "guest", "*"):
        yield f"acme.creds.{name}", key == "provisioner" or (name == key and key != "guest")


def publishing(key: str, durables: list[tuple[str, str]]) -> Iterator[Call]:
    calls = [*speaking(key), *of_streams(key), *of_durables(key, durables), *elsewhere(key)]
    for subject, allowed in calls:
        yield subject, allowed or (key == "steward" and subject == "_R_.x.y")  # where it answers guests


def hearing(key: str) -> Iterator[Call]:
    for row in CHANNELS:
        yield ACME.everything(row.name), key == "provisioner" or key in HEARD_BY[row.name]
    for subject in WIDE:
        yield subject, key == "provisioner" or (key == "guest" and subject.startswith("_INBOX."))
    yield f"_INBOX.{key}.>", True
    for subject in ("genbrain.agents.*.inbox", "komodo-ai.all"):
        yield subject, key in ("steward", "provisioner")


async def durables_of(firm: Live) -> list[tuple[str, str]]:
    found = []
    async with firm.company.connect("provisioner") as bus:
        for stream in STREAMS:
            page = await bus.api(f"CONSUMER.LIST.{stream.name}")
            found += [(stream.name, one["name"]) for one in page["consumers"] or []]
    return found


async def differences(one: Trying, key: str, durables: list[tuple[str, str]]) -> list[str]:
    """What the server does otherwise than the table says."""
    found, tried = [], 0
    for subject, allowed in publishing(key, durables):
        tried += 1
        if await one.may_publish(subject) != allowed:
            found.append(f"publish {subject}: {'refused' if allowed else 'allowed'}")
    for subject, allowed in hearing(key):
        tried += 1
        if await one.may_hear(subject) != allowed:
            found.append(f"subscribe {subject}: {'refused' if allowed else 'allowed'}")
    assert tried > 500
    return found


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_no_channel_and_no_stream_is_left_out() -> None:
    """A new one has no word here about who speaks, reads and hears: this fails until somebody has decided it."""
    assert {row.by for row in CHANNELS} == set(SPEAKERS)
    assert {row.name for row in CHANNELS} == set(HEARD_BY)
    assert {stream.name for stream in STREAMS} == READ_BY_GATEWAYS | NOT_READ_BY_GATEWAYS
    assert not READ_BY_GATEWAYS & NOT_READ_BY_GATEWAYS
    assert {token for row in CHANNELS for token in row.tokens} <= set(TOKENS)


@pytest.mark.parametrize("key", KEYS)
async def test_n12_each_key_may_do_what_the_table_says_and_nothing_else(firm: Live, key: str) -> None:
    """Some hundred calls each: all channels under all names, all of the API on all streams and durables."""
    durables = await durables_of(firm)
    assert {"gw-lab", "gw-hq", "me-owner", "me-auditor", "steward", "grp-build-high"} <= {name for _, name in durables}
    async with trying(firm.org.url, firm.company.identity(key).creds_file) as one:
        assert await differences(one, key, durables) == []


async def test_a_machine_that_joined_may_do_what_its_gateway_may(firm: Live, tmp_path: Path) -> None:
    """Its key was made there; the registrar's JWT gives it the same list."""
    async with trying(firm.org.url, joined(firm, "gw-lab", tmp_path).creds_file) as one:
        assert await differences(one, "gw-lab", await durables_of(firm)) == []


async def test_a_leaf_refuses_in_words_what_its_gateway_may_not(firm: Live, tmp_path: Path) -> None:
    """Where agents see the loopback only, the leaf holds the same list: the hub would forbid in silence."""
    durables, me = await durables_of(firm), firm.company.identity("gw-lab")
    async with running_leaf(firm) as url, trying(url, seed=me.seed_file) as one:
        assert await differences(one, "gw-lab", durables) == []


@contextlib.asynccontextmanager
async def running_leaf(firm: Live) -> AsyncIterator[str]:
    """The nats-server that `clawbus leaf` would run for gw-lab; its hub is away."""
    port, nowhere = free_ports(5)[3:]
    tls.prepare(firm.home, firm.org)
    hub = leaf.Hub("127.0.0.1", nowhere, "--hub", "127.0.0.1")
    config = firm.home.dir("leaf") / "leaf.conf"
    config.write_text(leaf.leaf_config(firm.home, firm.org, ["lab"], hub, port, tls.ca_file(firm.home)))
    process = subprocess.Popen(server.command(server.find_server(), config), stderr=subprocess.DEVNULL)
    try:
        await server.wait_ready(port, 15)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("role", "key", "publish", "subscribe", "found"),
    [
        ("gateway", "gw-lab", "acme.dm.*.*", "", "publish acme.dm.cto-athena.owner: allowed"),
        ("gateway", "gw-lab", "acme.end.*.*", "", "publish acme.end.aaaaaaaaaaaaaaaaaaaaaaaaaa.ceo: allowed"),
        ("gateway", "gw-lab", "HUB.CONSUMER.MSG.NEXT.*.*", "", "publish HUB.CONSUMER.MSG.NEXT.INBOX.gw-hq: allowed"),
        ("gateway", "gw-lab", "$JS.ACK.>", "", "publish $JS.ACK.TASKS.gw-hq-high.1.1.1.1.0: allowed"),
        ("gateway", "gw-lab", "HUB.STREAM.MSG.GET.*", "", "publish HUB.STREAM.MSG.GET.INBOX: allowed"),
        ("gateway", "gw-lab", "acme.creds.*", "", "publish acme.creds.gw-hq: allowed"),
        ("gateway", "gw-lab", "", "_INBOX.>", "subscribe _INBOX.gw-hq.>: allowed"),
        ("person", "me-owner", "acme.state.*.*", "", "publish acme.state.cto-athena.auditor: allowed"),
        ("person", "me-owner", "HUB.>", "", "publish HUB.STREAM.PURGE.TASKS: allowed"),
        ("steward", "steward", "acme.events.*.*", "", "publish acme.events.aaaaaaaaaaaaaaaaaaaaaaaaaa.owner: allowed"),
        ("guest", "guest", "acme.>", "", "publish acme.dm.cto-athena.external: allowed"),
    ],
)
async def test_n12_a_wildcard_too_many_is_found(
    firm: Live, monkeypatch: pytest.MonkeyPatch, role: str, key: str, publish: str, subscribe: str, found: str
) -> None:
    """The role gets one subject more, as somebody could write it in good faith: the table says where it leads."""
    real = permissions.rights

    def wider(org: object, name: str) -> Rights:
        may = real(org, name)  # type: ignore[arg-type]
        if name != role:
            return may
        return Rights(may.publish + (publish,) * bool(publish), may.subscribe + (subscribe,) * bool(subscribe))

    monkeypatch.setattr("clawbus.provision.authority.rights", wider)
    durables = await durables_of(firm)
    assert await push(firm.home, firm.org)
    async with trying(firm.org.url, firm.company.identity(key).creds_file) as one:
        said_otherwise = await differences(one, key, durables)
    assert found in said_otherwise
    assert all(line.endswith(": allowed") for line in said_otherwise)
