"""What `check` says of the files that `[source.ID]` names: papers, trust list, password. No network."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.opcua.expiry import days_left, expiry_word
from connectors.opcua.security_settings import Security, User
from mines.errors import Problem

if TYPE_CHECKING:
    from mines.site.source_table import SourceTable

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_LONGEST_PASSWORD: Final = 1024


def read_password(file: Path) -> str:
    """The password in a file: its first line.

    Raises:
        PaperFault: the file cannot be read, or others than its owner may read it.
    """
    from connectors.opcua.certificates import PaperFault

    try:
        if file.stat().st_mode & _OTHERS:
            raise PaperFault("password file open to others")
        text = file.read_bytes()[:_LONGEST_PASSWORD].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PaperFault("password file unreadable") from error
    return text.splitlines()[0] if text else ""


def paper_problems(table: SourceTable, security: Security | None, user: User | None) -> list[Problem]:
    """What is wrong with the files that a source names. Nothing is looked at where the site's folder is unknown."""
    if table.folder is None:
        return []
    problems = _own_problems(table, security) if security is not None else []
    if user is not None and user.password_file is not None:
        problems += _open_problems(table, [("password_file", user.password_file)])
    if user is not None and user.certificate is not None and user.key is not None:
        problems += _papers_problems(table, ("user_certificate", user.certificate), ("user_key", user.key))
    return problems


def _own_problems(table: SourceTable, security: Security) -> list[Problem]:
    from connectors.opcua.certificates import PaperFault, read_papers, uris_of
    from connectors.opcua.trust import read_trust

    problems = _papers_problems(table, ("certificate", security.certificate), ("key", security.key))
    if not problems and not uris_of(read_papers(security.certificate, security.key).certificate):
        problems.append(_problem(table, "certificate", "has no ApplicationURI", "a certificate for OPC UA"))
    try:
        read_trust(security.trust)
    except PaperFault:
        expected = "certificates and CRLs, PEM or DER"
        problems.append(_problem(table, "trust", "a file in it is missing or cannot be read", expected))
    return problems


def _papers_problems(table: SourceTable, certificate: tuple[str, Path], key: tuple[str, Path]) -> list[Problem]:
    from connectors.opcua.certificates import PaperFault, read_papers

    if problems := _open_problems(table, [key]):
        return problems
    try:
        read_papers(certificate[1], key[1])
    except PaperFault as fault:
        word = str(fault).removeprefix("own ")
        of_key = word.startswith("key")
        expected = "an RSA key of 2048 bits or more, PEM or DER" if of_key else "a certificate, PEM or DER"
        return [_problem(table, key[0] if of_key else certificate[0], word, expected)]
    return []


def _open_problems(table: SourceTable, files: Iterable[tuple[str, Path]]) -> list[Problem]:
    problems = []
    for key, file in files:
        try:
            if file.stat().st_mode & _OTHERS:
                what = f"{file.name} is open to others than its owner"
                problems.append(_problem(table, key, what, f"chmod 600 {file.name}"))
        except OSError as error:
            problems.append(_problem(table, key, f"{file.name}: {error.strerror}", "a file that this user may read"))
    return problems


def paper_warnings(table: SourceTable, security: Security | None, user: User | None, now_ms: int) -> list[Problem]:
    """What an engineer should know of a source whose settings are right: papers that end, a password in clear.

    Args:
        table: As written in site.toml.
        security: Of the table's settings.
        user: Likewise.
        now_ms: [ms UTC].
    """
    warnings = []
    if user is not None and user.allow_clear_password:
        what = "the password may go over the network in clear"
        warnings.append(_problem(table, "allow_clear_password", what, "an encrypted channel"))
    if table.folder is None:
        return warnings
    if security is not None:
        warnings += _ending(table, "certificate", [security.certificate], now_ms)
        warnings += _ending(table, "trust", security.trust, now_ms)
    if user is not None and user.certificate is not None:
        warnings += _ending(table, "user_certificate", [user.certificate], now_ms)
    return warnings


def _ending(table: SourceTable, key: str, files: Sequence[Path], now_ms: int) -> list[Problem]:
    from connectors.opcua.certificates import PaperFault, ends_ms
    from connectors.opcua.trust import read_trust

    try:
        certificates = read_trust(files).certificates
    except PaperFault:
        return []  # an error already
    warnings = []
    for certificate in certificates:
        days = days_left(ends_ms(certificate), now_ms)
        if expiry_word("", days):
            name, until = certificate.subject.rfc4514_string(), certificate.not_valid_after_utc.date().isoformat()
            what = f"{name} ends on {until}, in {days} days" if days >= 0 else f"{name} ended on {until}"
            warnings.append(_problem(table, key, what, "a certificate that lasts longer"))
    return warnings


def _problem(table: SourceTable, key: str, what: str, expected: str) -> Problem:
    return Problem(table.file, table.line(key), f"source.{table.id}.{key}", what, expected)
