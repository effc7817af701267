"""What a transcript tells of a run, in the messages that OpenClaw 2026.9.6 wrote when a gateway was killed or too late."""

from __future__ import annotations

from typing import Any

from clawbus.gateway.transcript import Transcript


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
    assert (seen.reply("nats-2"), seen.reply_to("nats-2")) == ("", "the new course")
    assert Transcript(RESUMED[:5], False).reply_to("nats-2") == ""
    assert seen.reply_to("nats-1") == ""  # its own run has called a tool, and nothing more
    assert seen.reply_to("nats-9") == ""
    assert seen.called("nats-1")
    assert not seen.called("nats-3")


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
    assert (seen.reply("nats-1"), seen.reply_to("nats-1")) == ("", "")
    assert not Transcript(RESUMED, False).timed_out("nats-2")
    queued = Transcript([cut_off[0], cut_off[-1]], False)
    assert queued.reply_to("nats-1") == ""
