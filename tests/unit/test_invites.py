"""Codes and invites: what is printed, what is kept, and what a slip of the hand or somebody who guesses comes to."""

from __future__ import annotations

import stat
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.enrol.code import PREFIX, Code, parse
from clawbus.enrol.invites import MOST_WRONG, Invites
from clawbus.errors import InvalidInput
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


def test_an_invite_is_good_once_and_its_secret_is_kept_nowhere(tmp_path: Path) -> None:
    home = Home(tmp_path / ".clawbus")
    invites = Invites(home)
    secret, _ = invites.open(["lab"])
    kept = home.root / "invites.json"
    assert secret not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    found = Invites(home).find(secret)  # another process: the registrar
    assert found is not None
    assert found.gateways == ("lab",)
    assert invites.use(found)
    assert not invites.use(found)
    assert invites.find(secret) is None


def test_an_invite_ends_by_time_by_a_newer_one_and_by_guessing(tmp_path: Path) -> None:
    """Five wrong secrets close every invite that was open; four do not."""
    invites = Invites(Home(tmp_path / ".clawbus"))
    late, _ = invites.open(["lab"], life_s=-1)
    assert invites.find(late) is None
    older, _ = invites.open(["lab", "den"])
    newer, _ = invites.open(["lab"])
    assert invites.find(older) is None
    other, _ = invites.open(["attic"])
    for _ in range(MOST_WRONG - 2):  # `older` was the first wrong one for `newer`
        assert invites.find("B" * 22) is None
    assert invites.find(newer) is not None
    assert invites.find("B" * 22) is None
    assert invites.find(newer) is None  # its fifth was the one before; this one is the fifth for `other`
    assert invites.find(other) is None
    assert not invites.opened()


def test_an_invite_that_was_closed_meanwhile_cannot_be_used(tmp_path: Path) -> None:
    invites = Invites(Home(tmp_path / ".clawbus"))
    secret, _ = invites.open(["lab"])
    found = invites.find(secret)
    assert found is not None
    invites.close(secret)
    assert not invites.use(found)
