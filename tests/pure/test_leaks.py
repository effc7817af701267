"""Secret keys in what is about to be said: each is found, in whatever it stands, and nothing else is touched."""

from __future__ import annotations

import base64
import binascii
import json
import random

import nkeys
import pytest

from clawbus.bus.identity import load_or_create
from clawbus.bus.jwt import encode
from clawbus.wire.redaction import PEM, SENTENCE, TOKEN, without_keys
from tests.company import ROOT

KINDS = {"account": "A", "cluster": "C", "server": "N", "operator": "O", "user": "U", "curve": "X"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CHANCE = random.Random(7)


def seed_of(kind: str) -> str:
    """A seed as NATS writes it (nkeys, "Encoding"), made by hand: the library knows no curve keys."""
    prefix = LETTERS.index(kind) << 3
    raw = bytes([0x90 | prefix >> 5, (prefix & 31) << 3]) + CHANCE.randbytes(32)
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


SEED = seed_of("U")
FORMS = {
    "alone": SEED,
    "in a sentence": f"The key is {SEED}, keep it.",
    "in quotes": f'seed = "{SEED}"',
    "in a code block": f"```\n{SEED}\n```",
    "in a credentials file": f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------",
    "within other letters of base 32": f"SUAASUAB{SEED}AAAASUAA",
    "below an umlaut": f"Schl\u00fcssel:\u00fc{SEED}\u00fc",
    "in JSON in a text": json.dumps({"seed": f"\n{SEED}\n"}),
    "in JSON in JSON in a text": json.dumps(json.dumps({"seed": f"\n{SEED}\n"})),
    "broken by a line": f"{SEED[:20]}\n{SEED[20:]}",
    "broken by a line of Windows, indented": f"{SEED[:20]}\r\n\t    {SEED[20:]}",
    "broken in JSON in a text": json.dumps(f"{SEED[:20]}\n{SEED[20:]}"),
    "in groups": " ".join(SEED[at : at + 4] for at in range(0, 58, 4)),
    "in groups with dashes": "-".join(SEED[at : at + 8] for at in range(0, 58, 8)),
    "letter by letter": " ".join(SEED),
    "quoted in lines": "\n> ".join(SEED[at : at + 16] for at in range(0, 58, 16)),
    "broken by what is not seen": f"{SEED[:30]}\u200b{SEED[30:]}",
}


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_seed_is_taken_out_in_whatever_form_it_stands(form: str, ascii_only: bool) -> None:
    """The message stays JSON of the same fields, and what stood around the key still stands there."""
    said = {"subject": "a label", "body": f"before {FORMS[form]} behind", "list": ["one", FORMS[form], "three"]}
    data, found = without_keys(json.dumps(said, ensure_ascii=ascii_only).encode())
    after = json.loads(data)
    assert [one.taken_out for one in found] == [True]
    assert SENTENCE in after["body"]
    assert SENTENCE in after["list"][1]
    assert after["body"].startswith("before ")
    assert after["body"].endswith(" behind")
    assert (after["subject"], after["list"][0], after["list"][2]) == ("a label", "one", "three")
    squeezed = "".join(one for one in data.decode() if one in LETTERS)
    assert SEED not in squeezed


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_of_every_kind_are_found_always(kind: str) -> None:
    for _ in range(50):
        seed = seed_of(KINDS[kind])
        data, (leak,) = without_keys(f"x{seed}".encode())
        assert data == f"x{SENTENCE}".encode()
        assert seed not in repr(leak)
        if kind != "curve":
            assert leak.public == nkeys.from_seed(bytearray(seed.encode())).public_key.decode()


def test_what_the_library_makes_is_found() -> None:
    for prefix in (nkeys.PREFIX_BYTE_USER, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_OPERATOR):
        seed = bytes(nkeys.encode_seed(CHANCE.randbytes(32), prefix))
        assert without_keys(seed)[0] == SENTENCE.encode()


def test_several_are_told_apart_and_each_is_told_once() -> None:
    one, other = seed_of("U"), seed_of("O")
    data, found = without_keys(f"{one} {other} {one}".encode())
    assert data.decode() == " ".join([SENTENCE] * 3)
    assert len({leak.mark for leak in found}) == len(found) == 2


def test_what_is_no_seed_is_left_as_it_is() -> None:
    """One letter changed, public keys, a seed that is cut, random letters, and the whole of this project's text."""
    for _ in range(300):
        seed = bytearray(seed_of("U").encode())
        at = CHANCE.randrange(4, 57)
        seed[at] = ord(CHANCE.choice(LETTERS.replace(chr(seed[at]), "")))
        assert without_keys(bytes(seed)) == (bytes(seed), [])
    pair = nkeys.from_seed(bytearray(SEED.encode()))
    honest = [pair.public_key, SEED[:-1].encode(), SEED[1:].encode(), SEED.lower().encode(), CHANCE.randbytes(1 << 18)]
    honest += ["".join(CHANCE.choices(LETTERS, k=1 << 20)).encode(), b"SAAA" * 2000, b"\\" * 9999, b"-----BEGIN " * 999]
    honest += [path.read_bytes() for path in (ROOT / "plugin").rglob("*") if path.suffix in (".py", ".json", ".js")]
    for data in honest:
        assert without_keys(data) == (data, [])


def test_nothing_is_taken_from_between_two_texts() -> None:
    """Two halves in two fields are no key, and joining them would make other JSON of it."""
    data = json.dumps([SEED[:30], SEED[30:]]).encode()
    assert without_keys(data) == (data, [])


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_in_pem_is_told_of_and_left(kind: str) -> None:
    data = json.dumps(f"-----BEGIN {kind}PRIVATE KEY-----\nMIIE\n").encode()
    after, (leak,) = without_keys(data)
    assert (after, leak.kind, leak.taken_out) == (data, PEM, False)
    assert without_keys(b"-----BEGIN PUBLIC KEY-----\n-----BEGIN CERTIFICATE-----")[1] == []


def test_credentials_of_nats_are_told_of_and_left(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Others' JWTs, such as those of a web service, are nobody's business here."""
    me = load_or_create("me", tmp_path_factory.mktemp("keys") / "me.nk")
    data = json.dumps({"body": f"Bearer {encode(me.public_key, 'me', {}, me, iat=0)}"}).encode()
    after, (leak,) = without_keys(data)
    assert (after, leak.kind, leak.taken_out) == (data, TOKEN, False)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    assert without_keys(f"{head}.eyJzdWIiOiIxMjM0In0.abc".encode())[1] == []
