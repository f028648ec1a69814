"""What a server's endpoint and its certificate say, in words for whoever has to trust it. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.opcua.certificates import SMALLEST_KEY_BITS, certificates_in, fingerprint, names_host, uris_of
from connectors.opcua.security_settings import POLICIES

_DAY_MS: Final = 86_400_000
_ENDS_SOON_DAYS: Final = 60  # the first of the alarms before a certificate ends


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way into a server, as it describes it."""

    url: str
    policy: str  # a word of POLICIES as `security` takes it; one that is not spoken as its URI ends
    mode: str  # None, Sign, SignAndEncrypt
    level: int  # the server's own ranking, higher is more secure
    users: tuple[str, ...]  # anonymous, user, certificate, issued token
    application_uri: str
    application_name: str
    product_uri: str
    certificate: bytes  # DER, perhaps a chain; empty = none

    @property
    def open_to_anybody(self) -> bool:
        """True where neither papers nor a password are needed."""
        return self.policy == "none" and "anonymous" in self.users

    def to_json(self, host: str, now_ms: int) -> dict[str, Any]:
        """As it stands in `probe opcua --json`; `host` is the one that was dialled."""
        return {
            "url": self.url,
            "policy": self.policy,
            "mode": self.mode,
            "level": self.level,
            "users": list(self.users),
            "spoken": self.policy in POLICIES,
            "certificate": certificate_facts(self.certificate, self.application_uri, host, now_ms),
            "hints": _host_hints(self.url, host),
        }


def policy_word(uri: str) -> str:
    """The policy of a URI, as `security` in site.toml takes it."""
    last = uri.rpartition("#")[2]
    return "none" if last == "None" else last.replace("_", "")


def certificate_facts(der: bytes, application_uri: str, host: str, now_ms: int) -> dict[str, Any] | None:
    """What a server's certificate says and what is wrong with it; None where there is none.

    Args:
        der: As the endpoint presents it.
        application_uri: By which the server describes itself.
        host: By which it was dialled.
        now_ms: The box's time [ms UTC].
    """
    if not der:
        return None
    try:
        certificate = certificates_in(der)[0]
        key = certificate.public_key()
    except (ValueError, IndexError, UnsupportedAlgorithm):
        return {"problems": ["certificate unreadable"]}
    bits = key.key_size if isinstance(key, rsa.RSAPublicKey) else 0
    uris = uris_of(certificate)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "valid_from": certificate.not_valid_before_utc.isoformat(),
        "valid_to": certificate.not_valid_after_utc.isoformat(),
        "sha256": fingerprint(certificate),
        "uri": uris[0] if uris else None,
        "key_bits": bits,
        "self_signed": certificate.subject == certificate.issuer,
        "problems": _problems(certificate, bits, application_uri, host, now_ms),
    }


def _problems(certificate: x509.Certificate, bits: int, uri: str, host: str, now_ms: int) -> list[str]:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    left_ms = int(certificate.not_valid_after_utc.timestamp() * 1000) - now_ms
    found = []
    if now < certificate.not_valid_before_utc:
        found.append("certificate not yet valid")
    if left_ms < 0:
        found.append("certificate expired")
    elif left_ms < _ENDS_SOON_DAYS * _DAY_MS:
        found.append(f"certificate ends in {left_ms // _DAY_MS} days")
    if bits < SMALLEST_KEY_BITS:
        found.append("certificate key too small")
    if uri not in uris_of(certificate):
        found.append("certificate wrong URI")
    if not names_host(certificate, host):
        found.append("certificate does not name this host")
    return found


def _host_hints(url: str, host: str) -> list[str]:
    """F60: servers often describe themselves by a name that the box's network does not know."""
    named = urlsplit(url).hostname or ""
    return [] if named.lower() == host.lower() else [f"endpoint names host {named}, reached as {host}"]
