"""Signatures, by themselves: what was signed verifies, and nothing else does."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nkeys
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clawbus.bus.signing import MAX_HEADER_BYTES, Claim, Signer, nonce_of, read, verify
from clawbus.errors import Unverified
from clawbus.wire.subjects import new_message_id

SUBJECT, PAYLOAD, ID = "acme.dm.cto.ceo", b'{"body":"deploy"}', "ceo-aaaaaaaaaaaaaaaaaaaaaaaaaa"
_FOLDER = Path(tempfile.mkdtemp())
CEO = Signer("acme", "ceo", _FOLDER / "ceo.nk")
CTO = Signer("acme", "cto", _FOLDER / "cto.nk")
HEADER = CEO.header(SUBJECT, PAYLOAD, ID)

words = st.text(st.characters(codec="utf-8"), max_size=40)
headers = st.dictionaries(
    st.sampled_from(["v", "account", "user", "name", "sub", "ts", "nonce", "sig", "more"]),
    st.one_of(words, st.integers(), st.none(), st.booleans(), st.lists(words, max_size=2)),
)


def checked(header: str, subject: str = SUBJECT, payload: bytes = PAYLOAD, msg_id: str = ID) -> datetime:
    return verify(read(header), subject, payload, msg_id, CEO.public_key)


def with_(**fields: object) -> str:
    """The header with other fields, in the canonical form, under its old signature."""
    return json.dumps({**json.loads(HEADER), **fields}, separators=(",", ":"), ensure_ascii=False)


@given(st.binary(max_size=3000), st.from_regex(r"[a-z0-9.-]{1,80}", fullmatch=True), words)
def test_n5_what_was_signed_verifies_whatever_it_says(payload: bytes, rest: str, msg_id: str) -> None:
    """Any payload, subject and id; the moment of signing comes back."""
    subject = f"acme.{rest}"
    at = verify(read(CEO.header(subject, payload, msg_id)), subject, payload, msg_id, CEO.public_key)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)


@given(st.binary(max_size=200), st.text(max_size=60), st.text(max_size=60))
def test_n5_nothing_else_verifies(payload: bytes, subject: str, msg_id: str) -> None:
    """Another payload, subject or id than was signed: refused, each for itself."""
    for change in ({"payload": payload}, {"subject": subject}, {"msg_id": msg_id}):
        if change not in ({"payload": PAYLOAD}, {"subject": SUBJECT}, {"msg_id": ID}):
            with pytest.raises(Unverified):
                checked(HEADER, **change)


@given(st.one_of(words, headers.map(json.dumps), st.integers(0, len(HEADER) - 1).map(lambda n: HEADER[:n])))
def test_n5_no_header_of_others_verifies_nor_breaks_the_reader(header: str) -> None:
    """Whatever stands there, it is refused by the one error that readers expect."""
    with pytest.raises(Unverified):
        checked(header)


@given(st.integers(0, len(HEADER) - 1), st.characters(codec="ascii"))
def test_n5_no_character_of_a_header_can_be_changed(place: int, other: str) -> None:
    """Each field counts, but the display name, which is not signed (the protocol's 13.5)."""
    changed = HEADER[:place] + other + HEADER[place + 1 :]
    name = HEADER.index('"name":"') + len('"name":"')
    if changed != HEADER and not name <= place < name + len("ceo"):
        with pytest.raises(Unverified):
            checked(changed)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("", "unsigned"),
        ("{}", "forged"),
        ("[" * 5000, "forged"),
        ("null", "forged"),
        (f"{HEADER[:-1]},\"sig\":\"x\"}}", "forged"),
        (with_(v="1"), "forged"),
        (with_(v=2), "forged"),
        (with_(v=True), "forged"),
        (with_(more="x"), "forged"),
        (with_(ts="yesterday"), "forged"),
        (with_(ts="2026-11-21T08:00:00"), "forged"),
        (with_(account="other"), "forged"),
        (with_(user=CTO.public_key), "forged"),
        (with_(sub="acme.dm.ops.ceo"), "re-addressed"),
        (with_(nonce="ceo-bbbbbbbbbbbbbbbbbbbbbbbbbb"), "replayed"),
        (with_(sig=json.loads(HEADER)["sig"] + "=="), "forged"),
        (with_(sig=""), "forged"),
        (with_(name="a\nb"), "forged"),
        (json.dumps(json.loads(HEADER)), "forged"),
        (HEADER + " " * MAX_HEADER_BYTES, "forged"),
        (CTO.header(SUBJECT, PAYLOAD, ID), "forged"),
    ],
)  # fmt: skip
def test_each_forgery_is_refused_by_its_name(header: str, kind: str) -> None:
    """The reason says what was wrong: people read it in the alert."""
    with pytest.raises(Unverified) as refused:
        checked(header)
    assert refused.value.kind == kind


def test_n5_the_signature_is_that_of_the_synadia_protocol() -> None:
    """Its chapter 13.6.1, line by line, so that others' clients can verify ours."""
    said = json.loads(HEADER)
    lines = ["AGENT-SENDER-V1", "acme", CEO.public_key, SUBJECT, said["ts"], ID]
    digest = hashlib.sha256(PAYLOAD).hexdigest()
    signed = "\n".join([*lines, digest]) + "\n"
    pair = nkeys.from_seed(bytearray((_FOLDER / "ceo.nk").read_bytes().strip()))
    assert pair.verify(signed.encode(), base64.urlsafe_b64decode(said["sig"] + "=="))
    assert list(said) == ["v", "account", "user", "name", "sub", "ts", "nonce", "sig"]
    assert (said["v"], said["name"], said["nonce"]) == (1, "ceo", ID)


def test_n5_every_message_id_makes_a_nonce_of_the_protocol() -> None:
    """1 to 64 characters of [A-Za-z0-9_-]: our own ids as they are, any other by its digest."""
    own = new_message_id("a" * 32)
    assert nonce_of(own) == own
    for odd in ("", "a b", "ä", "x" * 65, "a.b"):
        assert len(nonce_of(odd)) == 43
        assert nonce_of(nonce_of(odd)) == nonce_of(odd)


def test_a_signer_does_not_show_its_key() -> None:
    """Neither its text nor what stands in its attributes is the seed."""
    seed = (_FOLDER / "ceo.nk").read_text().strip()
    assert seed not in repr(CEO)
    assert seed not in str({k: v for k, v in vars(CEO).items() if isinstance(v, str)})


def test_what_the_steward_derives_is_no_guess_for_others() -> None:
    """The same words give the same id with the same key, and another with any other key."""
    assert CEO.secret_word("x") == Signer("acme", "ceo", _FOLDER / "ceo.nk").secret_word("x")
    assert len({CEO.secret_word("x"), CEO.secret_word("y"), CTO.secret_word("x")}) == 3


def test_the_account_is_the_company() -> None:
    """A signature for one company is none in another that has the same names, with whatever key."""
    other = Signer("other", "ceo", _FOLDER / "ceo.nk").header(SUBJECT, PAYLOAD, ID)
    with pytest.raises(Unverified, match="another company"):
        checked(other)


def test_a_claim_is_read_as_it_was_written() -> None:
    """Reading and writing are inverse: there is one spelling of a header."""
    claim = read(HEADER)
    assert claim.text(claim.sig) == HEADER
    assert Claim(*(getattr(claim, name) for name in Claim.__slots__)) == claim
