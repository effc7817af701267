"""Hostile text on real terminals: an agent whose key was stolen says everything that is hostile; a person looks at it with every command.

The messages bear the agent's own signature: that it is the sender is true, and what it says is data all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clawbus import connect
from clawbus.bus import Bus
from clawbus.wire.envelope import Artifact, Envelope
from clawbus.wire.events import Event
from clawbus.wire.subjects import Subjects, given_id, new_message_id, new_task_id
from tests.company import Live
from tests.corpus import CASES
from tests.server.test_hostile_text import acting

ACME = Subjects("acme")
CEO, CTO = "ceo-genesis", "cto-athena"
FORGED = "aaaaaaaaaaaaaaaaaaaaaaaaaa  done"
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def packed(size: int) -> list[str]:
    """All cases that are text, in pieces of so many characters at most."""
    pieces = [""]
    for case in CASES:
        if all(not 0xD800 <= ord(char) <= 0xDFFF for char in case.text):
            pieces += [""] if len(pieces[-1]) + len(case.text) >= size else []
            pieces[-1] += f"{case.text[: size - 1]} "
    return pieces


EVERYTHING = "\n".join(packed(4_000))


@dataclass(frozen=True)
class Said:
    """Ids under which hostile words lie."""

    task: str
    asked: str
    thread: str
    insight: str
    letter: str


async def event(bus: Bus, sender: str, task_id: str, kind: str, **detail: Any) -> None:
    said = Event(id=new_message_id(sender), kind=kind, task_id=task_id, sender=sender, detail=detail)
    await bus.publish(ACME.event(task_id, sender), said.encode(), msg_id=said.id)


async def send(bus: Bus, on: str, **fields: Any) -> None:
    said = Envelope.model_validate(
        {"id": new_message_id(str(fields.get("from", CTO))), "from": CTO, "body": EVERYTHING} | fields
    )
    await bus.publish(on, said.encode(), msg_id=said.id)


async def poison(company: Live) -> Said:
    """Everything that an agent can write, said by the agent of the gateway `lab`."""
    said = Said(*(new_task_id() for _ in range(5)))
    async with connect(company.org_file) as client:
        task = await client.start(CTO, "a harmless question")
    async with company.company.connect("gw-lab") as bus:
        for text in packed(190):
            await event(bus, CTO, task.id, "progress", what=text, said=True)
            await event(bus, CTO, task.id, "progress", what=text)
            await event(bus, CTO, task.id, "steered", outcome=text, why=text)
            seed = new_task_id()
            await event(
                bus, CTO, given_id(CTO, seed), "accepted", seed=seed, to=text, label=text, priority=text, parent=text
            )
            await event(
                bus,
                CTO,
                new_task_id(),
                "waiting_approval",
                side="dispatch",
                to="owner",
                label=text,
                text=text,
                **{"for": text},
            )
        for text in packed(190)[::8]:
            await send(bus, ACME.dm("owner", CTO), type="message", to="owner", subject=text)
            await send(bus, ACME.build("all", CTO), type="message", to="all", subject=text, task_id=new_task_id())
            await send(
                bus, ACME.build("learning", CTO), type="insight", to="learning", subject=text, task_id=new_task_id()
            )
            await letter(bus, new_task_id(), text)
        await send(bus, ACME.build("all", CTO), type="message", to="all", subject=packed(190)[0], task_id=said.thread)
        await send(
            bus,
            ACME.build("learning", CTO),
            type="insight",
            to="learning",
            subject=packed(190)[0],
            task_id=said.insight,
        )
        await letter(bus, said.letter, EVERYTHING)
        files = tuple(Artifact(name=text, uri=f"r2://b/{text}") for text in packed(190)[:20])
        end = Envelope(
            id=new_message_id(CTO),
            type="result",
            sender=CTO,
            to="owner",
            task_id=task.id,
            status="done",
            subject=packed(190)[1],
            body=EVERYTHING,
            artifacts=files,
        )
        await company.company.ends(bus).write(end, "owner", CTO)
        await event(
            bus, CTO, said.asked, "waiting_approval", side="report", to="owner", label="x", text=EVERYTHING[:3000]
        )
        await rubbish(bus)
    async with company.company.connect("steward") as bus:  # it quotes others
        alert = {"v": 1, "raised": True, "text": EVERYTHING, "detail": {"reason": EVERYTHING}}
        subject = ACME.build("alerts", "steward", rule="dead", key=said.letter)
        await bus.publish(subject, json.dumps(alert).encode(), msg_id=new_message_id("steward"))
        subject, mail = (
            ACME.dm(CEO, "steward"),
            {"from": "steward", "type": "report", "to": CEO, "subject": packed(190)[0]},
        )
        await send(bus, subject, **mail)
    return Said(task.id, said.asked, said.thread, said.insight, said.letter)


async def letter(bus: Bus, letter_id: str, text: str) -> None:
    """A dead letter whose every field is of another kind than it should be."""
    for number, odd in enumerate((text, 7, [text], {text[:50]: text}, None)):
        task = dict.fromkeys(("from", "to", "subject", "path", "body", "priority", "task_id"), odd)
        said = {"v": 1, "reason": odd, "subject": odd, "envelope": task if number != 1 else odd, "raw": odd, "at": odd}
        subject = ACME.build("dead", CTO, task=letter_id if number == 0 else new_task_id())
        await bus.publish(subject, json.dumps(said).encode(), msg_id=new_message_id(CTO))


async def rubbish(bus: Bus) -> None:
    """Bytes that are no message, on every subject that is kept."""
    deep = b'{"v":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    for data in (
        b"",
        b"\xff\xfe{\x00}\x00",
        b"\x1b[2J",
        deep,
        b'{"v":1e999}',
        b'{"v":' + b"9" * 5000 + b"}",
        b'{"v":NaN}',
        b'{"a":1,"a":2}',
        b"\xef\xbb\xbf{}",
        b'"x"',
        b"[]",
    ):
        for subject in (
            ACME.event(new_task_id(), CTO),
            ACME.dm("owner", CTO),
            ACME.build("all", CTO),
            ACME.build("learning", CTO),
            ACME.build("dead", CTO, task=new_task_id()),
            ACME.end(new_task_id(), CTO),
        ):
            await bus.publish(subject, data, msg_id=new_message_id(CTO))


def on_a_terminal(company: Live, *args: str) -> tuple[int, str]:
    """Run the command line in a pseudo-terminal. Returns its exit code and all that the terminal got."""
    mine, its = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    argv = [sys.executable, "-m", "clawbus", "-vv", *args, "--org", str(company.org_file)]
    process = subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, env=env, close_fds=True)
    os.close(its)
    got = b""
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while chunk := os.read(mine, 65536):
            got += chunk
    os.close(mine)
    return process.wait(), got.decode().replace("\r\n", "\n")


@pytest.fixture
async def poisoned(bus_only: Live) -> tuple[Live, Said]:
    return bus_only, await poison(bus_only)


@pytest.mark.timeout(300)
async def test_no_command_lets_an_escape_into_a_terminal(poisoned: tuple[Live, Said], tmp_path: Path) -> None:
    """Every command that prints what came from the bus: no control but a new line, no row that somebody has forged."""
    company, said = poisoned
    lists = [
        ["tasks", "--limit", "500"],
        ["approvals"],
        ["dead", "list"],
        ["learning", "list"],
        ["replay"],
        ["alerts", "--all"],
        ["inbox", "owner", "--limit", "200"],
    ]
    lists += [
        ["receipts", said.thread],
        ["task", "show", said.task],
        ["task", "files", said.task, str(tmp_path / "out")],
        ["inbox", CEO],
        ["replay", "--task", said.task],
        ["state"],
        ["budget", said.task],
    ]
    texts = [
        ["task", "result", said.task],
        ["dead", "show", said.letter],
        ["learning", "show", said.insight],
        ["replay", "--full"],
    ]
    failures = [
        ["approve", said.asked],
        ["receipts", "zzzz"],
        ["task", "cancel", said.task],
        ["task", "steer", said.task, "x"],
    ]
    for command, code, out in await _all(company, [*lists, *texts, *failures]):
        assert acting(out) == [], command
        assert "Traceback" not in out, (command, out[-3000:])
        assert code in (0, 1, 4, 5), (command, out[-2000:])
        assert command in failures or "\\x1b[" in out or {"files", "state", "budget"} & {*command}, (
            command,
            out[-2000:],
        )  # it was shown
        if command not in texts:
            assert f"\n{FORGED}" not in out, command
    for command, _, out in await _all(company, [[*command, "--json"] for command in (*lists, *texts)]):
        assert acting(out) == [], command
        assert "Traceback" not in out, (command, out[-3000:])
        assert _json_in(out) is not None, command


async def _all(company: Live, commands: list[list[str]]) -> list[tuple[list[str], int, str]]:
    """Each command, its exit code and what its terminal got; two at a time."""
    two = asyncio.Semaphore(2)

    async def one(command: list[str]) -> tuple[list[str], int, str]:
        async with two:
            return command, *await asyncio.to_thread(on_a_terminal, company, *command)

    return await asyncio.gather(*map(one, commands))


def _json_in(out: str) -> object:
    """The document that a command has printed, between its log lines."""
    begin = min(found for found in (out.find("\n{"), out.find("\n["), 0 if out[:1] in "{[" else -1) if found >= 0)
    return json.JSONDecoder().raw_decode(out[begin:].lstrip())[0]


async def test_the_doctor_on_a_terminal_shows_colours_of_its_own_only(bus_only: Live) -> None:
    _, out = await asyncio.to_thread(on_a_terminal, bus_only, "doctor")
    assert acting(_SGR.sub("", out)) == []
