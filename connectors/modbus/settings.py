"""`[source.ID]` of kind modbus_tcp: frozen settings, and every problem of the table and of its points. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.modbus.plan import MAX_BITS, MAX_REGISTERS, PlanLimits
from connectors.modbus.points import read_points
from mines.errors import Problem
from mines.model import Point
from mines.site.source_table import SourceTable

KIND = "modbus_tcp"


@dataclass(frozen=True, slots=True)
class ModbusSettings:
    """One device or gateway and how gently it is read. Defaults are project defaults."""

    host: str
    port: int = 502
    timeout_s: float = 1.0  # from request to whole reply
    connect_timeout_s: float = 3.0
    max_registers: int = MAX_REGISTERS
    max_bits: int = MAX_BITS
    max_gap: int = 0  # unneeded registers or bits in a row that a request may read along
    backoff_s: float = 1.0  # first rest of a silent unit or a lost line; doubles
    backoff_max_s: float = 30.0
    quarantine_s: float = 60.0  # first rest of a register that the device refuses; doubles up to an hour

    @property
    def limits(self) -> PlanLimits:
        """What the plan may ask for at once."""
        return PlanLimits(self.max_registers, self.max_bits, self.max_gap)


@dataclass(frozen=True, slots=True)
class _Number:
    """Bounds of a numeric key; `above` is itself not allowed, `most` is."""

    whole: bool
    above: float
    most: float
    expected: str

    def accepts(self, value: object) -> bool:
        kinds = (int,) if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.above < value <= self.most


_NUMBERS: Mapping[str, _Number] = {
    "port": _Number(True, 0, 65_535, "a port from 1 to 65535"),
    "timeout_s": _Number(False, 0, 5, "seconds, more than 0, at most 5"),
    "connect_timeout_s": _Number(False, 0, 30, "seconds, more than 0, at most 30"),
    "max_registers": _Number(True, 0, MAX_REGISTERS, f"a whole number from 1 to {MAX_REGISTERS}"),
    "max_bits": _Number(True, 0, MAX_BITS, f"a whole number from 1 to {MAX_BITS}"),
    "max_gap": _Number(True, -1, MAX_REGISTERS - 2, f"a whole number from 0 to {MAX_REGISTERS - 2}"),
    "backoff_s": _Number(False, 0, 600, "seconds, more than 0, at most 600"),
    "backoff_max_s": _Number(False, 0, 600, "seconds, not less than backoff_s, at most 600"),
    "quarantine_s": _Number(False, 0, 3600, "seconds, more than 0, at most 3600"),
}
_KEYS = ("host", *_NUMBERS)


def read_settings(table: SourceTable, points: Sequence[Point]) -> tuple[ModbusSettings | None, list[Problem]]:
    """The settings of a Modbus source, or everything that is wrong with it and with its points.

    Args:
        table: The `[source.ID]` table as written.
        points: The source's points.
    Returns:
        Settings, None where there is any problem; all problems, of site.toml and of points.csv.
    """
    problems = _unknown(table) + _host(table) + _numbers(table)
    good = {key: table.settings[key] for key in _KEYS if key in table.settings and not _named(problems, table, key)}
    settings = ModbusSettings(**{"host": "", **good})
    if settings.backoff_max_s < settings.backoff_s:
        key = "backoff_max_s" if "backoff_max_s" in good else "backoff_s"
        what = f"backoff_max_s {settings.backoff_max_s:g} is less than backoff_s {settings.backoff_s:g}"
        problems.append(_problem(table, key, what, "backoff_max_s not less than backoff_s"))
    problems += read_points(points, settings.limits)[1]
    return (None if problems else settings), problems


def _unknown(table: SourceTable) -> list[Problem]:
    expected = "one of kind, " + ", ".join(_KEYS)
    return [_problem(table, key, "unknown key", expected) for key in table.settings if key not in _KEYS]


def _host(table: SourceTable) -> list[Problem]:
    host: Any = table.settings.get("host")
    if isinstance(host, str) and host and host == host.strip() and " " not in host:
        return []
    what = "is missing" if "host" not in table.settings else f"is {host!r}"
    return [_problem(table, "host", what, 'a name or address in quotes, e.g. "192.168.10.21"')]


def _numbers(table: SourceTable) -> list[Problem]:
    return [
        _problem(table, key, f"is {table.settings[key]!r}", number.expected)
        for key, number in _NUMBERS.items()
        if key in table.settings and not number.accepts(table.settings[key])
    ]


def _problem(table: SourceTable, key: str, what: str, expected: str) -> Problem:
    return Problem(table.file, table.line(key), f"source.{table.id}.{key}", what, expected)


def _named(problems: Sequence[Problem], table: SourceTable, key: str) -> bool:
    return any(problem.key == f"source.{table.id}.{key}" for problem in problems)
