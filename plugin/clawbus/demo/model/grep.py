"""The shell commands that the CTO's model asks OpenClaw's exec for, and how it reads what they print.

Portable to GNU and BSD tools. OpenClaw trims a tool's result and cuts it at 16,000, 32,000 or 64,000
characters (by the model's context window), so every output stands between two marks, long ones are read in
pages, and a page that was cut is asked for again in smaller ones.
node_modules and .git are left out: what is there is mended by an upgrade, not in this project.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PAGE_BYTES = 28_000
NAMES_PER_PAGE = 150
MAX_LINE_BYTES = 20_000
CUT = "[clawbus: line cut]"
BATCH_FILES = 60
BATCH_BYTES = 20_000
"""Of file names in one command; Linux takes 128 KiB for one argument of `sh -c`."""

_SUFFIXES = ("js", "mjs", "cjs", "ts")
_SKIPPED = ("node_modules", ".git")
_BEGIN, _END, _LAST = "<<<", ">>>", "== end"
_MARKED = re.compile(rf"{_BEGIN}\n(?:(.*)\n)?{_END}", re.DOTALL)
_MASKED = re.compile(r"\*\*\*|…")
_TRUNCATED = re.compile(r"\[\.\.\. \d+ more characters truncated;")
"""OpenClaw's own words in a tool result that it has shortened (2026.9.6)."""
_INCLUDE = " ".join(
    [*(f"--include='*.{suffix}'" for suffix in _SUFFIXES), *(f"--exclude-dir={name}" for name in _SKIPPED)]
)

STATE_LINES = r"recursive|/\*|\*/|`|\$\{|\\.?$"
"""Besides the calls themselves, the lines that decide: those that can open or close a comment, a template or
a continued string, and those with the word `recursive`. No other line changes what is code (see jscode)."""


def boundary(call: str) -> str:
    """The extended regular expression of a call such as `fs.rmdir(` that is no part of a longer name."""
    return rf"(^|[^A-Za-z0-9_$]){re.escape(call)}"


def count_files(folder: str) -> str:
    """Print how many files there are to search. Fails, with cd's own words, if there is no such folder."""
    skip = " -o ".join(f"-name {name}" for name in _SKIPPED)
    names = " -o ".join(f"-name '*.{suffix}'" for suffix in _SUFFIXES)
    find = rf"find . \( {skip} \) -prune -o -type f \( {names} \) -print 2>/dev/null"
    return f"{_enter(folder)} && {{ echo '{_BEGIN}'; {find} | grep -c '^\\./'; echo '{_END}'; }}"


def list_files(folder: str, call: str, page: int, names: int = NAMES_PER_PAGE) -> str:
    """Print one page (from 0) of the files that hold a call, then, on the last page, grep's exit code."""
    first = page * names + 1
    search = f"grep -rlE {_INCLUDE} -e {shlex.quote(boundary(call))} ."
    return (
        f'{_enter(folder)} && {{ {search} 2>/dev/null; echo "grep exit $?"; }} | '
        f"{{ echo '{_BEGIN}'; sed -n '{first},{first + names - 1}p'; echo '{_END}'; }}"
    )


def list_errors(folder: str) -> str:
    """Print what grep cannot read, at most twenty lines."""
    return (
        f"{_enter(folder)} && {{ echo '{_BEGIN}'; "
        f"grep -rlE {_INCLUDE} -e '^' . 2>&1 >/dev/null | sed -n '1,20p'; echo '{_END}'; }}"
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """The lines to print: those that match `pattern`. `spelled`: with a `~` after each letter.

    OpenClaw masks what looks like a secret before the model sees it, code included (`apiKey = f(x)` becomes
    `apiKey = ***x)`). Spelled text looks like nothing, and loses nothing.
    """

    pattern: str
    spelled: bool = False


def read_lines(folder: str, files: Sequence[str], reading: Reading, page: int, size: int = PAGE_BYTES) -> str:
    """Print one page of `size` bytes of some lines of some files, each file under its number."""
    quoted = " ".join(shlex.quote(name) for name in files)
    cut = f'length($0) > {MAX_LINE_BYTES} {{ $0 = substr($0, 1, {MAX_LINE_BYTES}) "{CUT}" }} 1'
    spell = " | sed 's/[A-Za-z]/&~/g'" if reading.spelled else ""
    return (
        f"{_enter(folder)} && {{ echo '{_BEGIN}'; {{ n=0; for f in {quoted}; do n=$((n+1)); "
        f'echo "== $n"; grep -anE -e {shlex.quote(reading.pattern)} -- "$f" | awk {shlex.quote(cut)}{spell}; '
        f"done 2>&1; echo '{_LAST}'; }} | tail -c +{page * size + 1} | head -c {size}; echo; echo '{_END}'; }}"
    )


def body(output: str) -> str | None:
    """The text between the marks, None if the output is not whole (cut, still running, or an error)."""
    found = _MARKED.fullmatch(output.strip())
    if not found or _TRUNCATED.search(output):
        return None
    return found.group(1) or ""


def parse_names(pages: Iterable[str]) -> tuple[list[str], bool]:
    """File names, sorted, and whether grep could read everything. A name may hold a line break."""
    names: list[str] = []
    complete = True
    for line in "\n".join(page for page in pages if page).split("\n"):
        if line.startswith("./"):
            names.append(line)
        elif line.startswith("grep exit "):
            complete = line in ("grep exit 0", "grep exit 1")
        elif names:
            names[-1] += f"\n{line}"
    return sorted(set(names)), complete


def is_last_names(page: str) -> bool:
    """True if a page of `list_files` was the last one."""
    return page.rsplit("\n", maxsplit=1)[-1].startswith("grep exit ")


def is_last_lines(text: str) -> bool:
    """True if the pages of `read_lines` together are the whole file."""
    return f"\n{text}".rstrip("\n").endswith(f"\n{_LAST}")


@dataclass(frozen=True, slots=True)
class FileLines:
    """The lines that were read of a file.

    `whole` is False if a line was cut or grep reported an error; `masked` is True if OpenClaw may have put
    its own marks in the place of code.
    """

    lines: tuple[tuple[int, str], ...]
    whole: bool
    masked: bool


def parse_lines(text: str, files: Sequence[str], reading: Reading) -> dict[str, FileLines]:
    """The numbered lines of each file. Lines of files always begin with their number, headers never do."""
    found: dict[str, FileLines] = {}
    if reading.spelled:
        text = re.sub("([A-Za-z])~", r"\1", text)
    for section in re.split(r"^== (?=\d+$)", text, flags=re.MULTILINE)[1:]:
        number, _, rest = section.partition("\n")
        rows = [row for row in rest.split("\n") if row and row != _LAST]
        lines = [(int(row.split(":", 1)[0]), row.split(":", 1)[1]) for row in rows if re.match(r"\d+:", row)]
        whole = len(lines) == len(rows) and not any(line.endswith(CUT) for _, line in lines)
        found[files[int(number) - 1]] = FileLines(
            tuple(lines), whole, not reading.spelled and bool(_MASKED.search(rest))
        )
    return found


def batches(files: Sequence[str]) -> list[list[str]]:
    """Files in groups whose names fit into one command."""
    groups: list[list[str]] = []
    room = 0
    for name in files:
        need = len(shlex.quote(name).encode()) + 1
        if not groups or need > room or len(groups[-1]) == BATCH_FILES:
            groups.append([])
            room = BATCH_BYTES
        groups[-1].append(name)
        room -= need
    return groups


def _enter(folder: str) -> str:
    return f"export LC_ALL=C; cd -- {shlex.quote(folder)}"
