"""Two machines of their own, as far as the network goes: two namespaces with a cable between them, cut and healed.

Processes started in one have its loopback and its address and nothing else; files, and so Unix sockets, are shared.
Needs the right to make network namespaces (root, or a CI that grants it): without it a test fails, with the reason.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_count = itertools.count()


@dataclass(frozen=True)
class Machine:
    """One namespace. `address`: under which the other one reaches it."""

    name: str
    address: str
    device: str

    def argv(self, *command: str | Path) -> list[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def run(self, *command: str | Path, cwd: Path | None = None, timeout_s: float = 60.0, stdin: str = "") -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command there to its end."""
        return subprocess.run(
            self.argv(*command), cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False, input=stdin
        )

    def start(self, *command: str | Path, log: IO[bytes], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start a process there, at the head of its own group; `Wire` kills what is left of it."""
        return subprocess.Popen(
            self.argv(*command), cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip


@dataclass(frozen=True)
class Wire:
    """The cable between two machines."""

    hub: Machine
    other: Machine

    def cut(self) -> None:
        """No packet passes; nobody is told."""
        _ip("-n", self.other.name, "link", "set", self.other.device, "down")

    def heal(self) -> None:
        _ip("-n", self.other.name, "link", "set", self.other.device, "up")


@contextlib.contextmanager
def two_machines() -> Iterator[Wire]:
    """Two new namespaces, gone with all their processes when the block is left."""
    mark = f"cb{os.getpid() % 100_000}{next(_count)}"
    hub, other = (Machine(f"{mark}{letter}", f"10.213.7.{n}", f"{mark}{letter}") for n, letter in ((1, "h"), (2, "o")))
    made: list[str] = []
    try:
        for machine in (hub, other):
            _ip("netns", "add", machine.name)
            made.append(machine.name)
            _ip("-n", machine.name, "link", "set", "lo", "up")
        _ip("link", "add", hub.device, "netns", hub.name, "type", "veth", "peer", "name", other.device, "netns", other.name)  # fmt: skip
        for machine in (hub, other):
            _ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", machine.device)
            _ip("-n", machine.name, "link", "set", machine.device, "up")
        yield Wire(hub, other)
    finally:
        for name in made:
            for pid in _ip("netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            _ip("netns", "delete", name)


def _ip(*words: Any) -> str:
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError:
        raise AssertionError("there is no `ip` program here: install iproute2, or run this test where it is") from None
    if done.returncode:
        said = done.stderr.strip()
        raise AssertionError(f"`ip {' '.join(words)}`: {said}. This test needs the right to make network namespaces.")
    return done.stdout
