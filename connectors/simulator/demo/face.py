"""Course: longwall face 1602 breathes. Cutting makes gas, and the return learns of it by the speed of its air.

Story 1: T1 0.22-0.45, T0 0.38-0.65, T2 0.30-0.52 %CH4; shearer start → T1 +0.12 after 60 s, T2 about 8 min later
(900 m at 1.9 m/s). The shearer cuts from minute 8 to 50 of every hour but 08-11, the maintenance hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from connectors.simulator.demo.local_time import HOUR_MS, MINUTE_MS, day_ms
from connectors.simulator.scenario import FloatArray, Moments, TimeArray

CUT_FROM_MIN, CUT_TO_MIN = 8, 50
MAINTENANCE_HOURS = (8, 9, 10)


@dataclass(frozen=True, slots=True)
class CuttingGas:
    """What cutting adds at one sensor: at most `gain` [%CH4], `lag_ms` after the face."""

    point: str
    course: str
    rest: float  # [%CH4] without cutting
    gain: float
    lag_ms: int


SENSORS = (
    CuttingGas("gas.f1602.t1.ch4", "face.t1", 0.27, 0.12, 0),
    CuttingGas("gas.f1602.t0.ch4", "face.t0", 0.45, 0.12, 30_000),
    CuttingGas("gas.f1602.shearer.ch4", "face.machine", 0.30, 0.12, 0),
    CuttingGas("gas.f1602.t2m.ch4", "face.t2m", 0.31, 0.11, 4 * MINUTE_MS),
    CuttingGas("gas.f1602.t2.ch4", "face.t2", 0.36, 0.10, 8 * MINUTE_MS),
)


def face(moments: Moments) -> Mapping[str, FloatArray]:
    """Methane, dust and machines of the face, without noise."""
    wall = moments.wall_ms
    cutting = cutting_effect(wall)
    machines = {
        "face.shearer_run": in_minutes(wall, CUT_FROM_MIN, CUT_TO_MIN).astype(np.float64),
        "face.conveyor_run": in_minutes(wall, CUT_FROM_MIN - 1, CUT_TO_MIN + 3).astype(np.float64),
        "face.dust": 3.0 + 5.0 * cutting,
    }
    return machines | {s.course: s.rest + s.gain * cutting_effect(wall, s.lag_ms) for s in SENSORS}


def cutting_effect(wall_ms: TimeArray, lag_ms: int = 0) -> FloatArray:
    """How much of the cutting gas there is, 0 … 1: all of it 60 s after the start, gone 7 min after the stop."""
    t = day_ms(wall_ms - lag_ms)
    minute = t % HOUR_MS / MINUTE_MS
    knots = (CUT_FROM_MIN, CUT_FROM_MIN + 1, CUT_TO_MIN, CUT_TO_MIN + 7)
    return np.where(_producing(t), np.interp(minute, knots, (0.0, 1.0, 1.0, 0.0)), 0.0)


def in_minutes(wall_ms: TimeArray, first: int, last: int) -> np.ndarray:
    """True from minute `first` to `last` of every producing hour."""
    t = day_ms(wall_ms)
    minute = t % HOUR_MS / MINUTE_MS
    return _producing(t) & (minute >= first) & (minute < last)


def _producing(time_of_day: TimeArray) -> np.ndarray:
    return ~np.isin(time_of_day // HOUR_MS, MAINTENANCE_HOURS)
