"""Secret keys in what is about to be said: a model that has read one must not put it into a stream.

A seed of NATS is known without doubt, by its letters and its checksum, so it is taken out wherever it stands, also
where it is broken by blanks, line breaks or dashes. Private keys in PEM and credentials (JWTs) are told of, and left:
honest texts speak of the first, and the second open nothing without their seed. Whoever encodes a key passes: this is
a net for accidents and plain injections, and no wall.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import nkeys

SENTENCE = "(a secret key stood here; clawbus took it out)"
"""Plain ASCII without quotes: JSON stays JSON."""
SEED, PEM, TOKEN = "nkey seed", "private key", "credentials"
_SEED = re.compile(rb"S[ACNOUX]A[A-P][A-Z2-7]{53}[AEIMQUY4]")
"""58 letters of base 32, of which the first three and a half say the kind; the last one has two bits to spare."""
_BASE32 = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")
_ESCAPE = rb"\\{1,8}(?:u[0-9a-fA-F]{4}|[nrtbf])"
_BETWEEN = rb"(?:" + _ESCAPE + rb'|[^A-Za-z0-9"\\]){0,64}'
"""What may break a seed within one text: no quote, so that nothing is taken from between two of them."""
_ESCAPES = re.compile(_ESCAPE)
_NO_LETTERS = bytes(one for one in range(256) if not bytes([one]).isalnum() and one not in b'"\\')
_PEM = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY-----")
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,256}\.eyJ[A-Za-z0-9_-]{8}")


@dataclass(frozen=True, slots=True)
class Leak:
    """A key that was found. `mark`: the same for the same key. `public`: of a seed, what anybody may see."""

    kind: str
    mark: str
    public: str = ""

    @property
    def taken_out(self) -> bool:
        return self.kind == SEED


def without_keys(data: bytes) -> tuple[bytes, list[Leak]]:
    """The same without the seeds that stand in it, and all that was found. What holds none comes back as it is."""
    found = []
    for seed in dict.fromkeys(_seeds_in(data)):
        data = data.replace(seed, SENTENCE.encode())
        found.append(_leak_of(seed))
    for seed in dict.fromkeys(_seeds_in(_ESCAPES.sub(b"", data).translate(None, _NO_LETTERS))):
        broken = _BETWEEN.join(bytes([letter]) for letter in seed)
        data = re.sub(broken, SENTENCE.encode(), data)
        found.append(_leak_of(seed))
    found += [Leak(PEM, _mark(data[one.start() : one.start() + 512])) for one in _PEM.finditer(data)]
    found += [Leak(TOKEN, _mark(one[0])) for one in _JWT.finditer(data) if _is_of_nats(one[0])]
    return data, found


def _seeds_in(data: bytes) -> Iterator[bytes]:
    """Each place is looked at: what begins like a seed must not hide one that begins in the middle of it."""
    start = 0
    while (one := _SEED.search(data, start)) is not None:
        if _is_seed(one[0]):
            yield one[0]
        start = one.start() + 1


def _is_seed(text: bytes) -> bool:
    """Whether its checksum, CRC-16 of XMODEM, is right (nkeys, "Encoding")."""
    raw = (int(text.translate(_BASE32), 32) >> 2).to_bytes(36, "big")
    return binascii.crc_hqx(raw[:-2], 0) == int.from_bytes(raw[-2:], "little")


def _leak_of(seed: bytes) -> Leak:
    try:
        public = str(nkeys.from_seed(bytearray(seed)).public_key.decode())
    except Exception:  # a curve key, which signs nothing
        public = ""
    return Leak(SEED, _mark(seed), public)


def _mark(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _is_of_nats(token: bytes) -> bool:
    header = token.partition(b".")[0]
    try:
        said = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
        return str(said["alg"]).startswith("ed25519")
    except (ValueError, KeyError, TypeError):
        return False
