"""Course: the hoist of the auxiliary incline 副斜井 and the chairlift beside it (story 18).

22°, 420 m, 3.2 m/s (trip at 3.68), a trip every 230 s; 108 trips a shift from 40 min after its begin, men go by
chairlift. Brake gap 1 wears from 1.3 mm to 2.1 mm in nine days: at 2.0 the next start is blocked, at 08:05 on a local
day whose number since 1970 is a multiple of nine it is set back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from connectors.simulator.demo.local_time import (
    COUNTERS_BEGIN_DAY,
    DAY_MS,
    MINUTE_MS,
    SECOND_MS,
    SHIFT_MS,
    UTC_OFFSET_MS,
    clock_ms,
    day_ms,
    day_number,
    shift_ms,
    since,
)
from connectors.simulator.scenario import FloatArray, Moments, TimeArray, ramp

LENGTH, SPEED, ACCELERATION = 420.0, 3.2, 0.4  # [m], [m/s], [m/s²]
TRIP_S, TRIPS_A_SHIFT = 230.0, 108
FIRST_TRIP_MS = clock_ms("00:40")
GAP_PERIOD_MS = 9 * DAY_MS
GAP_SET_MS = clock_ms("08:20")
GAP_LIMIT = 2.0  # [mm]

_GAP_KNOTS_MS = (0, GAP_PERIOD_MS - 50 * MINUTE_MS, GAP_PERIOD_MS - 40 * MINUTE_MS)
_GAP_END_MS = (GAP_PERIOD_MS - 30 * MINUTE_MS, GAP_PERIOD_MS - 15 * MINUTE_MS, GAP_PERIOD_MS)
_GAP_MM = (1.3, 1.98, 2.0, 2.1, 2.1, 1.3)
_WEAR = (1.0, 0.7, 0.6, 0.5)  # of gaps 1 … 4, as a share of gap 1's
_CHAIR_FROM_MS, _CHAIR_LASTS_MS = 7 * SHIFT_MS // 8, 2 * SHIFT_MS // 8  # an hour each side of a shift change


def incline(moments: Moments) -> Mapping[str, FloatArray]:
    """Hoist and chairlift, without noise."""
    wall = moments.wall_ms
    trip, t = _trip(wall)
    speed, way = _travel(t)
    moving = speed > 0
    down = trip % 2 == 0  # the first trip of a shift takes empty cars down
    gap = np.interp((wall + UTC_OFFSET_MS - GAP_SET_MS) % GAP_PERIOD_MS, _GAP_KNOTS_MS + _GAP_END_MS, _GAP_MM)
    current = _current(t, speed, down)
    return {
        "hoist.speed": speed,
        "hoist.position": np.where(down, way, LENGTH - way),
        "hoist.direction": np.where(moving, np.where(down, 2.0, 1.0), 0.0),
        "hoist.run": moving.astype(np.float64),
        "hoist.brake": 1.0 - moving,
        "hoist.current": current,
        "hoist.oil_pressure": np.where(moving, 5.6, 0.4),
        "hoist.ready": (gap < GAP_LIMIT - 0.005).astype(np.float64),  # as the instrument shows it
        "hoist.cycles": _cycles(wall, trip, t),
        "feeder.hoist": 6.0 + 0.08 * np.abs(current),
        **{f"hoist.gap{n}": 1.3 + wear * (gap - 1.3) for n, wear in enumerate(_WEAR, start=1)},
        **_chairlift(wall),
    }


def _trip(wall: TimeArray) -> tuple[TimeArray, FloatArray]:
    """Number of the trip within its shift, and seconds since it began; outside working time: over long ago."""
    into = (shift_ms(wall) - FIRST_TRIP_MS) / SECOND_MS
    number = np.floor(into / TRIP_S)
    working = (number >= 0) & (number < TRIPS_A_SHIFT)
    # At rest the cars stand where the last, odd trip left them: at the top.
    trip = np.where(working, number, TRIPS_A_SHIFT - 1).astype(np.int64)
    return trip, np.where(working, into - number * TRIP_S, TRIP_S)


def _travel(t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Speed [m/s] and way [m] of a trapezoid `t` [s] after the start."""
    up_s = SPEED / ACCELERATION
    end_s = LENGTH / SPEED + up_s
    speed = np.clip(np.minimum(ACCELERATION * t, ACCELERATION * (end_s - t)), 0.0, SPEED)
    left = np.maximum(end_s - np.maximum(t, end_s - up_s), 0.0)
    cruise = SPEED * (np.clip(t, up_s, end_s - up_s) - up_s)
    way = 0.5 * ACCELERATION * (np.minimum(t, up_s) ** 2 + up_s**2 - left**2) + cruise
    return speed, way


def _current(t: FloatArray, speed: FloatArray, down: np.ndarray) -> FloatArray:
    """Armature current [A]: loaded cars up against gravity, empty cars held back on the way down."""
    starting = 1.0 - ramp(t, 6.0, 10.0)
    return np.where(speed > 0, np.where(down, -90.0 - 30.0 * starting, 180.0 + 140.0 * starting), 0.0)


def _cycles(wall: TimeArray, trip: TimeArray, t: FloatArray) -> FloatArray:
    """Trips done since 2020."""
    into = shift_ms(wall) - FIRST_TRIP_MS
    done = np.where(into < 0, 0, trip + (t >= LENGTH / SPEED + SPEED / ACCELERATION))
    shifts = (day_number(wall) - COUNTERS_BEGIN_DAY) * 3 + day_ms(wall) // SHIFT_MS
    return (shifts * TRIPS_A_SHIFT + done).astype(np.float64)


def _chairlift(wall: TimeArray) -> dict[str, FloatArray]:
    t = since(wall, _CHAIR_FROM_MS) % SHIFT_MS
    run = (t < _CHAIR_LASTS_MS).astype(np.float64)
    up = np.minimum(ramp(t, 0, 15 * SECOND_MS), 1.0 - ramp(t, _CHAIR_LASTS_MS, _CHAIR_LASTS_MS + 8 * SECOND_MS))
    return {"chair.run": run, "chair.speed": 1.05 * up, "chair.current": 46.0 * up}
