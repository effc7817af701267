"""Which turns count as failed before their model was asked, and what follows, by events as real gateways send them."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from clawbus.errors import NotBegun
from clawbus.gateway import Fitness, GatewayRpc
from clawbus.gateway.fitness import IN_A_ROW
from clawbus.gateway.run_phases import RunPhases
from clawbus.gateway.transcript import Transcript
from clawbus.node.gateway_repair import GatewayRepair, Restart

SESSION = "agent:cto:nats:t1"
POISONED = "Agent database execution admission is closed"


def event(run: str, stream: str, /, at: int = 1, **data: Any) -> dict[str, Any]:
    return {"runId": run, "sessionKey": SESSION, "agentId": "cto", "stream": stream, "ts": at, "data": data}


def prepares(run: str, at: int = 1) -> list[dict[str, Any]]:
    phases = ("preparing_workspace", "preparing_context")
    return [event(run, "run_status", at, phase=phase) for phase in phases]


def falls(run: str, at: int, ended: int, **more: Any) -> list[dict[str, Any]]:
    """A turn that fails as all do on a gateway whose agent's database is closed."""
    nothing = event(run, "lifecycle", at, phase="model", provider=None, model=None)
    error = {"phase": "error", "startedAt": at, "endedAt": ended, "error": POISONED, "executionSettled": True, **more}
    return [*prepares(run, at), nothing, event(run, "lifecycle", ended, **error)]


def fails_at_its_model(run: str) -> list[dict[str, Any]]:
    named = event(run, "lifecycle", phase="model", provider="scripted", model="scripted")
    end = event(run, "lifecycle", phase="error", startedAt=1, endedAt=2, error="HTTP 401", executionSettled=True)
    return [*prepares(run), event(run, "lifecycle", phase="start"), event(run, "run_status", phase="starting_model"),
            named, event(run, "lifecycle", phase="finishing", error="HTTP 401"), end]  # fmt: skip


def is_refused_by_its_provider(run: str) -> list[dict[str, Any]]:
    """An unknown model: no request is made, and the reason has a code."""
    step = event(run, "lifecycle", phase="fallback_step", fallbackStepFromFailureReason="model_not_found")
    return [*prepares(run)[:1], step, event(run, "lifecycle", phase="error", error="Unknown", executionSettled=True)]


def heard(events: list[dict[str, Any]], runs: RunPhases | None = None) -> RunPhases:
    runs = runs or RunPhases()
    for one in events:
        runs.on_event("agent", one)
    return runs


@pytest.mark.parametrize(
    ("events", "fell"),
    [
        (falls("k", 10, 11), True),
        (fails_at_its_model("k"), False),
        (is_refused_by_its_provider("k"), False),
        (falls("k", 10, 11, aborted=True), False),
        (falls("k", 10, 11, executionSettled=False), None),
        (prepares("k"), None),
        ([], None),
    ],
)
def test_a_turn_has_fallen_if_it_failed_before_its_model_was_asked(
    events: list[dict[str, Any]], fell: bool | None
) -> None:
    assert heard(events).failed_before_model("k") is fell


def test_the_transcript_tells_it_where_the_events_were_missed() -> None:
    """The gateway's note has a type. It names the run; one below our line may have an id of the gateway's own."""
    ours = {"role": "user", "idempotencyKey": "k:user"}
    note = {"role": "custom", "customType": "run-failed-before-reply", "__openclaw": {"runId": "k"}}
    other = note | {"__openclaw": {"runId": "5cd6"}}
    said = {"role": "assistant", "__openclaw": {"runId": "k"}}
    theirs = {"role": "user", "idempotencyKey": "j:user"}
    assert Transcript([ours, note], False).failed_before_model("k")
    assert Transcript([note], False).failed_before_model("k")
    assert Transcript([ours, other], False).failed_before_model("k")
    assert not Transcript([ours], False).failed_before_model("k")
    assert not Transcript([ours, said, note], False).failed_before_model("k")
    assert not Transcript([ours, theirs, other], False).failed_before_model("k")
    assert not Transcript([other, ours], False).failed_before_model("k")


class Gateway:
    """What a node knows of a gateway whose events we say."""

    def __init__(self, restart: Restart | None = None) -> None:
        self.rpc = GatewayRpc(1, Path("none"))
        self.gateway_repair = GatewayRepair(self.rpc, ["cto"], restart)
        self.fitness: Fitness = self.gateway_repair.fitness

    def say(self, events: list[dict[str, Any]]) -> None:
        heard(events, self.rpc.runs)

    def fall(self, times: int, first: int = 1) -> None:
        """So often, one after the other."""
        for number in range(first, first + times):
            self.say(falls(f"k{number}", 10 * number, 10 * number + 5))

    def restarted(self, boot_id: str) -> None:
        self.rpc.boot_id = boot_id
        self.rpc.runs.clear()
        for callback in self.rpc.on_change:
            callback(True)


async def test_three_in_a_row_make_an_agent_unfit_and_one_that_comes_to_its_model_makes_it_fit() -> None:
    gateway = Gateway()
    gateway.fall(IN_A_ROW - 1)
    assert gateway.fitness.fit("cto")
    gateway.say(fails_at_its_model("between"))
    gateway.fall(IN_A_ROW - 1, 10)
    assert gateway.fitness.fit("cto")
    gateway.fall(1, 20)
    assert gateway.fitness.unfit() == {"cto": POISONED}
    assert gateway.fitness.barred(["cto", "ceo"]) == {"cto"}
    gateway.say([event("late", "run_status", phase="starting_model")])
    assert (gateway.fitness.unfit(), gateway.fitness.barred(["cto"])) == ({}, set())


async def test_many_that_fail_in_one_moment_are_one_failure() -> None:
    """A database that is closed for a moment fails all turns of it; the next ones may well come through."""
    gateway = Gateway()
    for number in range(12):
        gateway.say(falls(f"k{number}", 100 + number, 200 + number))
    assert gateway.fitness.fit("cto")
    for number in (1, 2):
        gateway.say(falls(f"again{number}", 1000 * number, 1000 * number + 1))
    assert not gateway.fitness.fit("cto")


async def test_a_new_process_makes_it_fit_and_the_same_one_does_not() -> None:
    gateway = Gateway()
    gateway.restarted("one")
    gateway.fall(IN_A_ROW)
    gateway.restarted("one")  # only the connection was lost
    assert not gateway.fitness.fit("cto")
    gateway.restarted("two")
    assert gateway.fitness.fit("cto")


async def test_one_at_a_time_may_try_while_it_is_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, now = Gateway(), 1000.0
    monkeypatch.setattr("clawbus.gateway.fitness.time.monotonic", lambda: now)
    gateway.fall(IN_A_ROW)
    waiting = [asyncio.create_task(gateway.fitness.admit("cto")) for _ in range(3)]
    await asyncio.sleep(0)
    now += 6
    gateway.fitness._notify()
    done, _ = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    gateway.say([event("k", "run_status", phase="starting_model")])
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_an_own_gateway_is_restarted_three_times_and_then_a_person_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clawbus.node.gateway_repair._PAUSES_S", (0.0, 0.0, 0.0))
    asked, boots = asyncio.Queue[str](), itertools.count()

    async def restart() -> bool:
        asked.put_nowait(gateway.gateway_repair.of("cto")["by"])  # type: ignore[index]
        gateway.rpc.ready.clear()
        gateway.rpc.gone.set()
        return True

    gateway = Gateway(restart)
    running = asyncio.create_task(gateway.gateway_repair.run())
    for life in range(3):
        gateway.fall(IN_A_ROW)
        assert await asyncio.wait_for(asked.get(), 5) == "up", life
        await asyncio.sleep(0.05)
        assert asked.empty()  # while it starts, it is not ended again
        gateway.rpc.gone.clear()
        gateway.rpc.ready.set()
        gateway.restarted(f"boot {next(boots)}")
    gateway.fall(IN_A_ROW)
    await asyncio.sleep(0)
    assert gateway.gateway_repair.of("cto") == {"by": "person", "restarts": 3, "why": POISONED}
    gateway.say([event("well", "run_status", phase="starting_model")])
    assert gateway.gateway_repair.of("cto") is None
    gateway.fall(IN_A_ROW, 50)
    assert gateway.gateway_repair.of("cto") == {"by": "up", "restarts": 0, "why": POISONED}
    running.cancel()


@pytest.mark.parametrize("is_own", [False, True])
async def test_where_no_up_can_restart_it_a_person_is_called(is_own: bool) -> None:
    """A gateway of others; and one of one's own that `clawbus up` does not run."""

    async def nobody() -> bool:
        return False

    gateway, spoken = Gateway(nobody if is_own else None), asyncio.Event()
    gateway.gateway_repair.on_change.append(spoken.set)
    gateway.fitness.on_change.append(lambda: None if is_own else spoken.set())
    running = asyncio.create_task(gateway.gateway_repair.run())
    gateway.fall(IN_A_ROW)
    await asyncio.wait_for(spoken.wait(), 5)
    assert gateway.gateway_repair.of("cto") == {"by": "person", "restarts": 0, "why": POISONED}
    running.cancel()


# -- an abort waits ---------------------------------------------------------------------------------------------------


def waiting_for(runs: RunPhases, keys: set[str]) -> asyncio.Task[None]:
    return asyncio.create_task(runs.prepared(SESSION, keys, 60))


@pytest.mark.parametrize(
    "sign",
    [
        event("k", "run_status", phase="starting_model"),
        event("k", "assistant", text="hi"),
        event("k", "item", phase="start", title="exec"),
        event("k", "lifecycle", phase="model", provider="scripted", model="scripted"),
        event("k", "lifecycle", phase="end"),
        event("k", "lifecycle", phase="error", error=POISONED, executionSettled=True),
        event("before", "assistant", text="what it waits behind"),
    ],
)
async def test_a_run_is_past_its_preparation_with_the_first_sign_of_its_model(sign: dict[str, Any]) -> None:
    runs = heard(prepares("k"))
    waits = waiting_for(runs, {"k"})
    heard(prepares("k"), runs)
    done, _ = await asyncio.wait([waits], timeout=0.3)
    assert not done
    heard([sign], runs)
    await asyncio.wait_for(waits, 5)


async def test_a_resumed_run_is_past_it_soon_after_its_first_activity() -> None:
    """Its model is silent for as long as it likes, and nothing else is heard of it."""
    runs = RunPhases()
    task: dict[str, Any] = {
        "kind": "cli",
        "status": "running",
        "runId": "5cd6",
        "sessionKey": SESSION,
        "agentId": "cto",
    }
    runs.on_event("task", {"task": task | {"execution": {"state": "running"}}})
    waits = waiting_for(runs, {"5cd6"})
    runs.on_event("task", {"task": task | {"execution": {"state": "running", "lastActivityAt": 1}}})
    await asyncio.wait_for(waits, 10)


async def test_the_wait_for_a_run_that_says_nothing_has_an_end() -> None:
    await asyncio.wait_for(heard(prepares("k")).prepared(SESSION, {"k"}, 0.1), 5)


async def test_a_gateway_that_is_gone_is_not_waited_for() -> None:
    runs = heard(prepares("k"))
    waits = waiting_for(runs, set())
    await asyncio.sleep(0)
    assert runs.open_in(SESSION) == {"k"}
    runs.clear()
    assert runs.open_in(SESSION) == set()
    waits.cancel()


async def test_a_run_is_known_from_the_call_that_begins_it() -> None:
    """A cancel may come before the gateway has said a word of it. A call that was refused has begun none."""
    runs = RunPhases()
    with runs.beginning("k", "cto", SESSION):
        assert runs.open_in(SESSION) == {"k"}
    with pytest.raises(NotBegun), runs.beginning("refused", "cto", SESSION):
        raise NotBegun("no", "later")
    assert runs.open_in(SESSION) == {"k"}
    runs.is_over("k")
    assert (runs.open_in(SESSION), runs.failed_before_model("k")) == (set(), None)
    heard(falls("k", 1, 2), runs)
    assert runs.failed_before_model("k")


def test_what_is_being_ended_is_known() -> None:
    runs = RunPhases()
    with runs.ending(SESSION), runs.ending(SESSION):
        assert runs.is_ending(SESSION)
    assert not runs.is_ending(SESSION)
