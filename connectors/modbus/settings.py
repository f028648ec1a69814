"""`[source.ID]` of the kinds modbus_tcp and modbus_serial: frozen settings, every problem of table and points. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.modbus.address import AddressError, parse_address
from connectors.modbus.bounds import Bounds, key_problem, number_problems
from connectors.modbus.plan import MAX_BITS, MAX_REGISTERS, NeverRead, PlanLimits
from connectors.modbus.points import read_points
from connectors.modbus.transport import SerialTransport, TcpTransport, Transport, read_transport
from connectors.modbus.unit_settings import DEVICE_KEYS, NUMBERS, UnitSettings, profile_layer, read_units
from mines.errors import Problem
from mines.model import Point
from mines.site.source_table import SourceTable

_RESPONSE_MS: Final = {True: 20.0, False: 10.0}
"""By whether the line is serial; project defaults, for forecasts only."""


@dataclass(frozen=True, slots=True)
class ModbusSettings:
    """One line of devices and how gently they are read. Defaults are project defaults.

    What a unit may have for itself stands here for all units that have nothing of their own in `units`.
    """

    transport: Transport
    timeout_s: float = 1.0  # until a device begins to answer; what the wire takes comes on top
    max_registers: int = MAX_REGISTERS
    max_bits: int = MAX_BITS
    max_gap: int = 0  # unneeded registers or bits in a row that a request may read along
    backoff_s: float = 1.0  # first rest of a silent unit or a lost line; doubles
    backoff_max_s: float = 30.0
    quarantine_s: float = 60.0  # first rest of a register that the device refuses; doubles up to an hour
    delay_ms: float = 0.0  # rest of a connection between two requests
    response_ms: float | None = None  # typical time until a device begins to answer; None = by the kind of line
    connections: int = 1  # parallel ones to one device or gateway
    never_read: tuple[NeverRead, ...] = ()
    identity: Mapping[str, Any] | None = None
    signature: Mapping[str, Any] | None = None
    units: Mapping[int, UnitSettings] = field(default_factory=dict)

    @property
    def limits(self) -> PlanLimits:
        """What the plan may ask for at once, of every unit."""
        own = {number: unit.limits for number, unit in self.units.items()}
        return PlanLimits(self.max_registers, self.max_bits, self.max_gap, self.never_read, own)

    def unit(self, number: int) -> UnitSettings:
        """How one unit is read."""
        own = self.units.get(number)
        if own is not None:
            return own
        return UnitSettings(
            limits=PlanLimits(self.max_registers, self.max_bits, self.max_gap, self.never_read),
            timeout_s=self.timeout_s,
            delay_ms=self.delay_ms,
            response_ms=_usual_ms(self.transport) if self.response_ms is None else self.response_ms,
            identity=self.identity,
            signature=self.signature,
        )


_NUMBERS: Mapping[str, Bounds] = {
    **NUMBERS,
    "connections": Bounds(True, 0, 16, "a whole number from 1 to 16"),
    "backoff_s": Bounds(False, 0, 600, "seconds, more than 0, at most 600"),
    "backoff_max_s": Bounds(False, 0, 600, "seconds, not less than backoff_s, at most 600"),
    "quarantine_s": Bounds(False, 0, 3600, "seconds, more than 0, at most 3600"),
}
_KEYS: Final = ("profile", *_NUMBERS, "unit")


def read_settings(table: SourceTable, points: Sequence[Point]) -> tuple[ModbusSettings | None, list[Problem]]:
    """The settings of a Modbus source, or everything that is wrong with it and with its points.

    Args:
        table: The `[source.ID]` table as written.
        points: The source's points.
    Returns:
        Settings, None where there is any problem; all problems, of site.toml and of points.csv.
    """
    transport, problems, transport_keys = read_transport(table)
    problems = _unknown(table, (*transport_keys, *_KEYS)) + problems + number_problems(table, _NUMBERS)
    named = {problem.key for problem in problems}
    good = {
        key: table.settings[key]
        for key in _NUMBERS
        if key in table.settings and f"source.{table.id}.{key}" not in named
    }
    problems += _contradictions(table, good, transport)
    profile, profile_problems = profile_layer(table, "profile", table.settings.get("profile"))
    usual_ms = 10.0 if transport is None else _usual_ms(transport)
    units, unit_problems = read_units(table, [good, profile], response_ms=usual_ms, named=_units_of(points))
    problems += profile_problems + unit_problems
    settings = ModbusSettings(transport or TcpTransport(""), **(profile | good), units=units)
    problems += read_points(points, settings.limits)[1]
    return (None if problems else settings), problems


def _usual_ms(transport: Transport) -> float:
    return _RESPONSE_MS[isinstance(transport, SerialTransport)]


def _units_of(points: Sequence[Point]) -> frozenset[int] | None:
    """Units that the points name; None where there are no points, or not all of them can be understood."""
    try:
        return frozenset(parse_address(point.address).unit for point in points) or None
    except AddressError:
        return None


def _contradictions(table: SourceTable, good: Mapping[str, Any], transport: Transport | None) -> list[Problem]:
    """Keys that are each right and do not go together."""
    problems = []
    first_s, most_s = good.get("backoff_s", 1.0), good.get("backoff_max_s", 30.0)
    if most_s < first_s:
        key = "backoff_max_s" if "backoff_max_s" in good else "backoff_s"
        what = f"backoff_max_s {most_s:g} is less than backoff_s {first_s:g}"
        problems.append(key_problem(table, key, what, "backoff_max_s not less than backoff_s"))
    if isinstance(transport, SerialTransport) and transport.passive:
        problems += _asked_where_nobody_asks(table)
    if isinstance(transport, SerialTransport) and good.get("connections", 1) > 1:
        what = f"is {good['connections']} on a serial port"
        problems.append(key_problem(table, "connections", what, "1: a bus carries one request at a time"))
    return problems


def _asked_where_nobody_asks(table: SourceTable) -> list[Problem]:
    units = table.settings.get("unit", {})
    tables = [it for it in units.items() if isinstance(it[1], Mapping)] if isinstance(units, Mapping) else []
    return [
        key_problem(table, f"unit.{name}.{key}", "on a line that is only listened to", "none: nothing is asked there")
        for name, own in tables
        for key in DEVICE_KEYS
        if key in own
    ]


def _unknown(table: SourceTable, keys: Sequence[str]) -> list[Problem]:
    expected = "one of kind, " + ", ".join(keys)
    return [key_problem(table, key, "unknown key", expected) for key in table.settings if key not in keys]
