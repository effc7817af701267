"""Run the breaks: each row's deliberate fault must turn its test red. `python -m tests.breaks --help`; see tests/rows."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.rows import table
from tests.rows.copies import Copy, again, snapshot
from tests.rows.table import PAGE, Row


@dataclass(frozen=True, slots=True)
class Case:
    """How one test went: passed, failed, error (it never came to its promise) or skipped, and in which words."""

    test: str
    how: str
    words: str = ""

    def __str__(self) -> str:
        return f"{self.test.partition('::')[2]}: {self.words}" if self.words else f"{self.test}: {self.how}"


@dataclass(frozen=True, slots=True)
class Run:
    """What one call of pytest has said."""

    cases: tuple[Case, ...]
    output: str
    seconds: float

    def of(self, row: Row) -> list[Case]:
        return [case for case in self.cases if case.test in row.tests]

    def green(self, row: Row) -> bool:
        """Whether every test of a row ran and passed."""
        passed = {case.test for case in self.of(row) if case.how == "passed"}
        return passed == {*row.tests} and all(case.how == "passed" for case in self.of(row))


def pytest(copy: Copy, tests: Iterable[str], *options: str) -> Run:
    """Run tests in a copy, with its clawbus."""
    report = copy.folder / "report.xml"
    argv = [str(copy.python), "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *options]
    argv += ["--basetemp", str(copy.folder / "t"), "-o", "junit_family=xunit1", "--junitxml", str(report), *tests]
    began = time.monotonic()
    done = subprocess.run(
        argv, cwd=copy.tree, env=copy.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    cases = tuple(map(_case, ET.parse(report).iter("testcase"))) if report.exists() else ()  # noqa: S314 - ours
    return Run(cases, done.stdout, time.monotonic() - began)


def _case(node: ET.Element) -> Case:
    name = node.get("name", "").partition("[")[0]
    for how in ("failure", "error", "skipped"):
        if (said := node.find(how)) is not None:
            words = " ".join(said.get("message", "").split())
            return Case(f"{node.get('file')}::{name}", "failed" if how == "failure" else how, words)
    return Case(f"{node.get('file')}::{name}", "passed")


def verdict(run: Run) -> tuple[bool, str]:
    """Whether a break was noticed, and by what. An error is not a failure: the test never came to its promise."""
    failed = [case for case in run.cases if case.how == "failed"]
    if failed:
        return True, str(failed[0])
    errors = [case for case in run.cases if case.how == "error"]
    if errors:
        return False, f"an error, not a failure: {errors[0]}"
    if not run.cases:
        return False, f"pytest ran nothing: {_tail(run.output, 1)}"
    return False, "its tests are green all the same"


def _tail(output: str, lines: int) -> str:
    return "\n".join(line for line in output.splitlines()[-lines:] if line.strip())


def run_breaks(rows: Sequence[Row], folder: Path, trust_green: bool) -> list[str]:
    """Try the break of each row; says how each went. Returns the ids of those that were not noticed."""
    pristine = snapshot(folder / "pristine")
    green = None
    if not trust_green:
        tests = dict.fromkeys(test for row in rows for test in row.tests)
        print(f"{len(tests)} tests of {len(rows)} rows without a break …", flush=True)
        green = pytest(again(pristine, folder / "green"), tests)
        print(f"{_tail(green.output, 1)}", flush=True)
    unnoticed = []
    for row in rows:
        good, words, seconds = _try(row, pristine, folder, green)
        print(f"{row.id:<4} {'red ' if good else 'BAD '} {seconds:6.1f} s  {words[:160]}", flush=True)
        if not good:
            unnoticed.append(row.id)
    return unnoticed


def _try(row: Row, pristine: Copy, folder: Path, green: Run | None) -> tuple[bool, str, float]:
    wrong = [*table.mistakes(row, row.row, pristine.tree)]
    if wrong:
        return False, wrong[0], 0.0
    if green is not None and not green.green(row):
        red = next((str(case) for case in green.of(row) if case.how != "passed"), "pytest did not run them")
        return False, f"not green without the break: {red}", 0.0
    copy = again(pristine, folder / row.row)
    copy.write(row.fault)
    run = pytest(copy, row.tests, "-x")
    return *verdict(run), run.seconds


def check(strict: bool) -> int:
    """Look at the files only. Prints each mistake, and which rows are not claimed yet."""
    said = []
    for path in table.row_files():
        try:
            said += [f"{path.name}: {mistake}" for mistake in table.mistakes(table.load(path), path.stem)]
        except ValueError as error:
            said.append(f"{path.name}: {' '.join(str(error).split())}")
    if not said and (not PAGE.exists() or PAGE.read_text() != table.table()):
        said.append("docs/rows.md is not what the rows say: python -m tests.breaks --table")
    print("\n".join(said) or f"{len(table.row_files())} rows have their tests and their break")
    left = [] if said else table.missing()
    for promise in left:
        print(f"not claimed yet: {promise.id}{' (gateway)' * promise.gateway}  {promise.promise}")
    return 1 if said or (strict and left) else 0


def chosen(names: Sequence[str], no_gateway: bool) -> list[Row]:
    """The rows that were asked for. Exits 2 for one that has no file."""
    have = table.rows()
    unknown = [name for name in names if name.upper() not in have]
    if unknown:
        print(f"no file in tests/rows for: {', '.join(unknown)}; there are: {', '.join(have)}", file=sys.stderr)
        sys.exit(2)
    rows = [have[name.upper()] for name in names] or [*have.values()]
    return [row for row in rows if not (no_gateway and row.starts_gateways)]


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.breaks", description=__doc__)
    asked.add_argument("rows", nargs="*", metavar="ROW", help="such as K5; all that have a file if none is named")
    asked.add_argument("--no-gateway", action="store_true", help="leave out the rows that start real gateways")
    asked.add_argument("--trust-green", action="store_true", help="do not run the tests without the break first")
    asked.add_argument("--keep", action="store_true", help="keep the copies")
    asked.add_argument("--table", action="store_true", help="write docs/rows.md")
    asked.add_argument("--check", action="store_true", help="look at the rows and docs/rows.md, and run nothing")
    asked.add_argument("--strict", action="store_true", help="with --check: fail if a row is not claimed yet")
    said = asked.parse_args()
    if said.table:
        PAGE.write_text(table.table())
    if said.table or said.check:
        return check(said.strict) if said.check else 0
    rows = chosen(said.rows, said.no_gateway)
    folder = Path(tempfile.mkdtemp(prefix="clawbus-breaks-"))
    try:
        unnoticed = run_breaks(rows, folder, said.trust_green)
    finally:
        if said.keep:
            print(f"the copies: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    more = f"; not: {' '.join(unnoticed)}" if unnoticed else ""
    print(f"{len(rows) - len(unnoticed)} of {len(rows)} breaks were noticed{more}")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
