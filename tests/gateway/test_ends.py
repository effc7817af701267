"""How a turn ended, told truthfully: odd replies of a model over the real wire, through real turns, to the requester."""

from __future__ import annotations

import pytest

from clawbus.gateway.turns import _CUT, _EARLIER
from clawbus.tasks import TaskView
from tests.company import Live, until

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

REPORT = "Audit report: 2 leaks, pool.c:41 and pool.c:97."
BESIDE = f"@say {REPORT}\n@exec echo hi\n"
CALL = '<tool_call>\\n{"name": "run_shell", "arguments": {"command": "ls"}}\\n</tool_call>'


async def ended(duo: Live, text: str) -> TaskView:
    """How a task ended. Below it another one, which does well: three failures in a row would open the breaker."""
    view = await duo.settled(await duo.spawn(text), 200)
    if view.state != "done":
        assert (await duo.settled(await duo.spawn("@reply well"))).state == "done"
    return view


@pytest.mark.parametrize("text", ["", "I can tell you half of"])
async def test_a_reply_that_the_provider_filters_is_a_failure_with_its_reason(duo: Live, text: str) -> None:
    """It is no timeout, though nothing came of it."""
    view = await ended(duo, f"@finish content_filter\n@end {text}")
    assert view.state == "failed"
    assert "The reason given: Provider finish_reason: content_filter" in view.result


async def test_an_output_limit_that_leaves_no_word_is_a_failure_that_names_it(duo: Live) -> None:
    view = await ended(duo, "@finish length\n@end")
    assert (view.state, "used up its output limit" in view.result) == ("failed", True)


async def test_a_reply_that_is_cut_at_the_output_limit_says_so_in_the_requesters_session_too(duo: Live) -> None:
    view = await ended(duo, "@finish length\n@end This sentence was cut because the limit of tok")
    assert (view.state, view.result) == ("done", f"This sentence was cut because the limit of tok\n\n{_CUT}")
    (text,) = await duo.announces(view.task_id)
    assert view.result in text


@pytest.mark.parametrize("last", ["", "NO_REPLY", "ANNOUNCE_SKIP", "REPLY_SKIP", "HEARTBEAT_OK"])
async def test_a_report_beside_the_last_tool_call_is_the_result(duo: Live, last: str) -> None:
    view = await ended(duo, f"{BESIDE}@end {last}")
    assert (view.state, view.result) == ("done", f"{REPORT}\n\n{_EARLIER}")


async def test_a_report_beside_the_last_tool_call_is_told_with_the_limit_that_came_after_it(duo: Live) -> None:
    view = await ended(duo, f"{BESIDE}@finish length\n@end")
    assert (view.state, view.result) == ("done", f"{REPORT}\n\n{_EARLIER}\n\n{_CUT}")


@pytest.mark.parametrize("last", ["NO_REPLY", "ANNOUNCE_SKIP", "REPLY_SKIP", "HEARTBEAT_OK"])
async def test_a_turn_without_a_word_is_not_done(duo: Live, last: str) -> None:
    view = await ended(duo, f"@exec true\n@end {last}")
    assert view.state == "failed"
    assert "without a word" in view.result


@pytest.mark.parametrize("before", ["", "I will look at it.\\n"])
async def test_a_tool_call_in_words_is_not_done(duo: Live, before: str) -> None:
    """OpenClaw takes it out of what it shows if there are words above it."""
    view = await ended(duo, f"@end {before}{CALL}")
    assert view.state == "failed"
    assert "wrote a tool call as text" in view.result
    assert "run_shell" in view.result


async def test_a_report_that_quotes_a_tool_call_is_done(duo: Live) -> None:
    quoted = 'Done. The log showed `<tool_call>{"name": "exec"}</tool_call>` twice, which I removed.'
    view = await ended(duo, f"@end {quoted}")
    assert (view.state, view.result) == ("done", quoted)


@pytest.mark.parametrize("text", ["@hang", f"@say {REPORT}\n@exec sleep 30"])
async def test_a_time_that_is_over_is_a_timeout(duo: Live, text: str) -> None:
    """While the model thinks, and while a tool runs beside which it has said something."""
    view = await duo.settled(await duo.spawn(text, runTimeoutSeconds=4))
    assert (view.state, view.result) == ("timed_out", "the turn took longer than it was given")


async def test_a_context_that_is_too_large_is_told_with_the_providers_own_words(duo: Live) -> None:
    said = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    error = f'{{"message": "{said}", "type": "invalid_request_error", "code": "context_length_exceeded"}}'
    view = await ended(duo, f"@fail 400 {error}")
    assert view.state == "failed"
    assert said in view.result


async def test_a_server_that_fails_is_told_with_its_own_words(duo: Live) -> None:
    view = await ended(duo, "@fail 500 The GPU is on fire.")
    assert (view.state, "The GPU is on fire." in view.result) == ("failed", True)


async def test_a_bill_that_is_not_paid_is_told_and_the_rest_waits_and_says_until_when(duo: Live) -> None:
    """The last test here: OpenClaw asks this provider nothing for some minutes now. What comes meanwhile is no failure."""
    bill = '{"message": "Insufficient credits.", "code": "insufficient_quota"}'
    view = await duo.settled(await duo.spawn(f"@fail 402 {bill}"))
    assert (view.state, "402 Insufficient credits." in view.result) == ("failed", True)
    task_id = await duo.spawn("@reply fine")

    async def said() -> str:
        async with duo.owner() as bus:
            events = await duo.company.history(bus).events(task_id)
        return next((str(one.detail["why"]) for one in events if one.kind == "interrupted"), "")

    why = await until(said, "the reason for which it waits", 60)
    assert "failed the turn before the model was asked" in why
    assert "Retry after about" in why
    assert (await duo.view(task_id)).ended_by == ""
