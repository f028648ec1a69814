"""One row of points.csv → one Point, with everything that is wrong in the row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mines.model import Point, PointKind, Subsystem
from mines.site.cells import AN_ID, Cells
from mines.site.limits_check import check_delays, check_range, read_limits
from mines.site.problems import any_of, number, shown
from mines.site.roles import (
    METHANE_PRINCIPLES,
    METHANE_ROLES,
    PRINCIPLES,
    ROLES,
    STATUTORY_ROLES,
    STATUTORY_RULE_PREFIX,
)
from mines.units import UNITS

DATA_TYPES: Final = ("bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
BYTE_ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA", "AB", "BA")
GAS_PERIOD_S: Final = 10.0
"""No gas value older than this is shown as live (safety-rules §2.1, project default): nor is it polled more slowly."""

_SENSOR_CODE = re.compile(r"[0-9]{4}")
_DOC = "docs/site-files.md"
_KINDS = tuple(PointKind)
_SUBSYSTEMS = tuple(Subsystem)


def read_point(row: Cells) -> Point | None:
    """The point of a row; None where the row has an error."""
    subsystem = _needed_word(row, "subsystem", _SUBSYSTEMS)
    kind = _needed_word(row, "kind", _KINDS)
    limits = read_limits(row)
    range_low, range_high = check_range(row, limits)
    role = row.word("role", ROLES, f'{_DOC}, "Roles"')
    rule = row.id("rule")
    on_delay_s, off_delay_s = check_delays(row, statutory=_statutory(role, rule))
    # The whole row is read before anything is decided, so that every mistake in it is told at once.
    point = Point(
        id=_needed_id(row),
        name_zh=row.needed("name_zh", "a Chinese name"),
        name_en=row.text("name_en"),
        subsystem=Subsystem(subsystem) if subsystem in _SUBSYSTEMS else _SUBSYSTEMS[0],
        area=row.text("area"),
        kind=PointKind(kind) if kind in _KINDS else _KINDS[0],
        unit=_unit(row),
        source=row.needed("source", "the ID of a [source.ID] in site.toml"),
        address=row.needed("address", "the address in the source's own notation"),
        period_s=_period(row, subsystem),
        location_code=row.text("location_code"),
        role=role,
        principle=_principle(row, role),
        sensor_code=_sensor_code(row),
        states=_states(row, kind),
        decimals=row.integer("decimals", 2, 0, 9),
        range_low=range_low,
        range_high=range_high,
        data_type=row.word("data_type", DATA_TYPES),
        byte_order=row.word("byte_order", BYTE_ORDERS),
        scale=_scale(row),
        offset=row.number_or("offset", 0.0),
        sentinels=row.numbers("sentinels"),
        high_alarm=limits["high_alarm"],
        high_clear=limits["high_clear"],
        high_cut=limits["high_cut"],
        high_restore=limits["high_restore"],
        low_alarm=limits["low_alarm"],
        low_clear=limits["low_clear"],
        low_cut=limits["low_cut"],
        low_restore=limits["low_restore"],
        on_delay_s=on_delay_s,
        off_delay_s=off_delay_s,
        latch=row.truth("latch"),
        level=row.integer("level", 3, 1, 4),
        rule=rule,
        relations=row.text("relations"),
        upload_code=row.text("upload_code"),
        formerly=row.id("formerly"),
        x=row.number("x"),
        y=row.number("y"),
        z=row.number("z"),
        line=row.line,
        file=row.file,
    )
    return None if row.broken else point


def _statutory(role: str, rule: str) -> str:
    """Why the limits of a row are the regulation's; "" where they are not."""
    if rule.startswith(STATUTORY_RULE_PREFIX):
        return f"rule {rule}"
    return f"role {role}" if role in STATUTORY_ROLES else ""


def _needed_word(row: Cells, column: str, words: tuple[str, ...]) -> str:
    return row.word(column, words) if row.needed(column, any_of(words)) else ""


def _needed_id(row: Cells) -> str:
    return row.id("id") if row.needed("id", AN_ID) else ""


def _principle(row: Cells, role: str) -> str:
    """The sensing principle; for methane it is mandatory and one that measures methane."""
    principle = row.text("principle")
    if role not in METHANE_ROLES:
        return row.word("principle", PRINCIPLES, f'{_DOC}, "Principles"')
    if principle not in METHANE_PRINCIPLES:
        what = f"is {shown(principle)}" if principle else "is empty"
        row.refuse(
            "principle", f"{what} on a methane point", f"{any_of(METHANE_PRINCIPLES)}: it sets the calibration dates"
        )
    return principle


def _sensor_code(row: Cells) -> str:
    code = row.text("sensor_code")
    if code and not _SENSOR_CODE.fullmatch(code):
        row.refuse("sensor_code", f"is {shown(code)}", "the four digits of MT/T 1201, e.g. 0001")
    return code


def _unit(row: Cells) -> str:
    unit = row.text("unit")
    by_symbol: Mapping[str, str] = {known.symbol: known.code for known in UNITS.values()}
    if unit not in UNITS and unit in by_symbol:
        row.refuse("unit", f"is {shown(unit)}", f'its code "{by_symbol[unit]}"')
        return unit
    return row.word("unit", tuple(code for code in UNITS if code), f'{_DOC}, "Units"')


def _scale(row: Cells) -> float:
    scale = row.number_or("scale", 1.0)
    if scale == 0:
        row.refuse("scale", "is 0, which makes every value the offset", "a number other than 0")
    return scale


def _period(row: Cells, subsystem: str) -> float:
    """The period [s]; a gas point is read at least every 10 s."""
    row.needed("period_s", "seconds, more than 0")
    period_s = row.number("period_s")
    if period_s is None:
        return 1.0
    if period_s <= 0:
        row.refuse("period_s", f"is {number(period_s)}", "seconds, more than 0")
    elif subsystem == Subsystem.GAS and period_s > GAS_PERIOD_S:
        row.refuse("period_s", f"is {number(period_s)} on a gas point", "10 seconds or less")
    return period_s


def _states(row: Cells, kind: str) -> dict[int, str]:
    """Words of the values; only a switch (0 and 1) and a multistate have them, and a multistate must."""
    states = row.states("states")
    if "states" in row.broken:
        return {}
    if states and kind in (PointKind.ANALOG, PointKind.TOTAL):
        row.refuse("states", f"has words on a point of kind {kind}", "an empty cell, or kind switch or multistate")
    elif kind == PointKind.SWITCH and not states.keys() <= {0, 1}:
        row.refuse("states", "has other values than 0 and 1 on a switch", "0:WORD|1:WORD, or kind multistate")
    elif kind == PointKind.MULTISTATE and not states:
        row.refuse("states", "is empty on a multistate point", "VALUE:WORD|VALUE:WORD, e.g. 0:停|1:慢速|2:快速")
    return states
