"""Identities on the bus: an nkey (Ed25519), whose seed lies in a file of mode 600.

The server knows public keys only, and ties each to the subjects that its holder may use. It does so by its
configuration, or by a JWT in a credentials file beside the seed, which the company's account keys have signed
(docs.nats.io, "NKeys" and "JWT"). Whoever has the file is the holder: see docs/security.md.
"""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import nkeys

from clawbus.errors import InvalidInput
from clawbus.settings import write_secret

USER, ACCOUNT, OPERATOR = nkeys.PREFIX_BYTE_USER, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_OPERATOR
AGENT_KEY = "agent-"
SERVER_API = "$JS.API"
"""The subjects of JetStream's API in the account that has it. Other accounts import it under another name."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A name, its public key and the file with the seed; never the seed itself.

    `creds_file`: the credentials file, if the server wants a JWT. `api`: where its account finds JetStream's API.
    """

    name: str
    public_key: str
    seed_file: Path
    creds_file: Path | None = None
    api: str = SERVER_API


def load_or_create(name: str, seed_file: Path, prefix: int = USER) -> Identity:
    """The identity of `seed_file`. If there is no such file, a new one is made, with mode 600.

    Raises InvalidInput if the file is not an nkey seed, or if others may read it.
    """
    if not seed_file.exists():
        seed = nkeys.encode_seed(os.urandom(32), prefix)
        write_secret(seed_file, seed.decode())
    refuse_readable(seed_file)
    try:
        pair = nkeys.from_seed(bytearray(seed_file.read_bytes().strip()))
        public = str(pair.public_key.decode())
        pair.wipe()
    except Exception:
        raise InvalidInput(
            "key file",
            str(seed_file),
            "holds no nkey seed",
            f"Remove it and run `clawbus up`: rm {seed_file}",
        ) from None
    return Identity(name, public, seed_file)


def refuse_readable(file: Path) -> None:
    """Raise InvalidInput if others than its owner may read a file that holds a seed."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        raise InvalidInput("key file", str(file), f"others may read it (mode {mode:o})", f"chmod 600 {file}")


def agent_key(agent: str) -> str:
    """The name of an agent's signing key; its file lies on the machine of the agent."""
    return f"{AGENT_KEY}{agent}"


def sign(seed_file: Path, data: bytes) -> bytes:
    """The Ed25519 signature (64 bytes) by the key of a seed file. The seed is read for this, and wiped."""
    pair = nkeys.from_seed(bytearray(seed_file.read_bytes().strip()))
    signature = bytes(pair.sign(data))
    pair.wipe()
    return signature


def is_public_key(text: str) -> bool:
    """True if a text is the public nkey of a user, and so may stand in the server's configuration."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        return False
    return len(raw) == 35 and raw[0] == USER
