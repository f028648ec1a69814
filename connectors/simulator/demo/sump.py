"""Course: the main sump and its three pumps (story 17).

Sump 1,200 m³, inflow 85 m³/h, pumps 3 x 155 m³/h, 2.9 MPa, 200 A: fills 240 → 540 m³ in 3.5 h, one pump draws it down
in 4.3 h, three times a day. At 14:40 pump 2 loses its prime (200 → 121 A, 155 → 22 m³/h); 17.5 min later pump 3 takes
over and pump 2 is out until 20:00. Those 17.5 min are just what makes the three cycles one day, so the volume is
continuous over midnight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from connectors.simulator.demo.local_time import (
    COUNTERS_BEGIN_DAY,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    clock_ms,
    day_number,
    since,
    warmth,
)
from connectors.simulator.scenario import FloatArray, Moments, TimeArray, ramp

INFLOW, PUMPED, UNPRIMED = 85.0, 155.0, 22.0  # [m³/h]
LOW, HIGH = 240.0, 540.0  # [m³]
AREA = 300.0  # [m²]
PUMP_2_STARTS_MS = clock_ms("13:30")
PRIME_LOST_MS = clock_ms("14:40")
PUMP_2_REPAIRED_MS = clock_ms("20:00")
NO_FLOW_DELAY_MS, NO_FLOW_RESET_MS = MINUTE_MS, clock_ms("15:20")

_CURRENT, _UNPRIMED_CURRENT = 200.0, 121.0  # [A]
_PRESSURE, _UNPRIMED_PRESSURE = 2.9, 0.9  # [MPa]
_SUCTION, _UNPRIMED_SUCTION = -38.0, -6.0  # [kPa]
_ROOM, _BEARING, _WINDING = 24.0, 48.0, 74.0  # [℃]
_HALF_LIFE_MS = 15.0 * MINUTE_MS
_RUN_UP_MS, _RUN_DOWN_MS, _PRIME_GOES_MS = 12 * SECOND_MS, 5 * SECOND_MS, 20 * SECOND_MS


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one pump, daily: times of day [ms]."""

    pump: int
    begin_ms: int
    end_ms: int


class Sump:
    """The day of the sump: knots of its volume, runs of its pumps."""

    def __init__(self) -> None:
        fill_h, drain_h = (HIGH - LOW) / INFLOW, (HIGH - LOW) / (PUMPED - INFLOW)
        spare_h = 24.0 - 3.0 * (fill_h + drain_h)
        # What an unprimed pump lets in has to be drawn down afterwards: both together are the spare time of the day.
        self.unprimed_h = spare_h / (1.0 + (INFLOW - UNPRIMED) / (PUMPED - INFLOW))
        primed_h = (PRIME_LOST_MS - PUMP_2_STARTS_MS) / HOUR_MS
        drain_2_3 = drain_h + spare_h
        at_loss = HIGH - primed_h * (PUMPED - INFLOW)
        hours = np.array([0, primed_h, primed_h + self.unprimed_h, drain_2_3, *([fill_h, drain_h] * 2), fill_h])
        hours[4:] = drain_2_3 + np.cumsum(hours[4:])
        self._knots_ms = hours * HOUR_MS
        self._volumes = [
            HIGH,
            at_loss,
            at_loss + self.unprimed_h * (INFLOW - UNPRIMED),
            LOW,
            HIGH,
            LOW,
            HIGH,
            LOW,
            HIGH,
        ]
        self._pumped_rates = [PUMPED, UNPRIMED, PUMPED, 0.0, PUMPED, 0.0, PUMPED, 0.0]
        clock = [round(PUMP_2_STARTS_MS + knot) % DAY_MS for knot in self._knots_ms]
        self.runs = (
            Run(2, clock[0], clock[2]),
            Run(3, clock[2], clock[3]),
            Run(1, clock[4], clock[5]),
            Run(3, clock[6], clock[7]),
        )

    def __call__(self, moments: Moments) -> Mapping[str, FloatArray]:
        """Sump, pumps and pipes, without noise."""
        wall = moments.wall_ms
        volume = np.interp(since(wall, PUMP_2_STARTS_MS), self._knots_ms, self._volumes)
        pumps = {n: self._pump(wall, n) for n in (1, 2, 3)}
        return {
            "sump.volume": volume,
            "sump.level": volume / AREA,
            "sump.inflow": np.full(len(moments), INFLOW),
            "sump.discharged": self._discharged(wall),
            "pipe1.flow": pumps[1]["flow"] + pumps[2]["flow"],
            "pipe2.flow": pumps[3]["flow"],
            **{f"pump{n}.{name}": value for n, pump in pumps.items() for name, value in pump.items()},
        }

    def _discharged(self, wall: TimeArray) -> FloatArray:
        """Running total [m³] since 2020; it goes on, never back."""
        steps = np.diff(self._knots_ms) / HOUR_MS * np.array(self._pumped_rates)
        today = np.interp(since(wall, PUMP_2_STARTS_MS), self._knots_ms, [0.0, *np.cumsum(steps)])
        days = day_number(wall - PUMP_2_STARTS_MS) - COUNTERS_BEGIN_DAY
        total: FloatArray = days * float(steps.sum()) + today
        return total

    def _pump(self, wall: TimeArray, number: int) -> dict[str, FloatArray]:
        run, power = self._running(wall, number)
        prime = self._prime(wall) if number == 2 else np.ones(len(wall))
        warm = np.maximum.reduce(
            [warmth(wall, r.begin_ms, r.end_ms, _HALF_LIFE_MS) for r in self.runs if r.pump == number]
        )
        return {
            "run": run,
            "valve": run,
            "available": np.ones(len(wall)) if number != 2 else 1.0 - self._out(wall),
            "no_flow": np.zeros(len(wall)) if number != 2 else self._no_flow(wall),
            "current": power * (_UNPRIMED_CURRENT + (_CURRENT - _UNPRIMED_CURRENT) * prime),
            "flow": power * (UNPRIMED + (PUMPED - UNPRIMED) * prime),
            "pressure": power * (_UNPRIMED_PRESSURE + (_PRESSURE - _UNPRIMED_PRESSURE) * prime),
            "suction": power * (_UNPRIMED_SUCTION + (_SUCTION - _UNPRIMED_SUCTION) * prime),
            "bearing": _ROOM + (_BEARING - _ROOM) * warm,
            "winding": _ROOM + (_WINDING - _ROOM) * warm,
        }

    def _running(self, wall: TimeArray, number: int) -> tuple[FloatArray, FloatArray]:
        """Run state, and how far the pump is up (0 … 1)."""
        run, power = np.zeros(len(wall)), np.zeros(len(wall))
        for r in (r for r in self.runs if r.pump == number):
            t, length = since(wall, r.begin_ms), (r.end_ms - r.begin_ms) % DAY_MS
            run = np.maximum(run, t < length)
            power = np.maximum(power, np.minimum(ramp(t, 0, _RUN_UP_MS), 1.0 - ramp(t, length, length + _RUN_DOWN_MS)))
        return run, power

    def _prime(self, wall: TimeArray) -> FloatArray:
        lost = since(wall, PRIME_LOST_MS)
        return np.where(lost < 2 * self.unprimed_h * HOUR_MS, 1.0 - ramp(lost, 0, _PRIME_GOES_MS), 1.0)

    def _out(self, wall: TimeArray) -> FloatArray:
        stopped = self.runs[0].end_ms
        return (since(wall, stopped) < PUMP_2_REPAIRED_MS - stopped).astype(np.float64)

    def _no_flow(self, wall: TimeArray) -> FloatArray:
        acts = PRIME_LOST_MS + NO_FLOW_DELAY_MS
        return (since(wall, acts) < NO_FLOW_RESET_MS - acts).astype(np.float64)
