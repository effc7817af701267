"""The company's own certificate authority: it vouches for one server, and its hash is what an invite pins.

Certificates are X.509 v3 as RFC 5280 has them, keys are P-256 (RFC 5480): what every TLS library takes. The authority
lasts ten years and stays on the company's own machine; the server's certificate lasts ninety days and is made anew
before it ends, and when the server's names change. Nobody has to be told of that: who trusts the authority trusts both.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clawbus.errors import InvalidInput
from clawbus.settings import write_secret

_AUTHORITY_LASTS = timedelta(days=3650)
_SERVER_LASTS = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
_CLOCKS_APART = timedelta(hours=1)
"""A certificate counts from so long before it was made: another machine's clock may be late."""


@dataclass(frozen=True)
class Signed:
    """A certificate and its private key, which lie in one file of mode 600."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate alone: what may be handed out."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write(self, file: Path) -> None:
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_secret(file, self.pem + private.decode())


def pin_of(pem: str) -> str:
    """The SHA-256 of a certificate in its DER form, in hex. Raises ValueError if the text holds none."""
    return hashlib.sha256(
        x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)
    ).hexdigest()


def authority(file: Path, company: str) -> Signed:
    """The authority kept in `file`; a new one if there is no such file. Raises InvalidInput if it holds none."""
    if not file.exists():
        _new_authority(company).write(file)
    return _read(file)


def certify(file: Path, by: Signed, names: Sequence[str], now: datetime | None = None) -> bool:
    """Have `file` hold a server's certificate for these names and addresses, signed by `by`.

    One that does and lasts is left as it is; whether it was made anew is returned. `now` is for tests.
    """
    now = now or datetime.now(UTC)
    try:
        present = _read(file)
    except (InvalidInput, FileNotFoundError):
        present = None
    if present is not None and _serves(present.certificate, by, names, now):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(names[0], by.certificate.subject, key.public_key(), now, _SERVER_LASTS)
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(uses, critical=False)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(identifier, critical=False)
        .sign(by.key, hashes.SHA256())
    )
    Signed(certificate, key).write(file)
    return True


def _new_authority(company: str) -> Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"clawbus {company}"
    builder = _builder(name, _called(name), key.public_key(), datetime.now(UTC), _AUTHORITY_LASTS)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Signed(certificate, key)


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_APART)
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # ub-common-name of RFC 5280


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _serves(present: x509.Certificate, by: Signed, names: Sequence[str], now: datetime) -> bool:
    """True if a certificate is this authority's, for these very names, and lasts for a while."""
    try:
        present.verify_directly_issued_by(by.certificate)
        names_in_it = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        return False  # another authority's, or none of ours: it is made anew
    return list(names_in_it) == _general(names) and now < present.not_valid_after_utc - RENEW_BEFORE


def _read(file: Path) -> Signed:
    data = file.read_bytes()
    try:
        certificate, key = x509.load_pem_x509_certificate(data), serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        remedy = f"Put it back from a backup. Without one: rm {file}, start again, and invite the other machines anew."
        raise InvalidInput("certificate file", str(file), "holds no certificate with its key", remedy)
    return Signed(certificate, key)
