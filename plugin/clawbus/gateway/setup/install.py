"""Installs OpenClaw into the cache folder: once, whole or not at all, and never in silence."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from clawbus.errors import Missing
from clawbus.file_lock import locked_in_turn
from clawbus.gateway.setup.nodejs import NodeJs, npm_command
from clawbus.settings import cache_dir, npm_environment

# Measured with openclaw 2026.9.6, in 10^6 bytes of disk blocks.
_ON_DISK_MB = 680
_NPM_CACHE_MB = 230
_NEEDED_MB = 1200
_TICK_S = 2.0

Say = Callable[[str], None]


async def install_openclaw(node: NodeJs, version: str, folder: Path, say: Say) -> None:
    """Run `npm install openclaw@version` into `folder`. It is there whole afterwards, or not at all.

    Of two at once the second waits for the first, and finds its work done. Raises Missing, which names the step that
    failed and npm's log.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{version}.lock")
    async with locked_in_turn(lock, lambda: say("Another clawbus is installing OpenClaw; waiting for it.")):
        if folder.exists():
            return
        _refuse_full_disk(folder.parent)
        say(f"OpenClaw {version} is not on this machine. Downloading it from the npm registry, once:")
        say(f"  about {_ON_DISK_MB} MB on disk, into {folder}")
        say(f"  and npm's own cache of it, about {_NPM_CACHE_MB} MB, in {cache_dir() / 'npm'}")
        scratch = folder.with_name(f"{version}.partial")
        shutil.rmtree(scratch, ignore_errors=True)  # of an installation that was killed
        scratch.mkdir()
        try:
            await _npm_install(node, version, scratch, say)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _refuse_full_disk(folder: Path) -> None:
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < _NEEDED_MB:
        raise Missing(
            f"{free_mb} MB are free in {folder}; installing OpenClaw takes about {_NEEDED_MB} MB",
            "Free some space, or set CLAWBUS_CACHE to a folder on a larger disk.",
        )


async def _npm_install(node: NodeJs, version: str, scratch: Path, say: Say) -> None:
    npm_cache = cache_dir() / "npm"
    argv = [*npm_command(node), "install", f"openclaw@{version}", "--prefix", str(scratch), "--cache", str(npm_cache)]
    argv += ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"]
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=scratch,
        env=npm_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    progress = asyncio.create_task(_report(scratch, npm_cache, say))
    try:
        _, errors = await process.communicate()
    finally:
        progress.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await asyncio.gather(progress, return_exceptions=True)
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()[:6]  # npm says the reason first
        raise Missing(
            f"installing OpenClaw {version}: the step `npm install` ended with code {process.returncode}",
            "\n".join(
                [*lines, f"npm's log: {_newest_log(npm_cache)}", "Mend that, and try again: nothing was left half."]
            ),
        )
    if not (scratch / "node_modules" / "openclaw" / "openclaw.mjs").is_file():
        raise Missing(
            f"installing OpenClaw {version}: npm left no openclaw.mjs", f"npm's log: {_newest_log(npm_cache)}"
        )
    say(f"  done: {await asyncio.to_thread(_megabytes, scratch)} MB")


async def _report(scratch: Path, npm_cache: Path, say: Say) -> None:
    begin = time.monotonic()
    before = await asyncio.to_thread(_megabytes, npm_cache)
    while True:
        await asyncio.sleep(_TICK_S)
        fetched = await asyncio.to_thread(_megabytes, npm_cache) - before
        unpacked = await asyncio.to_thread(_megabytes, scratch)
        say(f"  downloaded {fetched} MB, unpacked {unpacked} MB, {time.monotonic() - begin:.0f} s")


def _megabytes(folder: Path) -> int:
    """The disk space of all files below, in MB (10^6 bytes). Files that go while it counts do not count."""
    total, folders = 0, [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total // 1_000_000


def _newest_log(npm_cache: Path) -> str:
    logs = sorted((npm_cache / "_logs").glob("*.log"))
    return str(logs[-1]) if logs else f"none in {npm_cache / '_logs'}"
