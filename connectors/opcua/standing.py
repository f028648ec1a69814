"""What was last said of each point of one server, and which of them must be spoken of again. Pure.

Arrays over the source's points, shape (points,); times are seconds on the caller's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mines.model import IndexArray, Point, ValueArray
from mines.quality import QualityArray, Reason, Severity, bad, severities

BoolArray = npt.NDArray[np.bool_]

LONGEST_BEAT_S = 1.0
"""Confirmations come at least this often, so that a point of a long period is vouched for by fresh proof."""


class Standing:
    """The last word and value of each point; NaN where the last row was bad."""

    def __init__(self, points: Sequence[Point], now_s: float) -> None:
        self.points = tuple(points)
        n = len(self.points)
        self.word: QualityArray = np.full(n, bad(Reason.WAITING_FOR_INITIAL_DATA), dtype=np.uint16)
        self.value: ValueArray = np.full(n, np.nan)
        self.heard_s: ValueArray = np.full(n, -np.inf)  # when the server last sent a value of it
        self._period_s: ValueArray = np.array([p.period_s for p in points], dtype=np.float64)
        self._said_s: ValueArray = np.full(n, now_s)
        self.beat_s = min(float(self._period_s.min(initial=LONGEST_BEAT_S)), LONGEST_BEAT_S)

    def take(self, index: IndexArray, value: ValueArray, word: QualityArray, now_s: float) -> None:
        """Rows that the server sent; the last row of a point stands."""
        self.word[index] = word  # numpy assigns in order
        self.value[index] = value
        self.heard_s[index] = self._said_s[index] = now_s

    def set_bad(self, index: IndexArray, word: QualityArray | int) -> None:
        """Points that have no value now."""
        self.word[index] = word
        self.value[index] = np.nan

    def said(self, index: IndexArray, now_s: float) -> None:
        """The points were spoken of."""
        self._said_s[index] = now_s

    def due(self, now_s: float) -> tuple[IndexArray, IndexArray]:
        """Points not spoken of for their period, to within half a beat: those standing usable, those standing bad."""
        due: BoolArray = now_s - self._said_s >= self._period_s - self.beat_s / 2
        is_bad = severities(self.word) == Severity.BAD
        return (
            np.flatnonzero(due & ~is_bad).astype(np.int32),
            np.flatnonzero(due & is_bad).astype(np.int32),
        )

    def overdue(self, now_s: float) -> bool:
        """Whether some point has not been spoken of for longer than its period."""
        return bool((now_s - self._said_s > self._period_s + self.beat_s / 4).any())
