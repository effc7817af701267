"""The staging folder `.clawbus.joining`: a joining machine keeps its files there until it has all of them.

Before the public keys are sent, any error removes the folder; after that, only a refusal of the code does. Once the
keys are sent, the code is reserved for this folder. A `clawbus join` that was cut off, killed or interrupted can be
repeated with the same line in the same folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from clawbus.bus.identity import load_or_create
from clawbus.errors import Away, ClawbusError, Refused
from clawbus.file_lock import locked
from clawbus.ops.enrol.invite_code import Code
from clawbus.settings import Home, write_secret


class Staging:
    """The staging of one code. `home`: the folder that becomes `.clawbus` beside `org_file`. Call `clear` last."""

    def __init__(self, code: Code, org_file: Path) -> None:
        """Lock the folder. Raises Refused if there is a company already, or another `clawbus join` is running."""
        self._code, self._org_file = code, org_file
        self._final = Home.beside(org_file)
        self.home = Home(self._final.root.with_name(f"{self._final.root.name}.joining"))
        self._lock = _lock(org_file.absolute().parent)
        try:
            self._refuse_company()
        except Refused:
            self._lock.close()
            raise
        self._begun = self._is_ours(self.home)
        if not self._begun:
            shutil.rmtree(self.home.root, ignore_errors=True)

    def keys_of(self, gateways: Sequence[str]) -> dict[str, str]:
        """The public keys of these gateways if they were sent before; else none."""
        names = [f"gw-{gateway}" for gateway in gateways if self._begun]
        return {name: load_or_create(name, self.home.key(name)).public_key for name in names}

    def begin(self) -> None:
        """Record that the public keys are about to be sent."""
        write_secret(self.home.dir() / _MARK, self._mark)
        self._begun = True

    def settle(self, org: str) -> None:
        """Make the staging folder the home, and write org.toml: all is here."""
        self.home.root.rename(self._final.root)
        write_secret(self._org_file, org)
        self._org_file.chmod(0o644)

    def forget(self) -> None:
        """Have `clear` remove the folder: the code is no good any more."""
        self._begun = False

    def clear(self) -> None:
        """Remove the folder, unless the same code can go on with it, and release the lock."""
        if not self._begun:
            shutil.rmtree(self.home.root, ignore_errors=True)
        self._lock.close()

    def explained(self, error: ClawbusError) -> ClawbusError:
        """The error, with the remedy to repeat the same line, if that can help."""
        if not self._begun or not isinstance(error, Away):
            return error
        return Away(error.message, f"Say the same line again in this folder, until {self._code.until}: it goes on.")

    def _refuse_company(self) -> None:
        if self._is_ours(self._final):
            if self._org_file.exists():
                where = self._org_file.absolute().parent
                raise Refused(f"{where} has come into {self._code.company} by this very code already", _GO_ON)
            self._final.root.rename(self.home.root)  # an earlier run was killed in the middle of `settle`
        for path in (self._org_file, self._final.root):
            if path.exists():
                raise Refused(f"there is {path} already: a code is spent in an empty folder", "Make one, and go there.")

    def _is_ours(self, home: Home) -> bool:
        try:
            return (home.root / _MARK).read_text() == self._mark
        except OSError:
            return False

    @property
    def _mark(self) -> str:
        return hashlib.sha256(self._code.secret.encode()).hexdigest()


def _lock(folder: Path) -> contextlib.ExitStack:
    """Hold the folder until the stack is closed. Raises Refused if another process has the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(locked(folder))
    except BlockingIOError:
        raise Refused(f"another `clawbus join` is under way in {folder}", "Let it end.") from None
    return stack


_GO_ON = "Go on there with `clawbus up`; where the gateway is your own, with `clawbus join --gateway ID` first."
_MARK = "code"
"""The file with the hash of the code's secret. It stays, so that a later run knows if this code was spent here."""
