"""From `[source.ID]` tables to sources: a match on kind, all settings errors joined, and what the lines will take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mines.clock import Clock
from mines.errors import ConfigError, Problem
from mines.model import Point
from mines.site.site_file import Site, SourceTable
from mines.site.source_table import SOURCE_KINDS
from mines.source import FrameTap, Source

if TYPE_CHECKING:
    from connectors.modbus.forecast import LineForecast


def check_sources(site: Site) -> list[Problem]:
    """Every problem of the sources' settings, of their points' addresses and of their cycles. No network."""
    problems: list[Problem] = []
    for table in site.sources:
        problems += _check(table, site.points_of(table.id))
    return problems + _shared_lines(site)


def warn_sources(site: Site, now_ms: int) -> list[Problem]:
    """What an engineer should know of sources whose settings are right, e.g. a certificate that ends soon. No network.

    Args:
        site: As read.
        now_ms: [ms UTC].
    """
    from connectors.opcua.settings import settings_warnings

    return [problem for table in site.sources if table.kind == "opcua" for problem in settings_warnings(table, now_ms)]


def forecast_lines(site: Site) -> list[LineForecast]:
    """Every period of every Modbus line that is polled, in the order of the sources; nothing of one with a problem."""
    from connectors.modbus.forecast_check import source_forecast
    from connectors.modbus.settings import read_settings

    lines: list[LineForecast] = []
    for table in site.sources:
        settings = None if table.kind == "opcua" else read_settings(table, site.points_of(table.id))[0]
        if settings is not None:
            lines += source_forecast(table.id, settings, site.points_of(table.id))[0]
    return lines


def build_sources(site: Site, clock: Clock, tap: FrameTap | None = None) -> list[Source]:
    """The site's sources in its order; nothing connects before a stream begins.

    A source polls its line only while no other program of this machine does: see `connectors/modbus/line_claim.py`.

    Raises:
        ConfigError: settings or addresses are wrong; all of them at once.
    """
    problems = check_sources(site)
    if problems:
        raise ConfigError(problems)
    return [_build(site, table, clock, tap) for table in site.sources]


def _shared_lines(site: Site) -> list[Problem]:
    """Two sources on one line would poll a device's one connection twice and isolate nothing: one line, one source."""
    from connectors.modbus.line_lock import line_names
    from connectors.modbus.transport import KINDS, read_transport

    first: dict[tuple[str, ...], str] = {}
    problems = []
    for table in site.sources:
        transport = read_transport(table)[0] if table.kind in KINDS else None
        if transport is None:
            continue
        owner = first.setdefault(line_names(transport, resolve=False), table.id)
        if owner != table.id:
            place = next(key for key in ("port", "device", "host") if key in table.settings)
            key, what = f"source.{table.id}.{place}", f"{transport.line} is the line of source {owner} already"
            problems.append(Problem(table.file, table.line(place), key, what, "one source a line, its units in points"))
    return problems


def _check(table: SourceTable, points: Sequence[Point]) -> list[Problem]:
    match table.kind:
        case "modbus_tcp" | "modbus_serial":
            from connectors.modbus.forecast_check import forecast_problems
            from connectors.modbus.settings import read_settings

            settings, problems = read_settings(table, points)
            return problems if settings is None else forecast_problems(table.id, settings, points)
        case "opcua":
            from connectors.opcua.settings import read_settings as read_opcua_settings

            return read_opcua_settings(table, points)[1]
        case other:
            expected = "one of " + ", ".join(SOURCE_KINDS)
            return [Problem(table.file, table.line("kind"), f"source.{table.id}.kind", f"{other!r}", expected)]


def _build(site: Site, table: SourceTable, clock: Clock, tap: FrameTap | None) -> Source:
    points = site.points_of(table.id)
    if table.kind != "opcua":
        from connectors.modbus.line_claim import LineClaim
        from connectors.modbus.settings import read_settings
        from connectors.modbus.source import ModbusSource

        settings, _ = read_settings(table, points)
        assert settings is not None
        claim = LineClaim(settings.transport, f"run {site.mine.id} {table.id}")
        if settings.transport.passive:
            from connectors.modbus.listening import ListeningSource

            listening = ListeningSource(table.id, points, settings, clock, tap)
            listening.claim = claim
            return listening
        source = ModbusSource(table.id, points, settings, clock, tap, place=site.sources.index(table))
        source.claim = claim
        return source
    from connectors.opcua.settings import read_settings as read_opcua_settings
    from connectors.opcua.source import OpcUaSource

    opcua_settings, _ = read_opcua_settings(table, points)
    assert opcua_settings is not None
    return OpcUaSource(table.id, points, opcua_settings, clock, tap)
