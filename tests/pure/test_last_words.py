"""What the last words of a turn are worth: a report, silence, or a tool call that was written instead of made."""

from __future__ import annotations

import pytest

from clawbus.gateway.reply_text import WrittenCall, are_silent, without_token, written_call

JSON = '{"name": "exec", "arguments": {"command": "ls"}}'
XML = f"<tool_call>\n{JSON}\n</tool_call>"
DEEPSEEK = (
    "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>exec\n"
    '```json\n{"command": "ls"}\n```<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>'
)
KIMI = (
    '<|tool_calls_section_begin|><|tool_call_begin|>functions.exec:0<|tool_call_argument_begin|>{"command": "ls"}'
    "<|tool_call_end|><|tool_calls_section_end|>"
)
REPORT = "The audit is done: 2 leaks, pool.c:41 and pool.c:97."


@pytest.mark.parametrize(
    "text",
    [
        "", " \n\t", "\u200b\ufeff", "NO_REPLY", "  no_reply\n", "**NO_REPLY**", "NO_REPLY NO_REPLY", "NO_REPLY.",
        '"NO_REPLY"', '{"action": "NO_REPLY"}', "ANNOUNCE_SKIP", "REPLY_SKIP", "HEARTBEAT_OK", "`HEARTBEAT_OK`",
        "NO_REPLY\nANNOUNCE_SKIP",
    ],
)  # fmt: skip
def test_what_says_nothing(text: str) -> None:
    assert are_silent(text)


@pytest.mark.parametrize(
    "text",
    ["ok", "0", "👍", "—", "...", "NO_REPLY_TO", "I say NO_REPLY to this.", "The heartbeat is HEARTBEAT_OK", "无"],
)
def test_what_says_something(text: str) -> None:
    assert not are_silent(text)
    assert without_token(text) == text


def test_a_token_below_a_report_goes_as_it_does_in_openclaw() -> None:
    assert without_token(f"{REPORT}\nNO_REPLY") == REPORT
    assert without_token(f"{REPORT}\n\n**NO_REPLY**\n") == f"{REPORT}\n"
    assert without_token(f"{REPORT} The agent said\nNO_REPLY and stopped.").endswith("stopped.")


@pytest.mark.parametrize(
    "text",
    [
        XML,
        f"{XML}\n{XML}",
        f"  {XML}  \n",
        f"{XML}<|im_end|>",
        f"<tool_call>{JSON}",
        '<tool_call>{"name": "exec", "arguments": {"comm',
        "<tool_call>exec\n<arg_key>command</arg_key>\n<arg_value>ls</arg_value>\n</tool_call>",
        "<function=exec><parameter=command>ls</parameter></function>",
        "<function=exec><parameter=command>ls</parameter>",
        '<function name="exec">{"command": "ls"}</function>',
        f"<functioncall> {JSON} </functioncall>",
        f"<function_call>{JSON}</function_call>",
        '<function_calls>\n<invoke name="exec">\n<parameter name="command">ls</parameter>\n</invoke>\n</function_calls>',
        '<invoke name="exec"><parameter name="command">ls</parameter></invoke>',
        '<minimax:tool_call>\n<invoke name="exec">\n</invoke>\n</minimax:tool_call>',
        f"[TOOL_CALLS] [{JSON}]",
        '[TOOL_CALLS]exec[ARGS]{"command": "ls"}',
        f"[TOOL_REQUEST]{JSON}[END_TOOL_REQUEST]",
        JSON,
        f"[{JSON}, {JSON}]",
        '{"tool": "exec", "args": {"command": "ls"}}',
        '{"tool_calls": [{"id": "1", "type": "function", "function": {"name": "exec", "arguments": "{}"}}]}',
        '{"type": "function", "name": "exec", "parameters": {"command": "ls"}}',
        f"```json\n{JSON}\n```",
        f"```\n{XML}\n```",
        f"```tool_call\n{JSON}",
        f"<|python_tag|>{JSON}",
        '[exec(command="ls")]',
        f"functools[{JSON}]",
        f"<|tool_call|>{JSON}<|/tool_call|>",
        DEEPSEEK,
        KIMI,
        '<|channel|>commentary to=functions.exec <|constrain|>json<|message|>{"command": "ls"}<|call|>',
        '✿FUNCTION✿: exec\n✿ARGS✿: {"command": "ls"}',
        'Thought: I look.\nAction: exec\nAction Input: {"command": "ls"}',
        f"I will look at it.\n{XML}",
        f"I will look at it.\n\n[TOOL_CALLS] [{JSON}]",
        f"A real call looks so:\n```\n{XML}\n```\nNow I make one.\n{XML}",
    ],
)
def test_a_tool_call_in_words(text: str) -> None:
    assert written_call(text) is WrittenCall.WHOLE


@pytest.mark.parametrize("block", [JSON, XML, "<function=exec></function>"])
def test_a_call_in_a_code_block_below_words_may_be_an_example(block: str) -> None:
    assert written_call(f"I will look at it.\n```json\n{block}\n```") is WrittenCall.PERHAPS


@pytest.mark.parametrize(
    "text",
    [
        REPORT,
        f"{REPORT} The log showed `<tool_call>{JSON}</tool_call>` twice.",
        f"{REPORT} The model wrote `{JSON}`",
        f'{REPORT} It wrote "<tool_call>{JSON}</tool_call>"',
        f"{REPORT} It wrote <tool_call>{JSON}</tool_call>",
        f"The model wrote:\n{XML}\nI have removed it (see pool.c:41)",
        f"The model wrote:\n```\n{XML}\n```\nI have removed it.",
        f"{XML}\n<tool_response>\nfile.c\n</tool_response>\nThere is one file.",
        "<tool_call> is the mark that Qwen writes (see its template)",
        "The parser knows these marks:\n- <tool_call>\n- [TOOL_CALLS]\n- <function=NAME>",
        '{"name": "clawbus", "version": "1.0", "license": "MIT"}',
        '{"leaks": [{"file": "pool.c", "line": 41}]}',
        '[{"name": "exec"}]',
        "[1, 2, 3]",
        "[]",
        "{}",
        "[pool.c](pool.c)",
        "[see](https://x.example/a(b)) and more",
        "```json\n{}\n```",
        "```python\nexec(command)\n```",
        "Action: none is needed.",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_a_report_stays_one(text: str) -> None:
    assert written_call(text) is WrittenCall.NONE


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "line",
    ["```a\n", "<tool_call>x\n", "</tool_call>\n", "<|tool_call\n", "~~~\n", "[TOOL_CALLS]\n", "<s", "NO_REPLY ", "*"],
)
def test_a_long_odd_text_holds_nothing_up(line: str) -> None:
    """What it takes grows with the text, not with its square, which would be hours."""
    text = line * (600_000 // len(line)) + "x"
    written_call(text)
    assert not are_silent(text)
    assert without_token(text) == text
