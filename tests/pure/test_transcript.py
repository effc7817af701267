"""What a transcript tells of a run, in the messages that OpenClaw 2026.9.6 wrote when a gateway was killed or too late."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from clawbus.gateway import GatewayRpc, TurnLost, TurnResult, Turns
from clawbus.gateway.transcript import Transcript
from clawbus.gateway.turns import result_in_transcript
from clawbus.node.worker.resumed_runs import ResumedRuns
from tests.company import until


def said(role: str, text: str = "", run: str = "", key: str = "", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"role": role, "content": [{"type": "text", "text": text}], **more}
    if run:
        found["__openclaw"] = {"runId": run}
    if key:
        found["idempotencyKey"] = key
    return found


RESUMED = [
    said("user", "the task", key="nats-1:user"),
    said("assistant", run="nats-1", stopReason="toolUse"),
    said("user", "[System] Your previous turn was interrupted", key="5cd6:user"),
    said("assistant", "the old course", run="5cd6"),
    said("user", "the task, attempt 2", key="nats-2:user"),
    said("assistant", "the new course", run="c0f9"),
    said("user", "said later", key="nats-3:user"),
    said("assistant", "something else", run="nats-3"),
]


def test_a_message_that_waited_behind_another_run_has_its_own_reply() -> None:
    """It is run under an id of the gateway's own: neither the resumed run's words nor a later turn's are its reply."""
    seen = Transcript(RESUMED, False)
    assert seen.run_of("nats-2") == "c0f9"
    assert (seen.reply("nats-2"), seen.reply("c0f9")) == ("", "the new course")
    assert Transcript(RESUMED[:5], False).run_of("nats-2") == ""
    assert (seen.run_of("nats-1"), seen.reply("nats-1")) == ("nats-1", "")  # it has called a tool, and nothing more
    assert (seen.run_of("nats-9"), seen.reply("")) == ("", "")
    assert Transcript(RESUMED[4:5] + RESUMED[6:], False).run_of("nats-2") == ""  # it was never come to
    assert seen.called_tool("nats-1")
    assert not seen.called_tool("nats-3")


def test_a_gateways_note_is_no_reply() -> None:
    """Below a turn whose time was over stands what the gateway says of its tool; that is nobody's result."""
    cut_off = [
        said("user", "the task", key="nats-1:user"),
        said("assistant", run="nats-1", stopReason="toolUse"),
        said("toolResult", "Aborted", run="nats-1"),
        said("assistant", run="nats-1", stopReason="aborted", errorMessage="request timed out"),
        said("assistant", "⚠️ Exec blocked", key="nats-1", stopReason="stop"),
    ]
    seen = Transcript(cut_off, False)
    assert seen.timed_out("nats-1")
    assert (seen.run_of("nats-1"), seen.reply("nats-1")) == ("nats-1", "")
    assert not Transcript(RESUMED, False).timed_out("nats-2")
    queued = Transcript([cut_off[0], cut_off[-1]], False)
    assert queued.run_of("nats-1") == ""


OURS = said("user", "the task, attempt 2", key="nats-2:user")
LOOKS = said("assistant", "I will look first.", run="c0f9", stopReason="toolUse")
FOUND = said("toolResult", "x", run="c0f9")
STEER = said("user", "also the engines", key="nats-s:user")
FINAL = said("assistant", "All fine.", run="c0f9", stopReason="stop")
MARK = "[the agent ended its turn without a word; this is the last that it said before]"
NO_MODEL = {
    "role": "custom",
    "customType": "run-failed-before-reply",
    "content": "This turn ended before a reply: the provider rests. Retry after about 1 minute.",
    "details": {"runId": "nats-2", "error": "the provider rests. Retry after about 1 minute."},
}
CUT = {"stopReason": "aborted", "errorMessage": "request timed out"}


@pytest.mark.parametrize(
    ("below", "outcome", "text"),
    [
        ([LOOKS, FOUND, FINAL], "done", "All fine."),
        ([LOOKS, FOUND, STEER, FINAL], "done", "All fine."),
        ([*[LOOKS, FOUND] * 40, FINAL], "done", "All fine."),
        ([LOOKS, FOUND, said("assistant", run="c0f9", **CUT)], "timed_out", "the turn took longer than it was given"),
        ([said("assistant", "It is:", run="c0f9", **CUT)], "timed_out", "the turn took longer than it was given"),
        ([said("assistant", "HTTP 500", run="c0f9", stopReason="error")], "failed", "the turn failed: HTTP 500"),
        ([LOOKS, FOUND], None, ""),
        ([said("assistant", "It is:", run="c0f9", stopReason="aborted")], None, ""),
        ([], None, ""),
        ([LOOKS, FOUND, said("assistant", "", run="c0f9", stopReason="stop")], "done", f"I will look first.\n\n{MARK}"),
        ([NO_MODEL], "failed", "the turn failed: the provider rests. Retry after about 1 minute."),
    ],
    ids=[
        "reply",
        "steered",
        "long",
        "late",
        "late-in-words",
        "error",
        "in-a-tool",
        "stopped",
        "never",
        "mute",
        "no-model",
    ],
)
def test_how_a_message_ended_that_waited_behind_another_run(
    below: list[dict[str, Any]], outcome: Any, text: str
) -> None:
    """`agent.wait` says that it has ended, not how. What was cut off in the middle is no result."""
    seen = Transcript([OURS, *below], False)
    if outcome is None:
        with pytest.raises(TurnLost):
            result_in_transcript(seen, "nats-2", ended_well=True)
    else:
        assert result_in_transcript(seen, "nats-2", ended_well=True) == TurnResult(outcome, text)


def test_an_error_that_stands_in_the_transcript_is_no_reply() -> None:
    """Between that line and the end in the gateway's memory `agent.wait` knows of nothing."""
    error = said("assistant", "request failed", run="nats-2", stopReason="error")
    assert result_in_transcript(Transcript([OURS, error], False), "nats-2") == TurnResult(
        "failed", "the turn failed: request failed"
    )
    with pytest.raises(TurnLost):  # nor does it when it has forgotten
        result_in_transcript(Transcript([OURS, said("assistant", run="nats-2", stopReason="toolUse")], False), "nats-2")


REPORT = "2 leaks, pool.c:41 and pool.c:97."
BESIDE = said("assistant", REPORT, run="nats-2", stopReason="toolUse")
LIMIT = "[cut here: the model came to its output limit, and what it would have said after this is missing]"
CALL = '<tool_call>{"name": "exec", "arguments": {}}</tool_call>'


def last(text: str, stop: str = "stop") -> dict[str, Any]:
    return said("assistant", text, run="nats-2", stopReason=stop)


@pytest.mark.parametrize(
    ("below", "outcome", "text"),
    [
        ([last(REPORT)], "done", REPORT),
        ([last(f"{REPORT}\nNO_REPLY")], "done", REPORT),
        ([last(REPORT, "length")], "done", f"{REPORT}\n\n{LIMIT}"),
        ([BESIDE, last("")], "done", f"{REPORT}\n\n{MARK}"),
        ([BESIDE, last("NO_REPLY")], "done", f"{REPORT}\n\n{MARK}"),
        ([BESIDE, last("ANNOUNCE_SKIP")], "done", f"{REPORT}\n\n{MARK}"),
        ([BESIDE, last("HEARTBEAT_OK"), last("")], "done", f"{REPORT}\n\n{MARK}"),
        ([BESIDE, last("", "length")], "done", f"{REPORT}\n\n{MARK}\n\n{LIMIT}"),
        ([BESIDE, last(CALL)], "failed", CALL),
        ([last(f"I look.\n{CALL}")], "failed", CALL),
        ([last(f"{REPORT} It wrote `{CALL}`")], "done", f"{REPORT} It wrote `{CALL}`"),
    ],
)
def test_how_a_turn_ended_by_its_last_words(below: list[dict[str, Any]], outcome: str, text: str) -> None:
    """A report that stands beside the last tool call is the result; a call that was written is none."""
    found = result_in_transcript(Transcript([OURS, *below], False), "nats-2", ended_well=True)
    assert (found.outcome, found.mute) == (outcome, False)
    assert found.text == text if outcome == "done" else found.text.endswith(text)


@pytest.mark.parametrize("word", ["", "NO_REPLY", "ANNOUNCE_SKIP", "REPLY_SKIP", "HEARTBEAT_OK"])
def test_a_turn_without_a_word_is_not_done(word: str) -> None:
    """Whoever asked hears how to go on. A task that waits for the answer to a blocker is not over with it (`mute`)."""
    found = result_in_transcript(
        Transcript([OURS, said("assistant", "an older task", run="nats-1"), last(word)], False), "nats-2", True
    )
    assert (found.outcome, found.mute) == ("failed", True)
    assert "without a word" in found.text
    assert "Ask it again" in found.text
    full = result_in_transcript(Transcript([OURS, last(word, "length")], False), "nats-2", True)
    assert full.text == "The model used up its output limit before it wrote a word."


def test_a_reason_of_others_is_bounded_and_inert_and_holds_no_key() -> None:
    why = "401 Incorrect API key: sk-proj-abcdefghij1234567890. \x1b[31m" + "x" * 9_000
    text = result_in_transcript(
        Transcript([OURS, said("assistant", why, run="nats-2", stopReason="error")], False), "nats-2"
    ).text
    assert text.startswith("the turn failed: 401 Incorrect API key: sk-pr…. \\x1b[31mxxx")
    assert len(text) < 1_100
    assert text.endswith("x…")


async def test_what_an_event_says_of_a_failure_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sessions.get` gives a provider's words as they came."""
    rpc = GatewayRpc(1, Path("none"))
    note = said("custom", "", run="nats-2", customType="run-failed-before-reply")
    note["details"] = {"runId": "nats-2", "error": "401 Incorrect API key: sk-proj-abcdefghij1234567890."}

    async def call(method: str, *_: Any) -> dict[str, Any]:
        assert method == "sessions.get"
        return {"messages": [note]}

    monkeypatch.setattr(rpc, "call", call)
    assert await Turns(rpc).reason("agent:cto:nats:x", "nats-2") == "401 Incorrect API key: sk-pr…."


def strays_without_a_gateway() -> ResumedRuns:
    return ResumedRuns(Turns(GatewayRpc(1, Path("none"))), lambda _session: None)


async def test_a_resumed_run_is_looked_at_again_if_the_gateway_was_away_at_its_first_sign() -> None:
    resumed_runs = strays_without_a_gateway()
    resumed_runs.expect("agent:x:nats:t")
    resumed_runs.on_event("agent", {"sessionKey": "agent:x:nats:t", "runId": "5cd6", "stream": "item"})
    assert [*resumed_runs._met] == ["5cd6"]

    async def forgotten() -> bool:
        return not resumed_runs._met

    await until(forgotten, "the look that has failed")


def test_what_is_remembered_of_resumed_runs_goes_with_the_time_in_which_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resumed_runs = strays_without_a_gateway()
    resumed_runs.expect("agent:x:nats:t")
    resumed_runs._met["5cd6"] = "agent:x:nats:t"
    later = time.monotonic() + 1000
    monkeypatch.setattr("clawbus.node.worker.resumed_runs.time.monotonic", lambda: later)
    resumed_runs.expect("agent:x:nats:u")
    assert (resumed_runs.expected("agent:x:nats:t"), resumed_runs.expected("agent:x:nats:u"), resumed_runs._met) == (
        False,
        True,
        {},
    )
