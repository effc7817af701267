"""TLS of the company's own server: on whenever others than this machine can reach it. Nothing turns it off.

The same authority and certificate serve the bus, the leaves' port and `clawbus join`.
"""

from __future__ import annotations

from pathlib import Path

from clawbus.org import Org
from clawbus.provision.ports import LOOPBACK
from clawbus.settings import Home, write_secret


def ca_file(home: Home) -> Path:
    """The authority's certificate: what a client of this company's server trusts, and nothing else."""
    return home.root / "tls" / "ca.pem"


def certificate_file(home: Home) -> Path:
    """The server's certificate and its key, in one file."""
    return home.root / "tls" / "server.pem"


def prepare(home: Home, org: Org) -> bool:
    """Make what is missing or ends soon. Returns True if the server has a new certificate to read."""
    from clawbus.provision import ca  # it loads cryptography's X.509, which clients of the server do not need

    folder = home.dir("tls")
    authority = ca.authority(folder / "authority.pem", org.company)
    if not ca_file(home).exists() or ca_file(home).read_text() != authority.pem:
        write_secret(ca_file(home), authority.pem)
    names = dict.fromkeys([*org.bus.dialled, org.bus.local_host, LOOPBACK, "localhost"])
    return ca.certify(certificate_file(home), authority, [*names])


FOR_OUR_CLIENTS, FOR_LEAVES = "500ms", "auto"
"""The time that a listener waits for TLS before it greets in the clear. Our clients begin with TLS, and one that comes
later is turned away: with `auto`, 50 ms, a busy machine's were. Leaves wait for the greeting."""


def server_block(home: Home, org: Org, first: str = FOR_OUR_CLIENTS) -> str:
    """The `tls` block for a listener of nats-server that others can reach, made ready; empty on the loopback.

    docs.nats.io, "Enabling TLS". Our own clients begin with TLS, so that nobody in between can talk them out of it; the
    others, which wait for the greeting, get it after `first`. Raises InvalidInput for an authority that cannot be read.
    """
    if not org.bus.shared:
        return ""
    prepare(home, org)
    file = certificate_file(home)
    settings = (f'handshake_first: "{first}"', 'min_version: "1.3"', "timeout: 5")
    lines = [f'cert_file: "{file}"', f'key_file: "{file}"', *settings]
    return "tls {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def trusted(home: Home, org: Org) -> Path | None:
    """The authority that a client on the company's own machine trusts; None where there is no TLS of ours."""
    return ca_file(home) if org.bus.url is None and org.bus.shared else None
