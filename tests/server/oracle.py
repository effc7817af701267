"""An independent reader of JavaScript for the tests: one pass over a whole file, one character at a time."""

from __future__ import annotations

from string import ascii_letters

CALLS = ("crypto.createCipher(", "fs.rmdir(", "util.isArray(")
KEYWORDS = {"return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "do", "else", "yield", "await"}


def uses_in(text: str) -> list[int]:
    """The numbers of the lines with a use."""
    code, kept = _mask(text)
    code_lines, kept_lines = code.split("\n"), kept.split("\n")
    found = []
    for index, line in enumerate(code_lines):
        near = kept_lines[index : index + 3]
        if any(_has(line, call) for call in CALLS if call != "fs.rmdir(") or (
            _has(line, "fs.rmdir(") and any(_has(kept_line, "recursive", whole=True) for kept_line in near)
        ):
            found.append(index + 1)
    return found


def _name(char: str) -> bool:
    return char.isalnum() or char in "_$"


def _has(line: str, what: str, *, whole: bool = False) -> bool:
    at = line.find(what)
    while at >= 0:
        after = line[at + len(what) : at + len(what) + 1]
        if not (at and _name(line[at - 1])) and not (whole and after and _name(after)):
            return True
        at = line.find(what, at + 1)
    return False


def _mask(text: str) -> tuple[str, str]:  # noqa: C901, PLR0912
    """(without comments and quoted text, without comments), line by line as long as the text has lines."""
    text = text.replace("\r\n", "\n")
    code: list[str] = []
    kept: list[str] = []
    stack: list[str] = []
    i = 0

    def put(char: str, *, is_code: bool, is_text: bool) -> None:
        code.append(char if is_code or char == "\n" else " ")
        kept.append(char if is_text or char == "\n" else " ")

    while i < len(text):
        char, pair = text[i], text[i : i + 2]
        top = stack[-1] if stack else ""
        if top in ("//", "#!"):
            if char == "\n":
                stack.pop()
            put(char, is_code=False, is_text=False)
        elif top == "/*":
            if pair == "*/":
                stack.pop()
                put(" ", is_code=False, is_text=False)
                i += 1
            put(char if char == "\n" else " ", is_code=False, is_text=False)
        elif top in ("'", '"', "`"):
            if char == "\\" and i + 1 < len(text):
                put(char, is_code=False, is_text=True)
                i += 1
                put(text[i], is_code=False, is_text=True)
            elif top == "`" and pair == "${":
                stack.append("${")
                put(" ", is_code=False, is_text=True)
                put("(", is_code=True, is_text=True)
                i += 1
            else:
                if char == top or (char == "\n" and top != "`"):
                    stack.pop()
                put(char, is_code=char == top, is_text=True)
        elif pair in ("//", "/*") or (pair == "#!" and (i == 0 or text[i - 1] == "\n")):
            stack.append(pair)
            put(" ", is_code=False, is_text=False)
            put(" ", is_code=False, is_text=False)
            i += 1
        elif char == "/" and (end := _regex_end(text, i, "".join(code).rpartition("\n")[2])):
            for inside in text[i:end]:
                put(inside, is_code=False, is_text=True)
            code[-1] = ")"
            i = end - 1
        else:
            if char in "'\"`":
                stack.append(char)
            elif char == "{" and "${" in stack:
                stack.append("{")
            elif char == "}" and top in ("{", "${"):
                stack.pop()
            put(char, is_code=True, is_text=True)
        i += 1
    return "".join(code), "".join(kept)


def _regex_end(text: str, start: int, before: str) -> int:
    """Where the regular expression that begins here ends on its line; 0 if it is a division."""
    left = before.rstrip()
    if _divides(left) or (not left and text[start + 1 : start + 2].isspace()):
        return 0
    in_class = False
    i = start + 1
    while i < len(text) and text[i] != "\n":
        if text[i] == "\\" and text[i + 1 : i + 2] != "\n":
            i += 1
        elif text[i] in "[]":
            in_class = text[i] == "["
        elif text[i] == "/" and not in_class:
            rest = text[i + 1 :]
            return i + 1 + len(rest) - len(rest.lstrip(ascii_letters))
        i += 1
    return 0


def _divides(left: str) -> bool:
    """Whether a slash after this text divides."""
    if left and (left[-1] in ")]}<'\"`" or left.endswith(("++", "--"))):
        return not _is_head(left)
    word = ""
    while left and _name(left[-1]):
        word, left = left[-1] + word, left[:-1]
    return bool(word) and word not in KEYWORDS


def _is_head(left: str) -> bool:
    """Whether a closing parenthesis ends `if (…)` and the like."""
    if not left.endswith(")"):
        return False
    depth = 0
    for i in range(len(left) - 1, -1, -1):
        depth += (left[i] == ")") - (left[i] == "(")
        if depth == 0:
            head = left[:i].rstrip()
            word = ""
            while head and _name(head[-1]):
                word, head = head[-1] + word, head[:-1]
            return word in ("if", "while", "for", "with")
    return False
