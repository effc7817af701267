"""The one function through which others' text passes before a model reads it. `frames` puts its marks around it.

A model reads what stands between two marks as data, but its tokenizer and its gateway may read some of it as more: a
chat template's tokens, a role's name at the beginning of a line, the marks of this program and of OpenClaw. Each loses
its first character to a visible escape (`\\x3c|im_start|>`): it can be read, and it is nothing any more.
"""

# ruff: noqa: RUF001 - letters that look alike are what this is about
from __future__ import annotations

import re
import unicodedata

from clawbus.wire.sanitize import inert

_TOKENS = (
    r"<\|[^<>|\n]{1,64}\|?>",  # ChatML, Llama 3, Phi, GLM, Command R, Harmony, Granite, Kimi, DeepSeek
    r"\[\|[^\[\]|\n]{1,64}\|\]",  # EXAONE
    r"<\[[^\[\]\n]{1,64}\]>",  # Seed
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG|THINK|gMASK|sMASK|MASK)\]",
    r"</?<?/?SYS>>",  # Llama 2
    r"</?s>|<(?:bos|eos|pad|unk|mask|sop|eop|eoh|eoa|eod|cls|sep)>",
    r"</?(?:(?:start|end)_of_(?:turn|image|audio)|(?:image|audio)_soft_token)>|<(?:unused|reserved_|ctrl)\d+>",  # Gemma
    r"<[a-z_]{1,64}\|>",  # Gemma: <|turn>…<turn|>
    r"<(?:extra_id_|special_)\d+>|<fim_(?:prefix|suffix|middle|pad)>",  # Nemotron, StarCoder
    r"</?function(?:=|>)|</?arg_(?:key|value)>|<longcat_\w{1,64}>",  # Qwen, GLM, LongCat
    r"<role>(?=\s{0,20}(?:SYSTEM|HUMAN|USER|ASSISTANT|OBSERVATION)\b)",  # Ling
    r"</?(?:think|thinking|tool_call|tool_calls|tool_response|tool_result|tools|seed:\w+|minimax:\w+)>",
    r"</?(?:antml:)?(?:function_calls|function_results|function_result|invoke|parameter|system-reminder|system)\b",
    r"\]~!?b\[|\]~b\]|\[e~\[",  # MiniMax
)
_PLAIN = (  # Mistral's; in small letters they are words of a usage line
    r"\[/?(?:PREFIX|SUFFIX|MIDDLE|ARGS|CALL_ID|AUDIO|BEGIN_AUDIO|STREAMING_PAD|IMG_BREAK|IMG_END|MODEL_SETTINGS)\]",
    r"\[control_\d+\]",
)
_ROLES = (
    r"^(?:Human|Assistant|System|User|Developer|Tool|HUMAN|ASSISTANT|SYSTEM|USER|DEVELOPER|TOOL)[ \t]{0,20}:",
    r"^(?:GPT4|GPT4 Correct) (?:User|Assistant)[ \t]{0,20}:",
    r"^#{2,4}[ \t]{0,20}(?:Instruction|Response|Input|System|Human|Assistant|User)s?[ \t]{0,20}:",
)
_MARKS = (
    r"<<<\s{0,20}/?[A-Z]",  # ours and OpenClaw's (EXTERNAL_UNTRUSTED_CONTENT, BEGIN_OPENCLAW_INTERNAL_CONTEXT)
    r"CLAWBUS[\s_-]{0,20}DATA",
    r"OPENCLAW[\s_-]{0,20}INTERNAL",
    r"\[\s{0,20}clawbus\b",
    r"\[\s{0,20}(?:System|Assistant|Internal|User|Inter-session message|Queued user message)\b[^\]\n]{0,200}\]",
    r"\[\[\s{0,20}(?:reply_to|audio_as|silent)",  # OpenClaw's reply tags
    r"\bRuntime:(?=\s{0,20}agent=)",
    r"^[ \t]{0,20}From:(?=[^\n]{0,80}(?:verified|unverified))",
)
_ANY_CASE = re.compile("|".join((*_TOKENS, *_MARKS)), re.IGNORECASE | re.MULTILINE)
_AS_IS = re.compile("|".join((*_PLAIN, *_ROLES)), re.MULTILINE)

_LOOK = {
    **dict.fromkeys("〈〈⟨‹﹤«《⟪❬❮˂≺＜", "<"),
    **dict.fromkeys("〉〉⟩›﹥»》⟫❭❯˃≻＞", ">"),
    **dict.fromkeys("［〔【⁅⟦❲", "["),
    **dict.fromkeys("］〕】⁆⟧❳", "]"),
    **dict.fromkeys("｜∣ǀ❘│┃丨", "|"),
    **dict.fromkeys("：∶ː꞉", ":"),
    **dict.fromkeys("‐‑‒–—−﹘", "-"),
    **dict.fromkeys("\u2581", "_"),
    **dict(zip("АВЕЅЗІЈКМНОРСТХҮԜԁ", "ABES3IJKMHOPCTXYWD", strict=True)),
    **dict(zip("асеіјорѕухԁһԝɡԛ", "aceijopsyxdhwgq", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ", "ABEZHIKMNOPTYXC", strict=True)),
    **dict(zip("ονρϲιαυ", "ovpciau", strict=True)),
    **dict(zip("ᏟᏞᎪᏔᏴᏌᎠᎢᏚ", "CLAWBUDTS", strict=True)),
}
"""Letters and brackets that look like those of a mark: each stands for one character."""


def harmless(text: str, lines: bool = True) -> str:
    """Others' text as a model may read it: nothing hidden in it, nothing that ends its frame or opens a new role.

    `lines`: line breaks stay; without them it is one line, for what stands in a list.
    """
    text = inert(text) if lines else inert(" ".join(text.split()), lines=False)
    for pattern in (_ANY_CASE, _AS_IS):
        text = _broken(pattern, text)
    return text


def _broken(pattern: re.Pattern[str], text: str) -> str:
    """The text with the first visible character of each match escaped."""
    parts, at, folded = [], 0, _folded(text)
    found = pattern.search(folded)
    while found is not None:
        begin = found.start() + len(found[0]) - len(found[0].lstrip())
        parts += [text[at:begin], _code(text[begin])]
        at = begin + 1
        found = pattern.search(folded, at)  # from the next character: one mark may begin within another
    return "".join([*parts, text[at:]])


def _folded(text: str) -> str:
    """The same number of characters, each of them as it looks."""
    return text if text.isascii() else "".join(char if char < "\x7f" else _look(char) for char in text)


def _look(char: str) -> str:
    found = _LOOK.get(char) or unicodedata.normalize("NFKC", char)
    return found if len(found) == 1 else char


def _code(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x7F else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
