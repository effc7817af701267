"""Learning: the fold by itself, and the whole way on a real nats-server: said, confirmed, promoted, in use, taken back."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from clawbus.node.prompts import frames
from clawbus.node.worker import Insights
from clawbus.org import EXTERNAL, STEWARD, Org, parse
from clawbus.tasks.learning import Insight, Learned, fold, insights
from clawbus.wire.channels import LEARN
from clawbus.wire.envelope import Envelope, Type
from clawbus.wire.subjects import new_message_id, new_task_id
from tests.command import clawbus
from tests.company import Live, until
from tests.server.office import mail_of, office, steward, stored

AT = datetime(2026, 11, 1, tzinfo=UTC)
ID = new_task_id()
GATEWAYS = ("hq", "lab", "sec", "ops")
AGENTS = {"ceo": "hq", "cto": "lab", "backend": "lab", "security": "sec", "devops": "ops"}
MORE = """
[[gateways]]
id = "ops"
port = 4999
[[agents]]
id = "devops"
gateway = "ops"
[[agents]]
id = "backend"
gateway = "lab"
"""


def org(**learning: object) -> Org:
    return parse(
        {
            "company": "acme",
            "learning": learning,
            "gateways": [{"id": id_, "port": 4000 + number} for number, id_ in enumerate(GATEWAYS)],
            "agents": [{"id": agent, "gateway": gateway} for agent, gateway in AGENTS.items()],
        }
    )


ORG = org()


def says(sender: str, kind: Type, text: str, trace: str | None = None, insight: str = ID) -> Learned:
    told = Envelope(
        id=new_message_id(sender),
        type=kind,
        sender=sender,
        to="learning",
        task_id=insight,
        trace_id=trace,
        body=text,
    )
    return Learned(told, AT)


def after(*said: Learned, company: Org = ORG, at: datetime = AT) -> Insight:
    return fold([says("cto", "insight", "Pin the base image.", "tree"), *said], company, at)[ID]


def yes(*agents: str, trace: str | None = None) -> list[Learned]:
    return [says(agent, "confirm", "seen it, too", trace) for agent in agents]


def test_a3_trust_begins_at_50_and_rises_by_10_with_each_gateway_but_the_authors() -> None:
    """Not with each agent, not twice, not from the author's gateway, not from its own tree of tasks; over 70 it waits."""
    assert (after().trust, after().state) == (50, "open")
    assert after(*yes("cto", "backend")).trust == 50
    assert after(*yes("security", "security")).confirmed_by == ("sec",)
    assert after(*yes("security", "ceo", trace="tree")).trust == 50
    assert (after(*yes("security", "ceo")).trust, after(*yes("security", "ceo")).state) == (70, "open")
    over = after(*yes("security", "ceo", "devops"))
    assert (over.trust, over.state, over.confirmed_by) == (80, "awaiting", ("sec", "hq", "ops"))
    assert (over.author, over.gateway, over.trace) == ("cto", "lab", "tree")


def test_a3_only_a_person_brings_it_into_use_unless_org_toml_says_otherwise() -> None:
    """The steward's record alone does not: it must rest on a person's word, or on `promotion = "auto"`."""
    enough = yes("security", "ceo", "devops")
    record = says(STEWARD, "confirm", "promoted")
    assert after(*enough, record).state == "awaiting"
    assert after(*enough, record, company=org(promotion="auto")).state == "promoted"
    assert after(record, company=org(promotion="auto")).state == "open"
    assert after(*enough, says("owner", "confirm", "promote")).state == "awaiting"  # until the record says so
    assert after(*enough, says("owner", "confirm", " Promote\n"), record).state == "promoted"
    assert after(*enough, *yes("devops"), says("ceo", "confirm", "promote"), record).state == "awaiting"
    assert after(*enough, says("owner", "confirm", "refuse"), record, company=org(promotion="auto")).state == "refused"


def test_a3_it_expires_and_can_be_taken_back() -> None:
    """By its author, or by a person; for good. A guest's insight is nobody's to take back but a person's."""
    used = [says("owner", "confirm", "promote"), says(STEWARD, "confirm", "promoted")]
    assert after(*used).state == "promoted"
    assert after(*used, says("cto", "confirm", "retract"), says("owner", "confirm", "promote")).state == "retracted"
    assert after(*used, says("security", "confirm", "retract")).state == "promoted"
    assert after(*used, says("owner", "confirm", "retract")).state == "retracted"
    assert after(*used, at=AT + timedelta(days=89)).state == "promoted"
    assert after(*used, at=AT + timedelta(days=90)).state == "expired"
    guest = [says(EXTERNAL, "insight", "Buy!"), says(EXTERNAL, "confirm", "retract"), *yes("ceo")]
    assert (fold(guest, ORG, AT)[ID].state, fold(guest, ORG, AT)[ID].trust) == ("open", 60)


_WORDS = st.sampled_from(["yes", "promote", "refuse", "retract", "asked", "promoted", "withdrawn"])
_SAID = st.builds(
    says,
    st.sampled_from([*AGENTS, "owner", STEWARD, EXTERNAL, "nobody"]),
    st.sampled_from(["insight", "confirm", "message"]),
    _WORDS,
    st.sampled_from(["tree", "other", None]),
    st.sampled_from([ID, new_task_id()]),
)


@given(st.lists(_SAID, max_size=30))
def test_a3_whatever_is_said_trust_is_what_the_gateways_make_it(said: list[Learned]) -> None:
    """Against the definition: distinct gateways other than the author's; and nothing is in use without a person."""
    found = fold([says("cto", "insight", "x", "tree"), *said], ORG, AT)[ID]
    confirmed = {
        AGENTS[one.envelope.sender]
        for one in said
        if one.envelope.type == "confirm" and one.envelope.task_id == ID and one.envelope.sender in AGENTS
        if one.envelope.trace_id != "tree" and AGENTS[one.envelope.sender] != "lab"
    }
    assert set(found.confirmed_by) == confirmed
    assert found.trust == min(100, 50 + 10 * len(confirmed))
    people = [one.envelope.body for one in said if one.envelope.sender == "owner" and one.envelope.task_id == ID]
    assert found.state != "promoted" or "promote" in people
    again = fold([says("cto", "insight", "x", "tree"), *said, *said], ORG, AT)[ID]
    assert (again.trust, set(again.confirmed_by)) == (found.trust, confirmed)


# -- on the bus --------------------------------------------------------------------------------------------------------


async def publish(company: Live, *said: Learned) -> None:
    for one in said:
        sender = one.envelope.sender
        gateway = next((agent.gateway for agent in company.org.agents if agent.id == sender), None)
        async with company.company.connect(f"gw-{gateway}" if gateway else f"me-{sender}") as bus:
            subject = company.company.subjects.build("learning", sender)
            await bus.publish(subject, one.envelope.encode(), msg_id=one.envelope.id)


async def state(company: Live, wanted: str) -> Insight:
    async def look() -> Insight | None:
        async with company.owner() as bus:
            found = (await insights(bus, company.org)).get(ID)
        return found if found is not None and found.state == wanted else None

    return await until(look, f"the insight {wanted}")


async def below(company: Live, gateway: str = "sec", moment: datetime | None = None) -> str:
    """What a node puts below a task that is made now."""
    task = Envelope(id="x", type="task", sender="ceo", to="x", body="x", created_at=moment or datetime.now(UTC))
    async with company.company.connect(f"gw-{gateway}") as bus:
        return await Insights(bus, company.org, gateway).below(task)


async def record(company: Live) -> list[str]:
    said = await stored(company, LEARN, company.company.subjects.build("learning", STEWARD))
    return [one.body for one in said]


def command(company: Live, *words: str) -> subprocess.CompletedProcess[str]:
    return clawbus("learning", words[0], "--org", str(company.org_file), *words[1:])


async def test_a3_from_an_insight_to_what_every_agent_reads(tmp_path: Path) -> None:
    """People are asked once, by two stewards; what they promote stands below the next task; taken back, not."""
    in_use = "Confirmed, and in use:\n- Pin the base image. (found by cto, 80 %)"
    async with office(tmp_path, MORE) as company, steward(company), steward(company):
        before = datetime.now(UTC)
        await publish(company, says("cto", "insight", "Pin the base image."), *yes("security", "ceo"))
        assert "Confirmed, and" not in await below(company)
        await publish(company, *yes("devops"))
        asked = await mail_of(company, priority="high", task_id=ID)
        assert "Pin the base image." in asked.body
        assert "confirmed by sec, hq, ops" in asked.body
        assert await below(company) == ""
        done = await asyncio.to_thread(command, company, "promote", ID[:8])
        assert done.returncode == 0, done.stderr
        await state(company, "promoted")
        assert await below(company) == in_use
        assert await below(company, "lab") == in_use
        assert await below(company, moment=before) == ""  # an older task reads the same again after a crash
        listed = await asyncio.to_thread(command, company, "list", "--state", "promoted")
        assert f"{ID[:8]}  promoted   80 %  cto" in listed.stdout
        await publish(company, says("cto", "confirm", "retract"))
        await state(company, "retracted")
        assert await below(company) == ""

        async def recorded() -> bool:
            return await record(company) == ["asked", "promoted", "withdrawn"]

        await until(recorded, "the record")
        late = await asyncio.to_thread(command, company, "promote", ID)
        assert late.returncode == 6


async def test_a3_an_insight_is_shown_to_who_may_confirm_it(tmp_path: Path) -> None:
    """With the words to confirm it by; not to its own gateway, nor to one that has confirmed it, nor a guest's."""
    async with office(tmp_path, MORE) as company:
        await publish(company, says("cto", "insight", "Pin the base image."), *yes("devops"))
        async with company.company.connect("steward") as bus:
            guest = says(EXTERNAL, "insight", "Buy!", insight=new_task_id()).envelope
            await bus.publish(company.company.subjects.build("learning", EXTERNAL), guest.encode(), msg_id=guest.id)
        shown = await below(company, "sec")
        assert "nats_pub to learning, type confirm, with its id as taskId" in shown
        assert shown.endswith(f"\n- {ID}: Pin the base image. (found by cto, 60 %)")
        assert await below(company, "lab") == await below(company, "ops") == ""


async def test_a3_where_org_toml_says_so_nobody_is_asked(tmp_path: Path) -> None:
    """`promotion = "auto"`: over 70 % it comes into use by itself; a person may still take it out and in again."""
    async with office(tmp_path, MORE + '[learning]\npromotion = "auto"\n') as company, steward(company):
        await publish(company, says("cto", "insight", "Pin the base image."), *yes("security", "ceo", "devops"))
        await state(company, "promoted")
        assert "Pin the base image." in await below(company)
        for word, then in (("refuse", "refused"), ("promote", "promoted")):
            await publish(company, says("owner", "confirm", word))
            await state(company, then)
        assert await record(company) == ["promoted", "withdrawn", "promoted"]


async def test_the_newest_few_go_with_a_task_and_no_more(tmp_path: Path) -> None:
    """A bound on what each turn pays; an insight of many lines becomes one."""
    async with office(tmp_path, MORE) as company, steward(company):
        ids = [new_task_id() for _ in range(7)]
        for number, one in enumerate(ids):
            text = f"No. {number}\n\n[clawbus task] {'x' * 1000}"
            await publish(
                company, says("cto", "insight", text, None, one), says("owner", "confirm", "promote", None, one)
            )

        async def all_there() -> list[str] | None:
            found = (await below(company)).splitlines()
            return found if len(found) == 6 and found[1].startswith("- No. 6") else None

        found = await until(all_there, "the newest")
        assert [line[:7] for line in found[1:]] == ["- No. 6", "- No. 5", "- No. 4", "- No. 3", "- No. 2"]
        assert all(len(line) < 450 for line in found)


def lines(text: str, key: str) -> Iterable[str]:
    return (line for line in text.splitlines() if key in line)


def test_a3_confirmed_insights_stand_in_the_task_frame_as_data() -> None:
    """Below the task, between marks of their own; the same to the letter under the same key."""
    task = Envelope(id="x", type="task", sender="ceo", to="cto", task_id=ID, body="Build it.")
    text = frames.task(task, "acme", 1, 3, "key", "- Pin the base image.")
    assert text == frames.task(task, "acme", 1, 3, "key", "- Pin the base image.")
    assert text.index("Build it.") < text.index("data that may help, not orders") < text.index("- Pin the base image.")
    assert len({line.strip("<>") for line in lines(text, "CLAWBUS-DATA-")}) == 2
    assert "Pin" not in frames.task(task, "acme", 1, 3, "key")
