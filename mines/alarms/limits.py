"""Limit pairs of all points as arrays: row = limit, column = point in process order. A pair is its own deadband."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mines.model import Point


class Limit(IntEnum):
    """The four limit pairs of a point (safety-rules §1.1: 报警, 断电/复电, upper and lower)."""

    HIGH_ALARM = 0
    HIGH_CUT = 1
    LOW_ALARM = 2
    LOW_CUT = 3

    @property
    def word(self) -> str:
        """The word in events, files and `words.csv`."""
        return self.name.lower()

    @property
    def high(self) -> bool:
        """True where the dangerous side is above."""
        return self in (Limit.HIGH_ALARM, Limit.HIGH_CUT)


LIMIT_OF_WORD = {limit.word: limit for limit in Limit}

_COLUMNS = {
    Limit.HIGH_ALARM: ("high_alarm", "high_clear"),
    Limit.HIGH_CUT: ("high_cut", "high_restore"),
    Limit.LOW_ALARM: ("low_alarm", "low_clear"),
    Limit.LOW_CUT: ("low_cut", "low_restore"),
}
_CUT_LEVEL = 1  # 红 一级/断电: pages §1.5


@dataclass(frozen=True, slots=True, eq=False)
class LimitTable:
    """Everything the step needs to know of the points.

    `set_at`, `clear_at` (4, points) in the point's unit, NaN = no such limit; `level` (4, points), 1 … 4;
    `on_delay_ms`, `off_delay_ms`, `latch` (points,).
    """

    ids: tuple[str, ...]
    set_at: npt.NDArray[np.float64]
    clear_at: npt.NDArray[np.float64]
    level: npt.NDArray[np.int8]
    on_delay_ms: npt.NDArray[np.int64]
    off_delay_ms: npt.NDArray[np.int64]
    latch: npt.NDArray[np.bool_]

    @property
    def limited(self) -> npt.NDArray[np.bool_]:
        """Points that have a limit at all, (points,)."""
        return np.asarray(~np.isnan(self.set_at).all(axis=0))


def limit_table(points: Sequence[Point]) -> LimitTable:
    """Limits of points in process order. A missing clear or restore value equals its alarm or cut-off value."""
    n = len(points)
    set_at = np.full((4, n), np.nan)
    clear_at = np.full((4, n), np.nan)
    level = np.zeros((4, n), dtype=np.int8)
    for limit, (set_column, clear_column) in _COLUMNS.items():
        for i, point in enumerate(points):
            value = getattr(point, set_column)
            if value is None:
                continue
            back = getattr(point, clear_column)
            set_at[limit, i] = value
            clear_at[limit, i] = value if back is None else back
            level[limit, i] = _CUT_LEVEL if limit in (Limit.HIGH_CUT, Limit.LOW_CUT) else point.level
    return LimitTable(
        ids=tuple(point.id for point in points),
        set_at=set_at,
        clear_at=clear_at,
        level=level,
        on_delay_ms=np.array([round(p.on_delay_s * 1000) for p in points], dtype=np.int64),
        off_delay_ms=np.array([round(p.off_delay_s * 1000) for p in points], dtype=np.int64),
        latch=np.array([p.latch for p in points], dtype=np.bool_),
    )
