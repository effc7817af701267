"""The CTO's work in the demo: can this project go from Node 18 to Node 22?

The three rules are the work's own: `crypto.createCipher(`, `fs.rmdir(` with `recursive` on the same or one
of the next two lines, `util.isArray(`, each as written, no part of a longer name, not in a comment and not
in quoted text. Everything in the report comes from the output of the commands.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

from clawbus.demo.model import grep
from clawbus.demo.model.jscode import START, Line, after_gap, needs_every_line, read_line
from clawbus.demo.model.plans import Call, Plan

UNREAD = "Not read to the end; look at these by hand:"
_MAX_PAGES = 60
_RECURSIVE = re.compile(r"(?<![\w$])recursive(?![\w$])")
_Ask = Generator[Call, str, str]


@dataclass(frozen=True, slots=True)
class Api:
    """A call that Node 22 has no more, or will not have for long, and what takes its place."""

    call: str
    rule: str
    advice: str
    recursive: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w$]){re.escape(self.call)}")


APIS = (
    Api(
        "crypto.createCipher(",
        "crypto.createCipher(",
        "removed in Node 22 (DEP0106): use crypto.createCipheriv with a derived key and a random IV",
    ),
    Api(
        "fs.rmdir(",
        "fs.rmdir( with recursive",
        "deprecated (DEP0147): use fs.rm with { recursive: true, force: true }",
        recursive=True,
    ),
    Api("util.isArray(", "util.isArray(", "deprecated (DEP0044): use Array.isArray"),
)


@dataclass(slots=True)
class Findings:
    """The findings of the outputs. `uses`: per API, (path, line, how many on it)."""

    files: int = 0
    uses: dict[str, list[tuple[str, int, int]]] = field(default_factory=lambda: {a.rule: [] for a in APIS})
    unread: list[str] = field(default_factory=list)

    def add(self, path: str, uses: dict[str, list[tuple[int, int]]]) -> None:
        for rule, places in uses.items():
            self.uses[rule] += [(path, line, times) for line, times in places]

    @property
    def total(self) -> int:
        return sum(times for places in self.uses.values() for _, _, times in places)


class _NoOutputError(Exception):
    """A command did not give what it was asked for; the text is what it gave."""


def evaluate(folder: str) -> Plan:
    """Search a folder with exec and return the report."""
    try:
        found = yield from _search(folder)
    except _NoOutputError as error:
        return f"I could not evaluate {_shown(folder)}, so I give no recommendation. The command said:\n{error}"
    return report(folder, found)


def find_uses(lines: Iterable[tuple[int, str]]) -> dict[str, list[tuple[int, int]]] | None:
    """Per API the (line, times) among the deciding lines of one file; None if every line is needed."""
    read: dict[int, Line] = {}
    state, expected = START, 1
    for number, text in lines:
        if number != expected:
            if needs_every_line(state):
                return None
            state = after_gap(state)
        read[number] = read_line(text, state)
        state, expected = read[number].state, number + 1
    return {api.rule: list(_places(api, read)) for api in APIS}


def _places(api: Api, read: dict[int, Line]) -> Iterable[tuple[int, int]]:
    for number, line in read.items():
        times = len(api.pattern.findall(line.code))
        near = (read[n].text for n in range(number, number + 3) if n in read)
        if times and (not api.recursive or any(_RECURSIVE.search(text) for text in near)):
            yield number, times


def report(folder: str, found: Findings) -> str:
    """The report as text: the verdict first, then each use as path:line."""
    files = _count(found.files, "file")
    searched = f"Searched {files} (.js .mjs .cjs .ts; node_modules and .git left out), comments not counted."
    parts = [_verdict(folder, found)]
    for api in APIS:
        places = found.uses[api.rule]
        if places:
            times = sum(count for _, _, count in places)
            rows = [f"- {_place(*place)}" for place in places]
            parts.append("\n".join([f"{api.rule}: {_count(times, 'use')}, {api.advice}.", *rows]))
    if found.unread:
        parts.append("\n".join([UNREAD, *map("- {}".format, found.unread)]))
    parts.append(
        f"{searched} Only these three APIs were looked for; no tests were run, and dependencies were not looked at."
    )
    return "\n\n".join(parts)


def _verdict(folder: str, found: Findings) -> str:
    where = _shown(folder)
    if found.total:
        return (
            f"Found {_count(found.total, 'use')} to replace in {where} before Node 22.\n"
            f"Recommendation: proceed after fixing {'it' if found.total == 1 else f'these {found.total} uses'}."
        )
    if found.unread:
        return f"No use was found in what could be read of {where}.\nRecommendation: read the rest before deciding."
    if not found.files:
        return (
            f"No use was found in {where}: it holds no file of the kinds searched.\nRecommendation: check the folder."
        )
    return f"No use was found in {where}.\nRecommendation: proceed."


def _search(folder: str) -> Generator[Call, str, Findings]:
    found = Findings()
    counted = yield from _run(grep.count_files(folder))
    found.files = int(counted) if counted.isdigit() else 0
    names: set[str] = set()
    complete = True
    for api in APIS:
        listed, whole = yield from _names(folder, api.call)
        names.update(listed)
        complete &= whole
    if not complete:
        errors = yield from _run(grep.list_errors(folder))
        found.unread += [_shown(line.removeprefix("grep: ")) for line in errors.split("\n") if line]
    yield from _read(folder, sorted(names), found)
    return found


def _read(folder: str, names: Sequence[str], found: Findings) -> Generator[Call, str, None]:
    deciding = "|".join([*(grep.boundary(api.call) for api in APIS), grep.STATE_LINES])
    todo = {grep.Reading(deciding): list(names)}
    while todo:
        reading, files = todo.popitem()
        for group in grep.batches(files):
            again = yield from _judge(folder, group, reading, found)
            for name, closer in again.items():
                todo.setdefault(closer, []).append(name)
    for places in found.uses.values():
        places.sort()


def _judge(
    folder: str, files: list[str], reading: grep.Reading, found: Findings
) -> Generator[Call, str, dict[str, grep.Reading]]:
    """Add the uses in some files; return those that need a closer reading, with that reading."""
    text = yield from _lines(folder, files, reading)
    read = grep.parse_lines(text, files, reading)
    again: dict[str, grep.Reading] = {}
    for name in files:
        content = read.get(name) or grep.FileLines((), whole=False, masked=False)
        uses = find_uses(content.lines)
        if content.masked:
            again[name] = grep.Reading(reading.pattern, spelled=True)
        elif uses is None:
            again[name] = grep.Reading("^", spelled=True)
        else:
            found.add(name.removeprefix("./"), uses)
            if not content.whole or not grep.is_last_lines(text):
                found.unread.append(_shown(name.removeprefix("./")))
    return again


def _names(folder: str, call: str) -> Generator[Call, str, tuple[list[str], bool]]:
    pages: list[str] = []
    names = grep.NAMES_PER_PAGE
    while not (pages and grep.is_last_names(pages[-1])):
        output = yield _exec(grep.list_files(folder, call, len(pages), names))
        page = grep.body(output)
        if page is None and not pages and names > 10:
            names //= 4
        elif not page:
            raise _NoOutputError(_first(output))
        else:
            pages.append(page)
    return grep.parse_names(pages)


def _lines(folder: str, files: list[str], reading: grep.Reading) -> _Ask:
    text, page, size = "", 0, grep.PAGE_BYTES
    while not grep.is_last_lines(text) and page < _MAX_PAGES:
        output = yield _exec(grep.read_lines(folder, files, reading, page, size))
        part = grep.body(output)
        if part is None and size > 1000:
            text, page, size = "", 0, size // 4
        elif part is None:
            raise _NoOutputError(_first(output))
        else:
            text, page = text + part, page + 1
    return text


def _run(command: str) -> _Ask:
    output = yield _exec(command)
    text = grep.body(output)
    if text is None:
        raise _NoOutputError(_first(output))
    return text


def _exec(command: str) -> Call:
    """OpenClaw moves a command to the background after 10 s unless it is told to wait longer."""
    return Call("exec", {"command": command, "yieldMs": 120_000, "timeoutSeconds": 110})


def _first(output: str) -> str:
    return _shown(output.strip().partition("\n")[0][:500]) or "(nothing)"


def _place(path: str, line: int, times: int) -> str:
    return f"{_shown(path)}:{line}" + (f" ({times} on this line)" if times > 1 else "")


def _shown(text: str) -> str:
    """A name as one line: whatever is no printable character is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
