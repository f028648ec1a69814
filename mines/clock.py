"""Time as an argument: whoever needs the time is handed a Clock, so that replay and tests own it."""

from __future__ import annotations

import time
from typing import Protocol

NO_TIME_MS = -(2**63)
"""INT64_MIN: 'the device gave no time'. Never filled in."""


class Clock(Protocol):
    """Where wall time and monotonic time come from."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC, as the box believes them."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never steps; comparable within one boot only."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class ManualClock:
    """A clock that moves only when told: for tests and for replay."""

    def __init__(self, wall_ms: int = 0, monotonic_ns: int = 0) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ns = monotonic_ns

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance_ms(self, duration_ms: int) -> None:
        """Lets both clocks run on together."""
        self._wall_ms += duration_ms
        self._monotonic_ns += duration_ms * 1_000_000

    def set_wall_ms(self, wall_ms: int) -> None:
        """A clock step: only the wall clock moves."""
        self._wall_ms = wall_ms

    def set(self, wall_ms: int, monotonic_ns: int) -> None:
        """Both clocks as recorded."""
        self._wall_ms = wall_ms
        self._monotonic_ns = monotonic_ns
