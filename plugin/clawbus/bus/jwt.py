"""The JWTs of nats-server: claims signed by an nkey (nats-io/jwt version 2, nats-server ADR-14).

They are written here, on nkeys: the one library for them on PyPI calls itself not well tested, and needs four others.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clawbus.bus.identity import Identity, sign
from clawbus.errors import InvalidInput
from clawbus.settings import write_secret

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_BEGIN, _END = "-----BEGIN NATS USER JWT-----", "------END NATS USER JWT------"
_SEED_BEGIN, _SEED_END = "-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------"


def encode(subject: str, name: str, nats: Mapping[str, Any], issuer: Identity, **more: Any) -> str:
    """A JWT about the public key `subject`, signed by `issuer`.

    `nats`: the claims that the server reads, such as `type`; `more`: `iat` and `exp`, in seconds.
    """
    claims = {"iss": issuer.public_key, "sub": subject, "name": name, **more, "nats": {**nats, "version": 2}}
    digest = hashlib.new("sha512_256", _json(claims)).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_part(_json(_HEADER))}.{_part(_json(claims))}"
    return f"{signed}.{_part(sign(issuer.seed_file, signed.encode()))}"


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT; the server checks its signature. Raises InvalidInput if it is no JWT."""
    try:
        middle = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, IndexError):
        found = None
    if not isinstance(found, dict):
        raise InvalidInput("JWT", token[:16], "is none", "Run `clawbus up` or `clawbus apply`, which writes it again.")
    return found


def tags_of(claims: Mapping[str, Any]) -> list[str]:
    """The tags of a user's claims: the members whose names its key may use."""
    return list(claims.get("nats", {}).get("tags", ()))


def write_creds(creds_file: Path, token: str, seed_file: Path) -> None:
    """Write a credentials file: the JWT and the seed, as all NATS clients read it (docs.nats.io)."""
    seed = seed_file.read_text().strip()
    write_secret(creds_file, f"{_BEGIN}\n{token}\n{_END}\n\n{_SEED_BEGIN}\n{seed}\n{_SEED_END}\n")


def read_creds(creds_file: Path) -> str:
    """The JWT of a credentials file. Raises InvalidInput if there is none."""
    try:
        lines = creds_file.read_text().splitlines()
        return lines[lines.index(_BEGIN) + 1].strip()
    except (OSError, ValueError, IndexError):
        raise InvalidInput(
            "credentials file", str(creds_file), "holds no JWT", "Run `clawbus up` or `clawbus apply`, which writes it."
        ) from None


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
