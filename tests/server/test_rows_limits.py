"""Limits along the whole chain, on a real nats-server: budget, hops, circles, fan-out, breaker, quotas."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clawbus import Task, connect
from clawbus.errors import BacklogFull, InvalidInput, OverBudget, Refused
from clawbus.node.ledger import Ledger
from clawbus.org.load import parse
from clawbus.steward.steward import Steward
from clawbus.tasks import NewTask, make_task
from clawbus.tasks.budget import Tree
from clawbus.tasks.budget_account import spend_of
from clawbus.tasks.new_message import NewMessage, make_message
from clawbus.wire.channels import DEAD, SPEND
from clawbus.wire.envelope import Budget
from clawbus.wire.subjects import new_task_id
from tests.company import Live, duo_toml, free_ports, live, until
from tests.server.crew import Crew, crew, crew_toml
from tests.server.office import LAB, alert_of, clawbus, events_of, mail_of, office, work

pytestmark = pytest.mark.timeout(120)


@contextlib.asynccontextmanager
async def shop(folder: Path, workers: int = 3, head: str = "", more: str = "") -> AsyncIterator[Live]:
    async with live(folder, None, toml=crew_toml(free_ports(1)[0], workers, head, more)) as company:
        yield company


@contextlib.asynccontextmanager
async def stewarded(company: Live) -> AsyncIterator[None]:
    async with company.company.connect("steward") as bus:
        running = asyncio.create_task(Steward(company.org, bus).run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def fan(one: Crew, agent: str, task: Task) -> str:
    """The bomb: "10 10" gives ten tasks "10", each of which gives ten that only answer. What is refused, it reports."""
    first, _, rest = task.text.partition(" ")
    refused = []
    for number in range(int(first) if first.isdecimal() else 0):
        others = [other for other in ("w0", "w1", "w2", "w3") if other != agent]
        try:
            await one.give(agent, task, others[number % len(others)], rest or "leaf")
        except Refused as error:
            refused.append(str(error))
    return "\n".join(refused) or "done"


async def tree_of(company: Live, trace: str) -> Tree:
    async with company.owner() as bus:
        return await spend_of(bus, company.org).tree(trace)


async def settled(company: Live, one: Crew, trace: str) -> Tree:
    """A tree in which nothing runs or waits any more, and what it took is told."""

    async def look() -> Tree | None:
        tree = await tree_of(company, trace)
        return tree if tree.tasks and all(task.reports for task in tree.tasks.values() if not task.released) else None

    return await until(look, "the end of the tree", 60)


async def test_n3_a_fan_out_bomb_stops_at_the_budget_and_a_person_hears(tmp_path: Path) -> None:
    """1-10-100 with the default budget: exactly 100 turns of 111 begin, whatever runs side by side; the refused
    agents are told what is used and who can raise it; the person above is told once; the tree can be read afterwards."""
    async with shop(tmp_path, 4, head="policies.quota = 200") as company:
        async with crew(company, fan) as one, stewarded(company), connect(company.org_file) as client:
            root = await client.start("boss", "10 10")
            tree = await settled(company, one, root.id)
            alert = await alert_of(company, "budget", root.id, True)
            mail = await mail_of(company, subject=f"alert: budget {root.id}")
        assert len(one.begun) == tree.used["turns"] == 100
        assert "100 of 100 turns" in alert.text
        assert "clawbus budget" in mail.body
        results = await events_of(company, root.id, "over_budget")
        assert results
        assert all(event.detail["used"] == "100 of 100 turns" for event in results)
        code, said = await clawbus(company, "budget", root.id)
        assert (code, said[0]["used"]["turns"], len(said[0]["tasks"])) == (1, 100, 100)
        assert {one["parent"] for one in said[0]["tasks"][1:]} <= {one["task_id"] for one in said[0]["tasks"]}
        _, replayed = await clawbus(company, "replay", "--task", root.id)
        accepted = [moment for moment in replayed if moment["what"] == "accepted"]
        assert len(accepted) == 100
        async with company.owner() as bus:
            found = await bus.stored("INBOX", "acme.dm.owner.*")
        assert sum(b"alert: budget" in one.data for one in found) == 1


async def test_n6_what_a_refused_agent_is_told(tmp_path: Path) -> None:
    """With what is used, and who can raise it; and a person's raise lets the tree go on, and clears the alert."""
    async with shop(tmp_path) as company:
        again = asyncio.Event()
        said: list[str] = []

        async def mind(one: Crew, agent: str, task: Task) -> str:
            if task.text != "begin":
                return "done"
            await one.give(agent, task, "w0", "first")
            try:
                await one.give(agent, task, "w1", "second")
            except OverBudget as error:
                said.append(str(error))
            await again.wait()
            await one.give(agent, task, "w1", "third")
            return "done"

        async with crew(company, mind) as one, stewarded(company), connect(company.org_file) as client:
            root = await client.start("boss", "begin", budget="turns=2")
            await alert_of(company, "budget", root.id, True)
            assert "2 of 2 turns" in said[0]
            assert f"A person can allow it more: clawbus budget {root.id} --raise" in said[0]
            code, _ = await clawbus(company, "budget", root.id, "--raise", "turns=1")
            assert code == 0
            await alert_of(company, "budget", root.id, False)
            again.set()
            assert (await client.wait(root, 30)).done
            tree = await settled(company, one, root.id)
            assert (tree.used["turns"], sorted(task.text for task in one.begun)) == (3, ["begin", "first", "third"])


async def test_n6_each_measure_stops_a_tree_before_the_next_dispatch(tmp_path: Path) -> None:
    """Minutes and tokens, as the worker's node reports them when a turn has ended, bind as turns do."""
    async with shop(tmp_path, head="[budget]\nminutes = 5\ntokens = 1000") as company:
        for record in (
            b'{"kind": "used", "task": "%s", "minutes": 5}',
            b'{"kind": "used", "task": "%s", "tokens": 1000}',
        ):
            root = make_task(company.org, "owner", NewTask("boss", "x"))
            async with company.owner() as bus:
                spend = spend_of(bus, company.org)
                await spend.reserve(root)
            async with company.company.connect("gw-shop") as bus:
                data = record % (root.task_id or "").encode()
                await bus.publish(f"acme.spend.{root.task_id}.boss", data, msg_id=f"boss-{new_task_id()}")
                child = make_task(company.org, "boss", NewTask("w0", "y"), root)
                with pytest.raises(OverBudget, match=r"5 of 5 minutes|1000 of 1000 tokens"):
                    await spend_of(bus, company.org).reserve(child)


async def test_n6_two_who_give_at_once_cannot_both_take_the_last_turn(tmp_path: Path) -> None:
    """Twenty nodes' worth of connections reserve at the same moment in a tree of ten: ten get one, each of them once."""
    async with shop(tmp_path, head="[budget]\nturns = 10") as company, contextlib.AsyncExitStack() as stack:
        root = make_task(company.org, "boss", NewTask("w0", "x"))
        buses = [await stack.enter_async_context(company.company.connect("gw-shop")) for _ in range(20)]
        await spend_of(buses[0], company.org).reserve(root)
        children = [make_task(company.org, "w0", NewTask("w1", "y"), root) for _ in buses]
        budget_gate = [spend_of(bus, company.org).reserve(task) for bus, task in zip(buses, children, strict=True)]
        outcomes = await asyncio.gather(*budget_gate, return_exceptions=True)
        assert sum(one is None for one in outcomes) == 9
        assert all(isinstance(one, OverBudget) for one in outcomes if one is not None)
        assert (await tree_of(company, root.trace_id or "")).used["turns"] == 10


async def test_n6_a_task_whose_node_has_not_asked_is_not_run(tmp_path: Path) -> None:
    """A task put on the bus without a reservation ends as dead, with the reason, and no turn of it begins."""
    async with shop(tmp_path) as company:
        async with crew(company, fan) as one:
            task = make_task(company.org, "w0", NewTask("w1", "leaf"))
            async with company.company.connect("gw-shop") as bus:
                await bus.publish(company.company.subjects.task("w1", "medium", "w0"), task.encode(), msg_id=task.id)
            async with company.owner() as bus:
                ends = company.company.ends(bus)
                end = await until(lambda: ends.read(task.task_id or "", "w0", "w1"), "its end")
                (letter,) = await bus.stored(DEAD, f"acme.dead.{task.task_id}.*")
        assert (end.status, one.begun) == ("dead", [])
        assert "had reserved no turn" in end.envelope.body
        assert b"had reserved no turn" in letter.data


async def test_n6_a_person_allows_a_tree_at_most_what_the_company_does(tmp_path: Path) -> None:
    async with shop(tmp_path, head="[budget]\nturns = 10") as company, connect(company.org_file) as client:
        with pytest.raises(InvalidInput, match="allows each tree 10"):
            await client.start("boss", "x", budget="turns=11")
        code, said = await clawbus(company, "ask", "boss", "x", "--no-wait", "--budget", "turns=11")
        assert code == 2
        assert "allows each tree 10" in said
        code, _ = await clawbus(company, "ask", "boss", "x", "--no-wait", "--budget", "turns=4,minutes=3")
        (tree,) = (await clawbus(company, "budget"))[1]
        assert (tree["bound"]["turns"], tree["bound"]["minutes"]) == (4, 3)


async def test_n6_a_task_that_waits_for_the_bus_asks_when_it_goes_out(tmp_path: Path) -> None:
    """The server is away when the tool is called: accepted here; its reservation is written before the task is."""
    async with shop(tmp_path) as company, crew(company, fan) as one:
        company.kill("nats-server")
        task = await one.give("boss", None, "w0", "leaf")
        assert one.begun == []
        await company.start("nats-server")
        tree = await settled(company, one, task.task_id or "")
        assert tree.used["turns"] == 1
        assert [begun.id for begun in one.begun] == [task.task_id]


@pytest.mark.parametrize("hands", [["boss", "w0", "boss"], ["boss", "w0", "w1", "boss"], ["boss", "boss"]])
async def test_n3_what_comes_back_to_its_sender_is_refused(tmp_path: Path, hands: list[str]) -> None:
    """A-B-A, A-B-C-A, and oneself: the last step is refused in words, and nothing is sent."""
    said: list[str] = []

    async def mind(one: Crew, agent: str, task: Task) -> str:
        step = int(task.text)
        try:
            await one.give(agent, task, hands[step + 1], str(step + 1))
        except (Refused, InvalidInput) as error:
            said.append(str(error))
        return "done"

    async with shop(tmp_path) as company, crew(company, mind) as one, connect(company.org_file) as client:
        root = await client.start(hands[0], "0")
        tree = await settled(company, one, root.id)
    assert len(one.begun) == tree.used["turns"] == len(hands) - 1
    assert "already waiting in this chain" in said[0] or "that is you" in said[0]


async def test_n3_a_crafted_task_that_comes_back_is_refused_where_it_arrives(tmp_path: Path) -> None:
    """Of a key that has reserved its turn and checks nothing: the worker's side sees path and hops."""
    async with shop(tmp_path) as company, crew(company, fan) as one:
        loop = make_task(company.org, "w0", NewTask("w1", "leaf")).model_copy(update={"path": ("owner", "w1")})
        deep = make_task(company.org, "w0", NewTask("w1", "leaf")).model_copy(update={"hops": 9})
        own = make_task(company.org, "w0", NewTask("w1", "leaf")).model_copy(update={"to": "w0"})
        async with company.company.connect("gw-shop") as bus:
            for task in (loop, deep, own):
                await spend_of(bus, company.org).reserve(task)
                subject = company.company.subjects.task(task.to, "medium", "w0")
                await bus.publish(subject, task.encode(), msg_id=task.id)
        async with company.owner() as bus:
            ends = company.company.ends(bus)
            for task, words in (
                (loop, "in its own chain: owner -> w1 -> w0 -> w1"),
                (deep, "passed on 9 times"),
                (own, "w0"),
            ):
                end = await until(lambda task=task: ends.read(task.task_id or "", "w0", task.to), "its end")  # type: ignore[misc]
                assert end.status == "dead"
                assert words in end.envelope.body
    assert one.begun == []


async def test_n3_a_breaker_opens_rests_and_lets_one_through(tmp_path: Path) -> None:
    """Three failures alike: the fourth is refused with the time of the next try, a person is told once; after the rest
    one goes, and when it is done the edge is closed. Others' edges stay as they are."""
    broken = asyncio.Event()
    broken.set()

    async def mind(one: Crew, agent: str, task: Task) -> str:
        if broken.is_set() and agent == "w0":
            raise ValueError(f"no disk on node {len(one.begun)}")
        return "done"

    head = 'policies.breaker_rest = "3s"'
    async with shop(tmp_path, head=head) as company, crew(company, mind) as one, stewarded(company):

        async def ended(to: str) -> str:
            task_id = (await one.give("boss", None, to, "work")).task_id or ""
            async with company.owner() as bus:
                end = await until(lambda: company.company.ends(bus).read(task_id, "boss", to), "its end")
            sent = one.ledger.sent
            sent.took_result(task_id, end.envelope.model_copy(update={"to": "boss"}))
            one.requester.breaker.on_result(task_id)
            return end.status

        one.unwell.add("w0")  # its gateway's fault, as its node says
        assert [await ended("w0") for _ in range(4)] == ["failed"] * 4
        one.unwell.clear()
        assert [await ended("w0") for _ in range(3)] == ["failed"] * 3
        with pytest.raises(Refused, match=r"3 tasks of yours in a row for w0 have failed alike.*no disk on node #"):
            await one.give("boss", None, "w0", "work")
        key = (await until(lambda: raised(company), "the alert"))[0]
        assert await ended("w1") == "done"

        async def no_task() -> bool:
            try:
                await one.give("boss", None, "w0", "/no task")
            except InvalidInput:
                return True
            except Refused:
                return False
            return False

        await until(no_task, "the end of the rest", 10)
        assert await no_task(), "what was never sent has not used up the one that may go"
        broken.clear()

        async def rested() -> str | None:
            with contextlib.suppress(Refused):
                return await ended("w0")
            return None

        assert await until(rested, "the one that is let through", 10) == "done"
        await alert_of(company, "breaker", key, False)
        assert await ended("w0") == "done"
        assert len(one.begun) == 10
        async with company.owner() as bus:
            found = await bus.stored("INBOX", "acme.dm.owner.*")
        assert sum(b"alert: breaker" in one.data for one in found) == 1


async def raised(company: Live) -> list[str]:
    _, found = await clawbus(company, "alerts")
    return [one["key"] for one in found if one["rule"] == "breaker"]


async def test_n3_the_quota_of_a_receiver_holds_over_all_priorities(tmp_path: Path) -> None:
    """The server counts each priority; what one agent has given another counts together at its node."""
    async with shop(tmp_path, head="policies.quota = 3") as company, crew(company, fan) as one:
        company.kill("nats-server")  # so that nothing is done meanwhile
        for priority in ("high", "medium", "low"):
            new = NewTask("w0", "x", priority=priority)
            await one.requester.submit("boss", "agent:boss:main", new, "spawn")
        with pytest.raises(BacklogFull, match="backlog full, 3 waiting"):
            await one.requester.submit("boss", "agent:boss:main", NewTask("w0", "x", priority="critical"), "spawn")
        await one.give("boss", None, "w1", "x")


async def test_n6_a_budget_that_is_written_by_others_counts_for_nothing(tmp_path: Path) -> None:
    """An agent cannot raise a budget, nor use up a tree's by reports of turns that it had no part in."""
    async with shop(tmp_path, head="[budget]\nturns = 1") as company:
        root = make_task(company.org, "owner", NewTask("boss", "x"))
        async with company.owner() as bus:
            await spend_of(bus, company.org).reserve(root)
        async with company.company.connect("gw-shop") as bus:
            for who, data in (("w0", b'{"kind": "raised", "turns": 50}'), ("boss", b'{"kind": "raised", "turns": 50}'),
                              ("w0", b'{"kind": "released", "task": "%s"}' % (root.task_id or "").encode()),
                              ("w0", b"not json")):  # fmt: skip
                await bus.publish(f"acme.{SPEND.lower()}.{root.task_id}.{who}", data, msg_id=f"{who}-{new_task_id()}")
            child = make_task(company.org, "boss", NewTask("w0", "y"), root)
            with pytest.raises(OverBudget, match="1 of 1 turns"):
                await spend_of(bus, company.org).reserve(child)


async def test_n3_mail_that_wakes_is_counted_in_its_tree(tmp_path: Path) -> None:
    """A circle of urgent messages, or one that spreads: each turn for one is a turn of the tree; when none is left it
    lies in nats_inbox, wakes nobody, and a person hears."""
    toml = duo_toml(free_ports(3)).replace("[[gateways]]", "[budget]\nturns = 4\n[[gateways]]", 1)
    async with live(tmp_path, None, toml=toml) as company, stewarded(company):
        await company.start("node-lab")
        cause = None
        async with company.company.connect("gw-hq") as bus:
            for number in range(7):
                new = NewMessage("cto-athena", f"number {number}", priority="high")
                mail = make_message(company.org, "ceo-genesis", new, cause)
                cause = cause or mail
                await bus.publish(f"acme.dm.{mail.to}.{mail.sender}", mail.encode(), msg_id=mail.id)
            trace = cause.trace_id if cause else ""
        await alert_of(company, "budget", trace or "", True)
        with Ledger(company.home.ledger("lab")) as ledger:

            async def kept() -> bool:
                return ledger.mail.unread("cto-athena") == 7

            await until(kept, "all seven in the inbox")
            asked = [mail.envelope.body for mail in ledger.mail.fresh("cto-athena", 50)]
            announcements = [ledger.mail.most_urgent({"x"})]
        assert announcements[0] is not None
        assert len(asked) == 7
        assert (await tree_of(company, trace or "")).used["turns"] == 4


async def test_n3_a_flood_of_10000_calls_stays_its_senders_own(tmp_path: Path) -> None:
    """By the tools, as a model that has lost its mind would: of 10,000 tasks and messages to one receiver as many
    are taken as the quotas say, the rest is refused in words, ever later; the receiver's turns are the quota's; others'
    tasks are done meanwhile."""
    head = "policies.quota = 20\npolicies.mail_quota = 60"
    more = (
        '[[gateways]]\nid = "hq"\nport = 19000\n[[gateways]]\nid = "den"\nport = 19400\n'
        '[[agents]]\nid = "mad"\ngateway = "hq"\n[[agents]]\nid = "victim"\ngateway = "den"\n'
    )

    async def mind(one: Crew, agent: str, task: Task) -> str:
        return "done"

    async with (
        shop(tmp_path, 1, head, more) as company,
        crew(company, mind) as one,
        connect(company.org_file) as client,
    ):
        await company.start("node-hq", "node-den")
        answers: Counter[str] = Counter()

        async def flood(count: int, tool: str, **params: str) -> None:
            for _ in range(count):
                answer = await company.tool("hq", "mad", tool, **params)
                answers[f"{tool} {answer['ok']}"] += 1

        words: dict[str, dict[str, str]] = {
            "nats_spawn": {"agentId": "victim", "task": "again"},
            "nats_pub": {"to": "victim", "message": "hey", "priority": "high"},
        }  # 400 side by side: a refusal takes up to a second
        flooding = [asyncio.create_task(flood(25, tool, **said)) for tool, said in words.items() for _ in range(200)]
        done = 0
        while not all(part.done() for part in flooding):
            result = await client.ask("w0", "work", timeout_s=30)
            done += result.done
        await asyncio.gather(*flooding)
        async with company.owner() as bus:
            tasks = await bus.stored("TASKS", "acme.tasks.victim.*.mad")
            mails = await bus.stored("INBOX", "acme.dm.victim.mad")
        minutes = 1 + answers["nats_pub True"] // 61
        assert (answers["nats_spawn True"], len(tasks)) == (20, 20)
        assert answers["nats_pub True"] == len(mails) <= 60 * minutes
        assert sum(answers.values()) == 10_000
        assert done == len(one.begun) >= 3


async def test_n3_a_key_that_floods_an_inbox_is_stopped_by_the_server_and_paced_by_the_reader(tmp_path: Path) -> None:
    """With a key and no node: the server keeps 1,000 messages of one sender in one inbox; the receiver's node takes
    60 of them in a minute, 20 of these as turns; what others send, and results, come at once; nothing is lost."""
    async with live(tmp_path, None, toml=duo_toml(free_ports(3))) as company:
        await company.start("node-lab")
        async with company.company.connect("gw-hq") as bus:
            sent = [
                make_message(company.org, "ceo-genesis", NewMessage("cto-athena", "hey", priority="high"))
                for _ in range(1_100)
            ]
            refused = 0
            for mail in sent:
                try:
                    await bus.publish("acme.dm.cto-athena.ceo-genesis", mail.encode(), msg_id=mail.id)
                except BacklogFull:
                    refused += 1
        assert refused == 100
        code, _ = await clawbus(company, "send", "cto-athena", "from a person", "--priority", "high")
        assert code == 0
        with Ledger(company.home.ledger("lab")) as ledger:

            async def arrived() -> bool:
                shown = [mail.envelope.sender for mail in ledger.mail.fresh("cto-athena", 200)]
                return "owner" in shown

            await until(arrived, "the person's message", 10)
            senders = Counter(mail.envelope.sender for mail in ledger.mail.fresh("cto-athena", 2_000))
            announcements = ledger._db.execute("SELECT count(*) FROM mail WHERE asks = 'now'").fetchone()[0]
        assert senders["ceo-genesis"] <= 120, "a minute may have begun anew"
        assert announcements <= 41
        async with company.owner() as bus:
            assert len(await bus.stored("INBOX", "acme.dm.cto-athena.ceo-genesis")) == 1_000


async def test_n3_what_a_result_leads_to_belongs_to_its_tree(tmp_path: Path) -> None:
    """A task that an agent gives in the turn of a result is one more of that tree, also in a user's session: a circle of
    results and new tasks has an end. In a turn of the user a new tree begins. Depth does not grow by it."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        org = parse(tomllib.loads(crew_toml(4222, 2)))
        main, first = "agent:boss:main", make_task(org, "boss", NewTask("w0", "x", budget=Budget(turns=7)))
        ledger.sent.add(first, main, "spawn")
        ledger.sent.trying(first.task_id or "", ("nats-1", "nats-2"), "boot")
        assert ledger.cause(main) is None
        task = first
        for _ in range(20):
            ledger.begun[main] = "nats-2" if task is first else f"nats-{task.task_id}"
            task = make_task(org, "boss", NewTask("w0", "again"), ledger.cause(main))
            assert (task.trace_id, task.budget, task.path) == (first.trace_id, Budget(turns=7), ())
            assert task.hops <= 1
            ledger.sent.add(task, main, "spawn")
            ledger.sent.trying(task.task_id or "", (f"nats-{task.task_id}",), "boot")
        ledger.begun[main] = "a-run-of-the-user"
        assert ledger.cause(main) is None


@pytest.mark.parametrize(
    "hands", [["boss", "w0", "both", "both"], ["w0", "both", "both"], ["boss", "crew", "crew", "crew"]]
)
async def test_n3_a_circle_through_a_pool_or_a_team_ends(tmp_path: Path, hands: list[str]) -> None:
    """The one who takes it is nobody who waits for it; when nobody of the group is left, it is refused."""
    said: list[str] = []

    async def mind(one: Crew, agent: str, task: Task) -> str:
        step = int(task.text)
        try:
            await one.give(agent, task, hands[min(step + 1, len(hands) - 1)], str(step + 1))
        except (Refused, InvalidInput) as error:
            said.append(str(error))
        return "done"

    more = '[[pools]]\nid = "both"\nmembers = ["w0", "w1"]\n[[pools]]\nid = "crew"\nmembers = ["w0", "w1", "boss"]\n'
    async with shop(tmp_path, 2, more=more) as company, crew(company, mind) as one, connect(company.org_file) as client:
        root = await client.start(hands[0], "0")
        tree = await settled(company, one, root.id)
    assert len(one.begun) == tree.used["turns"] <= 3
    assert "already waiting in this chain" in said[-1]


async def test_n3_chains_that_lead_into_each_other_end_at_the_hops(tmp_path: Path) -> None:
    """Two edges of org.toml that name each other: after eight times the steward gives no more, and says so."""
    more = '[[edges]]\nfrom = "w0"\nto = "w1"\nthen = "w0"\n[[edges]]\nfrom = "w1"\nto = "w0"\nthen = "w1"\n'

    async def mind(one: Crew, agent: str, task: Task) -> str:
        return "done"

    async with (
        shop(tmp_path, 2, more=more) as company,
        crew(company, mind) as one,
        stewarded(company),
        connect(company.org_file) as client,
    ):
        root = await client.start("w0", "x", then="w1")

        async def given_up() -> bool:
            async with company.owner() as bus:
                found = await bus.stored("EVENTS", "acme.events.*.steward")
            return any(b"it has been passed on 8 times" in each.data for each in found)

        await until(given_up, "the end of the chain", 60)
        tree = await settled(company, one, root.id)
    assert len(one.begun) == tree.used["turns"] == 9


async def test_n3_the_breaker_hears_what_comes_into_the_inbox(tmp_path: Path) -> None:
    """By a real node: three results that say the same failure, and the tool refuses the fourth task."""
    async with office(tmp_path) as company:
        await company.start("node-hq")
        for number in range(3):
            answer = await company.tool("hq", "ceo", "nats_spawn", agentId="cto", task="deploy")
            assert answer["ok"]
            task = await work(company, f"no room on disk {number}", "failed")
            async with company.company.connect(LAB) as bus:
                end = await company.company.ends(bus).read(task.task_id or "", "ceo", "cto")
                assert end is not None
                await bus.publish("acme.dm.ceo.cto", end.envelope.encode(), msg_id=end.envelope.id)

            async def known(task_id: str = task.task_id or "") -> bool:
                listed = await company.tool("hq", "ceo", "nats_tasks", action="list")
                return any(one["taskId"] == task_id and one["state"] == "failed" for one in listed["data"]["tasks"])

            await until(known, "the result")
        refused = await company.tool("hq", "ceo", "nats_spawn", agentId="cto", task="deploy")
        assert not refused["ok"]
        assert "3 tasks of yours in a row for cto have failed alike (failed: no room on disk #)" in refused["text"]
        assert (await company.tool("hq", "ceo", "nats_spawn", agentId="security", task="look"))["ok"]
