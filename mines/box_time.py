"""Box time: the axis of history, alarms and score. Wall time, unless the wall clock cannot be believed.

While the wall clock is behind the last sure durable time, or after it jumped forward by more than an hour within a
boot, time goes on by the monotonic clock from there and is `unsure`, until the wall clock agrees again (design §4).
"""

from __future__ import annotations

from mines.clock import Clock

FORWARD_JUMP_MS = 3_600_000
AGREES_WITHIN_MS = 1_000
STEP_SEEN_MS = 1_000
"""A difference between wall and monotonic progress that counts as a step and not as slewing."""


class BoxTime:
    """A Clock whose wall side never runs backward and never leaps; sources and supervisor are handed this one."""

    def __init__(self, clock: Clock, last_sure_ms: int) -> None:
        """Starts at the wall clock, or at `last_sure_ms` [ms] (the newest durable time) where the wall is behind it."""
        self._clock = clock
        wall = clock.wall_ms()
        self.unsure = wall < last_sure_ms
        self._anchor_ms = max(wall, last_sure_ms)
        self._anchor_ns = clock.monotonic_ns()
        self._wall_offset_ms = wall - self._anchor_ms

    def wall_ms(self) -> int:
        """Box time [ms]."""
        return self._anchor_ms + (self._clock.monotonic_ns() - self._anchor_ns) // 1_000_000

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()

    def look(self) -> int:
        """Compares with the wall clock, once a tick.

        Returns:
            How far the wall clock stepped since the last look [ms]; 0 where it ran on.
        """
        box, wall = self.wall_ms(), self._clock.wall_ms()
        offset = wall - box
        step = offset - self._wall_offset_ms
        stepped = abs(step) >= STEP_SEEN_MS
        self._wall_offset_ms = offset
        if self.unsure:
            if abs(offset) <= AGREES_WITHIN_MS:
                self._follow(max(wall, box))
        elif offset < -AGREES_WITHIN_MS or (stepped and offset > FORWARD_JUMP_MS):
            self.unsure = True
        elif offset >= 0:
            self._follow(wall)  # the usual case: slewing and small forward steps are taken as they come
        return step if stepped else 0

    def _follow(self, time_ms: int) -> None:
        self._anchor_ms = time_ms
        self._anchor_ns = self._clock.monotonic_ns()
        self._wall_offset_ms = self._clock.wall_ms() - time_ms
        self.unsure = False
