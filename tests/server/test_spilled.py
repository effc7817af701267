"""An agent says a secret key: no stream ever holds it, what it said goes on without it, and people hear whose it was."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clawbus import Task, connect, serve
from clawbus.errors import InvalidInput
from clawbus.tasks.artifacts import read_inside
from clawbus.wire.channels import ALERTS, BCAST, DEAD, ENDS, EVENTS, INBOX, LEARN, SPEND, TASKS
from clawbus.wire.redaction import SENTENCE
from tests.company import Live, until
from tests.pure.test_leaks import seed_of
from tests.server.office import alert_of, clawbus, office, steward
from tests.server.test_steward_dead import SHOP, letters, shop

__all__ = ["SHOP", "shop"]
STREAMS = (TASKS, INBOX, ENDS, EVENTS, BCAST, LEARN, DEAD, ALERTS, SPEND)


@pytest.fixture
async def firm(tmp_path: Path) -> AsyncIterator[Live]:
    async with office(tmp_path) as company, steward(company):
        await company.start("node-hq", "node-lab")
        yield company


async def everything(company: Live) -> dict[str, list[bytes]]:
    """All that the streams hold, and what it is in base64 where a letter keeps bytes so."""
    async with company.company.connect("provisioner") as bus:
        return {name: [one.data for one in await bus.stored_singly(name, ">")] for name in STREAMS}


def parts_of(seed: str) -> set[bytes]:
    """What a stored message must not have of a key: itself, and its base64 at each of three offsets."""
    inner = (base64.b64encode(b"x" * pad + seed.encode())[8:60] for pad in range(3))
    return {seed.encode(), *inner}


async def holds_none(company: Live, seed: str) -> None:
    for stream, held in (await everything(company)).items():
        for data in held:
            assert not any(part in data for part in parts_of(seed)), stream


async def test_whatever_an_agent_says_holds_no_key_and_people_hear_of_it(firm: Live) -> None:
    """Tasks, mail, insights, broadcasts, answers; in the text or in the label. One letter names the key and the remedy."""
    key = firm.home.key("gw-lab").read_text().strip()

    async def says(tool: str, **params: Any) -> None:
        answer = await firm.tool("lab", "cto", tool, **params)
        assert answer["ok"], answer

    await says("nats_spawn", agentId="security", task=f"Use {key} for it.", label=f"key {key}")
    await says("nats_pub", to="ceo", message=f"The key is\n{key}", subject=key)
    await says("nats_pub", to="owner", message=f"{key[:30]}\n{key[30:]}", type="report")
    await says("nats_pub", to="ceo", message=f"`{key}`", type="insight")
    await says("nats_pub", to="all", message=f"To all: {key}")
    letter = await until(lambda: _first_letter(firm), "the letter")
    alert = await alert_of(firm, "dead", letter, True)
    assert "cto has said a secret key, that of gw-lab; it was taken out" in alert.text
    assert "clawbus apply --new-key gw-lab" in alert.text
    assert "redrive" not in alert.text
    assert await letters(firm) == [letter]
    await holds_none(firm, key)
    held = await everything(firm)
    for stream in (TASKS, INBOX, BCAST):
        assert any(SENTENCE.encode() in data for data in held[stream]), stream
    log = firm.home.log("node-lab").read_text()
    assert "a secret key (nkey seed) was taken out of what cto says on acme.tasks.security.medium.cto" in log
    assert not any(part.decode() in log for part in parts_of(key))
    code, (listed,) = await clawbus(firm, "dead", "list")
    assert (code, listed["by"]) == (0, "cto")


async def _first_letter(company: Live) -> str | None:
    found = await letters(company)
    return found[0] if found else None


async def test_a_result_holds_no_key(shop: Live) -> None:
    """As it ends the task, as it comes to who has asked, and in what is said of it; it is still the worker's own word."""
    key = shop.home.key("agent-qa").read_text().strip()

    async def spill(task: Task) -> str:
        return f"done: {key}"

    async with steward(shop):
        serving = asyncio.create_task(serve(shop.org_file, "shop", {"qa": spill}))
        async with connect(shop.org_file) as client:
            result = await client.wait(await client.start("qa", "tell me"), 30)
        assert (result.status, result.text) == ("done", f"done: {SENTENCE}")
        letter = await until(lambda: _first_letter(shop), "the letter")
        assert "apply --new-key gw-shop" in (await alert_of(shop, "dead", letter, True)).text
        await holds_none(shop, key)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_dead_letter_holds_no_key_either(firm: Live) -> None:
    """Neither as bytes that nobody could read, which lie there in base64, nor in a task as it was signed."""
    key = seed_of("O")
    async with firm.company.connect("gw-hq") as bus:
        taken, bus._without_keys = bus._without_keys, _as_it_is  # type: ignore[method-assign,assignment]
        await bus.publish("acme.dm.cto.ceo", f"no JSON: {key}".encode(), msg_id="ceo-1")
        await until(lambda: _first_letter(firm), "the letter")
        bus._without_keys = taken  # type: ignore[method-assign]
    async with firm.company.connect("provisioner") as bus:
        (held,) = [one.data for one in await bus.stored_singly(DEAD, ">")]
    assert not any(part in held for part in parts_of(key))
    code, shown = await clawbus(firm, "dead", "show", (await letters(firm))[0])
    assert (code, SENTENCE in base64.b64decode(shown["raw"]).decode()) == (0, True)


async def _as_it_is(_: str, data: bytes) -> bytes:
    """A sender that takes nothing out, such as somebody else's program."""
    return data


async def test_what_a_person_says_goes_out_without_it_and_he_sees_so(
    firm: Live, caplog: pytest.LogCaptureFixture
) -> None:
    """He has no dead letters of his own: his program warns him."""
    key = seed_of("U")
    with caplog.at_level(logging.WARNING):
        async with connect(firm.org_file) as client:
            await client.send("ceo", f"take {key}")
    assert "was taken out of what owner says" in caplog.text
    assert key not in caplog.text
    await holds_none(firm, key)


def test_a_file_with_a_key_is_not_attached(tmp_path: Path) -> None:
    """What its hash is its address of cannot be changed, so it is refused by its name, and the key is not repeated."""
    key = seed_of("A")
    (tmp_path / "notes.txt").write_text(f"first\n{key}\n")
    (tmp_path / "fine.txt").write_text(key.lower())
    with pytest.raises(InvalidInput, match=r"notes\.txt.*holds a secret key") as refused:
        read_inside(tmp_path, "notes.txt")
    assert key not in str(refused.value)
    assert read_inside(tmp_path, "fine.txt")[0] == "fine.txt"


async def test_what_only_looks_like_one_is_sent_as_it_is_and_told_of(firm: Live) -> None:
    """A private key in PEM: honest texts speak of them."""
    answer = await firm.tool("lab", "cto", "nats_pub", to="ceo", message="-----BEGIN PRIVATE KEY-----\nMIIE")
    assert answer["ok"], answer
    letter = await until(lambda: _first_letter(firm), "the letter")
    assert "it was sent as it is" in (await alert_of(firm, "dead", letter, True)).text
    async with firm.company.connect("provisioner") as bus:
        (held,) = [one.data for one in await bus.stored_singly(INBOX, "acme.dm.ceo.cto")]
    assert b"-----BEGIN PRIVATE KEY-----" in held
