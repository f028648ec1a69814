"""Course: coal on the belts and the roadheader that cuts beside it. 450,000 t/a in 330 days: 1,364 t a day.

The bunker stands between face and incline: the main belt draws it evenly in all hours but 08-09, the daily check.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from connectors.simulator.demo.face import CUT_FROM_MIN, CUT_TO_MIN, cutting_effect, in_minutes
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

DAILY_T = 450_000 / 330
CHECK_ENDS_MS = clock_ms("09:00")
MAIN_RUNS_MS = DAY_MS - HOUR_MS

_RATE = DAILY_T / (MAIN_RUNS_MS / HOUR_MS)  # [t/h]
_FACE_RATE = 93.0  # [t/h] while the shearer cuts: 1,364 t in 14.7 h
_DRUM, _ROADWAY = 38.0, 24.0  # [℃]


def coal_flow(moments: Moments) -> Mapping[str, FloatArray]:
    """Belts and roadheader, without noise."""
    wall = moments.wall_ms
    t = since(wall, CHECK_ENDS_MS)
    up = np.minimum(ramp(t, 0, 20 * SECOND_MS), 1.0 - ramp(t, MAIN_RUNS_MS, MAIN_RUNS_MS + 12 * SECOND_MS))
    warm = warmth(wall, CHECK_ENDS_MS, clock_ms("08:00"), 15.0 * MINUTE_MS)
    return {
        "main_belt.run": (t < MAIN_RUNS_MS).astype(np.float64),
        "main_belt.speed": 2.5 * up,
        "main_belt.load": _RATE * up,
        "main_belt.current": (38.0 + 0.4 * _RATE) * up,
        "main_belt.drum": _ROADWAY + (_DRUM - _ROADWAY) * warm,
        "main_belt.coal": _carried(wall, t),
        **_face_belt(wall),
        "heading.roadheader_run": in_minutes(wall, 15, 45).astype(np.float64),
    }


def _carried(wall: TimeArray, t: TimeArray) -> FloatArray:
    """Running total [t] since 2020."""
    days = day_number(wall - CHECK_ENDS_MS) - COUNTERS_BEGIN_DAY
    return days * DAILY_T + _RATE * np.minimum(t, MAIN_RUNS_MS) / HOUR_MS


def _face_belt(wall: TimeArray) -> dict[str, FloatArray]:
    run = in_minutes(wall, CUT_FROM_MIN - 2, CUT_TO_MIN + 5).astype(np.float64)
    load = _FACE_RATE * cutting_effect(wall, MINUTE_MS) * run
    return {
        "belt1602.run": run,
        "belt1602.speed": 2.0 * run,
        "belt1602.load": load,
        "belt1602.current": (30.0 + 0.3 * load) * run,
        "belt1602.drum": np.full(len(wall), 33.0),
    }
