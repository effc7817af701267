"""The bus over TLS: nothing is said to a server that does not prove who it is, or that asks for no encryption."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clawbus.bus import Bus
from clawbus.bus.identity import load_or_create
from clawbus.errors import BusAway
from clawbus.provision import ca

INFO = b'INFO {"server_id":"x","version":"2.15.1","proto":1,"headers":true,"max_payload":1048576,"nonce":"abc","auth_required":true%s}\r\n'


@dataclass
class Impostor:
    """What greets as a nats-server does, and keeps what it hears in the clear."""

    asks_for_tls: bool
    heard: bytes = b""
    calls: int = 0
    port: int = 0
    certificate: ssl.SSLContext | None = field(default=None, repr=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        writer.write(INFO % (b',"tls_required":true' if self.asks_for_tls else b""))
        if self.certificate is not None:
            try:
                await writer.start_tls(self.certificate)
            except (ssl.SSLError, OSError):
                writer.close()
                return
        self.heard += await reader.read(4096)
        writer.close()


@pytest.fixture(params=[True, False], ids=["with-tls", "without-tls"])
async def impostor(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Impostor]:
    found = Impostor(asks_for_tls=request.param)
    if found.asks_for_tls:
        ca.certify(tmp_path / "server.pem", ca.authority(tmp_path / "theirs.pem", "acme"), ["127.0.0.1"])
        found.certificate = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        found.certificate.load_cert_chain(tmp_path / "server.pem")
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


@pytest.mark.parametrize("ours", [True, False], ids=["own-authority", "system-authorities"])
async def test_an_impostor_hears_nothing(impostor: Impostor, ours: bool, tmp_path: Path) -> None:
    """Neither credentials nor messages: not to another authority's server, and not to one that forgoes TLS."""
    trusted = None
    if ours:
        trusted = tmp_path / "ca.pem"
        trusted.write_text(ca.authority(tmp_path / "authority.pem", "acme").pem)
    me = load_or_create("gw-lab", tmp_path / "gw-lab.nk")
    with pytest.raises(BusAway):
        async with Bus.connect(f"tls://127.0.0.1:{impostor.port}", me, "test", 1.5, ca_file=trusted):
            pass
    assert impostor.calls > 0
    assert impostor.heard[:1] in (b"", b"\x16")  # nothing, or the beginning of a TLS handshake (RFC 8446, 5.1)
    assert b"CONNECT" not in impostor.heard
