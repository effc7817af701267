"""OpenClaw's own commands, run for a gateway that exists, so that OpenClaw validates and writes its settings."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawbus.errors import Missing, Refused
from clawbus.gateway.openclaw_words import is_unset

_TIMEOUT_S = 300.0  # a command takes 1 to 8 s; through a gateway that is busy, longer


@dataclass(frozen=True, slots=True)
class CompletedCommand:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def data(self) -> dict[str, Any]:
        """The JSON object on standard output; empty if there is none."""
        try:
            data = json.loads(self.out)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    def reason(self) -> str:
        """OpenClaw's words for its failure, on one line."""
        data = self.data()
        found = [*data.get("errors", ()), *data.get("issues", ()), data.get("error", {})]
        messages = [str(error["message"]) for error in found if isinstance(error, dict) and "message" in error]
        words = messages or [line.strip() for line in self.err.splitlines() if line.strip()]
        return " ".join(words[0].split()).rstrip(".") if words else f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Command:
    """The openclaw program (`argv`, such as node and openclaw.mjs), in an environment that names the gateway.

    Each method raises Refused, with the command and OpenClaw's reason, if it fails.
    """

    argv: Sequence[str]
    env: Mapping[str, str]

    async def run(self, *args: str) -> CompletedCommand:
        """Run `openclaw ARGS…` to any exit code. Raises Missing if it cannot start, Refused if it does not end."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self.argv, *args, env=dict(self.env), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
            )
        except OSError as error:
            raise Missing(f"{self.argv[0]} cannot be started: {error.strerror}", "Run: clawbus doctor") from None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                out, err = await process.communicate()
        except TimeoutError:
            raise Refused(
                f"`openclaw {' '.join(args)}` did not end within {_TIMEOUT_S:g} s", "Look at the gateway's log."
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return CompletedCommand(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))

    async def config_file(self) -> Path:
        """The openclaw.json of this environment; the file may not exist."""
        return Path(str((await self._done("config", "file", "--json")).data()["path"]))

    async def setting(self, path: str) -> Any:
        """A setting, authored or by default; None if it is not set."""
        done = await self.run("config", "get", path, "--json")
        if done.code == 0:
            return json.loads(done.out)
        if is_unset(done.reason()):
            return None
        raise _failed(("config", "get", path), done)

    async def patch(self, changes: dict[str, Any], *, replace: Sequence[str] = (), dry_run: bool = False) -> str:
        """Merge `changes` into openclaw.json. None deletes a setting; a path of `replace` is replaced as a whole.

        Returns OpenClaw's last line: it says if the gateway must be restarted.
        """
        options = [part for path in replace for part in ("--replace-path", path)]
        options += ["--dry-run", "--json"] if dry_run else []
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump(changes, file)
            file.flush()
            done = await self._done("config", "patch", "--file", file.name, *options)
        return _last_line(done)

    async def plugin_folder(self, plugin: str) -> Path | None:
        """The folder of an installed plugin; None if it is not installed."""
        # `plugins inspect` gives words only for a plugin that is not there.
        plugins = (await self._done("plugins", "list", "--json")).data().get("plugins") or ()
        folders = (known.get("rootDir") for known in plugins if known.get("id") == plugin)
        return next((Path(folder) for folder in folders if folder), None)

    async def install(self, folder: Path) -> str:
        """Copy a plugin folder into the gateway's state. Returns OpenClaw's last line: it says when this counts."""
        done = await self._done("plugins", "install", str(folder), "--force", "--accept-capabilities")
        return _last_line(done)

    async def uninstall(self, plugin: str) -> None:
        """Remove a plugin, and its entry in the settings."""
        await self._done("plugins", "uninstall", plugin, "--force")

    async def _done(self, *args: str) -> CompletedCommand:
        done = await self.run(*args)
        if done.code != 0:
            raise _failed(args, done)
        return done


def _last_line(done: CompletedCommand) -> str:
    return (done.out.strip().splitlines() or [""])[-1]


def _failed(args: Sequence[str], done: CompletedCommand) -> Refused:
    shown = " ".join(args)
    remedy = "Mend that, then run the same clawbus command again. `openclaw doctor` shows more."
    return Refused(f"`openclaw {shown}` failed: {done.reason()}.", remedy)
