"""A leaf: a nats-server on a machine that has joined, which its nodes dial on the loopback, and which dials the hub.

Each gateway of the machine is an account of its own in the leaf, with a link of its own that shows the hub the
gateway's credentials: the hub bounds the link by them. A node shows the leaf the gateway's key, so that not everybody
who can reach the loopback is that gateway. Nothing is stored in a leaf: the streams are the hub's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from clawbus.errors import InvalidInput, Refused
from clawbus.org import BusConfig, Org
from clawbus.org.bus_config import is_host
from clawbus.provision.config import MAX_PAYLOAD_BYTES, quoted
from clawbus.provision.credentials import credentials
from clawbus.provision.external_account import User, user_line
from clawbus.provision.permissions import allowed, grants
from clawbus.provision.ports import LOOPBACK, Port, who_answers
from clawbus.settings import Home
from clawbus.wire.subjects import Subjects

_CLIENT_PORT = 4222
"""NATS' own, and the one that is written by mistake most often."""
_WRONG = {
    Port.CLIENTS: "is a port for clients; a leaf dials the one for leaves",
    Port.SERVERS: "is a port on which the servers of a cluster meet; a leaf dials the one for leaves",
    Port.SILENT: "is no port of a nats-server: what answers there does not greet as one",
}


@dataclass(frozen=True, slots=True)
class Hub:
    """The address that a leaf dials. `field` and `said`: the option or setting that named it, and its words."""

    host: str
    port: int
    field: str
    said: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def hub_of(said: str, field: str, bus: BusConfig) -> Hub:
    """The hub that is meant by `HOST` or `HOST:PORT`; without a port, `bus.leaf_port`.

    Raises InvalidInput for what is no address, for another scheme than tls, and for the port of clients.
    """
    remedy = f"Write HOST, or HOST:{bus.leaf_port}: a name, or an IPv4 address."
    try:
        parts = urlsplit(said if "//" in said else f"//{said}")
        host, port = parts.hostname, bus.leaf_port if parts.port is None else parts.port
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    plain = not (parts.path.strip("/") or parts.query or "@" in parts.netloc) and len(said.split()) == 1
    if host is None or not is_host(host) or port == 0 or not plain:
        raise InvalidInput(field, said, "not the address of a hub", remedy)
    if parts.scheme not in ("", "tls"):
        raise InvalidInput(field, said, "a leaf dials with TLS, and in no other way", remedy)
    hub = Hub(host, port, field, said)
    if port in (bus.port, _CLIENT_PORT) and port != bus.leaf_port:
        raise wrong_port(hub, Port.CLIENTS, bus)
    return hub


async def look(hub: Hub, bus: BusConfig) -> Port:
    """The port that answers there: that of leaves, or nobody. Raises InvalidInput, with the reason, for another."""
    kind = await who_answers(hub.host, hub.port)
    if kind in _WRONG:
        raise wrong_port(hub, kind, bus)
    return kind


def wrong_port(hub: Hub, kind: Port, bus: BusConfig) -> InvalidInput:
    """The refusal of a hub's address."""
    remedy = f"Write {hub.host}:{bus.leaf_port}, or without a port (leaf_port under [bus] in the hub's org.toml)."
    return InvalidInput(hub.field, hub.said, f"{hub} {_WRONG[kind]}", remedy)


def leaf_config(home: Home, org: Org, gateways: Sequence[str], hub: Hub, port: int, ca_file: Path) -> str:
    """The configuration of the leaf's nats-server. `port`: where it listens on the loopback.

    A lost link is dialled again every five seconds, no sooner, since a hub that has revoked us is not to be asked more
    often. A silent link is given up after 20 to 30 s, so a cut of ten seconds needs no new link and keeps the order.
    Raises InvalidInput, NotFound for missing credentials, Refused if there is no gateway: a server
    without users would let everybody in.
    """
    if not gateways:
        raise Refused("none of this machine's gateways is in org.toml any more", "Invite it anew: `clawbus invite`.")
    accounts = "\n".join(_account(home, org, gateway, gateways) for gateway in gateways)
    remotes = "\n".join(_remote(home, org, gateway, hub, ca_file) for gateway in gateways)
    return f"""\
# Written by `clawbus leaf`: changes made here are lost.
# The hub keeps one link of a server of this name and its account.
server_name: {quoted("company", f"{org.company}-leaf-{'-'.join(gateways)}")}
listen: {quoted("listen", f"{LOOPBACK}:{port}")}
log_file: {quoted("folder", str(log_file(home)))}
logfile_size_limit: 16MB
max_payload: {MAX_PAYLOAD_BYTES}
max_control_line: 1MB
ping_interval: "10s"
ping_max: 2
accounts {{
{accounts}
}}
leafnodes {{
  reconnect: "5s"
  remotes: [
{remotes}
  ]
}}
"""


def log_file(home: Home) -> Path:
    """The leaf's log."""
    return home.log("leaf")


def _account(home: Home, org: Org, gateway: str, gateways: Sequence[str]) -> str:
    """An account with one user. What the hub would forbid in silence, the leaf forbids in words.

    The gateways of one leaf see here who is there in the others: the hub tells no leaf what it has heard from it.
    """
    key_name = f"gw-{gateway}"
    may = allowed(org, grants(org)[key_name])
    user = User(credentials(home, org, key_name).public_key, may.publish, may.subscribe)
    shown = [f"{{stream: {seen}}}" for seen in _presence(org, gateway)]
    others = [(f"gw-{other}", seen) for other in gateways if other != gateway for seen in _presence(org, other)]
    heard = [f"{{stream: {{account: {quoted('gateway', other)}, subject: {seen}}}}}" for other, seen in others]
    return (
        f"  {quoted('gateway', key_name)}: {{\n    users: [ {user_line(user)} ]\n"
        f"    exports: [ {', '.join(shown)} ]\n    imports: [ {', '.join(heard)} ]\n  }}"
    )


def _presence(org: Org, gateway: str) -> list[str]:
    subjects = Subjects(org.company)
    return [quoted("agent", subjects.presence(agent.id)) for agent in org.agents_of(gateway)]


def _remote(home: Home, org: Org, gateway: str, hub: Hub, ca_file: Path) -> str:
    """The link of one gateway. The hub's other addresses, which it may announce, are not in its certificate."""
    creds = credentials(home, org, f"gw-{gateway}").creds_file
    words = {
        "url": quoted(hub.field, f"tls://{hub}"),
        "account": quoted("gateway", f"gw-{gateway}"),
        "credentials": quoted("folder", str(creds)),
        "ignore_discovered_servers": "true",
        "tls": f'{{ ca_file: {quoted("folder", str(ca_file))}, min_version: "1.3", timeout: 5 }}',
    }
    return "    { " + ", ".join(f"{key}: {value}" for key, value in words.items()) + " }"
