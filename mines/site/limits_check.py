"""Limits of one row against each other, its range and the law. A limit pair is its own deadband.

Alarm and cut-off compare with ≥ (low side: ≤), their release with < (low side: >), so a release may equal its limit;
an empty release *is* its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mines.site.cells import Cells
from mines.site.problems import number


@dataclass(frozen=True, slots=True)
class LimitPair:
    """A limit, the value that releases it, and the side it watches: +1 high, -1 low."""

    limit: str
    release: str
    side: int


PAIRS = (
    LimitPair("high_alarm", "high_clear", +1),
    LimitPair("high_cut", "high_restore", +1),
    LimitPair("low_alarm", "low_clear", -1),
    LimitPair("low_cut", "low_restore", -1),
)
LIMIT_COLUMNS = tuple(column for pair in PAIRS for column in (pair.limit, pair.release))

Limits = Mapping[str, float | None]


def read_limits(row: Cells) -> dict[str, float | None]:
    """The eight limit columns [unit of the point] after every check; a release that is not given is its limit."""
    limits = {column: row.number(column) for column in LIMIT_COLUMNS}
    for pair in PAIRS:
        _check_pair(row, limits, pair)
    _check_cut(row, limits, "high_alarm", "high_cut", +1)
    _check_cut(row, limits, "low_alarm", "low_cut", -1)
    _check_sides(row, limits)
    for pair in PAIRS:
        if limits[pair.release] is None:
            limits[pair.release] = limits[pair.limit]
    return limits


def check_range(row: Cells, limits: Limits) -> tuple[float | None, float | None]:
    """The instrument's span [unit of the point], its ends in order and every limit within it."""
    low, high = row.number("range_low"), row.number("range_high")
    if low is not None and high is not None and low >= high:
        row.refuse("range_low", f"is {number(low)}, not below range_high {number(high)}", f"less than {number(high)}")
        return low, high
    for column in LIMIT_COLUMNS:
        value = limits[column]
        if value is None or not row.text(column):
            continue
        if (low is not None and value < low) or (high is not None and value > high):
            row.refuse(column, f"is {number(value)}, outside the range {_span(low, high)}", "a limit within the range")
    return low, high


def check_delays(row: Cells, *, statutory: str) -> tuple[float, float]:
    """on_delay_s and off_delay_s [s].

    Args:
        row: The row.
        statutory: Why its limits are the regulation's, e.g. `role methane`; "" where they are not.
    Source: alarm-logic §2: rows from the 规程 have on-delay 0 and off-delay 0; `check` refuses a delay on them.
    """
    delays = []
    for column in ("on_delay_s", "off_delay_s"):
        delay = row.number_or(column, 0.0, "0 or more seconds", least=0.0)
        if statutory and delay > 0:
            what = f"is {number(delay)} on a statutory row ({statutory})"
            row.refuse(column, what, "0 or an empty cell: one sample at the limit has tripped power already")
        delays.append(delay)
    return delays[0], delays[1]


def _check_pair(row: Cells, limits: Limits, pair: LimitPair) -> None:
    limit, release = limits[pair.limit], limits[pair.release]
    if release is None or pair.limit in row.broken:
        return
    if limit is None:
        row.refuse(pair.release, f"is {number(release)}, but {pair.limit} is empty", f"a {pair.limit} or an empty cell")
    elif pair.side * (release - limit) > 0:
        where, bound = ("above", "less") if pair.side > 0 else ("below", "more")
        what = f"is {number(release)}, {where} {pair.limit} {number(limit)}"
        row.refuse(pair.release, what, f"{number(limit)} or {bound}")


def _check_cut(row: Cells, limits: Limits, alarm_column: str, cut_column: str, side: int) -> None:
    alarm, cut = limits[alarm_column], limits[cut_column]
    if alarm is not None and cut is not None and side * (cut - alarm) < 0:
        where, bound = ("below", "more") if side > 0 else ("above", "less")
        what = f"is {number(cut)}, {where} {alarm_column} {number(alarm)}"
        row.refuse(cut_column, what, f"{number(alarm)} or {bound}")


def _check_sides(row: Cells, limits: Limits) -> None:
    low, high = limits["low_alarm"], limits["high_alarm"]
    if low is not None and high is not None and low >= high:
        row.refuse("low_alarm", f"is {number(low)}, not below high_alarm {number(high)}", f"less than {number(high)}")


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return f"up to {number(high or 0.0)}"
    return f"from {number(low)}" if high is None else f"{number(low)} to {number(high)}"
