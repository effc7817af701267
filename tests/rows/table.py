"""The rows as data: what each promises, its tests, its break; what is wrong with them; the table of them all."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parents[2]
ROWS = Path(__file__).parent
PAGE = ROOT / "docs" / "rows.md"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Promise(Part):
    """A row of rows.toml. `gateway`: only real OpenClaw gateways can show it."""

    id: str
    promise: str
    gateway: bool = False


class Break(Part):
    """One deliberate fault of the product: `old`, which stands once in `file`, becomes `new`."""

    what: str
    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The text of the file with the fault. Raises ValueError if `old` does not stand there exactly once."""
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"`old` stands {count} times in {self.file}")
        return text.replace(self.old, self.new)


class Row(Part):
    """A file <row>.toml. `promise` and `gateway` may repeat rows.toml for the reader; nothing goes by them."""

    row: str
    promise: str = ""
    tests: tuple[str, ...] = Field(min_length=1)
    gateway: bool | None = None
    fault: Break = Field(alias="break")

    @property
    def id(self) -> str:
        return self.row.upper()

    @property
    def starts_gateways(self) -> bool:
        return any(test.startswith("tests/gateway/") for test in self.tests)


def promises() -> dict[str, Promise]:
    """Every row that is to be claimed, in the order of rows.toml."""
    data = tomllib.loads((ROWS / "rows.toml").read_text())
    return {name: Promise(id=name, **fields) for name, fields in data.items()}


def row_files() -> list[Path]:
    return sorted(path for path in ROWS.glob("*.toml") if path.name != "rows.toml")


def load(path: Path) -> Row:
    """Raises ValueError (TOML, or a field that is missing or unknown)."""
    return Row.model_validate(tomllib.loads(path.read_text()))


def rows() -> dict[str, Row]:
    """The rows that have a file, in the order of rows.toml. Raises ValueError."""
    found = {row.id: row for row in map(load, row_files())}
    order = [*promises()]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def mistakes(row: Row, name: str, root: Path = ROOT) -> Iterator[str]:
    """What is wrong with a row whose file is `name`.toml: nothing, if it may be claimed."""
    promise = promises().get(row.id)
    if row.row != name:
        yield f"row = {row.row!r} in {name}.toml"
    if promise is None:
        yield f"{row.id} is no row of rows.toml"
    elif promise.gateway and not row.starts_gateways:
        yield "its promise needs real gateways: a test of it must lie in tests/gateway/"
    for test in row.tests:
        yield from _test_mistakes(row, test, root)
    yield from _break_mistakes(row.fault, root)


def _test_mistakes(row: Row, test: str, root: Path) -> Iterator[str]:
    file, _, function = test.partition("::")
    path = root / file
    if not function.startswith(f"test_{row.row}_"):
        yield f"{test}: its name must begin test_{row.row}_"
    if not path.is_file():
        yield f"{test}: there is no such file"
    elif function not in {one.name for one in ast.parse(path.read_text()).body if isinstance(one, _FUNCTION)}:
        yield f"{test}: there is no such function"


_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def _break_mistakes(fault: Break, root: Path) -> Iterator[str]:
    path = root / fault.file
    if not path.is_file():
        yield f"break: there is no {fault.file}"
        return
    if fault.file.startswith("tests/"):
        yield f"break: {fault.file} is no part of the product"
    try:
        broken = fault.applied(path.read_text())
    except ValueError as error:
        yield f"break: {error}"
        return
    if fault.new == fault.old:
        yield "break: `new` is `old`"
    if path.suffix == ".py":
        yield from _syntax(broken)


def _syntax(text: str) -> Iterator[str]:
    """A break that cannot be read, or that names what does not exist, would turn any test red."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        yield f"break: line {error.lineno} of the broken file: {error.msg}"
        return
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "concise", "-"]
    said = subprocess.run(ruff, input=text, capture_output=True, text=True, check=False)
    if said.returncode:
        yield f"break: {said.stdout.splitlines()[0]}"


def missing() -> list[Promise]:
    """The rows of rows.toml that have no file yet."""
    have = rows()
    return [promise for promise in promises().values() if promise.id not in have]


def table() -> str:
    """docs/rows.md. Raises ValueError."""
    claimed, known = rows(), promises()
    lines = [_HEAD]
    for row in claimed.values():
        promise = known.get(row.id)
        cells = (
            row.id + (" (gateway)" if row.starts_gateways else ""),
            promise.promise if promise else row.promise,
            "<br>".join(f"[{test.partition('::')[2]}](../{test.partition('::')[0]})" for test in row.tests),
            f"{row.fault.what} ([{Path(row.fault.file).name}](../{row.fault.file}))",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if left := missing():
        lines += ["", "Not claimed yet: " + ", ".join(promise.id for promise in left) + "."]
    return "\n".join(lines) + "\n"


_HEAD = """# What clawbus promises, and what shows it
Written by `python -m tests.breaks --table` from [tests/rows](../tests/rows/README.md). For each row: the tests that bear its name,
and one deliberate fault of the product that turns them red (`python -m tests.breaks` tries every one).

| row | promise | tests | fault that they notice |
|---|---|---|---|"""
