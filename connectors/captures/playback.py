"""How far a capture has run while it is served: its own pace, times a speed, long gaps jumped, again from the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

GAP_NS: Final = 60_000_000_000
"""A longer time in which nothing happened is jumped (project default, as in `replay`)."""
_JUMP_NS: Final = 1_000_000_000
"""What a jumped gap, and the pause before a new lap, still take."""


@dataclass(frozen=True, slots=True)
class Place:
    """How many laps are over, and when the last thing was that has happened in this one [ns]; -1 = nothing yet."""

    lap: int
    time_ns: int


class Playback:
    """The happenings of a capture on the time of its serving.

    Args:
        times_ns: When they were [ns since 1970 UTC].
        speed: Times real time; above 0.
        loop: Begins again after the end; else the last state stays.
    """

    def __init__(self, times_ns: Sequence[int], *, speed: float = 1.0, loop: bool = False) -> None:
        self._times = np.unique(np.asarray(times_ns, dtype=np.int64))
        steps = np.diff(self._times, prepend=self._times[:1])
        self._at = np.cumsum(np.where(steps > GAP_NS, _JUMP_NS, steps))
        self._speed = speed
        self._loop = loop
        self.gaps = int((steps > GAP_NS).sum())

    @property
    def length_ns(self) -> int:
        """Of one lap at speed 1 [ns]."""
        return int(self._at[-1]) if len(self._at) else 0

    def place(self, elapsed_ns: int) -> Place:
        """Where it is after this long [ns of serving]; a happening counts from its very moment on."""
        ran, lap = int(elapsed_ns * self._speed), 0
        if self._loop:
            lap, ran = divmod(ran, self.length_ns + _JUMP_NS)
        count = int(np.searchsorted(self._at, ran, side="right"))
        return Place(lap, int(self._times[count - 1]) if count else -1)
