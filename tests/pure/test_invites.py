"""Codes and invites: what is printed, what is kept, and what a slip of the hand or somebody who guesses comes to."""

from __future__ import annotations

import stat
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.errors import InvalidInput, Refused
from clawbus.ops.enrol.invite_code import PREFIX, Code, parse
from clawbus.ops.enrol.invites import MOST_WRONG, Invites, machine_of
from clawbus.settings import Home

CODE = Code(
    url="hub.example:4223",
    pin="0123456789abcdef" * 4,
    secret="AAAAAAAAAAAAAAAAAAAAAA",
    expires=1_800_000_000,
    gateways=("lab",),
    company="acme",
)
LINE = CODE.line()


def test_a_code_is_one_line_and_comes_back_whole() -> None:
    assert parse(f"  {LINE}\n") == CODE
    assert LINE.startswith(PREFIX)
    assert LINE.isprintable()
    assert len(LINE) < 400
    assert (CODE.host, CODE.port) == ("hub.example", 4223)
    assert CODE.secret not in repr(CODE)


@given(st.integers(0, len(LINE) - 1), st.sampled_from(string.ascii_letters + string.digits + "-_ .\x00é"))
def test_a_slip_of_the_hand_is_noticed_before_anything_is_sent(at: int, letter: str) -> None:
    """Any one letter that is another one, and any that is missing at the end, makes it no code."""
    if LINE[at] != letter:
        with pytest.raises(InvalidInput, match="CODE"):
            parse(LINE[:at] + letter + LINE[at + 1 :])
    with pytest.raises(InvalidInput):
        parse(LINE[:at])


@pytest.mark.parametrize("line", ["", "clawbus1:", "clawbus2:AAAA", "x" * 100_000, PREFIX + "A" * 9_000, "hub.example"])
def test_what_is_no_code_is_refused_with_what_one_looks_like(line: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(line)
    assert PREFIX in caught.value.message
    assert "Copy the line whole" in caught.value.remedy


def over(invites: Invites, secret: str, by: str = "") -> str:
    """Why a code is refused."""
    with pytest.raises(Refused) as caught:
        invites.find(secret, by)
    assert caught.value.remedy == "Make a new one on the company's own machine: clawbus invite."
    return caught.value.message


def test_an_invite_is_good_once_and_its_secret_is_kept_nowhere(tmp_path: Path) -> None:
    home = Home(tmp_path / ".clawbus")
    invites = Invites(home)
    secret, _ = invites.open(["lab"])
    kept = home.root / "invites.json"
    assert secret not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = Invites(home).find(secret)  # another process: the registrar
    assert found.gateways == ("lab",)
    invites.begin(found, "this")
    invites.finish(found)
    assert not invites.opened()
    for by in ("this", "another", ""):
        assert over(invites, secret, by) == "the code was used"
        with pytest.raises(Refused, match="was used"):
            invites.begin(found, by)


def test_whoever_has_begun_may_begin_again_and_nobody_else(tmp_path: Path) -> None:
    """Two machines with the same line: the first one to show its keys has it, until it has come in or its time is over."""
    invites = Invites(Home(tmp_path / ".clawbus"))
    secret, _ = invites.open(["lab"])
    first, second = invites.find(secret), invites.find(secret)
    invites.begin(first, "this")
    with pytest.raises(Refused, match="another machine"):
        invites.begin(second, "another")
    assert "another machine" in over(invites, secret)
    assert "another machine" in over(invites, secret, "another")
    invites.begin(invites.find(secret, "this"), "this")
    invites.finish(first)
    assert over(invites, secret, "this") == "the code was used"


def test_a_machine_is_told_by_the_keys_of_its_gateways() -> None:
    """By all of them, and by nothing of its agents, which may be others when it comes again."""
    keys = {"gw-lab": "UA", "gw-den": "UB"}
    assert machine_of({}) == machine_of({"agent-cto": "UC"}) == ""
    assert machine_of(keys) == machine_of({**dict(reversed(keys.items())), "agent-cto": "UC"})
    assert len({machine_of(keys), machine_of({"gw-lab": "UA"}), machine_of({"gw-lab": "UB", "gw-den": "UA"})}) == 3


def test_an_invite_ends_by_time_by_a_newer_one_and_by_guessing(tmp_path: Path) -> None:
    """Five wrong secrets close every invite that was open; four do not. Each that is over says why."""
    invites = Invites(Home(tmp_path / ".clawbus"))
    late, _ = invites.open(["attic"], life_s=-1)
    older, _ = invites.open(["lab", "den"])
    newer, _ = invites.open(["lab"])
    for _ in range(MOST_WRONG - 1):
        assert over(invites, "B" * 22) == "the code is not right"
    assert invites.find(newer).gateways == ("lab",)
    assert over(invites, "B" * 22) == "the code is not right"
    assert not invites.opened()
    assert over(invites, newer) == "the code was closed: 5 wrong ones had come"
    assert over(invites, older) == "the code was replaced by a newer one"
    assert over(invites, late) == "the code has expired"


def test_who_comes_with_an_old_code_is_not_taken_for_one_who_guesses(tmp_path: Path) -> None:
    """However often he tries the line of before, the new one stays open."""
    invites = Invites(Home(tmp_path / ".clawbus"))
    older, _ = invites.open(["lab"])
    newer, _ = invites.open(["lab"])
    for _ in range(2 * MOST_WRONG):
        over(invites, older)
    assert invites.find(newer).wrong == 0


def test_an_invite_that_was_closed_meanwhile_cannot_be_used(tmp_path: Path) -> None:
    invites = Invites(Home(tmp_path / ".clawbus"))
    secret, _ = invites.open(["lab"])
    found = invites.find(secret)
    invites.close(secret)
    with pytest.raises(Refused, match="taken back"):
        invites.begin(found, "this")


def test_what_is_over_is_forgotten_after_a_day(tmp_path: Path) -> None:
    invites = Invites(Home(tmp_path / ".clawbus"))
    secret, _ = invites.open(["lab"], life_s=-86_401)
    assert over(invites, secret) == "the code is not right"
    invites.open(["lab"])
    assert (tmp_path / ".clawbus" / "invites.json").read_text().count("hash") == 1


@pytest.mark.parametrize("url", ["hub.example:0", "hub.example:65536", "hub.example:99999"])
def test_a_code_with_a_port_that_is_none_is_no_code(url: str) -> None:
    with pytest.raises(InvalidInput, match="CODE"):
        parse(CODE.model_copy(update={"url": url}).line())
