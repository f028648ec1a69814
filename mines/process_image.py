"""The process image: the latest picture of every point, and the one function that says how fresh it is."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mines.clock import NO_TIME_MS
from mines.model import IndexArray, Point, Subsystem, TimeArray, ValueArray
from mines.quality import QualityArray, Reason, Severity, bad, severities
from mines.rows import Rows

GAS_CAP_MS = 10_000
"""No gas value older than this is shown as live (R3; strictest patrol period found, safety-rules §2.1)."""


SUBSYSTEMS = tuple(Subsystem)
"""Their order where a number stands for one."""


class Freshness(IntEnum):
    """How far a shown value may be taken as now (pages §3d)."""

    LIVE = 0
    LATE = 1
    STALE = 2
    LOST = 3
    NEVER = 4


FreshnessArray = npt.NDArray[np.uint8]


def freshness(
    age_ms: TimeArray, period_ms: TimeArray, gas: npt.NDArray[np.bool_], quality: QualityArray
) -> FreshnessArray:
    """State of each point: LIVE ≤ 1.5 P + 1 s, LATE ≤ max(3 P, 15 s), then STALE; bad is LOST.

    Args:
        age_ms: Age of the last good or uncertain sample or of its last confirmation; negative = never one. (n,) [ms]
        period_ms: Period of each point. (n,) [ms]
        gas: Points of the gas subsystem: both bounds are capped at 10 s. (n,)
        quality: Quality of the latest row. (n,)
    Returns:
        `Freshness` values, (n,).
    Source: design §4, pages §3d.
    """
    live = period_ms * 3 // 2 + 1_000
    late = np.maximum(period_ms * 3, 15_000)
    live = np.where(gas, np.minimum(live, GAS_CAP_MS), live)
    late = np.where(gas, np.minimum(late, GAS_CAP_MS), late)
    out = np.full(len(age_ms), Freshness.STALE, dtype=np.uint8)
    out[age_ms <= late] = Freshness.LATE
    out[age_ms <= live] = Freshness.LIVE
    out[severities(quality) == Severity.BAD] = Freshness.LOST
    out[age_ms < 0] = Freshness.NEVER
    return out


class ProcessImage:
    """Arrays over all points in process order, each of shape (points,). Written at ticks only, read between them."""

    def __init__(self, points: Sequence[Point]) -> None:
        n = len(points)
        self.period_ms: TimeArray = np.array([round(p.period_s * 1000) for p in points], dtype=np.int64)
        places = {subsystem: at for at, subsystem in enumerate(SUBSYSTEMS)}
        self.subsystem: IndexArray = np.array([places[p.subsystem] for p in points], dtype=np.int32)
        self.gas: npt.NDArray[np.bool_] = np.array([p.subsystem == Subsystem.GAS for p in points], dtype=np.bool_)
        self.value: ValueArray = np.full(n, np.nan)
        self.quality: QualityArray = np.full(n, bad(Reason.WAITING_FOR_INITIAL_DATA), dtype=np.uint16)
        self.source_time_ms: TimeArray = np.full(n, NO_TIME_MS, dtype=np.int64)
        self.receive_time_ms: TimeArray = np.full(n, NO_TIME_MS, dtype=np.int64)
        self.usable_value: ValueArray = np.full(n, np.nan)
        self.usable_time_ms: TimeArray = np.full(n, NO_TIME_MS, dtype=np.int64)
        self.vouched_ns: TimeArray = np.full(n, -1, dtype=np.int64)

    def apply(self, rows: Rows) -> None:
        """Takes the rows of one tick; the last row of a point stands."""
        if not len(rows):
            return
        index = rows.index
        self.value[index] = rows.value  # numpy assigns in order: the last row of a point wins
        self.quality[index] = rows.quality
        self.source_time_ms[index] = rows.source_time_ms
        self.receive_time_ms[index] = rows.receive_time_ms
        usable = severities(rows.quality) != Severity.BAD
        which = index[usable]
        self.usable_value[which] = rows.value[usable]
        self.usable_time_ms[which] = rows.receive_time_ms[usable]
        self.vouched_ns[which] = rows.monotonic_ns[usable]

    def confirm(self, index: IndexArray, monotonic_ns: TimeArray) -> None:
        """The session is verified and nothing changed: the last values are vouched for until now."""
        holds = (severities(self.quality[index]) != Severity.BAD) & (self.vouched_ns[index] >= 0)
        which = index[holds]
        self.vouched_ns[which] = np.maximum(self.vouched_ns[which], monotonic_ns[holds])

    def age_ms(self, monotonic_ns: int) -> TimeArray:
        """Age of what stands, since the last usable sample or confirmation; -1 = never one. Shape (points,) [ms]."""
        age = (monotonic_ns - self.vouched_ns) // 1_000_000
        return np.where(self.vouched_ns < 0, -1, np.maximum(age, 0)).astype(np.int64)

    def freshness(self, monotonic_ns: int) -> FreshnessArray:
        """State of every point now, (points,)."""
        return freshness(self.age_ms(monotonic_ns), self.period_ms, self.gas, self.quality)
