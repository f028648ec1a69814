"""`minewatch certificate`: makes the key and the certificate by which the box comes to one OPC UA server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mines.command_line import JsonOption, SitePath, open_site, print_json
from mines.errors import ConfigError, Problem

if TYPE_CHECKING:
    from connectors.opcua.security_settings import Security
    from mines.site.source_table import SourceTable

_NEEDED: Final = "[source.ID] of kind opcua with security, certificate and key"


def certificate(
    site: SitePath,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="ID of an OPC UA source.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 1825,
    renew: Annotated[bool, typer.Option("--renew", help="Replaces files that are there.")] = False,
    json: JsonOption = False,
) -> None:
    """Makes the box's key and self-signed certificate for a source, at the places that site.toml names."""
    from connectors.opcua.certificates import fingerprint, make_certificate, make_key
    from mines.clock import SystemClock

    opened = open_site(site, None)
    security = _security([table for table in opened.sources if table.id == source], source)
    if not renew and (there := [f for f in (security.certificate, security.key) if f.exists()]):
        raise _refusal(f"{there[0].name} is there already", "--renew, or no such file")
    host = os.uname().nodename
    uri = f"urn:{host}:minewatch:{opened.mine.id}"
    made = make_certificate(
        make_key(), uri=uri, name=f"minewatch {opened.mine.id}", hosts=[host], now_ms=SystemClock().wall_ms(), days=days
    )
    _replace(security.key, made.key_pem)
    _replace(security.certificate, made.pem)
    document = {
        "certificate": str(security.certificate),
        "key": str(security.key),
        "uri": uri,
        "sha256": fingerprint(made.certificate),
        "valid_until": made.certificate.not_valid_after_utc.isoformat(),
    }
    if json:
        print_json(document)
        return
    print(f"{security.certificate}: {uri}, {document['valid_until'][:10]}, SHA-256 {document['sha256']}")
    print("请在服务器上信任此证书 / let the server trust this certificate")


def _security(tables: list[SourceTable], source: str) -> Security:
    from connectors.opcua.security_settings import SecurityReader

    problems: list[Problem] = []
    if not tables or tables[0].kind != "opcua":
        raise _refusal(f"source {source} is no OPC UA source of this site", _NEEDED)
    security = SecurityReader(tables[0], problems).security()
    if problems:
        raise ConfigError(problems)
    if security is None:
        raise _refusal(f"source {source} has no security", _NEEDED)
    return security


def _refusal(what: str, expected: str) -> ConfigError:
    return ConfigError([Problem("certificate", 0, "SOURCE", what, expected)])


def _replace(file: Path, data: bytes) -> None:
    """Whole or not at all, and never for a moment readable by others than its owner."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def add_certificate_command(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(certificate)
