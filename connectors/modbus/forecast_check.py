"""A site whose polls cannot be in time is refused before its first poll: every line and period that is late. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.modbus.forecast import LineForecast, forecast
from connectors.modbus.plan import PeriodGroup, plan_reads
from connectors.modbus.points import read_points
from connectors.modbus.settings import ModbusSettings
from mines.errors import Problem
from mines.model import Point, Subsystem
from mines.site.point_row import GAS_PERIOD_S

_EXPECTED = "a longer period_s, fewer requests (max_gap, max_registers), or more connections; see `minewatch plan`"


def source_forecast(
    source_id: str, settings: ModbusSettings, points: Sequence[Point]
) -> tuple[tuple[LineForecast, ...], tuple[PeriodGroup, ...]]:
    """The forecast of a source whose settings and addresses are right, and the plan that it is of."""
    read, _ = read_points(points, settings.limits)
    plan = plan_reads([item.need for item in read], settings.limits)
    return forecast(source_id, settings, plan), plan


def forecast_problems(source_id: str, settings: ModbusSettings, points: Sequence[Point]) -> list[Problem]:
    """One problem for each period of the source's line whose cycle is predicted to take longer than it may.

    A cycle may take its period; with gas points in it no more than 10 s either.

    Args:
        source_id: Of the source.
        settings: Its settings, without a problem.
        points: Its points, without a problem.
    Source: patrol of gas points: AQ 6201-2006, 4.7.4 has 30 s, the draft of its revision of 2016 10 s; the stricter one
        is this project's default (`mines/site/point_row.py`, GAS_PERIOD_S).
    """
    lines, plan = source_forecast(source_id, settings, points)
    by_period = {round(1000 * group.period_s): group for group in plan}
    found = ((line, _members(by_period[line.period_ms], points)) for line in lines)
    return [problem for line, members in found if (problem := _problem(line, members)) is not None]


def _members(group: PeriodGroup, points: Sequence[Point]) -> list[Point]:
    return [points[need.point] for request in group.requests for need in request.needs]


def _problem(line: LineForecast, members: Sequence[Point]) -> Problem | None:
    gas = any(point.subsystem is Subsystem.GAS for point in members)
    most_ms = min(float(line.period_ms), 1000 * GAS_PERIOD_S) if gas else float(line.period_ms)
    if line.cycle_ms <= most_ms:
        return None
    what = (
        f"one cycle on {line.line} ({line.requests} requests{', gas points among them' if gas else ''}) takes "
        f"{line.cycle_ms:g} ms, it has {most_ms:g} ms"
    )
    first = min(members, key=lambda point: point.line)
    return Problem(first.file, first.line, "period_s", what, _EXPECTED)
