"""What stands in the certificate files that a source names: subject, fingerprint, end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Paper:
    """A certificate of a source. `whose`: own, ca, trust or pin; `fault` says why a file could not be read."""

    whose: str
    file: str
    subject: str = ""
    sha256: str = ""
    ends_ms: int | None = None
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the document."""
        return {name: getattr(self, name) for name in Paper.__slots__}


def read_paper(whose: str, file: Path) -> Iterator[Paper]:
    """The certificates in a file, or in each file of a folder; one with a fault in place of what is none."""
    if file.is_dir():
        for inner in sorted(file.iterdir()):
            if inner.is_file():
                yield from read_paper(whose, inner)
        return
    from connectors.opcua.certificates import certificates_in, ends_ms, fingerprint

    try:
        certificates = certificates_in(file.read_bytes())
    except (OSError, ValueError):
        yield Paper(whose, file.name, fault="unreadable")
        return
    for certificate in certificates:
        subject = certificate.subject.rfc4514_string()
        yield Paper(whose, file.name, subject, fingerprint(certificate), ends_ms(certificate))
