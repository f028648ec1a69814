"""When which points are read, where a server is polled: each period has its own slots on the grid. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.grid import Grid


class Rota:
    """Of one session; times are seconds on the caller's clock. Everything is read at once, then each on its grid."""

    def __init__(self, periods_s: Sequence[float], phase_fraction: float, now_s: float) -> None:
        """`periods_s` of each point; `phase_fraction` of a period keeps servers out of step."""
        self._points: dict[float, list[int]] = {}
        for index, period_s in enumerate(periods_s):
            self._points.setdefault(period_s, []).append(index)
        self._grids = {period_s: Grid(period_s, phase_fraction) for period_s in self._points}
        self._slots_s = dict.fromkeys(self._points, now_s)

    def due(self, else_s: float) -> tuple[float, Sequence[int]]:
        """When the next poll begins, and of which points, shorter periods first; `else_s` where there is no point."""
        if not self._slots_s:
            return else_s, ()
        period_s = self._next()
        return self._slots_s[period_s], self._points[period_s]

    def done(self, now_s: float) -> int:
        """The poll that was due has ended; returns how many of its slots were missed meanwhile."""
        period_s = self._next()
        self._slots_s[period_s], missed = self._grids[period_s].next_slot(self._slots_s[period_s], now_s)
        return missed

    def _next(self) -> float:
        return min(self._slots_s, key=lambda period_s: (self._slots_s[period_s], period_s))
