"""Whether a server's certificate is to be believed: an explicit trust list, a pin, validity, revocation, its URI.

Nothing is trusted because it came over the wire, and there is no trust on first use. Time is an argument.
Source: OPC UA Part 4, 6.1.3 (steps of certificate validation).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.opcua.certificates import SMALLEST_KEY_BITS, PaperFault, certificates_in, fingerprint, uris_of

_SUFFIXES: Final = frozenset({".pem", ".der", ".crt", ".cer", ".crl"})
_LONGEST_CHAIN: Final = 6


@dataclass(frozen=True, slots=True)
class Trust:
    """What the engineer has put into the trust list: certificates of servers or of those who sign them, and CRLs."""

    certificates: tuple[x509.Certificate, ...] = ()
    revocations: tuple[x509.CertificateRevocationList, ...] = ()


def read_trust(places: Sequence[Path]) -> Trust:
    """The trust list out of files and folders; of a folder every .pem, .der, .crt, .cer and .crl.

    Raises:
        PaperFault: one of them cannot be read: a revocation that is not seen must not pass for none.
    """
    certificates: list[x509.Certificate] = []
    revocations: list[x509.CertificateRevocationList] = []
    for file in _files(places):
        try:
            data = file.read_bytes()
            if (crl := _revocations_in(data)) is not None:
                revocations.append(crl)
            else:
                certificates += certificates_in(data)
        except (OSError, ValueError) as error:
            raise PaperFault("trust list unreadable") from error
    return Trust(tuple(certificates), tuple(revocations))


def _files(places: Iterable[Path]) -> list[Path]:
    try:
        return [
            file
            for place in places
            for file in (
                sorted(f for f in place.iterdir() if f.suffix.lower() in _SUFFIXES) if place.is_dir() else [place]
            )
        ]
    except OSError as error:
        raise PaperFault("trust list unreadable") from error


def _revocations_in(data: bytes) -> x509.CertificateRevocationList | None:
    if b"BEGIN X509 CRL" in data:
        return x509.load_pem_x509_crl(data)
    if data.lstrip().startswith(b"-----BEGIN"):
        return None
    try:
        return x509.load_der_x509_crl(data)
    except ValueError:
        return None


def judge(presented: bytes, trust: Trust | None, *, pin: str, uri: str, now_ms: int) -> x509.Certificate:
    """The server's certificate, once everything about it is right.

    Args:
        presented: The certificate, perhaps followed by those who signed it (DER).
        trust: It, or one who signed it, must be in this list; None = the pin alone decides.
        pin: It must have this SHA-256 fingerprint; "" = any.
        uri: ApplicationURI by which the server describes itself.
        now_ms: The box's time [ms UTC].
    Raises:
        PaperFault: its message is the word for what is wrong.
    """
    try:
        chain = certificates_in(presented)
        certificate = chain[0]
        key = certificate.public_key()
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise PaperFault("certificate unreadable") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_KEY_BITS:
        raise PaperFault("certificate key too small")
    if pin and fingerprint(certificate) != pin:
        raise PaperFault("certificate not the pinned one")
    path = [certificate]
    if trust is not None:
        path = _path(certificate, trust, chain[1:])
        for link in path:
            if _revoked(link, trust, [*chain, *trust.certificates]):
                raise PaperFault("certificate revoked")
    _require_valid(certificate, now_ms, "certificate")
    for issuer in path[1:]:
        _require_valid(issuer, now_ms, "issuer certificate")
    if uri not in uris_of(certificate):
        raise PaperFault("certificate wrong URI")
    return certificate


def _path(certificate: x509.Certificate, trust: Trust, presented: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """From the certificate up to one in the trust list."""
    path = [certificate]
    while path[-1] not in trust.certificates:
        known = [c for c in (*trust.certificates, *presented) if c not in path and _signs(c, path[-1])]
        if not known or len(path) == _LONGEST_CHAIN:
            raise PaperFault("certificate untrusted")
        path.append(known[0])
    return path


def _signs(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer or not _may_sign(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign(issuer: x509.Certificate) -> bool:
    try:
        return bool(issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _revoked(certificate: x509.Certificate, trust: Trust, known: Sequence[x509.Certificate]) -> bool:
    """Whether a CRL of the certificate's issuer names it; a CRL whose signature does not hold counts for nothing."""
    for crl in trust.revocations:
        if crl.issuer != certificate.issuer:
            continue
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None:
            continue
        issuers = [c for c in known if c.subject == crl.issuer]
        if not issuers or any(_signed_crl(issuer, crl) for issuer in issuers):
            return True
    return False


def _signed_crl(issuer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    key = issuer.public_key()
    return isinstance(key, rsa.RSAPublicKey) and crl.is_signature_valid(key)


def _require_valid(certificate: x509.Certificate, now_ms: int, whose: str) -> None:
    """The words hold the box's own date: where that is wrong, the certificate is not to blame, and a person sees it."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    if now < certificate.not_valid_before_utc:
        since = certificate.not_valid_before_utc.date().isoformat()
        raise PaperFault(f"{whose} not yet valid: {since} > {now.date().isoformat()}")
    if now > certificate.not_valid_after_utc:
        until = certificate.not_valid_after_utc.date().isoformat()
        raise PaperFault(f"{whose} expired: {until} < {now.date().isoformat()}")
