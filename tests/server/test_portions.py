"""A text as a chat channel takes it: whole in one message or in several, or with what is missing said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clawbus.gateway import ChatChannel, GatewayRpc
from clawbus.node.ledger import Ledger
from clawbus.node.mailbox import Outbox
from clawbus.node.worker.chat_notifier import ChatNotifier
from clawbus.node.worker.chat_portions import portions
from clawbus.org import STEWARD
from clawbus.steward.duties.approval_requests import ApprovalRequests
from clawbus.wire.channels import CTL
from clawbus.wire.envelope import Envelope
from clawbus.wire.events import Event, question_code
from clawbus.wire.sanitize import inert
from tests.company import live, until
from tests.server.office import mail_of, office_toml, steward, stored

WHOLE = "clawbus approvals abc"
NUMBER = re.compile(r"\n\((\d) of (\d)\)\Z")
CHANNEL = '[[humans]]\nid = "boss"\nchannel = {gateway = "lab", channel = "telegram", to = "@boss"}\n'


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def bodies(said: list[str]) -> list[str]:
    """The portions without their numbers, which are right."""
    if len(said) == 1:
        return said
    found = [NUMBER.search(one) for one in said]
    assert [one and (int(one[1]), int(one[2])) for one in found] == [(n + 1, len(said)) for n in range(len(said))]
    return [NUMBER.sub("", one) for one in said]


@pytest.mark.parametrize("size", [0, 1, 100, 3_499, 3_500, 3_501, 4_000, 16_000])
@pytest.mark.parametrize("letter", ["x", "x y ", "line\n", "م", "漢", "😀"])
def test_what_fits_in_some_messages_is_there_whole(size: int, letter: str) -> None:
    """Channels count in UTF-16, where some letters are two."""
    text = (letter * size)[: size // (2 if letter == "😀" else 1)].strip("\n")
    said = portions(text, WHOLE)
    assert all(units(one) <= 3_500 for one in said)
    assert "".join(bodies(said)).replace("\n", "") == text.replace("\n", "")
    assert len(said) == 1 or size > 3_500


@pytest.mark.parametrize("letter", ["x", "漢", "😀"])
def test_what_does_not_fit_says_how_much_is_missing_and_where_it_is(letter: str) -> None:
    text = "Yes: clawbus approve abc --code 12345678\n" + letter * 65_536
    said = portions(text, WHOLE)
    assert said[0].startswith("Yes: clawbus approve abc --code 12345678\n")
    assert len(said) == 5
    *first, last = bodies(said)
    last, _, note = last.rpartition("\n")
    missing = len(text) - len("".join(first)) - len(last)
    assert note == f"[{missing} of {len(text)} characters are missing here; the whole: {WHOLE}]"
    assert text.startswith("".join([*first, last]))
    assert all(units(one) <= 3_500 for one in said)


@pytest.mark.parametrize(
    "letter",
    [
        "e\u0301",
        "क्षि",
        "👩\u200d👩\u200d👧",
        "👍\U0001f3fd",
        "🇩🇪",
        "☺\ufe0f",
        inert("\x1b"),
        inert("\u202e"),
        inert("\U000e0001"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("before", range(12))
def test_no_portion_ends_inside_a_letter_or_an_escape(letter: str, before: int) -> None:
    for one in bodies(portions("-" * before + letter * 4_000, WHOLE)):
        text = one.rpartition("\n[")[0] or one
        assert re.fullmatch(f"-*(?:{re.escape(letter)})+", text)


def test_a_flood_of_joined_letters_is_cut_all_the_same() -> None:
    said = portions("👩\u200d" * 10_000, WHOLE)
    assert len(said) == 5
    assert all(one.strip() for one in bodies(said))


@pytest.mark.parametrize("size", [100, 4_000, 65_536])
async def test_the_node_says_it_in_as_many_messages_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Each under a key of its own; said again after a moment without the gateway, they have the same keys."""
    said: list[tuple[Any, ...]] = []

    async def say(_self: ChatChannel, *what: Any) -> None:
        said.append(what)

    monkeypatch.setattr(ChatChannel, "say", say)
    async with live(tmp_path, None, toml=office_toml(CHANNEL)) as company, company.company.connect("gw-lab") as bus:
        with Ledger(tmp_path / "ledger.db") as ledger:
            outbox = Outbox(bus, ledger, company.company.subjects, None)
            notifier = ChatNotifier(GatewayRpc(1, Path("none")), outbox, company.org, "lab")
            body = json.dumps({"person": "boss", "text": "Yes: x\n" + "y" * size, "whole": WHOLE})
            note = Envelope(id="n-1", type="control", sender=STEWARD, to="cto", subject="notify", body=body)
            assert await notifier.take(note, "cto") == 0
            first = list(said)
            assert await notifier.take(note, "cto") == 0
    assert said == first * 2
    assert [one[3] for one in first] == portions("Yes: x\n" + "y" * size, WHOLE)
    assert len({one[4] for one in first}) == len(first)
    assert {one[:3] for one in first} == {("cto", "telegram", "@boss")}


@pytest.mark.parametrize("size", [100, 3_500, 65_536])
async def test_a_question_says_first_how_to_decide(tmp_path: Path, size: int) -> None:
    """With the code of this text, in the inbox and on the channel; the text below it is whole, however long."""
    toml = office_toml(CHANNEL)
    async with live(tmp_path, None, toml=toml) as company, steward(company) as one:
        detail = {
            "side": "report",
            "to": "boss",
            "for": "ceo",
            "label": "x",
            "digest": "d",
            "text": "z" * size + " end",
        }
        task_id = "a" * 26
        question = Event(id="q-1", kind="waiting_approval", task_id=task_id, sender="cto", detail=detail)
        await ApprovalRequests(one.context).on_event(question)
        mail = await mail_of(company, "boss", sender=STEWARD)
        this = f"{task_id} --code {question_code('cto', 'd')}"
        head, yes, no, text = re.sub(r"\n+", "\n", mail.body).split("\n")
        assert head == f"cto has a report that waits of ceo (task {task_id})."
        assert (yes, no) == (f"Yes: clawbus approve {this}", f"No:  clawbus refuse {this} --why REASON")
        assert text == "> " + "z" * size + " end"

        async def look() -> list[Any]:
            return await stored(company, CTL, company.company.subjects.ctl("cto", STEWARD))

        (note,) = await until(look, "the order")
        said = json.loads(note.body)
        assert said == {
            "person": "boss",
            "text": f"approval: x\n\n{mail.body}",
            "whole": f"clawbus approvals {task_id}",
        }
        assert all(words in portions(said["text"], said["whole"])[0] for words in (yes, no))
