"""Keys, certificates, an authority and its CRLs for tests of OPC UA security. RSA keys are made once: that is slow."""

from __future__ import annotations

import functools
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from connectors.opcua.certificates import Papers, make_certificate

SERVER_URI = "urn:mine:fan:server"
OUR_URI = "urn:mine:box:minewatch"
DAY_MS = 86_400_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@functools.cache
def key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key a name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def authority(name: str = "mine CA") -> Papers:
    """Who signs certificates."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key(name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1000))
        .not_valid_after(now + timedelta(days=1000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    )
    return Papers(builder.sign(key(name), hashes.SHA256()), key(name))


def server_papers(
    *, uri: str = SERVER_URI, since_days: float = 0, days: int = 365, issuer: Papers | None = None, bits: int = 2048
) -> Papers:
    """A server's certificate, made `since_days` from now (negative: before) and valid for `days`."""
    made_ms = now_ms() + round(since_days * DAY_MS)
    return make_certificate(
        key("server", bits), uri=uri, name="fan", hosts=["127.0.0.1"], now_ms=made_ms, days=days, issuer=issuer
    )


@functools.cache
def our_papers(days: int = 365) -> Papers:
    return make_certificate(key("ours"), uri=OUR_URI, name="minewatch", hosts=["box"], now_ms=now_ms(), days=days)


def crl(issuer: Papers, *revoked: Papers) -> bytes:
    """PEM of a CRL of an authority."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - timedelta(days=1))
        .next_update(now + timedelta(days=30))
    )
    for papers in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(papers.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(now - timedelta(hours=1)).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def write(folder: Path, name: str, data: bytes) -> Path:
    """A file that only its owner may read."""
    file = folder / name
    file.write_bytes(data)
    file.chmod(0o600)
    return file
