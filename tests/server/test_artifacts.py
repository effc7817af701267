"""Artifacts, on a real nats-server: content by its hash, checked wherever it is read; only files of one's workspace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clawbus import connect
from clawbus.bus import Bus
from clawbus.errors import InvalidInput, NotFound, Refused
from clawbus.node.ledger import Ledger, Run
from clawbus.node.worker.artifact_check import ArtifactCheck
from clawbus.node.worker.executor import result
from clawbus.tasks.artifacts import MAX_FILE_BYTES, Shelf, Store, foreign, read_inside, safe_name
from clawbus.tasks.artifacts.store import PART_BYTES
from clawbus.wire.channels import ART
from clawbus.wire.envelope import Artifact, Envelope
from tests.company import Live

CTO = "cto-athena"
TASK = "a" * 26


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as open_ledger:
        yield open_ledger


async def kept(company: Live) -> int:
    """How many parts the server has."""
    async with company.company.connect("provisioner") as bus:
        return int((await bus.api(f"STREAM.INFO.{ART}"))["state"]["messages"])


async def purge(company: Live, artifact: Artifact, part: str = "*") -> None:
    async with company.company.connect("provisioner") as bus:
        gone = company.company.subjects.filter("art", sha256=artifact.sha256 or "", part=part)
        await bus.api(f"STREAM.PURGE.{ART}", {"filter": gone})


async def spoil(company: Live, bus: Bus, artifact: Artifact, data: bytes) -> None:
    """Other bytes under the same hash, by the same sender: the one that could do it."""
    await purge(company, artifact)
    subject = company.company.subjects.build("art", CTO, sha256=artifact.sha256 or "", part="0")
    await bus.publish(subject, data, msg_id=f"spoiled-{os.urandom(4).hex()}")


async def test_n9_content_comes_back_as_it_went_and_is_sent_once(bus_only: Live) -> None:
    """Several parts, an empty file, a part that is there already, and a put that was cut short in the middle."""
    data = os.urandom(2 * PART_BYTES + 7)
    async with bus_only.company.connect("gw-lab") as bus:
        store = Store(bus, bus_only.company.subjects)
        artifact = await store.put(CTO, "big.bin", data)
        assert (artifact.sha256, artifact.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (await store.get(artifact), await kept(bus_only)) == (data, 3)
        assert await store.put(CTO, "again.bin", data) == artifact.model_copy(update={"name": "again.bin"})
        assert await kept(bus_only) == 3
        await purge(bus_only, artifact, "1")
        assert (await store.put(CTO, "big.bin", data), await kept(bus_only)) == (artifact, 3)
        assert await store.get(artifact) == data
        assert await store.get(await store.put(CTO, "empty", b"")) == b""
    async with bus_only.company.connect("gw-hq") as bus:  # another gateway reads it
        assert await Store(bus, bus_only.company.subjects).get(artifact) == data


async def test_n9_nobody_can_put_content_as_another(bus_only: Live) -> None:
    """The sender is the subject's last token, and the server pins it."""
    async with bus_only.company.connect("gw-hq") as bus:
        with pytest.raises(Refused):
            await Store(bus, bus_only.company.subjects).put(CTO, "forged", b"forged")


async def test_n9_what_is_missing_changed_or_too_large_is_not_read(bus_only: Live) -> None:
    async with bus_only.company.connect("gw-lab") as bus:
        store = Store(bus, bus_only.company.subjects)
        artifact = await store.put(CTO, "report.md", b"seven findings")
        await spoil(bus_only, bus, artifact, b"eight findings")
        with pytest.raises(Refused, match="its hash differs"):
            await store.get(artifact)
        await purge(bus_only, artifact)
        with pytest.raises(NotFound, match="part 1 of 1 is missing"):
            await store.get(artifact)
        with pytest.raises(Refused, match="is the limit"):
            await store.get(artifact.model_copy(update={"size_bytes": MAX_FILE_BYTES + 1}))
        with pytest.raises(Refused, match="not on the bus"):
            await store.get(Artifact(name="x", uri="r2://bucket/x"))


@pytest.mark.parametrize("fault", ["none", "missing", "changed"])
async def test_n9_a_task_is_done_only_with_its_files_whole(bus_only: Live, ledger: Ledger, fault: str) -> None:
    """The worker's node reads each one back before the end: else the task has failed, and says why."""
    task = Envelope(id="t-1", type="task", sender="ceo-genesis", to=CTO, task_id=TASK, body="x")
    run = Run(task, CTO, "replied", "", 1, "k", "b", None)
    async with bus_only.company.connect("gw-lab") as bus:
        store = Store(bus, bus_only.company.subjects)
        artifact = await store.put(CTO, "report.md", b"seven findings")
        reference = Artifact(name="big.bin", uri="r2://bucket/big.bin")
        for one in (artifact, reference):
            ledger.attached.add(TASK, one)
        if fault == "missing":
            await purge(bus_only, artifact)
        if fault == "changed":
            await spoil(bus_only, bus, artifact, b"eight findings")
        end = await ArtifactCheck(store).of(result(run, "done", "see the report"), ledger.attached.of(TASK))
    if fault == "none":
        assert (end.status, end.artifacts) == ("done", (artifact, reference))
    else:
        assert (end.status, end.artifacts) == ("failed", (reference,))
        assert end.body.startswith("not done: artifact 'report.md' of cto-athena is not ")
        assert end.body.endswith("see the report")


async def test_n9_a_person_gets_the_files_of_a_result(bus_only: Live, tmp_path: Path) -> None:
    """`clawbus task files`: checked copies in a folder of his; nothing while the task runs."""
    company = bus_only.company
    async with connect(bus_only.org_file) as client:
        task = await client.start(CTO, "write the report")
        assert await client.files(task.id, tmp_path / "mine") == []
        async with company.connect("gw-lab") as bus:
            artifact = await Store(bus, company.subjects).put(CTO, "report.md", b"seven findings")
            envelope = Envelope(id="t-1", type="task", sender="owner", to=CTO, task_id=task.id, body="x")
            end = result(Run(envelope, CTO, "replied", "", 1, "k", "b", None), "done", "see the report")
            await company.ends(bus).write(end.model_copy(update={"artifacts": (artifact,)}), "owner", CTO)
        assert (await client.look(task.id)).files == ("report.md",)
        (placed,) = await client.files(task.id, tmp_path / "mine")
    assert placed.path == tmp_path / "mine" / "bus" / task.id / "report.md"
    assert placed.path.read_bytes() == b"seven findings"


def test_n9_the_last_of_one_name_is_what_is_attached(ledger: Ledger) -> None:
    for sha256 in ("1" * 64, "2" * 64):
        ledger.attached.add(TASK, Artifact(name="report.md", sha256=sha256, size_bytes=1, sender=CTO))
    assert [one.sha256 for one in ledger.attached.of(TASK)] == ["2" * 64]


async def test_n9_a_copy_lies_in_the_readers_workspace_and_nowhere_else(bus_only: Live, tmp_path: Path) -> None:
    """Under bus/<task>, by a safe name; through no link that leads out; what cannot be read says why."""
    workspace, outside, spare = tmp_path / "work", tmp_path / "outside", tmp_path / "spare"
    workspace.mkdir()
    outside.mkdir()

    async def where(_agent: str) -> Path:
        return workspace

    async with bus_only.company.connect("gw-lab") as bus:
        store = Store(bus, bus_only.company.subjects)
        shelf = Shelf(store, where, spare)
        evil = await store.put(CTO, "../../etc/passwd", b"data")
        twin = await store.put(CTO, "passwd", b"other")
        lost = Artifact(name="lost", sha256="0" * 64, size_bytes=1, sender=CTO)
        placed = await shelf.place(CTO, TASK, (evil, twin, lost, Artifact(name="far", uri="r2://b/far")))
        paths = [one.path for one in placed]
        assert paths[0] == workspace / "bus" / TASK / "passwd"
        assert [path and path.read_bytes() for path in paths] == [b"data", b"other", None, None]
        assert "part 1 of 1 is missing" in placed[2].note
        (workspace / "bus").rename(workspace / "old")
        (workspace / "bus").symlink_to(outside)
        (again,) = await shelf.place(CTO, TASK, (evil,))
        assert again.path == spare / CTO / TASK / "passwd"
        assert list(outside.rglob("passwd")) == []


def test_n9_only_plain_files_of_the_workspace_are_read(tmp_path: Path) -> None:
    """By where a path really leads, whatever it looks like."""
    workspace, secret = tmp_path / "work", tmp_path / "secret"
    (workspace / "out").mkdir(parents=True)
    secret.write_text("secret")
    (workspace / "out" / "report.md").write_text("seven")
    (workspace / "link").symlink_to(secret)
    (workspace / "folder-link").symlink_to(tmp_path)
    (workspace / "inner").symlink_to(workspace / "out" / "report.md")
    os.mkfifo(workspace / "pipe")
    (workspace / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    for path in ("out/report.md", str(workspace / "out" / "report.md"), "out/../out/report.md", "inner"):
        assert read_inside(workspace, path) == ("report.md", b"seven")
    refused = ("../secret", str(secret), "link", "folder-link/secret", "out", "pipe", "missing", "large", "a\0b", ".")
    for path in refused:
        with pytest.raises(InvalidInput):
            read_inside(workspace, path)


def test_n9_a_foreign_address_stays_a_reference() -> None:
    assert foreign("r2://bucket/a/report.md?x=1") == Artifact(name="report.md", uri="r2://bucket/a/report.md?x=1")
    assert foreign("https://example.org/") == Artifact(name="example.org", uri="https://example.org/")
    assert foreign("out/report.md") is None
    with pytest.raises(InvalidInput):
        foreign("file:///etc/passwd")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.md", "report.md"), ("../../etc/passwd", "passwd"), ("..", "file"), (".ssh", "ssh"), ("", "file"),
        ("a b\n\x1b[31m.txt", "a_b___31m.txt"), ("C:\\x\\y.txt", "y.txt"), ("-rf", "rf"), ("bericht-ü.pdf", "bericht-ü.pdf"),
        ("\u202egpj.exe", "_gpj.exe"),
    ],
)  # fmt: skip
def test_n9_a_name_can_do_nothing(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert len(safe_name("ü" * 500 + ".tar").encode()) <= 120
