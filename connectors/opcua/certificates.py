"""Certificates of OPC UA applications: make our own, read files, say what is in them. Time is an argument.

Source: OPC UA Part 6, 6.2.2 (what an application instance certificate holds).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mines.errors import SourceError

SMALLEST_KEY_BITS: Final = 2048
"""Of every policy that this program speaks. Source: OPC UA Part 7, profiles of the three policies."""
_CLOCK_MARGIN: Final = timedelta(hours=1)  # project default: a server whose clock is a little behind accepts it at once


class PaperFault(SourceError):
    """A certificate, key, trust list or password that cannot be used; the message is a word of the link report."""


@dataclass(frozen=True, slots=True)
class Papers:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as a PEM file holds it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key as a PEM file holds it, without a passphrase: the file's mode is what protects it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def make_key(bits: int = SMALLEST_KEY_BITS) -> rsa.RSAPrivateKey:
    """A new RSA key. Takes a second or so."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_certificate(
    key: rsa.RSAPrivateKey,
    *,
    uri: str,
    name: str,
    hosts: Sequence[str],
    now_ms: int,
    days: int = 1825,
    issuer: Papers | None = None,
) -> Papers:
    """A certificate of an OPC UA client application, as the standard wants it.

    Args:
        key: Its private key.
        uri: The ApplicationURI, one of the subject's alternative names.
        name: Common name.
        hosts: Names or addresses of the machine it runs on.
        now_ms: When it is made [ms UTC]; it is valid from an hour before.
        days: How long it is valid [days]; the default of five years is this project's.
        issuer: Who signs it; None = it signs itself.
    """
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_MARGIN)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *map(_host, hosts)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_key_usage(self_signed=issuer is None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    return Papers(builder.sign(signer, hashes.SHA256()), key)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, self_signed: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=self_signed,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def read_papers(certificate: Path, key: Path, whose: str = "own") -> Papers:
    """A certificate and its key out of two files, PEM or DER whatever their names end in (libraries U7).

    Raises:
        PaperFault: a file is missing or no such thing, the key is no RSA key of its size or not the certificate's.
    """
    try:
        found = certificates_in(certificate.read_bytes())[0]
    except (OSError, ValueError, IndexError) as error:
        raise PaperFault(f"{whose} certificate unreadable") from error
    try:
        data = key.read_bytes()
        load = serialization.load_pem_private_key if _is_pem(data) else serialization.load_der_private_key
        private = load(data, password=None)
    except (OSError, ValueError, TypeError) as error:
        raise PaperFault(f"{whose} key unreadable") from error
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size < SMALLEST_KEY_BITS:
        raise PaperFault(f"{whose} key too small")
    if private.public_key() != found.public_key():
        raise PaperFault(f"{whose} key does not fit")
    return Papers(found, private)


def certificates_in(data: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM or DER blob, also where several stand one after the other, as servers present chains.

    Raises:
        ValueError: something in it is no certificate.
    """
    if _is_pem(data):
        return x509.load_pem_x509_certificates(data) if b"BEGIN CERTIFICATE" in data else []
    found = []
    while data:
        size = _der_size(data)
        found.append(x509.load_der_x509_certificate(data[:size]))
        data = data[size:]
    return found


def _is_pem(data: bytes) -> bool:
    return data.lstrip().startswith(b"-----BEGIN")


def _der_size(data: bytes) -> int:
    """Length of the DER element that data begin with, its header included."""
    if len(data) < 2 or data[0] != 0x30:
        raise ValueError("no DER sequence")
    if data[1] < 0x80:
        return 2 + data[1]
    width = data[1] & 0x7F
    return 2 + width + int.from_bytes(data[2 : 2 + width], "big")


def uris_of(certificate: x509.Certificate) -> list[str]:
    """The URIs among the subject's alternative names; an application's own is the first."""
    names = _alternative_names(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def names_host(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate names a host (or address) as the one its application runs on; case does not matter."""
    names = _alternative_names(certificate)
    if names is None:
        return False
    known: Iterable[str] = names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return host.lower() in {*(name.lower() for name in known), *addresses}


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def ends_ms(certificate: x509.Certificate) -> int:
    """When a certificate ceases to be valid [ms UTC]."""
    return int(certificate.not_valid_after_utc.timestamp()) * 1000


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the certificate, 64 hexadecimal digits: what `pin` takes."""
    return certificate.fingerprint(hashes.SHA256()).hex()
