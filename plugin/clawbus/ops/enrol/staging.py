"""Where a machine that comes in keeps what it has until it has everything: the folder `.clawbus.joining`.

Before the public keys are said it vanishes with whatever goes wrong, and later if the code is refused. Once they are,
the code is this folder's, and the keys stay: whoever is cut off then, killed, or has pressed Ctrl-C spends the same
line again in the same folder.
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
    """Of one code, beside one `org_file`. `home`: the folder that becomes `.clawbus`. Who makes it calls `clear`."""

    def __init__(self, code: Code, org_file: Path) -> None:
        """Raises Refused if there is a company already, or another `clawbus join` under way."""
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
        """The public keys of these gateways, if they were said before."""
        names = [f"gw-{gateway}" for gateway in gateways if self._begun]
        return {name: load_or_create(name, self.home.key(name)).public_key for name in names}

    def begin(self) -> None:
        """The public keys are about to be said."""
        write_secret(self.home.dir() / _MARK, self._mark)
        self._begun = True

    def settle(self, org: str) -> None:
        """All is here: it becomes the home, and the text the org file."""
        self.home.root.rename(self._final.root)
        write_secret(self._org_file, org)
        self._org_file.chmod(0o644)

    def forget(self) -> None:
        """The code is no good any more."""
        self._begun = False

    def clear(self) -> None:
        """Nothing is left of what was not begun; another one may come."""
        if not self._begun:
            shutil.rmtree(self.home.root, ignore_errors=True)
        self._lock.close()

    def told(self, error: ClawbusError) -> ClawbusError:
        """With the way on, if saying the same line again is one."""
        if not self._begun or not isinstance(error, Away):
            return error
        return Away(error.message, f"Say the same line again in this folder, until {self._code.until}: it goes on.")

    def _refuse_company(self) -> None:
        if self._is_ours(self._final):
            if self._org_file.exists():
                where = self._org_file.absolute().parent
                raise Refused(f"{where} has come into {self._code.company} by this very code already", _GO_ON)
            self._final.root.rename(self.home.root)  # killed in the middle of `settle`
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
    """Hold the folder until the stack is closed. Raises Refused."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(locked(folder))
    except BlockingIOError:
        raise Refused(f"another `clawbus join` is under way in {folder}", "Let it end.") from None
    return stack


_GO_ON = "Go on there with `clawbus up`; where the gateway is your own, with `clawbus join --gateway ID` first."
_MARK = "code"
"""The file with the hash of the secret. It stays: it tells a code that was spent here from another one."""
