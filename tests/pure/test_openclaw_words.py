"""Errors of OpenClaw: each text that decides something stands in one file, and another text means what is safe."""

from __future__ import annotations

from typing import Any

import pytest

from clawbus.errors import GatewayAway, NotBegun, Refused
from clawbus.gateway import ChatChannel, openclaw_words
from clawbus.gateway.rpc import _refusal
from clawbus.gateway.setup.command import CompletedCommand
from clawbus.gateway.transcript import Transcript


@pytest.mark.parametrize(
    ("decides", "text"),
    [
        (openclaw_words.lacks_account, "the gateway refused send: Outbound not configured for channel: telegram"),
        (openclaw_words.is_superseded, "Error: generation was superseded by a newer configuration"),
        (openclaw_words.is_unexplained, "Error: agent run failed\n"),
        (openclaw_words.is_time_over, "request timed out after 30 s"),
        (openclaw_words.is_unset, "Config path is valid but unset: tools.allow. The runtime default applies"),
    ],
)
def test_each_text_is_known_and_no_other(decides: Any, text: str) -> None:
    assert decides(text)
    assert not decides("OpenClaw says it another way now")


def test_an_error_of_the_gateway_is_known_by_its_code() -> None:
    """Whatever its message: one that may be tried again is `retryable`, or UNAVAILABLE."""
    for message in ("starting", "Outbound not configured for channel", "not found", ""):
        assert type(_refusal("send", {"code": "UNAVAILABLE", "message": message})) is NotBegun
        assert type(_refusal("send", {"code": "X", "retryable": True, "message": message})) is NotBegun
        assert type(_refusal("send", {"code": "INVALID_REQUEST", "message": message})) is Refused


class Answering:
    """The one call of a gateway that `ChatChannel` needs, and it fails."""

    def __init__(self, message: str) -> None:
        self.message = message

    async def call(self, _method: str, _params: dict[str, Any]) -> dict[str, Any]:
        raise NotBegun(self.message)


async def test_a_channel_without_an_account_is_tried_again_if_the_text_is_another() -> None:
    with pytest.raises(Refused):
        await ChatChannel(Answering("Outbound not configured for channel: x")).say("a", "x", "to", "text", "k")  # type: ignore[arg-type]
    with pytest.raises(GatewayAway):
        await ChatChannel(Answering("no account of x")).say("a", "x", "to", "text", "k")  # type: ignore[arg-type]


def test_an_abort_whose_text_is_not_known_is_a_run_that_was_cut_off() -> None:
    def message(error: str) -> dict[str, Any]:
        return {"role": "assistant", "stopReason": "aborted", "errorMessage": error, "__openclaw": {"runId": "r"}}

    assert Transcript([message("timed out")], False).timed_out("r")
    late = Transcript([message("its time was over")], False)
    assert (late.timed_out("r"), late.cut_off("r")) == (False, True)


def test_the_reason_of_a_failed_command_is_shown_as_it_is() -> None:
    failed = CompletedCommand(1, '{"ok": false, "error": {"type": "cli_error", "message": "Another sentence."}}', "")
    assert failed.reason() == "Another sentence"
