"""No secret is found but in the file that holds it: a whole company works, is refused, crashes, and is searched."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.identity import load_or_create
from clawbus.bus.jwt import write_creds
from clawbus.client.company import Company
from clawbus.gateway.setup import managed_gateway as own
from clawbus.ops.apply import plan
from clawbus.ops.enrol.invite_code import parse
from clawbus.provision.authority import Authority
from clawbus.provision.streams import stream_configs
from clawbus.provision.tls import trusted
from clawbus.wire.channels import DEAD
from clawbus.wire.subjects import new_message_id
from tests.canaries import Secret, core_limits, files_of, leaks, planted, processes
from tests.company import ROOT, Live, duo_toml, free_ports, until
from tests.up import Up

MODEL_KEY, HOOK_PATH, TOKEN = (f"{name}-{secrets.token_hex(16)}" for name in ("sk-ant", "hook", "token"))
BUG = "this handler has a bug"


def canary_toml(ports: list[int]) -> str:
    """Every kind of key: a program's, a node's of a user's gateway, one elsewhere, a person with a webhook."""
    return f"""
company = "acme"
policies.lease_s = 10
[bus]
port = {ports[0]}
leaf_port = {ports[1]}
listen = "0.0.0.0"
hosts = ["127.0.0.1"]
[[gateways]]
id = "hq"
kind = "program"
[[gateways]]
id = "lab"
own = false
port = {ports[2]}
token_file = "lab.token"
[[gateways]]
id = "far"
kind = "program"
elsewhere = true
[[agents]]
id = "ceo"
gateway = "hq"
[[agents]]
id = "cto"
reports_to = "ceo"
gateway = "lab"
[[agents]]
id = "qa"
reports_to = "ceo"
gateway = "far"
[[humans]]
id = "owner"
webhook_file = "hook"
"""


class Watched:
    """The company, a second machine's folder beside it, and all that was printed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.there = folder / "hub", folder / "there"
        self.folder.mkdir()
        self.there.mkdir()
        ports = free_ports(4)
        for name, text in (("lab.token", TOKEN), ("hook", f"http://127.0.0.1:{ports[3]}/{HOOK_PATH}")):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        os.environ["ANTHROPIC_API_KEY"] = MODEL_KEY
        self.up = Up(self.folder, canary_toml(ports))
        del os.environ["ANTHROPIC_API_KEY"]
        self.company = self.up.live.company
        self.said: list[tuple[str, bytes]] = []
        self.code = ""

    def run(self, *args: str, at: Path | None = None, code: int | None = None) -> str:
        """A command, with everything that it logs; what it prints is kept for the search."""
        line = [sys.executable, "-m", "clawbus", "-vv", *args]
        done = subprocess.run(line, check=False, cwd=at or self.folder, capture_output=True, timeout=60)
        self.said.append((f"what `clawbus {args[0]}` prints", done.stdout + done.stderr))
        assert code is None or done.returncode == code, (done.stdout + done.stderr).decode()
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.stdout.decode()

    def secrets(self) -> list[Secret]:
        """What lies in the folder, and the two that lie in none."""
        return [
            *planted(self.folder),
            Secret("a model provider's key", (MODEL_KEY.encode(),)),
            Secret("the invite", (parse(self.code).secret.encode(),)),
        ]

    def theirs(self) -> list[Secret]:
        """The keys of the second machine: there, and nowhere on the first one."""
        return [replace(secret, holders=frozenset()) for secret in planted(self.there)]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """The limit on dumps is lifted: it is the company's to set it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    one = Watched(tmp_path)
    try:
        yield one
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        one.up.end()


@contextlib.contextmanager
def program(one: Watched) -> Iterator[subprocess.Popen[bytes]]:
    """A user's program, which says all that Python can say when it dies."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"}
    line = [sys.executable, "-m", "tests.program", "--org", "org.toml", "--gateway", "hq"]
    with (one.folder / "program.log").open("ab") as log:
        process = subprocess.Popen(line, cwd=one.folder, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


async def work(one: Watched) -> None:
    """Tasks that end well, badly, and never; mail; a stop; questions of every kind; mistakes."""
    task = json.loads(one.run("ask", "ceo", "say hello", "--json", code=0))["task_id"]
    one.run("ask", "ceo", "@refuse not today")
    one.run("ask", "ceo", f"@bug {BUG}")
    one.run("ask", "cto", "nobody does this", "--no-wait", code=0)
    one.run("send", "ceo", "a word", "--priority", "high", code=0)
    one.run("send", "all", "a word to all", code=0)
    for args in (
        ("tasks",), ("task", "show", task), ("task", "result", task), ("inbox", "owner"), ("inbox", "cto"), ("replay",),
        ("replay", "--task", task), ("approvals",), ("alerts", "--all"), ("budget",), ("budget", task), ("dead", "list"),
        ("learning", "list"), ("state",), ("receipts", task), ("doctor",), ("check",), ("plan",), ("tasks", "--as", "nobody"),
        ("meet", "all", "--agenda", "nothing", "--for", "1m"), ("stop", "--all", "--why", "a test"), ("resume", "--all"),
        ("pause", "cto"), ("resume", "cto"), ("invite", "ceo"), ("task", "steer", task, "too late"),
    ):  # fmt: skip
        one.run(*args, "--json")
    for args in (
        ("replay", "--full"), ("plan", "--diff"), ("approve", task), ("refuse", task, "--why", "no"), ("task", "cancel", task),
        ("dead", "redrive", task), ("join", "clawbus1:nothing"), ("leaf", "--hub", "127.0.0.1:4222"), ("node", "--gateway", "far"),
        ("node", "--gateway", "nowhere"), ("steward", "--org", "none.toml"),
    ):  # fmt: skip
        one.run(*args)


async def second_machine(one: Watched) -> None:
    """The line is printed, which is what it is for; and stands in the command line of whoever types it."""
    one.code = one.run("invite", "qa", code=0).strip()
    one.said.pop()
    one.run("join", one.code[:-2] + "xx", at=one.there)
    one.run("join", one.code, at=one.there, code=0)
    one.run("join", one.code, at=one.there)


async def forge(one: Watched) -> None:
    """A message without a signature: a dead letter, an alert, and a person who is not reached."""
    company = one.company
    async with company.connect("gw-hq") as bus:
        bus.signers = {}
        await bus.publish(company.subjects.dm("cto", "ceo"), b"{}", msg_id=new_message_id("ceo"))
    async with company.connect("provisioner") as bus:

        async def letter() -> bool:
            return bool(await bus.stored(DEAD, ">"))

        await until(letter, "the dead letter")
    log = company.home.log("steward")

    async def tried() -> bool:
        return "is not reached by webhook" in log.read_text()

    await until(tried, "the webhook")


async def crash(one: Watched) -> None:
    """Each process as it dies worst, with the dump that it wants to leave; `clawbus up` starts them again."""
    for service in ("node-lab", "steward", "registrar", "nats-server"):
        before = one.up.pid(service)
        os.kill(before, signal.SIGABRT)

        async def again(service: str = service, before: int = before) -> bool:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return one.up.pid(service) != before
            return False

        await until(again, f"another {service}", 60)
    await until(lambda: _answers(one), "the bus", 60)


async def _answers(one: Watched) -> bool:
    return (await asyncio.to_thread(subprocess.run, [sys.executable, "-m", "clawbus", "state"], cwd=one.folder, capture_output=True)).returncode == 0  # fmt: skip


async def streams(company: Company) -> AsyncIterator[tuple[str, bytes]]:
    """Every message of every stream, with its headers, as the server hands it out."""
    async with company.connect("provisioner") as bus:
        for config in stream_configs(company.org):
            for stored in await bus.stored(config["name"], ">"):
                yield f"{stored.subject} {stored.seq}", stored.data + repr(stored.headers).encode()


async def monitoring(company: Company, folder: Path) -> AsyncIterator[tuple[str, bytes]]:
    """What the server says of itself, its accounts and its connections to whoever may ask."""
    authority = Authority(company.home)
    key, creds = authority.key("system"), folder / "system.creds"
    write_creds(creds, authority.system_user(), key.seed_file)
    system = replace(key, creds_file=creds)
    async with Bus.connect(company.org.url, system, "the test", ca_file=trusted(company.home, company.org)) as bus:
        for what in ("VARZ", "CONNZ", "SUBSZ", "ROUTEZ", "LEAFZ", "JSZ", "ACCOUNTZ", "GATEWAYZ"):
            question = json.dumps({"auth": True, "subscriptions": True, "config": True}).encode()
            yield f"monitoring {what}", await bus.ask(f"$SYS.REQ.SERVER.PING.{what}", question)


@pytest.mark.timeout(400)
async def test_no_secret_is_found_but_where_it_lies(watched: Watched, tmp_path: Path) -> None:
    """In no log, message, process list, environment, ledger, answer, dump or printed line of the company."""
    one = watched
    await one.up.ready()
    with program(one) as process:
        await work(one)
        await second_machine(one)
        await forge(one)
        await crash(one)
        pids = {name: one.up.pid(name) for name in ("node-lab", "steward", "registrar", "nats-server")}
        assert core_limits(pids) == dict.fromkeys(pids, "0")
        wanted = [*one.secrets(), *one.theirs()]
        here = list(processes(but=(one.up.process.pid,)))
        process.send_signal(signal.SIGABRT)
        process.wait(30)
    log = (one.folder / "program.log").read_text()
    assert BUG in log
    assert "Fatal Python error: Aborted" in log  # it was said, and is searched
    places = [*files_of(one.folder), *here, *one.said, ("up.log", one.up.log.read_bytes())]
    places += [place async for place in streams(one.company)]
    places += [place async for place in monitoring(one.company, tmp_path)]
    names = [name for name, _ in places]
    assert {".clawbus/logs/node-lab.log", ".clawbus/logs/nats-server.log", "what `clawbus doctor` prints"} <= {*names}
    assert not [name for name in names if re.search(r"(^|/)core(\.\d+)?$", name)]
    assert not (one.folder / ".clawbus/authority/system.creds").exists()
    assert leaks(wanted, places) == []
    ours = [replace(secret, holders=frozenset()) for secret in planted(one.folder)]
    assert leaks(ours, files_of(one.there)) == []  # what is the hub's stays there


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """In each form, in halves, and in the holder of another; a new file of which nothing was said is a failure."""
    keys = tmp_path / ".clawbus" / "keys"
    keys.mkdir(parents=True)
    for name in ("gw-hq", "gw-lab"):
        load_or_create(name, keys / f"{name}.nk")
    found = planted(tmp_path)
    assert [secret.name for secret in found] == [".clawbus/keys/gw-hq.nk", ".clawbus/keys/gw-lab.nk"]
    assert leaks(found, files_of(tmp_path)) == []
    seed, raw = found[0].values
    told = [
        seed, seed[:24], seed[30:], raw, raw.hex().encode(), base64.b64encode(b"x" + seed + b"y"), base64.urlsafe_b64encode(raw),
        base64.b32encode(b"abc" + raw), json.dumps({"said": f"the seed is {seed.decode()}"}).encode(), f"{seed!r}".encode(),
    ]  # fmt: skip
    for text in told:
        assert leaks(found, [("a log", b"before " + text + b" after")]) == [".clawbus/keys/gw-hq.nk is in a log"], text
    (keys / "gw-lab.creds").write_bytes((keys / "gw-lab.nk").read_bytes() + seed)
    (keys / "gw-lab.creds").chmod(0o600)
    with pytest.raises(AssertionError, match="one secret in"):
        planted(tmp_path)
    (keys / "gw-lab.creds").unlink()
    (tmp_path / "new").write_bytes(seed)
    (tmp_path / "new").chmod(0o600)
    with pytest.raises(AssertionError, match="new: does it hold a secret"):
        planted(tmp_path)


async def test_a_plan_shows_that_a_key_is_set_and_not_the_key(tmp_path: Path) -> None:
    """Of an own gateway's settings, into which its user has put one."""
    live = Live(tmp_path, duo_toml(free_ports(3)), None, "")
    mine = own.write_settings(live.home, live.org, "lab", tmp_path / "plugin", "http://127.0.0.1:1/v1")
    settings = json.loads(mine.config.read_text())
    settings["skills"]["entries"] = {"weather": {"apiKey": MODEL_KEY}}
    settings["gateway"]["port"] += 1
    settings["gateway"]["auth"] = {"mode": "token", "token": f"it's \"{MODEL_KEY}"}
    settings["mcp"] = {
        "servers": {"x": {"headers": {"Authorization": f"Bearer {MODEL_KEY}"}, "env": {"MY_PAT": MODEL_KEY}}}
    }
    settings["mcp"]["servers"]["y"] = {"url": f"https://me:{MODEL_KEY}@host/", "args": ["--pat", MODEL_KEY], "on": True}
    settings["keys"] = [MODEL_KEY, {"value": MODEL_KEY}, [MODEL_KEY]]

    async def planned(text: str) -> str:
        mine.config.write_text(text)
        (change,) = [one for one in await plan(live.company, None, "http://127.0.0.1:1/v1") if one.what == "changed"]
        assert leaks([Secret("a key", (MODEL_KEY.encode(),))], [("the plan", change.detail.encode())]) == []
        return change.detail

    detail = await planned(json.dumps(settings, indent=2))
    for line in (
        '"apiKey": "(not shown)"',
        '"MY_PAT": "(not shown)"',
        '"url": "(not shown)"',
        '"on": true',
        f'"port": {live.org.gateway("lab").port + 1},',
    ):
        assert line in detail
    assert "no plain JSON" in await planned(f"{{token: '{MODEL_KEY}', // mine\n}}")
