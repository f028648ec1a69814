"""Which stretches of a point's own time nobody heard: from the last word before a loss to the first after it. Pure.

Times are source times: what is asked of a server's history, and how a row that came already is told from one that did
not. A point whose server gives no source times has no gaps that could be filled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mines.clock import NO_TIME_MS
from mines.model import IndexArray, TimeArray

_ALIKE_MS: Final = 60_000  # gaps that begin within a minute are asked for together (project default)
_GAPS_A_POINT: Final = 8  # that wait; older ones stay gaps (project default)


@dataclass(frozen=True, slots=True)
class Gap:
    """An open interval of source time [ms UTC] of one point; rows on its ends have been heard."""

    point: int
    after_ms: int
    before_ms: int
    tries: int = 0


class Gaps:
    """Those of one stream's points."""

    def __init__(self, points: int) -> None:
        self._newest: TimeArray = np.full(points, NO_TIME_MS, dtype=np.int64)
        self._open: TimeArray = np.full(points, NO_TIME_MS, dtype=np.int64)  # where a gap began that has no end yet
        self._any_open = False
        self._waiting: deque[Gap] = deque(maxlen=max(_GAPS_A_POINT * points, 1))

    def heard(self, index: IndexArray, source_time_ms: TimeArray) -> None:
        """Rows that the server sent, in order. Shape (n,) both."""
        timed = source_time_ms != NO_TIME_MS
        index, times = index[timed], source_time_ms[timed]
        if self._any_open:
            self._close(index, times)
        np.maximum.at(self._newest, index, times)

    def _close(self, index: IndexArray, times: TimeArray) -> None:
        points, first = np.unique(index, return_index=True)
        for point, row in zip(points.tolist(), first.tolist(), strict=True):
            after_ms, before_ms = int(self._open[point]), int(times[row])
            if after_ms != NO_TIME_MS and before_ms > after_ms + 1:
                self._waiting.append(Gap(point, after_ms, before_ms))
        self._open[points] = NO_TIME_MS
        self._any_open = bool((self._open != NO_TIME_MS).any())

    def lost(self) -> None:
        """Nothing is heard from now on."""
        begun = self._open == NO_TIME_MS
        self._open[begun] = self._newest[begun]
        self._any_open = bool((self._open != NO_TIME_MS).any())

    def take(self, most: int) -> list[Gap]:
        """Up to `most` gaps that can be asked for together, of different points; they wait no longer."""
        if not self._waiting:
            return []
        taken: dict[int, Gap] = {}
        since_ms, left = self._waiting[0].after_ms, deque[Gap](maxlen=self._waiting.maxlen)
        for gap in self._waiting:
            if len(taken) < most and gap.point not in taken and abs(gap.after_ms - since_ms) <= _ALIKE_MS:
                taken[gap.point] = gap
            else:
                left.append(gap)
        self._waiting = left
        return list(taken.values())

    def put_back(self, gaps: Sequence[Gap]) -> None:
        """Gaps that could not be filled, or not to their end, wait again."""
        self._waiting.extend(gaps)
