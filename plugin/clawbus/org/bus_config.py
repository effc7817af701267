"""The bus's addresses and ports, and the life of credentials: the table `[bus]` of an org.toml."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from clawbus.org.duration import Seconds
from clawbus.org.members import Part, Port

_LAST_PORT = 65535
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what an org.toml may say, never a default
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def _url(value: str) -> str:
    if "@" in value:  # org.toml travels to every machine, and where the server is stands in messages and logs
        raise ValueError(
            "holds a name or a password; org.toml is no place for one. Write it without: the server's configuration "
            "names our public keys."
        )
    try:
        parts = urlsplit(value if "//" in value else f"//{value}")
        right = bool(parts.hostname) and parts.port != 0 and len(value.split()) == 1
    except ValueError:
        right = False
    if not right:
        raise ValueError("not the address of a nats-server. Write it as nats://HOST:PORT.")
    return value


def _listen(value: str) -> str:
    try:
        found = ipaddress.IPv4Address(value)
        if str(found) != EVERYWHERE and (found.is_multicast or found.is_reserved or found.is_unspecified):
            raise ValueError("nobody has it")
        return str(found)
    except ValueError:
        raise ValueError(
            f'not an IPv4 address. Write the one of this machine that others dial, or "{EVERYWHERE}" for all it has.'
        ) from None


def is_host(text: str) -> bool:
    """True if a text can be the name or the IPv4 address of a machine that others dial."""
    return bool(_HOST.fullmatch(text)) and text != EVERYWHERE


def _host(value: str) -> str:
    if not is_host(value):
        raise ValueError("not the name or address of a machine. Write it without port, in lower case: hub.example.")
    return value


class BusConfig(Part):
    """`port`: our own nats-server. `url`: somebody else's, which `clawbus up` does not start.

    `listen`: where our own server, the one for `clawbus join` and the one for leaves listen; TLS on all three unless
    that is the loopback. `hosts`: by which names and addresses other machines dial it, the first one in invites.
    """

    port: Port = 4222
    credentials_s: Annotated[Seconds, Field(alias="credentials", ge=10, le=365 * 86_400)] = 7 * 86_400
    """The life of credentials. They are renewed at half of it: a week, so that a laptop comes back after holidays
    of three days without anybody's help, and a copied file ends. That of a machine that has joined the registrar renews
    for whoever shows it, until it is revoked (docs/security.md)."""
    url: Annotated[str, AfterValidator(_url)] | None = None
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1"
    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = ()
    join_port: Port | None = None
    """The port that `clawbus join CODE` calls, only while an invite is open; the port after `port` if it is not set."""
    leaf_port: Port = 7422

    @property
    def shared(self) -> bool:
        """True if other machines can reach our own server."""
        return not ipaddress.ip_address(self.listen).is_loopback

    @property
    def local_host(self) -> str:
        """The address at which this machine itself reaches our own server."""
        return "127.0.0.1" if self.listen == EVERYWHERE else self.listen

    @property
    def enrol_port(self) -> int:
        return self.join_port or (self.port + 1 if self.port < _LAST_PORT else self.port - 1)

    @property
    def dialled(self) -> tuple[str, ...]:
        """The names and addresses of our own server for other machines; nothing on the loopback."""
        return (self.hosts or (self.listen,)) if self.shared else ()


def is_loopback(host: str) -> bool:
    """True if a name or address means this machine alone, without asking a name server."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
