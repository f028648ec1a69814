"""Time of day at the demo mine: Asia/Shanghai, shifts 0-8-16. Everything that recurs daily is hung up here."""

from __future__ import annotations

import numpy as np

from connectors.simulator.scenario import FloatArray, TimeArray

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SHIFT_MS = 8 * HOUR_MS
UTC_OFFSET_MS = 8 * HOUR_MS
"""Asia/Shanghai has had no summer time since 1991."""

COUNTERS_BEGIN_DAY = 18_262
"""2020-01-01, in days since 1970: where the demo's running totals begin."""


def clock_ms(text: str) -> int:
    """`HH:MM` or `HH:MM:SS` as time of day [ms]."""
    parts = [int(part) for part in text.split(":")]
    hours, minutes, seconds = (*parts, 0)[:3]
    return hours * HOUR_MS + minutes * MINUTE_MS + seconds * SECOND_MS


def day_ms(wall_ms: TimeArray) -> TimeArray:
    """Time since local midnight [ms]."""
    return (wall_ms + UTC_OFFSET_MS) % DAY_MS


def day_number(wall_ms: TimeArray) -> TimeArray:
    """Local days since 1970-01-01."""
    return (wall_ms + UTC_OFFSET_MS) // DAY_MS


def shift_ms(wall_ms: TimeArray) -> TimeArray:
    """Time since the shift began [ms]."""
    return day_ms(wall_ms) % SHIFT_MS


def since(wall_ms: TimeArray, time_of_day_ms: int) -> TimeArray:
    """Time since that time of day came last [ms], 0 … one day."""
    return (wall_ms + UTC_OFFSET_MS - time_of_day_ms) % DAY_MS


def warmth(wall_ms: TimeArray, begin_ms: int, end_ms: int, half_life_ms: float) -> FloatArray:
    """How warm a machine is that runs daily from `begin_ms` to `end_ms`: towards 1 while it runs, then back to 0.

    Args:
        wall_ms: Moments, shape (t,).
        begin_ms: Time of day [ms]; the run may pass midnight.
        end_ms: Likewise.
        half_life_ms: Of warming and cooling alike [ms].
    """
    length = (end_ms - begin_ms) % DAY_MS
    t = since(wall_ms, begin_ms)
    reached = 1.0 - 2.0 ** (-length / half_life_ms)
    warming = 1.0 - np.exp2(-t / half_life_ms)
    cooling = reached * np.exp2(-np.maximum(t - length, 0) / half_life_ms)
    return np.where(t < length, warming, cooling)
