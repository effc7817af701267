"""Reading an org.toml and checking it whole: every mistake in one run, each with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clawbus.errors import NotFound
from clawbus.org.checks import contradictions
from clawbus.org.fields import field_mistakes
from clawbus.org.mistakes import Mistake, OrgMistakes, Wrong, explained
from clawbus.org.org import Org
from clawbus.org.toml_lines import Place, locate

_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)$")


_FORMER = {"lease_s": "lease", "run_deadline_s": "run_deadline"}


def load(path: Path) -> Org:
    """Read and check an org.toml. Raises NotFound if there is none, OrgMistakes with all that is wrong."""
    try:
        text = path.read_text("utf-8-sig")  # editors of Windows write a mark before the first letter
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path}", "Write one with `clawbus init duo`, or name it with --org FILE."
        ) from None
    except UnicodeDecodeError as error:
        raise OrgMistakes(path, [_not_utf8(error)]) from None
    except OSError as error:
        remedy = f"Name the file in it: --org {path / 'org.toml'}" if path.is_dir() else "Name another with --org FILE."
        raise OrgMistakes(
            path, [Mistake(None, "the file", None, f"cannot be read: {error.strerror}", remedy)]
        ) from None
    return load_text(text, path)


def load_text(text: str, path: Path) -> Org:
    """Check what a file holds, or is to hold. Raises OrgMistakes with all that is wrong."""
    text = text.removeprefix("\ufeff")  # that mark again: an older clawbus sends it along to other machines
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OrgMistakes(path, [_not_toml(str(error))]) from None
    except (ValueError, RecursionError) as error:  # what Python's reader gives up on: 5,000 digits, 1,000 brackets
        deep = isinstance(error, RecursionError)
        problem = "nested too deeply to be read" if deep else "holds a number that is too long to be read"
        raise OrgMistakes(path, [Mistake(None, "the file", None, problem, "Make it shorter.")]) from None
    return parse(data, path, locate(text))


def parse(data: Mapping[str, Any], path: Path = Path("org.toml"), lines: Mapping[Place, int] | None = None) -> Org:
    """Check a file that was read, its fields and what they say of each other. Raises OrgMistakes with all of it.

    `lines`: where each value stands, as `lines.locate` says.
    """
    org: Org | None = None
    wrong: list[Wrong] = []
    data = _as_named_today(data)
    try:
        org = Org.model_validate(data, by_alias=True, by_name=False)  # by the names that are documented, and no other
    except ValidationError as error:
        wrong += field_mistakes(error)
    wrong += contradictions(data)
    if wrong or org is None:
        raise OrgMistakes(path, explained(wrong, data, lines or {}))
    return org


def _as_named_today(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Names of earlier files that are still read."""
    policies = data.get("policies")
    if not isinstance(policies, dict):
        return data
    return {**data, "policies": {_FORMER.get(key, key): value for key, value in policies.items()}}


def _not_utf8(error: UnicodeDecodeError) -> Mistake:
    data, where = error.object, error.object.count(b"\n", 0, error.start) + 1
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    found = "UTF-16" if is_wide else f"byte 0x{data[error.start]:02x}"
    return Mistake(None if is_wide else where, "the file", None, f"not UTF-8, but {found}", "Save it as UTF-8.")


def _not_toml(message: str) -> Mistake:
    """tomllib stops at the first; the rest can only be found when that is mended."""
    found = _AT_LINE.search(message)
    line, column = (int(found[1]), f", column {found[2]}") if found else (None, "")
    problem = _AT_LINE.sub("", message)
    return Mistake(line, f"the file{column}", None, f"not TOML: {problem}", "Mend this first, then check again.")
