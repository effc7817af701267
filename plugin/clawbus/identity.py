"""Who one is on the bus: an nkey, Ed25519, its seed in a file of mode 600.

The server knows public keys only, and ties each to the subjects that its holder may use
(docs.nats.io, "NKeys"). Whoever has the file is the holder: see docs/security.md.
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

_USER_PREFIX = 20 << 3  # "U", github.com/nats-io/nkeys


@dataclass(frozen=True, slots=True)
class Identity:
    """A name, its public key and the file with the seed. The seed itself is never held here."""

    name: str
    public_key: str
    seed_file: Path


def load_or_create(name: str, seed_file: Path) -> Identity:
    """The identity kept in `seed_file`; a new one, written with mode 600, if there is no such file.

    Raises InvalidInput if the file is not an nkey seed, or if others may read it.
    """
    if not seed_file.exists():
        seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
        write_secret(seed_file, seed.decode())
    mode = stat.S_IMODE(seed_file.stat().st_mode)
    if mode & 0o077:
        raise InvalidInput("key file", str(seed_file), f"others may read it (mode {mode:o})", f"chmod 600 {seed_file}")
    try:
        pair = nkeys.from_seed(bytearray(seed_file.read_bytes().strip()))
        public = pair.public_key.decode()
        pair.wipe()
    except Exception:
        raise InvalidInput(
            "key file",
            str(seed_file),
            "holds no nkey seed",
            f"Remove it and run `clawbus up`: rm {seed_file}",
        ) from None
    return Identity(name, public, seed_file)


def is_public_key(text: str) -> bool:
    """Whether a text is the public nkey of a user: what may stand in the server's configuration."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        return False
    return len(raw) == 35 and raw[0] == _USER_PREFIX
