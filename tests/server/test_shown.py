"""What a person decides on is what he was shown: the files of a report, the files, tools and next task of a task."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import Task, serve
from clawbus.bus import Bus
from clawbus.client.approvals import decide, waiting
from clawbus.node.ledger import Ledger, Run
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.executor import result
from clawbus.node.worker.oversight import OversightGate
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.artifacts import Store
from clawbus.wire.envelope import Artifact, Envelope, OnComplete, Status
from tests.company import Live, until
from tests.server.test_oversight import asked, end_of, give, say, shop

__all__ = ["shop"]
LIST = b"all the customers"
SHA256 = hashlib.sha256(LIST).hexdigest()


@contextlib.asynccontextmanager
async def who_attaches(shop: Live) -> AsyncIterator[None]:
    """A program whose turns attach a file, as nats_pub does in an agent's turn, and say nothing of it."""

    async def handler(task: Task) -> str:
        with Ledger(shop.home.ledger("shop")) as ledger:
            async with shop.company.connect("gw-shop") as bus:
                ledger.attached.add(task.id, await Store(bus, shop.company.subjects).put("writer", "list.csv", LIST))
        return "Here is the summary."

    names = dict.fromkeys(("ceo", "ops", "writer", "qa", "dev"), handler)
    work = asyncio.create_task(serve(shop.org_file, "shop", names))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@pytest.mark.parametrize("approved", [True, False])
async def test_k9_the_files_of_a_report_are_shown_and_stay_if_it_is_refused(shop: Live, approved: bool) -> None:
    async with who_attaches(shop):
        task_id = await give(shop, "writer", "write the summary")
        question = await asked(shop, task_id)
        await say(shop, task_id, approved)
        end = (await end_of(shop, task_id, "writer")).envelope
    assert question.text == f"Here is the summary.\n\nFiles:\n- list.csv, sha256 {SHA256}"
    assert [one.sha256 for one in end.artifacts] == ([SHA256] if approved else [])
    assert end.body == ("Here is the summary." if approved else "owner did not let the report out")
    with Ledger(shop.home.ledger("shop")) as ledger:
        assert len(ledger.attached.of(task_id)) == approved


@contextlib.asynccontextmanager
async def oversight_gate(shop: Live, folder: Path) -> AsyncIterator[tuple[OversightGate, Outbox, Bus, Ledger]]:
    async with shop.company.connect("gw-shop") as bus:
        with Ledger(folder / "ledger.db") as ledger:
            outbox = Outbox(bus, ledger, shop.company.subjects, None)
            yield OversightGate(shop.org, outbox, shop.company.history(bus)), outbox, bus, ledger


def replied(task: Envelope, worker: str, status: Status = "done", text: str = "x") -> Run:
    run = Run(task, worker, "replied", "", 1, "k", "b", None)
    return Run(task, worker, "replied", "", 1, "k", "b", result(run, status, text))


async def decided(shop: Live, task_id: str) -> list[str]:
    """Say yes to every question about a task; returns what they showed."""
    async with shop.company.connect_person("owner") as (bus, me):
        found = [one for one in await waiting(bus, shop.company) if one.task_id == task_id]
        for one in found:
            await decide(bus, shop.company, me, task_id, approved=True, code=one.code)
    return [one.text for one in found]


async def test_k9_a_yes_to_one_file_is_none_to_another(shop: Live, tmp_path: Path) -> None:
    """Nor to one of the same name, nor to one more: each is a question of its own, a restart later as well."""
    run = replied(make_task(shop.org, "ceo", NewTask("writer", "x")), "writer", text="y" * 70_000)
    one = Artifact(name="list.csv", sha256="1" * 64, size_bytes=1, sender="writer")
    other = one.model_copy(update={"sha256": "2" * 64})
    away = Artifact(name="a\n- harmless.txt", uri="https://elsewhere.example/x\u202e")
    async with oversight_gate(shop, tmp_path) as (asker, outbox, _, _):
        for files in ((one,), (other,), (one, away), ()):
            assert not (await asker.may_report(run, files)).go
            await outbox.drain()
            (shown,) = await decided(shop, run.task_id)
            assert (await asker.may_report(run, files)).go
            lines = shown.rpartition("the rest is not shown]")[2].splitlines()
            assert len(lines) == (len(files) + 3 if files else 0)  # no name passes for a line of its own
            assert all((file.sha256 or "elsewhere.example") in shown for file in files)
            assert "\u202e" not in shown


@pytest.mark.parametrize("status", ["failed", "timed_out", "dead"])
async def test_k9_a_failure_that_nobody_is_asked_about_takes_no_files_along(
    shop: Live, tmp_path: Path, status: Status
) -> None:
    """Else a turn would attach them and fail. It stays the failure that it was; where nobody watches, files go along."""
    files = (Artifact(name="list.csv", sha256="1" * 64, size_bytes=1, sender="writer"),)
    async with oversight_gate(shop, tmp_path) as (asker, _, _, _):
        run = replied(make_task(shop.org, "ceo", NewTask("writer", "x")), "writer", status, "it broke")
        verdict = await asker.may_report(run, files)
        assert (verdict.go, verdict.status) == (False, status)
        assert (verdict.refused or "").startswith("it broke\n\n[files stay")
        assert (await asker.may_report(run, ())).go
        free = replied(make_task(shop.org, "ceo", NewTask("dev", "x")), "dev", status, "it broke")
        assert (await asker.may_report(free, files)).go


def test_k9_what_is_not_let_out_leaves_no_files_behind_it(tmp_path: Path) -> None:
    """The other outcome and the loss of the files are one commit."""
    task = Envelope(id="t-1", type="task", sender="ceo", to="writer", task_id="a" * 26, body="x")
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.runs.hold(task, "writer", "ack")
        for task_id in ("a" * 26, "b" * 26):
            ledger.attached.add(task_id, Artifact(name="list.csv", uri="r2://x"))
        ledger.without_files("a" * 26, result(replied(task, "writer"), "failed", "no"))
        run = ledger.runs.get("a" * 26)
        assert run is not None
        assert run.outcome is not None
        assert (run.state, run.outcome.status, run.outcome.body) == ("replied", "failed", "no")
        assert (ledger.attached.of("a" * 26), len(ledger.attached.of("b" * 26))) == ((), 1)


async def test_k9_what_a_task_brings_is_shown_before_it_starts(shop: Live, tmp_path: Path) -> None:
    """Its files, the tools that it leaves its turn, and what follows it: he would say yes to more than he reads."""
    file = Artifact(name="plan.md", sha256="1" * 64, size_bytes=1, sender="ceo")
    task = make_task(shop.org, "ceo", NewTask("ops", "water the plants", artifacts=(file,), tools=("exec", "web_*")))
    task = task.model_copy(update={"on_complete": OnComplete(to="qa", template="burn\nit")})
    async with oversight_gate(shop, tmp_path) as (asker, outbox, _, _):
        assert not (await asker.may_start(task, "ops")).go
        await outbox.drain()
        (shown,) = await decided(shop, task.task_id or "")
        assert (await asker.may_start(task, "ops")).go
    assert shown == (
        f"water the plants\n\nFiles:\n- plan.md, sha256 {'1' * 64}\n\nTools, at most: exec, web_*\n\n"
        "When it is done: a task for qa, template burn\\nit"
    )


async def test_k9_an_answer_from_before_an_update_still_counts(shop: Live, tmp_path: Path) -> None:
    """Of a task that brings its text alone; one that brought more was asked about without showing it."""
    plain = make_task(shop.org, "ceo", NewTask("ops", "water the plants"))
    bounded = make_task(shop.org, "ceo", NewTask("ops", "water the plants", tools=("exec",)))
    fields = {"task_id", "sender", "to", "subject", "artifacts", "on_complete", "tools"}

    def before(task: Envelope) -> str:
        about = task.model_dump_json(include=fields)
        return hashlib.sha256(f"dispatch\n{about}\n{task.body}".encode()).hexdigest()[:32]

    async def question(task: Envelope) -> str | None:
        async with shop.owner() as bus:
            return next((one.digest for one in await waiting(bus, shop.company) if one.task_id == task.task_id), None)

    async with oversight_gate(shop, tmp_path) as (asker, outbox, _, _):
        for task in (plain, bounded):
            await asker.may_start(task, "ops")
        await outbox.drain()
        assert await until(lambda: question(plain), "the question", 10) == before(plain)
        assert await until(lambda: question(bounded), "the question", 10) != before(bounded)
