"""Which OpenClaw is taken. The packages are folders with a package.json: nothing is downloaded or run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clawbus.errors import Missing
from clawbus.file_lock import locked_in_turn
from clawbus.gateway.setup import install as installing
from clawbus.gateway.setup import installation as openclaw
from clawbus.gateway.setup.installation import PINNED
from clawbus.gateway.setup.nodejs import find_node


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without OpenClaw: an empty PATH and an empty cache folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CLAWBUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CLAWBUS_OPENCLAW", raising=False)


def package(folder: Path, version: str, name: str = "openclaw") -> Path:
    """An installed package; returns its script."""
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))
    (folder / "openclaw.mjs").write_text("")
    return folder / "openclaw.mjs"


def ignore(_line: str) -> None:
    """For who does not look at the progress."""


async def find(said: list[str] | None = None) -> openclaw.OpenClaw:
    return await openclaw.find(False, (said if said is not None else []).append)


@pytest.mark.parametrize("version", ["2026.9.6", "2026.9.7", "2026.9.12", "2026.9.6-1"])
def test_releases_that_fit(version: str) -> None:
    """The pinned release, and later ones of the same month."""
    assert openclaw.fits(version)


@pytest.mark.parametrize("version", ["2026.9.5", "2026.10.1", "2025.9.6", "2026.9.7-beta.1", "2026.9", "", "latest"])
def test_releases_that_do_not_fit(version: str) -> None:
    """Older ones, other months, and unfinished ones: their plugin interface was not tried."""
    assert not openclaw.fits(version)


async def test_the_command_line_is_node_and_script(tmp_path: Path) -> None:
    """argv starts OpenClaw without PATH and without its launcher."""
    found = openclaw.OpenClaw(Path("/n/node"), Path("/o/openclaw.mjs"), PINNED)
    assert found.argv("gateway", "run") == ["/n/node", "/o/openclaw.mjs", "gateway", "run"]


async def test_the_one_on_path_is_taken_through_its_link(tmp_path: Path) -> None:
    """npm puts a link into bin; the package behind it counts."""
    script = package(tmp_path / "lib" / "node_modules" / "openclaw", "2026.9.8")
    (tmp_path / "bin" / "openclaw").symlink_to(script)
    script.chmod(0o755)
    found = await find()
    assert (found.script, found.version) == (script, "2026.9.8")


async def test_the_one_on_path_is_taken_through_a_shell_script(tmp_path: Path) -> None:
    """pnpm puts a shell script into bin, which names the package relative to itself."""
    script = package(tmp_path / "global" / "node_modules" / "openclaw", PINNED)
    launcher = tmp_path / "bin" / "openclaw"
    launcher.write_text(
        '#!/bin/sh\nbasedir=$(dirname "$0")\nexec node  "$basedir/../global/node_modules/openclaw/openclaw.mjs" "$@"\n'
    )
    launcher.chmod(0o755)
    assert (await find()).script == script


async def test_one_on_path_that_does_not_fit_is_left_alone_and_said(tmp_path: Path) -> None:
    """An older one of the user's gives way to the cache folder's, and a line says so."""
    script = package(tmp_path / "lib" / "openclaw", "2026.8.2")
    (tmp_path / "bin" / "openclaw").symlink_to(script)
    script.chmod(0o755)
    cached = package(openclaw.folder_of(PINNED) / "node_modules" / "openclaw", PINNED)
    said: list[str] = []
    assert (await find(said)).script == cached
    assert said == ["openclaw 2026.8.2 on PATH is left alone: clawbus needs 2026.9.6 or newer of 2026.9."]


async def test_the_variable_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLAWBUS_OPENCLAW may name the script, the folder, or a link to it."""
    package(openclaw.folder_of(PINNED) / "node_modules" / "openclaw", PINNED)
    script = package(tmp_path / "mine", "2026.9.9")
    link = tmp_path / "a-link"
    link.symlink_to(script)
    for value in (script, script.parent, link):
        monkeypatch.setenv("CLAWBUS_OPENCLAW", str(value))
        assert (await find()).script == script


async def test_a_variable_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user chose is never passed over in silence: it is refused with its version."""
    monkeypatch.setenv("CLAWBUS_OPENCLAW", str(package(tmp_path / "old", "2026.8.2")))
    with pytest.raises(Missing, match=r"that is 2026\.8\.2; clawbus needs"):
        await find()
    monkeypatch.setenv("CLAWBUS_OPENCLAW", str(tmp_path / "none"))
    with pytest.raises(Missing, match="no OpenClaw is there") as caught:
        await find()
    assert "CLAWBUS_OPENCLAW" in caught.value.remedy


async def test_without_any_the_ways_to_get_one_are_named(tmp_path: Path) -> None:
    """Nothing is installed unless it was asked for; the error says how to get one, and nothing is written."""
    with pytest.raises(Missing, match=r"no OpenClaw 2026\.9\.6") as caught:
        await find()
    assert f"npm install --global openclaw@{PINNED}" in caught.value.remedy
    assert not (tmp_path / "cache").exists()


async def test_a_folder_that_is_not_whole_does_not_count(tmp_path: Path) -> None:
    """A package.json alone, or that of another package, is no OpenClaw."""
    folder = openclaw.folder_of(PINNED) / "node_modules" / "openclaw"
    package(folder, PINNED, name="something-else")
    with pytest.raises(Missing):
        await find()
    (folder / "package.json").write_text("{")
    with pytest.raises(Missing):
        await find()


async def test_two_installations_at_once_do_one(tmp_path: Path) -> None:
    """The second waits for the first, says so, and finds the work done."""
    folder = openclaw.folder_of(PINNED)
    folder.parent.mkdir(parents=True)
    said: asyncio.Queue[str] = asyncio.Queue()
    node = find_node()
    async with locked_in_turn(folder.with_name(f"{PINNED}.lock")):
        second = asyncio.create_task(installing.install_openclaw(node, PINNED, folder, said.put_nowait))
        assert "waiting for it" in await said.get()
        package(folder / "node_modules" / "openclaw", PINNED)
    await second
    assert said.empty()


async def test_a_failed_installation_names_the_step_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """npm's first lines, its log and the step are told, and nothing half is left."""
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    folder = openclaw.folder_of(PINNED)
    with pytest.raises(Missing, match="the step `npm install` ended with code") as caught:
        await installing.install_openclaw(find_node(), PINNED, folder, ignore)
    assert "ECONNREFUSED" in caught.value.remedy
    assert str(tmp_path / "cache" / "npm" / "_logs") in caught.value.remedy
    assert [path.name for path in folder.parent.iterdir()] == [f"{PINNED}.lock"]


async def test_ctrl_c_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled installation ends npm and removes what it had written."""
    held: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    listener = await asyncio.start_server(lambda _reader, writer: held.put_nowait(writer), "127.0.0.1", 0)
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/")
    folder = openclaw.folder_of(PINNED)
    task = asyncio.create_task(installing.install_openclaw(find_node(), PINNED, folder, ignore))
    asked = await held.get()  # npm waits for an answer that never comes
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    asked.close()
    listener.close()
    assert [path.name for path in folder.parent.iterdir()] == [f"{PINNED}.lock"]
