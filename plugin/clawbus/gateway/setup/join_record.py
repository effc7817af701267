"""The record of what `clawbus join` did to a gateway. It lies beside its openclaw.json, so that it can be undone."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clawbus.errors import InvalidInput
from clawbus.settings import write_secret

_RECORD = "clawbus-join.json"


class ConfigChange(BaseModel):
    """A setting by its dotted path, before and after the change. None: not set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    before: Any
    after: Any


class JoinRecord(BaseModel):
    """All that belongs to clawbus in a gateway's settings. `created`: the parents that were not there before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: int = 1
    installed: bool
    changes: tuple[ConfigChange, ...]
    created: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()

    def after(self, earlier: JoinRecord | None) -> JoinRecord:
        """This join and an earlier one as one record."""
        if earlier is None:
            return self
        own = {change.path: change.before for change in earlier.changes}  # the oldest value is the user's own
        later = [
            ConfigChange(path=change.path, before=own.get(change.path, change.before), after=change.after)
            for change in self.changes
        ]
        changed = {change.path for change in later}
        kept = [change for change in earlier.changes if change.path not in changed]
        return JoinRecord(
            installed=self.installed or earlier.installed,
            changes=(*kept, *later),
            created=tuple(dict.fromkeys((*earlier.created, *self.created))),
            backups=(*earlier.backups, *self.backups),
        )


def record_file(config: Path) -> Path:
    """The file of a gateway's record, by the path of its openclaw.json."""
    return config.with_name(_RECORD)


def read_record(config: Path) -> JoinRecord | None:
    """The record of a gateway; None if there is none. Raises InvalidInput for a file that is no record."""
    file = record_file(config)
    try:
        return JoinRecord.model_validate_json(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError):
        remedy = f"Compare {config.name} with its backups beside it, then remove {file}."
        raise InvalidInput(str(file), "", "not a record of clawbus join", remedy) from None


def write_record(config: Path, record: JoinRecord) -> None:
    """Write a record, mode 600."""
    write_secret(record_file(config), record.model_dump_json(indent=2) + "\n")


def back_up(config: Path) -> Path:
    """Copy openclaw.json beside itself, byte for byte, mode 600, with the time (UTC) in its name."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    backup = config.with_name(f"{config.name}.clawbus-{stamp}")
    backup.touch(mode=0o600, exist_ok=False)
    shutil.copyfile(config, backup)
    return backup
