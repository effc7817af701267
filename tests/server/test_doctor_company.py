"""The doctor on a company that runs: each fault that keeps work from being done is named, with the command that mends it."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from clawbus.bus import STEWARD_READER, fetch_now
from clawbus.demo.model.server import ScriptedModel
from clawbus.ops.doctor import Check, examine
from clawbus.org import STEWARD
from clawbus.provision.permissions import PROVISIONER
from clawbus.wire.channels import EVENTS
from clawbus.wire.subjects import new_message_id
from tests.command import clawbus
from tests.company import Live, duo_toml, free_ports, live, until

pytestmark = pytest.mark.timeout(180)

TOML = """
company = "acme"
bus.port = {ports[0]}
[[gateways]]
id = "hq"
kind = "program"
[[gateways]]
id = "lab"
own = false
port = {ports[1]}
token_file = "lab.token"
[[agents]]
id = "ceo"
gateway = "hq"
[[agents]]
id = "cto"
reports_to = "ceo"
gateway = "lab"
[[humans]]
id = "owner"
"""
Found = dict[str, dict[str, Any]]


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path, None, toml=TOML.format(ports=free_ports(2))) as company:
        yield company


async def doctor(org_file: Path) -> Found:
    """What `clawbus doctor --json` says, by name."""
    done = await asyncio.to_thread(clawbus, "doctor", "--org", str(org_file), "--json")
    assert done.returncode in (0, 1), done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


async def test_a_company_that_was_never_started_is_only_looked_at(tmp_path: Path) -> None:
    """Also where another company's server greets on the same port: nothing is made, and the remedy is to start it."""
    (tmp_path / "theirs").mkdir()
    async with live(tmp_path / "theirs", None, toml=TOML.format(ports=free_ports(2))) as theirs:
        ours = tmp_path / "ours"
        ours.mkdir()
        (ours / "org.toml").write_text(theirs.org_file.read_text())
        found = await doctor(ours / "org.toml")
    assert found[f"bus {theirs.org.url}"]["ok"] is False
    assert "not been started here" in found[f"bus {theirs.org.url}"]["detail"]
    assert found[f"bus {theirs.org.url}"]["remedy"] == "Start it with `clawbus up`."
    assert [path.name for path in ours.iterdir()] == ["org.toml"]


async def test_who_works_and_who_does_not_is_seen_on_the_bus(firm: Live) -> None:
    """A node that listens on its socket may have lost the bus, a steward may have died: nothing else would say so."""
    found = await doctor(firm.org_file)
    assert found["steward"]["ok"] is False
    assert "clawbus up" in found["steward"]["remedy"]
    assert found["agents"]["ok"] is False
    assert "nothing is heard of ceo, cto" in found["agents"]["detail"]
    for name in ("steward-1", "node-lab"):
        firm.launch(name)
    await firm.ready("node-lab")

    async def steward() -> Found | None:
        said = await doctor(firm.org_file)
        return said if said["steward"]["ok"] else None

    found = await until(steward, "the steward")
    assert (found["agents"]["ok"], found["agents"]["detail"]) == (None, "nothing is heard of ceo")  # a program is off
    firm.launch("program-hq")
    await firm.ready("program-hq")
    found = await doctor(firm.org_file)
    assert (found["agents"]["ok"], found["agents"]["detail"]) == (True, "all 2 answer on the bus")


async def test_a_steward_that_died_with_something_in_its_hands_is_no_steward(firm: Live) -> None:
    """What it was handed out stays so for good, as nobody asks for it. Who gets on, but does not wait just now, is well."""
    happened = firm.company.subjects.event("a" * 26, "owner")

    async def happens() -> None:
        await owner.publish(happened, b"{}", msg_id=new_message_id("owner"))

    async with firm.owner() as owner:
        await happens()
        async with firm.company.connect(STEWARD) as bus:
            assert len(await fetch_now(bus, EVENTS, STEWARD_READER, 1)) == 1
        found = await doctor(firm.org_file)
        assert found["steward"]["ok"] is False, found["steward"]

        async def work() -> None:
            async with firm.company.connect(STEWARD) as bus:
                while True:
                    await happens()
                    for one in await fetch_now(bus, EVENTS, STEWARD_READER, 1):
                        await bus.ack(one.ack_subject)

        working = asyncio.create_task(work())
        found = await doctor(firm.org_file)
        assert not working.done()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert found["steward"]["ok"] is True, found["steward"]


async def test_what_is_not_applied_is_said(firm: Live) -> None:
    """A reader that was deleted, an org.toml that was changed: work would wait for ever, and all else be well."""
    found = await doctor(firm.org_file)
    assert found["org.toml"]["ok"] is True, found["org.toml"]
    assert found[f"bus {firm.org.url}"]["detail"].startswith("nats-server 2.")
    async with firm.company.connect(PROVISIONER) as bus:
        await bus.api("CONSUMER.DELETE.TASKS.gw-lab-high")
        found = await doctor(firm.org_file)
        assert found["org.toml"]["ok"] is False
        assert "TASKS/gw-lab-high new" in found["org.toml"]["detail"]
        assert "`clawbus apply`" in found["org.toml"]["remedy"]
        await bus.api("STREAM.DELETE.TASKS")
    found = await doctor(firm.org_file)
    assert "stream not found" in found[f"bus {firm.org.url}"]["detail"]
    assert "`clawbus apply`" in found[f"bus {firm.org.url}"]["remedy"]


async def test_files_that_others_can_read_are_named(firm: Live) -> None:
    """Of a credentials file, too, which holds the seed; what the remedy says mends it."""
    creds = firm.company.identity("me-owner").creds_file
    assert creds is not None
    creds.chmod(0o644)
    found = await doctor(firm.org_file)
    assert found["files"]["ok"] is False
    assert str(creds) in found["files"]["detail"]
    assert "others may read it" in found[f"bus {firm.org.url}"]["detail"]
    subprocess.run(found["files"]["remedy"].split(), check=True)
    found = await doctor(firm.org_file)
    assert found["files"]["ok"] is True
    assert found[f"bus {firm.org.url}"]["ok"] is True


async def test_a_webhook_and_a_token_that_others_can_read_are_named(tmp_path: Path) -> None:
    """Files that org.toml names lie anywhere: the remedy is for each of them, and not for the folder they are in."""
    firm = Live(tmp_path, TOML.format(ports=free_ports(2)) + 'webhook_file = "my hook"\n', None, "")
    firm.home.dir()
    for name in ("my hook", "lab.token"):
        (tmp_path / name).write_text("secret\n")
        (tmp_path / name).chmod(0o640)

    async def files() -> Check:
        return next(one for one in await examine(firm.org, firm.home) if one.name == "files")

    found = await files()
    assert found.ok is False
    assert str(tmp_path / "my hook") in found.detail
    assert str(tmp_path / "lab.token") in found.detail
    subprocess.run(shlex.split(found.remedy), check=True)
    assert (await files()).ok is True
    assert (tmp_path / "my hook").stat().st_mode & 0o777 == 0o600


async def test_credentials_that_are_none_are_written_anew(firm: Live) -> None:
    """Half a file, or something else in its place: where the authority lies, looking mends it."""
    creds = firm.company.identity("me-owner").creds_file
    assert creds is not None
    creds.write_text("-----BEGIN NATS USER JWT-----\n")
    found = await doctor(firm.org_file)
    assert found[f"bus {firm.org.url}"]["ok"] is True
    assert len(creds.read_text()) > 500


async def test_a_gateway_whose_token_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    """Something answers on its port: another company's gateway, most often. It says so at once, with what to do."""

    class Theirs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    ports = free_ports(2)
    toml = TOML.format(ports=ports)
    for text, command in ((toml, "clawbus join --gateway lab"), (toml.replace("own = false\n", ""), "clawbus up")):
        firm = Live(tmp_path, text, None, "")
        with ThreadingHTTPServer(("127.0.0.1", ports[1]), Theirs) as other:
            Thread(target=other.serve_forever, daemon=True).start()
            try:
                async with asyncio.timeout(12):  # it used to try for 15 s
                    found = {one.name: one for one in await examine(firm.org, firm.home, firm.company.token_file)}
            finally:
                other.shutdown()
        assert found["plugin in lab"].ok is False
        assert str(firm.company.token_file("lab")) in found["plugin in lab"].detail
        assert command in found["plugin in lab"].remedy


async def test_the_address_of_the_scripted_model_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the proxies of whoever asks; where no own gateway has it, there is no such line."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with live(tmp_path, None, toml=duo_toml(free_ports(3))) as company:
        port_file = company.home.dir("run") / "model.port"
        with ScriptedModel() as model:
            port_file.write_text(str(urlsplit(model.url).port))
            found = await doctor(company.org_file)
            assert found["model scripted"]["ok"] is True, found["model scripted"]
            assert model.url in found["model scripted"]["detail"]
        found = await doctor(company.org_file)
        assert found["model scripted"]["ok"] is False
        assert "clawbus up" in found["model scripted"]["remedy"]
        company.org_file.write_text(company.org_file.read_text().replace('"scripted"', '"anthropic/claude-sonnet-5"'))
        assert "model scripted" not in await doctor(company.org_file)
