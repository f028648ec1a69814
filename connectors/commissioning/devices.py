"""How each source of a site is set up: line, plan, papers, and its devices with their points. Nothing connects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.commissioning.papers import Paper, read_paper
from connectors.modbus.address import parse_address
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.transport import TcpTransport
from mines.model import Point
from mines.site.site_file import Site, SourceTable


@dataclass(frozen=True, slots=True)
class Device:
    """One unit of a Modbus line, or an OPC UA server (`unit` None), with the points that it gives."""

    unit: int | None
    points: tuple[Point, ...]
    profile: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source: what it will be asked (`rows` as in `plan --json`), the papers it names, its devices."""

    id: str
    kind: str
    endpoint: str
    line: str
    passive: bool
    rows: tuple[Mapping[str, Any], ...]
    papers: tuple[Paper, ...]
    devices: tuple[Device, ...]


def source_plans(site: Site) -> tuple[SourcePlan, ...]:
    """Every source in the site's order; its settings are without a problem (`check_sources`)."""
    return tuple(
        _opcua(table, site.points_of(table.id)) if table.kind == "opcua" else _modbus(table, site.points_of(table.id))
        for table in site.sources
    )


def _modbus(table: SourceTable, points: Sequence[Point]) -> SourcePlan:
    from connectors.modbus.forecast_check import source_forecast
    from connectors.modbus.settings import read_settings

    settings, _ = read_settings(table, points)
    assert settings is not None
    transport = settings.transport
    rows = [
        {
            "units": list(line.units),
            "requests": line.requests,
            "registers": line.registers,
            "bridged": line.bridged,
            "period_ms": line.period_ms,
            "cycle_ms": line.cycle_ms,
        }
        for line in source_forecast(table.id, settings, points)[0]
    ]
    files = []
    if isinstance(transport, TcpTransport) and transport.tls is not None:
        files = [("ca", transport.tls.ca), ("own", transport.tls.certificate)]
    return SourcePlan(
        table.id,
        table.kind,
        transport.endpoint,
        transport.line,
        transport.passive,
        tuple(rows),
        _papers(files),
        tuple(_units(table, settings, points)),
    )


def _units(table: SourceTable, settings: ModbusSettings, points: Sequence[Point]) -> Iterator[Device]:
    by_unit: dict[int, list[Point]] = {}
    for point in points:
        by_unit.setdefault(parse_address(point.address).unit, []).append(point)
    own = table.settings.get("unit", {})
    for unit, members in sorted(by_unit.items()):
        found = settings.unit(unit)
        profile = own.get(str(unit), {}).get("profile", table.settings.get("profile", ""))
        yield Device(unit, tuple(members), str(profile), found.identity or {}, found.signature or {})


def _opcua(table: SourceTable, points: Sequence[Point]) -> SourcePlan:
    from connectors.opcua.forecast import server_forecast
    from connectors.opcua.settings import read_settings

    settings, _ = read_settings(table, points)
    assert settings is not None
    plan = server_forecast(table.id, settings, len(points)).to_json()
    files: list[tuple[str, Path | None]] = []
    pin = ""
    if settings.security is not None:
        files = [("own", settings.security.certificate), *(("trust", file) for file in settings.security.trust)]
        pin = settings.security.pin
    rows = {key: value for key, value in plan.items() if key not in ("source", "endpoint")}
    rows["security"] = "none" if settings.security is None else f"{settings.security.policy} {settings.security.mode}"
    papers = _papers(files) + ((Paper("pin", "", sha256=pin),) if pin else ())
    return SourcePlan(
        table.id, table.kind, settings.url, settings.url, False, (rows,), papers, (Device(None, tuple(points)),)
    )


def _papers(files: Sequence[tuple[str, Path | None]]) -> tuple[Paper, ...]:
    return tuple(paper for whose, file in files if file is not None for paper in read_paper(whose, file))
