"""Secret keys in a text that is about to be published: a model that has read one must not put it into a stream.

The letters and the checksum of a NATS seed leave no doubt, so it is taken out wherever it stands. That holds also where
blanks, line breaks or dashes break it up. Private keys in PEM and credentials (JWTs) are reported and left in the text:
honest texts speak of PEM, and a JWT opens nothing without its seed. An encoded key passes. This is a net for accidents
and plain injections; it is no wall.
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
"""58 letters of base 32. The first three and a half say the kind; the last one has two bits to spare."""
_BASE32 = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv")
_ESCAPE = rb"\\{1,8}(?:u[0-9a-fA-F]{4}|[nrtbf])"
_BETWEEN = rb"(?:" + _ESCAPE + rb'|[^A-Za-z0-9"\\]){0,64}'
"""The characters that may break up a seed. A quote is not among them: a seed never spans two strings."""
_ESCAPES = re.compile(_ESCAPE)
_NO_LETTERS = bytes(byte for byte in range(256) if not bytes([byte]).isalnum() and byte not in b'"\\')
_PEM = re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY-----")
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,256}\.eyJ[A-Za-z0-9_-]{8}")


@dataclass(frozen=True, slots=True)
class Leak:
    """A key that was found. `mark`: its SHA-256, so that the same key is known again. `public`: a seed's public key."""

    kind: str
    mark: str
    public: str = ""

    @property
    def taken_out(self) -> bool:
        return self.kind == SEED


def without_keys(data: bytes) -> tuple[bytes, list[Leak]]:
    """Take the seeds out of `data`. Returns the rest, and every key that was found; `data` itself if there is none."""
    found = []
    for seed in dict.fromkeys(_seeds_in(data)):
        data = data.replace(seed, SENTENCE.encode())
        found.append(_leak_of(seed))
    for seed in dict.fromkeys(_seeds_in(_ESCAPES.sub(b"", data).translate(None, _NO_LETTERS))):
        broken = _BETWEEN.join(bytes([letter]) for letter in seed)
        data = re.sub(broken, SENTENCE.encode(), data)
        found.append(_leak_of(seed))
    found += [Leak(PEM, _mark(data[match.start() : match.start() + 512])) for match in _PEM.finditer(data)]
    found += [Leak(TOKEN, _mark(match[0])) for match in _JWT.finditer(data) if _is_of_nats(match[0])]
    return data, found


def _seeds_in(data: bytes) -> Iterator[bytes]:
    start = 0
    while (match := _SEED.search(data, start)) is not None:
        if _is_seed(match[0]):
            yield match[0]
        # One letter on, not behind the match: a false seed must not hide a true one that begins in the middle of it.
        start = match.start() + 1


def _is_seed(text: bytes) -> bool:
    """True if the checksum, CRC-16 of XMODEM, is right (nkeys, "Encoding")."""
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
        claims = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
        return str(claims["alg"]).startswith("ed25519")
    except (ValueError, KeyError, TypeError):
        return False
