"""Arrived artifacts: a checked copy in the workspace of the agent that is to read it, as `bus/<task>/<name>`."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clawbus.errors import BusAway, ClawbusError
from clawbus.tasks.artifacts.files import opened, safe_name, write
from clawbus.tasks.artifacts.store import Store
from clawbus.wire.envelope import Artifact

_FOLDER = "bus"


@dataclass(frozen=True, slots=True)
class Placed:
    """An artifact that has arrived. `path` None: it could not be copied, or it is a foreign address; `note` says so."""

    artifact: Artifact
    path: Path | None
    note: str = ""


class Shelf:
    """The copies for the agents of one gateway. `workspace_of`: an agent's workspace, None if it is not known.

    `spare`: the folder for copies that have no place in a workspace.
    """

    def __init__(self, store: Store, workspace_of: Callable[[str], Awaitable[Path | None]], spare: Path) -> None:
        self._store = store
        self._workspace_of = workspace_of
        self._spare = spare

    async def place(self, agent: str, thread: str, artifacts: Sequence[Artifact]) -> list[Placed]:
        """Copy the artifacts of a thread (a task's id) to an agent's workspace. A note says what is wrong with one.

        Raises BusAway.
        """
        found: list[Placed] = []
        where: tuple[Path, tuple[str, ...]] | None = None
        taken: set[str] = set()
        for artifact in artifacts:
            if artifact.uri is not None:
                found.append(Placed(artifact, None, "elsewhere, not fetched"))
                continue
            try:
                where = where or await self._folder(agent, thread)
                name = _free(safe_name(artifact.name), artifact.sha256 or "", taken)
                found.append(Placed(artifact, write(*where, name, await self._store.get(artifact))))
            except BusAway:
                raise
            except ClawbusError as error:
                found.append(Placed(artifact, None, error.message))
            except OSError as error:
                found.append(Placed(artifact, None, f"cannot be copied: {error.strerror}"))
        return found

    async def _folder(self, agent: str, thread: str) -> tuple[Path, tuple[str, ...]]:
        """A root and the folder below it: in the workspace if that can be opened through no link, else in `spare`."""
        workspace = await self._workspace_of(agent)
        if workspace is not None and workspace.is_dir():
            root = workspace.resolve()
            with contextlib.suppress(OSError), opened(root, _FOLDER, thread, make=True):
                return root, (_FOLDER, thread)
        self._spare.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._spare, (agent, thread)


def _free(name: str, sha256: str, taken: set[str]) -> str:
    """A name that no other file has. The second file of a name gets the beginning of its hash before it."""
    name = f"{sha256[:8]}-{name}" if name.casefold() in taken else name
    taken.add(name.casefold())
    return name
