"""Reaching a person beyond his inbox: a real web server as his webhook, a real node for his channel."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clawbus.errors import Missing
from clawbus.org import STEWARD
from clawbus.steward.duties import person_notifications as reach
from clawbus.steward.webhook import read_url
from clawbus.wire.channels import CTL
from tests.company import Live, live, until
from tests.corpus import CASES
from tests.server.office import mail_of, office_toml, steward, stored
from tests.server.test_hostile_text import acting

SECRET = "T0p-5ecret"
HOOK = '[[humans]]\nid = "boss"\nwebhook_file = "hook"\n'
CHANNEL = '[[humans]]\nid = "boss"\nchannel = {gateway = "lab", channel = "telegram", to = "@boss"}\n'


class Hook(ThreadingHTTPServer):
    """A web server that refuses the first `refuse` posts."""

    def __init__(self) -> None:
        self.refuse = 0
        self.posts: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.refuse -= 1
                self.send_response(503 if hook.refuse >= 0 else 204)
                self.end_headers()
                if hook.refuse < 0:
                    hook.posts.append(said)

            def log_message(self, *_: object) -> None:
                """Nothing on the test's terminal."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write_hook(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "hook"
    path.write_text(text)
    path.chmod(mode)
    return path


async def posted(hook: Hook) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        return hook.posts[0] if hook.posts else None

    return await until(look, "a post")


async def test_a_webhook_that_fails_is_tried_again_and_its_url_is_in_no_log(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The message is in the inbox at once, and at the webhook as soon as that answers; then nothing is left to do."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(reach, "_WAITS_S", (1, 1, 1))
    hook.refuse = 1
    write_hook(tmp_path, f"{hook.url}\n")
    async with live(tmp_path, None, toml=office_toml(HOOK)) as company, steward(company) as one:
        one.context.folder = tmp_path
        await one.context.reach("boss", "the pipe has burst", cause=("test",), subject="water")
        assert (await mail_of(company, "boss")).body == "the pipe has burst"
        said = await posted(hook)
        assert (said["company"], said["to"], said["subject"], said["text"]) == (
            "acme",
            "boss",
            "water",
            "the pipe has burst",
        )

        async def done() -> bool:
            return await one.context.timer_keys("reach") == []

        await until(done, "no further try")
        assert len(hook.posts) == 1
    assert "is not reached by webhook: the webhook answered 503" in caplog.text
    assert SECRET not in caplog.text


async def test_what_is_posted_acts_on_no_screen(tmp_path: Path, hook: Hook) -> None:
    """Others' words are quoted in it, and a chat shows them to a person."""
    everything = "\n".join(case.text for case in CASES).encode("utf-8", "ignore").decode()
    write_hook(tmp_path, hook.url)
    async with live(tmp_path, None, toml=office_toml(HOOK)) as company, steward(company) as one:
        one.context.folder = tmp_path
        await one.context.reach("boss", everything, cause=("test",), subject=everything)
        said = await posted(hook)
    assert acting(said["text"]) == []
    assert acting(said["subject"]) == []
    assert "\\x1b[31mred" in said["text"]


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("https://example.com/x", 0o644, "can be read by others"),
        ("file:///etc/passwd", 0o600, "does not hold one http or https URL"),
        ("https://a.example https://b.example", 0o600, "does not hold one http or https URL"),
    ],
)
def test_a_webhook_file_that_is_not_as_it_should_be_is_not_used(tmp_path: Path, text: str, mode: int, why: str) -> None:
    with pytest.raises(Missing, match=why):
        read_url(write_hook(tmp_path, text, mode))


async def test_a_channel_is_an_order_to_the_node_of_its_gateway(tmp_path: Path) -> None:
    """It names the person, not the number: where he is found stands in the org file that the node has."""
    async with live(tmp_path, None, toml=office_toml(CHANNEL)) as company, steward(company) as one:
        await one.context.reach("boss", "the pipe has burst", cause=("test",), subject="water")

        async def look() -> list[Any]:
            return await stored(company, CTL, company.company.subjects.ctl("cto", STEWARD))

        (note,) = await until(look, "the order")
        assert json.loads(note.body) == {"person": "boss", "text": "water\n\nthe pipe has burst"}
        assert "telegram" not in note.body


async def test_an_order_waits_until_its_gateway_is_there(tmp_path: Path) -> None:
    """The node gives it back while the gateway is away: it lies on the bus until it can be said."""
    async with live(tmp_path, None, toml=office_toml(CHANNEL)) as company, steward(company) as one:
        await company.start("node-lab")
        await one.context.reach("boss", "the pipe has burst", cause=("test",))

        async def given_back() -> bool:
            return await _delivered(company) > 0

        await until(given_back, "a try of the node")
        assert len(await stored(company, CTL, company.company.subjects.ctl("cto", STEWARD))) == 1


async def _delivered(company: Live) -> int:
    async with company.company.connect("provisioner") as bus:
        return int((await bus.api("CONSUMER.INFO.CTL.gw-lab"))["delivered"]["consumer_seq"])
