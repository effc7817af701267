"""The company's certificate authority: what it vouches for, when it does so anew, and what a real nats-server makes of it."""

from __future__ import annotations

import asyncio
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from clawbus.errors import InvalidInput
from clawbus.ops.enrol.registrar_process import Registrar
from clawbus.org import parse
from clawbus.org.bus_config import EVERYWHERE
from clawbus.provision import ca, tls
from clawbus.provision.server_reload import reread
from clawbus.settings import Home
from tests.company import duo_toml, free_ports, live, until

NAMES = ["hub.example", "10.1.2.3", "127.0.0.1", "localhost"]
ORG = parse(
    {
        "company": "acme",
        "bus": {"listen": EVERYWHERE, "hosts": ["hub.example"]},
        "gateways": [{"id": "hq", "kind": "program"}],
        "agents": [{"id": "ceo", "gateway": "hq"}],
    }
)


def serial(file: Path) -> int:
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def test_the_pin_is_the_hash_that_openssl_prints(tmp_path: Path) -> None:
    """SHA-256 over the certificate's DER form: a person can compare it with other tools."""
    authority = ca.authority(tmp_path / "authority.pem", "acme")
    der = ssl.PEM_cert_to_DER_cert(authority.pem)
    context = ssl.create_default_context(cadata=authority.pem)
    assert context.get_ca_certs(binary_form=True) == [der]
    assert ca.pin_of(authority.pem) == authority.certificate.fingerprint(SHA256()).hex()


def test_a_certificate_is_kept_until_it_ends_soon_or_its_names_change(tmp_path: Path) -> None:
    """A restart makes no new one; a month before the end, for other names, or under another authority there is one."""
    authority, file = ca.authority(tmp_path / "authority.pem", "acme"), tmp_path / "server.pem"
    assert ca.certify(file, authority, NAMES)
    first = serial(file)
    assert not ca.certify(file, authority, NAMES)
    assert ca.certify(file, authority, NAMES, now=datetime.now(UTC) + timedelta(days=61))
    assert serial(file) != first
    assert ca.certify(file, authority, ["other.example"])
    assert ca.certify(file, ca.authority(tmp_path / "another.pem", "acme"), ["other.example"])
    file.write_text("no certificate")
    assert ca.certify(file, authority, NAMES)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """Mode 600 for every file, 700 for the folder; what is handed out holds no private key."""
    home = Home(tmp_path / ".clawbus")
    assert "tls {" in tls.server_block(home, ORG)
    files = sorted((home.root / "tls").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((home.root / "tls").stat().st_mode) == 0o700
    assert "PRIVATE KEY" not in tls.ca_file(home).read_text()
    assert not tls.prepare(home, ORG)


def test_a_broken_authority_is_said_and_never_replaced_in_silence(tmp_path: Path) -> None:
    """A new one would shut out every machine that trusts the old one."""
    file = tmp_path / "authority.pem"
    ca.authority(file, "acme")
    file.write_text(file.read_text()[:-200])
    with pytest.raises(InvalidInput, match="holds no certificate with its key"):
        ca.authority(file, "acme")


def test_the_loopback_needs_no_tls(tmp_path: Path) -> None:
    org = ORG.model_copy(update={"bus": ORG.bus.model_copy(update={"listen": "127.0.0.1", "hosts": ()})})
    home = Home(tmp_path / ".clawbus")
    assert tls.server_block(home, org) == ""
    assert tls.trusted(home, org) is None
    assert not home.root.exists()


async def test_a_certificate_that_somebody_else_made_anew_is_read_too(tmp_path: Path) -> None:
    """`apply` and an invite look at it as well: what they have made anew the server must hear of, or it ends unread."""
    port, enrol, leaf = free_ports(3)
    toml = duo_toml([port, 0, 0]).replace("port = 0", 'kind = "program"')
    bus = f'port = {port}, join_port = {enrol}, leaf_port = {leaf}, listen = "{EVERYWHERE}", hosts = ["localhost"]'
    async with live(tmp_path, None, toml=toml.replace(f"bus.port = {port}", f"bus = {{ {bus} }}")) as company:
        file, trust = tls.certificate_file(company.home), str(tls.ca_file(company.home))
        file.unlink()
        assert tls.prepare(company.home, company.org)

        async def shown() -> bool:
            seen = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), ca_certs=trust)
            return x509.load_pem_x509_certificate(seen.encode()).serial_number == serial(file)

        assert not await shown()
        work = asyncio.create_task(Registrar(company.company).run())
        try:
            await until(shown, "the new certificate")
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def test_a_running_server_takes_a_new_certificate_without_losing_a_connection(tmp_path: Path) -> None:
    """What ends in a week is made anew; who connects then sees the new one, who was connected stays so."""
    port = free_ports(1)[0]
    toml = duo_toml([port, 0, 0]).replace("port = 0", 'kind = "program"')
    bus = f'bus = {{ port = {port}, listen = "{EVERYWHERE}", hosts = ["localhost"] }}'
    async with live(tmp_path, None, toml=toml.replace(f"bus.port = {port}", bus)) as company:
        home, where = company.home, ("127.0.0.1", port)
        authority, file = ca.authority(home.root / "tls" / "authority.pem", "acme"), tls.certificate_file(home)
        async with company.owner() as bus_of_owner:
            file.unlink()
            assert ca.certify(file, authority, ["127.0.0.1"], now=datetime.now(UTC) - timedelta(days=83))
            assert tls.prepare(home, company.org)
            assert reread(home)

            async def shown() -> bool:
                seen = await asyncio.to_thread(ssl.get_server_certificate, where, ca_certs=str(tls.ca_file(home)))
                return x509.load_pem_x509_certificate(seen.encode()).serial_number == serial(file)

            await until(shown, "the new certificate")
            lost: list[bool] = []
            bus_of_owner.on_reconnect.append(lambda: lost.append(True))
            await bus_of_owner.flush()
            assert not lost
