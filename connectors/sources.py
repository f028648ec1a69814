"""From `[source.ID]` tables to sources: a match on kind, and all settings errors joined."""

from __future__ import annotations

from collections.abc import Sequence

from mines.clock import Clock
from mines.errors import ConfigError, Problem
from mines.model import Point
from mines.site.site_file import Site, SourceTable
from mines.source import FrameTap, Source

KINDS = ("modbus_tcp", "opcua")


def check_sources(site: Site) -> list[Problem]:
    """Every problem of the sources' settings and of their points' addresses. No network."""
    problems: list[Problem] = []
    for table in site.sources:
        problems += _check(table, site.points_of(table.id))
    return problems + _shared_lines(site)


def build_sources(site: Site, clock: Clock, tap: FrameTap | None = None) -> list[Source]:
    """The site's sources in its order; nothing connects before a stream begins.

    Raises:
        ConfigError: settings or addresses are wrong; all of them at once.
    """
    problems = check_sources(site)
    if problems:
        raise ConfigError(problems)
    return [_build(table, site.points_of(table.id), clock, tap) for table in site.sources]


def _shared_lines(site: Site) -> list[Problem]:
    """Two sources on one line would poll a device's one connection twice and isolate nothing: one line, one source."""
    first: dict[tuple[object, object], str] = {}
    problems = []
    for table in site.sources:
        if table.kind != "modbus_tcp" or "host" not in table.settings:
            continue
        line = (table.settings["host"], table.settings.get("port", 502))
        owner = first.setdefault(line, table.id)
        if owner != table.id:
            key, what = f"source.{table.id}.port", f"{line[0]}:{line[1]} is the line of source {owner} already"
            problems.append(
                Problem(table.file, table.line("port"), key, what, "one source a line, its units in points")
            )
    return problems


def _check(table: SourceTable, points: Sequence[Point]) -> list[Problem]:
    match table.kind:
        case "modbus_tcp":
            from connectors.modbus.settings import read_settings

            return read_settings(table, points)[1]
        case "opcua":
            from connectors.opcua.settings import read_settings as read_opcua_settings

            return read_opcua_settings(table, points)[1]
        case other:
            expected = "one of " + ", ".join(KINDS)
            return [Problem(table.file, table.line("kind"), f"source.{table.id}.kind", f"{other!r}", expected)]


def _build(table: SourceTable, points: Sequence[Point], clock: Clock, tap: FrameTap | None) -> Source:
    if table.kind == "modbus_tcp":
        from connectors.modbus.settings import read_settings
        from connectors.modbus.source import ModbusSource

        settings, _ = read_settings(table, points)
        assert settings is not None
        return ModbusSource(table.id, points, settings, clock, tap)
    from connectors.opcua.settings import read_settings as read_opcua_settings
    from connectors.opcua.source import OpcUaSource

    opcua_settings, _ = read_opcua_settings(table, points)
    assert opcua_settings is not None
    return OpcUaSource(table.id, points, opcua_settings, clock, tap)
