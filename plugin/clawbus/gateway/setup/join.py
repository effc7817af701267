"""The work of `clawbus join`: puts the plugin and its settings into a gateway of the user, and takes them out again.

OpenClaw's own commands do it (`config patch`, `plugins install`), so that its validation runs. They work while the
gateway runs, which takes the change up at once, and while it does not. They write openclaw.json as plain JSON: its
comments are lost. The plan says so, and the backup keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawbus.errors import ClawbusError, NotFound
from clawbus.gateway.setup.command import Command
from clawbus.gateway.setup.config_file import at, diff, empty_among, missing_parents, nested, read_plain
from clawbus.gateway.setup.join_record import ConfigChange, JoinRecord, back_up, read_record, record_file, write_record
from clawbus.gateway.setup.plugin_visibility import ENTRY, PLUGIN, check_loadable, hidden, missing


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """The changes that a join would make. `created`: the objects above those settings that are not there yet."""

    config: Path
    install: bool
    changes: tuple[ConfigChange, ...]
    created: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """True if there is nothing to do."""
        return not self.install and not self.changes

    def lines(self) -> list[str]:
        """The plan for a person: the settings as a diff, then the plugin, then notes (`!`)."""
        installed = [f"+ the plugin {PLUGIN} (shim and skills), copied into the gateway's state folder"]
        nothing = ["Nothing to change."] if self.empty else []
        notes = [f"! {note}" for note in self.notes]
        return [*nothing, *diff(self.config, self.changes), *installed * self.install, *notes]


@dataclass(frozen=True, slots=True)
class Join:
    """A gateway of the user: its openclaw command, its openclaw.json, and the assembled plugin folder."""

    openclaw: Command
    config: Path
    folder: Path

    async def plan(self, socket: Path) -> JoinPlan:
        """The changes that the six tools still need to reach the model, checked by OpenClaw. Changes nothing.

        `socket`: the node's. Raises NotFound if there is no openclaw.json; Refused if its settings forbid the plugin,
        or if OpenClaw rejects the file or the change.
        """
        if not self.config.is_file():
            remedy = "Set the gateway up with `openclaw onboard`, or name its file with --config FILE."
            raise NotFound(f"there is no {self.config}", remedy)
        (plugins, tools, agents), installed = await asyncio.gather(
            self._settings("plugins", "tools", "agents"), self.openclaw.plugin_folder(PLUGIN)
        )
        check_loadable(plugins or {})
        changes = tuple(missing(plugins or {}, tools or {}, socket))
        if changes:
            await self.openclaw.patch(nested(_after(changes)), dry_run=True)
        plain = read_plain(self.config)
        notes = hidden(tools or {}, agents or {})
        if changes and plain is None:
            notes.append(f"OpenClaw rewrites {self.config.name} as plain JSON: comments stay in the backup only")
        seen = plain if plain is not None else {"plugins": plugins, "tools": tools}
        created = missing_parents(seen, _after(changes))
        install = installed is None or not _holds(installed, self.folder)
        return JoinPlan(self.config, install, changes, created, tuple(notes))

    async def apply(self, plan: JoinPlan) -> tuple[Path, str]:
        """Carry out a plan. Returns the backup of openclaw.json, and OpenClaw's line on when the changes count.

        Raises Refused with the command that failed; a first join is then taken back.
        """
        earlier = read_record(self.config)
        backup = back_up(self.config)
        new = JoinRecord(installed=plan.install, changes=plan.changes, created=plan.created, backups=(backup.name,))
        write_record(self.config, new.after(earlier))
        line = ""
        if plan.changes:  # before the plugin: OpenClaw installs one that lacks its settings switched off
            try:
                line = await self.openclaw.patch(nested(_after(plan.changes)))
            except ClawbusError:  # then OpenClaw has written nothing
                _forget(self.config, earlier)
                raise
        if plan.install:
            try:
                line = await self.openclaw.install(self.folder)
            except ClawbusError:
                if earlier is None:
                    with contextlib.suppress(ClawbusError):  # the error that counts is the first
                        await self.undo()
                raise
        return backup, line

    async def undo(self) -> list[str] | None:
        """Take back what join did; keep what the user has changed since. Returns the diff, None if join did nothing.

        Raises Refused with the command that failed; then it can be run again.
        """
        record = read_record(self.config)
        if record is None:
            return None
        lines = []
        if record.installed and await self.openclaw.plugin_folder(PLUGIN) is not None:
            await self.openclaw.uninstall(PLUGIN)
            lines.append(f"- the plugin {PLUGIN}")
        now = await self._settings(*(change.path for change in record.changes))
        changes = [
            taken
            for change, value in zip(record.changes, now, strict=True)
            if (taken := taken_back(change, value)) is not None
        ]
        if changes:
            replaced = [ENTRY] if any(change.path == ENTRY and change.after for change in changes) else []
            await self.openclaw.patch(nested(_after(changes)), replace=replaced)
        empty = empty_among(read_plain(self.config) or {}, record.created)
        if empty:
            await self.openclaw.patch(nested(dict.fromkeys(empty)))
        record_file(self.config).unlink()
        return diff(self.config, changes) + lines

    async def _settings(self, *paths: str) -> list[Any]:
        """The settings at these paths; None for one that is not set."""
        # A plain file is read here: each openclaw command takes 2 s.
        plain = read_plain(self.config)
        if plain is not None:
            return [at(plain, path) for path in paths]
        return await asyncio.gather(*(self.openclaw.setting(path) for path in paths))


def _after(changes: Iterable[ConfigChange]) -> dict[str, object]:
    return {change.path: change.after for change in changes}


def _forget(config: Path, earlier: JoinRecord | None) -> None:
    if earlier is None:
        record_file(config).unlink()
    else:
        write_record(config, earlier)


def taken_back(change: ConfigChange, now: Any) -> ConfigChange | None:
    """The change by which a setting, `now` so, loses what join put there; None if it has lost it already."""
    wanted = _entry_without_ours(change, now) if change.path == ENTRY else _list_without_ours(change, now)
    return None if wanted == now else ConfigChange(path=change.path, before=now, after=wanted)


def _entry_without_ours(change: ConfigChange, now: Any) -> Any:
    if not isinstance(now, dict):
        return now
    if now == {"enabled": False}:  # what OpenClaw's uninstall leaves behind
        return change.before
    theirs = {key: value for key, value in now.items() if value != change.after.get(key)}
    return {**(change.before or {}), **theirs} or None


def _list_without_ours(change: ConfigChange, now: Any) -> Any:
    if not isinstance(now, list) or PLUGIN in (change.before or ()):
        return now
    rest = [item for item in now if item != PLUGIN]
    return rest if rest or change.before is not None else None


def _holds(installed: Path, folder: Path) -> bool:
    """True if an installed plugin has each file of the assembled one, byte for byte."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    _, different, absent = filecmp.cmpfiles(folder, installed, names, shallow=False)
    return not different and not absent
