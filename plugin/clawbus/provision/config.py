"""The configuration of the embedded nats-server: the company's operator, and nobody without credentials.

The accounts lie beside it as JWTs, in the folder from which the server resolves them (nats-server, "Full NATS based
resolver"): written there before it starts, and told to it while it runs (`account_push`).
"""

from __future__ import annotations

from pathlib import Path

from clawbus.errors import InvalidInput
from clawbus.org import Org
from clawbus.org.stream_sizes import LARGEST_MIB
from clawbus.provision.accounts import room_for_all
from clawbus.provision.authority import SYSTEM, Authority
from clawbus.provision.server import log_file
from clawbus.provision.tls import FOR_LEAVES, server_block
from clawbus.settings import Home, write_secret
from clawbus.wire.channels import STREAMS

MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
_NO_BOUND_BYTES = len(STREAMS) * LARGEST_MIB * 1024 * 1024
"""The most that the streams could reserve: a reservation takes no room, and a size may change while the server runs."""


def write_config(home: Home, org: Org) -> Path:
    """Write nats.conf (mode 600) and the accounts' JWTs for a company's own server, and return the path of the first.

    Keys are made where they are missing. Raises InvalidInput for a path that cannot stand between quotes.
    """
    authority = Authority(home)
    store, resolver = home.dir("nats"), home.dir("nats", resolver_dir(home).name)
    for public_key, token in authority.accounts(org).items():
        write_secret(resolver / f"{public_key}.jwt", token)
    config = config_file(home)
    write_secret(
        config,
        f"""\
# Written by clawbus at each start from org.toml: changes made here are lost.
server_name: {quoted("company", f"clawbus-{org.company}")}
listen: {quoted("listen", f"{org.bus.listen}:{org.bus.port}")}
pid_file: {quoted("folder", str(pid_file(home)))}
log_file: {quoted("folder", str(log_file(home)))}
logfile_size_limit: 16MB
logfile_max_num: 4
max_payload: {MAX_PAYLOAD_BYTES}
max_control_line: 16KB
max_connections: {room_for_all(org)}
{server_block(home, org)}{_leaves(home, org)}jetstream {{
  store_dir: {quoted("folder", str(store / "jetstream"))}
  # fsync before the acknowledgement: what is acknowledged survives a power failure.
  sync_interval: always
  max_memory_store: 64MB
  # Each stream has its own bound. Without this line the server would take three quarters of what is free when it
  # starts for the sum of them, and refuse to make the streams on a small disk.
  max_file_store: {_NO_BOUND_BYTES}
}}
# Who gets in: users whose credentials an account of this operator has signed. There is no anonymous user.
operator: {authority.operator(org)}
system_account: {authority.key(SYSTEM).public_key}
resolver {{
  type: full
  dir: {quoted("folder", str(resolver))}
  allow_delete: false
}}
""",
    )
    return config


def _leaves(home: Home, org: Org) -> str:
    """The port for leaves, if others reach this machine; their credentials bound them as they bound a client."""
    if not org.bus.shared:
        return ""
    listen = quoted("listen", f"{org.bus.listen}:{org.bus.leaf_port}")
    return f"leafnodes {{\n  listen: {listen}\n{server_block(home, org, FOR_LEAVES)}}}\n"


def resolver_dir(home: Home) -> Path:
    """The folder in which the server keeps the accounts' JWTs."""
    return home.root / "nats" / "jwt"


def config_file(home: Home) -> Path:
    return home.root / "nats" / "nats.conf"


def pid_file(home: Home) -> Path:
    """The file with the number of a running server's process; it may be gone, and the number another's."""
    return home.root / "nats" / "nats-server.pid"


def quoted(field: str, text: str) -> str:
    """A string of the configuration. What could end the quotes or begin an escape is refused, not escaped."""
    if not text.isprintable() or '"' in text or "\\" in text:
        raise InvalidInput(field, text, "holds a quote, a backslash or a control character",
                           "Move the company to a folder whose path has none.")  # fmt: skip
    return f'"{text}"'
