"""What a file is called and where it leads decide nothing; "done" without its files is not done."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.errors import InvalidInput
from clawbus.node.ledger import Ledger, Run
from clawbus.node.worker.artifact_check import ArtifactCheck
from clawbus.node.worker.executor import result
from clawbus.tasks.artifacts import Shelf, Store, foreign, read_inside, safe_name
from clawbus.tasks.artifacts.files import opened, write
from clawbus.wire.channels import ART
from clawbus.wire.envelope import Envelope, Status
from tests.company import Live
from tests.corpus import CASES
from tests.server.test_hostile_text import acting

CEO, CTO, TASK = "ceo-genesis", "cto-athena", "a" * 26
NAMES = [
    "../x", "../../../../etc/passwd", "/etc/passwd", "//etc/passwd", "..", ".", "...", "", " ", "/", "\\", "a/", "a/..", "a/../../x", "./x", ".ssh", ".bashrc", "~", "~root/x",
    "C:\\x", "C:x", "\\\\host\\share\\x", "..\\..\\x", "a\\..\\..\\x", "\\\\?\\C:\\x", "x:stream", "x::$DATA", "CON", "con.txt", "NUL", "nul.tar.gz", "COM1", "com¹.x", "LPT9.md", "aux",
    "PRN.", "x.", "x ", "a\0b", "\0", "a\nb", "a\rb", "x" * 300, "ü" * 300, "." * 300, "x." + "y" * 300, "-rf", "--help", "a\x1b[2Jb", "\u202egpj.exe", "a\u200bb", "\u3164", "\u115f.txt",
    "\u2024\u2024/x", "\uff0e\uff0e\uff0fx", "\u2215etc\u2215passwd", "%2e%2e%2fx", "..%2fx", "..;/x", "a|b", "a>b", "a*b", "a?b", 'a"b', "a;b", "$(id)", "`id`", "\ud800", "x\udc80",
    "x" * 119 + "." + "y" * 13, "ü" * 59 + "x." + "y" * 13,
]  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as open_ledger:
        yield open_ledger


def harmless_name(name: str) -> bool:
    """Of one step, seen as it is, no device of Windows, not long, no option of a command."""
    stem = name.partition(".")[0].casefold()
    devices = {"con", "prn", "aux", "nul", *(f"{one}{n}" for one in ("com", "lpt") for n in "0123456789¹²³")}
    return (
        Path(name).name == name
        and "\\" not in name
        and 0 < len(name.encode()) <= 120
        and name[0] not in ".-~"
        and name[-1] not in ". "
        and stem not in devices
        and acting(name) == []
        and all(char.isalnum() or char in "._-" for char in name)
    )


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_one_harmless_step(name: str) -> None:
    assert harmless_name(safe_name(name))
    assert safe_name(safe_name(name)) == safe_name(name)


@given(st.text() | st.lists(st.sampled_from([*NAMES, "/", "\\", ".", *(case.text for case in CASES)])).map("".join))
def test_any_name_is_one_harmless_step(name: str) -> None:
    assert harmless_name(safe_name(name))
    assert safe_name(safe_name(name)) == safe_name(name)


async def test_no_name_puts_a_copy_outside(bus_only: Live, tmp_path: Path) -> None:
    """Each name on an artifact that arrives: 0 files and 0 folders beyond the task's own."""
    workspace, outside = tmp_path / "work", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    before = _all_below(tmp_path) | {f"work/bus/{TASK}", "work/bus"}
    async with bus_only.company.connect("gw-lab") as bus:
        store = Store(bus, bus_only.company.subjects)
        stored = await store.put(CTO, "x", b"data")
        names = [name for name in NAMES if len(name) <= 255 and all(not 0xD800 <= ord(char) < 0xE000 for char in name)]
        placed = [
            await Shelf(store, _at(workspace), tmp_path / "spare").place(
                CTO, TASK, (stored.model_copy(update={"name": name}),)
            )
            for name in names
        ]
    assert [one[0].path.parent if one[0].path else None for one in placed] == [workspace / "bus" / TASK] * len(names)
    assert {
        path for path in _all_below(tmp_path) - before if not path.startswith((f"work/bus/{TASK}/", ".clawbus"))
    } == set()


@pytest.mark.parametrize("link", ["bus", "task", "file", "scratch", "dangling", "loop", "file for a folder"])
async def test_no_link_leads_a_copy_outside(bus_only: Live, tmp_path: Path, link: str) -> None:  # noqa: PLR0912
    """Whatever the agent has put where its copies will lie: nothing is written, made or changed beyond it."""
    workspace, outside = tmp_path / "work", tmp_path / "outside"
    folder = workspace / "bus" / TASK
    outside.mkdir()
    (outside / "victim").write_text("precious")
    (workspace if link in ("bus", "loop", "file for a folder") else folder.parent if link == "task" else folder).mkdir(
        parents=True
    )
    match link:
        case "bus":
            (workspace / "bus").symlink_to(outside)
        case "task":
            folder.symlink_to(outside)
        case "file":
            (folder / "report.md").symlink_to(outside / "victim")
        case "scratch":
            (folder / f".report.md.{os.getpid()}").symlink_to(outside / "victim")
        case "dangling":
            (folder / "report.md").symlink_to(outside / "new")
        case "loop":
            (workspace / "bus").symlink_to(workspace / "bus")
        case _:
            (workspace / "bus").write_text("a file")
    async with bus_only.company.connect("gw-lab") as bus:
        store = Store(bus, bus_only.company.subjects)
        artifact = await store.put(CTO, "report.md", b"data")
        (placed,) = await Shelf(store, _at(workspace), tmp_path / "spare").place(CTO, TASK, (artifact,))
    assert _all_below(outside) == {"victim"}
    assert (outside / "victim").read_text() == "precious"
    if placed.path is not None:
        assert placed.path.read_bytes() == b"data"
        assert placed.path.resolve().is_relative_to(tmp_path / "work") or placed.path.is_relative_to(tmp_path / "spare")
    else:
        assert link == "scratch"


def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    """An agent that swaps a folder for a link as fast as it can, while files are read from it and written to it."""
    workspace, outside = tmp_path / "work", tmp_path / "outside"
    workspace.mkdir()
    outside.mkdir()
    (outside / "x").write_text("secret")
    stop = threading.Event()

    def swap() -> None:
        at, was = workspace / "at", workspace / "was"
        while not stop.is_set():
            with contextlib.suppress(OSError):  # the other side has made a folder of that name meanwhile
                at.mkdir()
                (at / "x").write_text("mine")
            with contextlib.suppress(OSError):
                at.rename(was)
                at.symlink_to(outside)
                at.unlink()
            shutil.rmtree(was, ignore_errors=True)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(1500):
            with contextlib.suppress(InvalidInput):
                assert read_inside(workspace, "at/x")[1] in (b"mine", b"")
            with contextlib.suppress(OSError):
                write(workspace, ("at",), "y", b"data")
            assert _all_below(outside) == {"x"}
    finally:
        stop.set()
        swapping.join()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_only_files_of_the_workspace_are_sent(name: str, tmp_path: Path) -> None:
    """A path that a model gives: it names a file within, or nothing."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    (tmp_path / "x").write_text("secret")
    with pytest.raises(InvalidInput):
        read_inside(workspace, name)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file://localhost/x",
        "http://x\r\nHost: y/",
        "javascript:x",
        "data:x",
        "x://",
        "r2://" + "x" * 3000,
    ],
)
def test_an_address_is_a_reference_or_no_address(address: str, tmp_path: Path) -> None:
    """What is no plain address is a path; and no address is ever fetched."""
    try:
        reference = foreign(address)
    except InvalidInput:
        return
    assert reference is None
    with pytest.raises(InvalidInput):
        read_inside(tmp_path, address)


def test_a_folder_below_is_opened_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    for below in (("link",), ("link", "etc"), ("missing",), ("a", "..")):
        with pytest.raises(OSError, match=r"."), opened(tmp_path, *below):
            pass


@pytest.mark.parametrize("status", ["done", "failed"])
@pytest.mark.parametrize("fault", ["missing", "changed", "shorter", "of another", "half of it", "none"])
async def test_done_with_a_missing_or_changed_file_has_failed(
    bus_only: Live, ledger: Ledger, fault: str, status: Status
) -> None:
    """The end says failed, with the reason; the reply stays; what is whole goes with it."""
    task = Envelope(id="t-1", type="task", sender=CEO, to=CTO, task_id=TASK, body="x")
    run = Run(task, CTO, "replied", "", 1, "k", "b", None)
    subjects = bus_only.company.subjects
    async with bus_only.company.connect("gw-lab") as bus, bus_only.company.connect("provisioner") as provisioner:
        store = Store(bus, subjects)
        data = os.urandom(600_000)
        whole, broken = await store.put(CTO, "whole.md", b"all of it"), await store.put(CTO, "report.md", data)
        part = subjects.build("art", CTO, sha256=broken.sha256 or "", part="1")
        if fault != "none":
            await provisioner.api(
                f"STREAM.PURGE.{ART}", {"filter": part if fault != "missing" else part.replace(".1.", ".*.")}
            )
        if fault in ("changed", "shorter"):
            rest = data[512 * 1024 :]
            await bus.publish(
                part, rest[:-1] + (b"" if fault == "shorter" else bytes([rest[-1] ^ 1])), msg_id="spoiled"
            )
        if fault == "of another":
            broken = broken.model_copy(update={"sender": CEO})
        for one in (whole, broken):
            ledger.attached.add(TASK, one)
        end = await ArtifactCheck(store).of(result(run, status, "see the report"), ledger.attached.of(TASK))
    if fault == "none":
        assert (end.status, end.artifacts, end.body) == (status, (whole, broken), "see the report")
        return
    assert (end.status, end.artifacts) == ("failed", (whole,))
    assert end.body.endswith("see the report")
    assert status == "failed" or end.body.startswith("not done: artifact 'report.md' of ")


def _at(workspace: Path) -> Callable[[str], Awaitable[Path | None]]:
    async def where(_agent: str) -> Path:
        return workspace

    return where


def _all_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
