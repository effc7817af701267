"""Signed messages: the header `Agent-Sender` of the Synadia Agent Protocol, in its form for stored messages.

The server ties a subject's last token to a connection. The signature ties the bytes to the agent, and stays with them
in the stream. Source: chapter 13 of the protocol (13.5 the header, 13.6 the signed text, 13.8 stored messages).
docs/protocol.md and docs/adr/0018-signatures.md have the rules that clawbus adds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import nkeys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from clawbus.bus.identity import is_public_key, load_or_create
from clawbus.errors import Unverified

HEADER = "Agent-Sender"
MAX_HEADER_BYTES = 2048
_FIELDS = ("v", "account", "user", "name", "sub", "ts", "nonce", "sig")
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the protocol's 13.5
_TAG = "AGENT-SENDER-V1"


class Signer:
    """Signs the messages of one member of a company, with the key that it alone has."""

    def __init__(self, company: str, name: str, seed_file: Path) -> None:
        """Make the key if there is no such file. Raises InvalidInput if it holds no seed, or others may read it."""
        self.company = company
        self.name = name
        self.public_key = load_or_create(name, seed_file).public_key
        self._pair = nkeys.from_seed(bytearray(seed_file.read_bytes().strip()))

    def header(self, subject: str, payload: bytes, msg_id: str) -> str:
        """The value of the header for a message that is published on `subject` under `msg_id` now."""
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        claim = Claim(self.company, self.public_key, self.name, subject, stamp, nonce_of(msg_id), "")
        signature = self._pair.sign(claim.signed(payload))
        return claim.text(base64.urlsafe_b64encode(signature).decode().rstrip("="))

    def secret_word(self, text: str) -> str:
        """26 characters that follow from a text, and that nobody can foretell without the key."""
        # Ed25519 signs deterministically (RFC 8032): the same key gives the same word.
        signature = self._pair.sign(b"CLAWBUS-WORD-V1\n" + text.encode())
        return base64.b32encode(hashlib.sha256(signature).digest()[:16]).decode().rstrip("=").lower()


@dataclass(frozen=True, slots=True)
class Claim:
    """The fields of a header, to be written or as they were read. Nothing in it is trusted before `verify`."""

    account: str
    user: str
    name: str | None
    sub: str
    ts: str
    nonce: str
    sig: str

    def text(self, sig: str) -> str:
        """The canonical form: compact JSON, the fields in the protocol's order."""
        values = (1, self.account, self.user, self.name, self.sub, self.ts, self.nonce, sig)
        fields = {name: value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)

    def signed(self, payload: bytes) -> bytes:
        """The text under the signature. It is never sent: the receiver builds it again."""
        digest = hashlib.sha256(payload).hexdigest()
        lines = (_TAG, self.account, self.user, self.sub, self.ts, self.nonce, digest)
        return ("\n".join(lines) + "\n").encode()


def nonce_of(msg_id: str) -> str:
    """The nonce of a message: its `Nats-Msg-Id`, or a digest of one that the protocol does not allow as a nonce."""
    if _NONCE.fullmatch(msg_id):
        return msg_id
    return base64.urlsafe_b64encode(hashlib.sha256(msg_id.encode()).digest()).decode().rstrip("=")


def read(header: str | None) -> Claim:
    """Parse a header. Raises Unverified if there is none, or if it is not in the canonical form of version 1."""
    if not header:
        raise Unverified("unsigned: it has no Agent-Sender header")
    if len(header) > MAX_HEADER_BYTES:
        raise Unverified(f"forged: its Agent-Sender header has {len(header)} characters")
    try:
        fields = json.loads(header)
        claim = Claim(*(fields.get(name) for name in _FIELDS[1:]))
        parts = (claim.account, claim.user, claim.name or "", claim.sub, claim.ts, claim.nonce, claim.sig)
        sound = all(isinstance(part, str) and part.isprintable() for part in parts)
        if sound and fields.get("v") == 1 and claim.text(claim.sig) == header:
            return claim
    except (ValueError, AttributeError, RecursionError):
        pass
    raise Unverified("forged: its Agent-Sender header is malformed")


def verify(claim: Claim, subject: str, payload: bytes, msg_id: str, key: str) -> datetime:
    """Check that the holder of `key` has signed this message for this subject.

    `subject` and `msg_id`: as they arrived. Returns the moment of signing, by the signer's clock. Raises Unverified,
    whose text begins with the kind: forged, re-addressed, or replayed under another id.
    """
    if claim.sub != subject:
        raise Unverified(f"re-addressed: it was signed for {claim.sub[:200]}")
    if claim.nonce != nonce_of(msg_id):
        raise Unverified("replayed: it was signed under another message id")
    if claim.account != subject.partition(".")[0]:
        raise Unverified("forged: it was signed for another company")
    if claim.user != key:
        raise Unverified("forged: it was signed with another key than its sender's")
    try:
        Ed25519PublicKey.from_public_bytes(_raw(key)).verify(_signature(claim.sig), claim.signed(payload))
        at = datetime.fromisoformat(claim.ts)
    except (InvalidSignature, ValueError):
        raise Unverified("forged: its signature is not its sender's for these bytes") from None
    if at.tzinfo is None:
        raise Unverified("forged: its Agent-Sender header is malformed")
    return at


def _raw(key: str) -> bytes:
    """The 32 bytes of a public nkey. Raises ValueError."""
    if not is_public_key(key):
        raise ValueError("not the public nkey of a user")
    return base64.b32decode(key + "=" * (-len(key) % 8))[1:33]


def _signature(text: str) -> bytes:
    """The 64 bytes of a signature in base64url without padding. Raises ValueError for any other spelling of them."""
    try:
        found = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
    if base64.urlsafe_b64encode(found).decode().rstrip("=") != text:
        raise ValueError("not canonical")
    return found
