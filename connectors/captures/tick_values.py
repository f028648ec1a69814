"""What the points of one source show at a moment of a capture, for the simulator's servers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from connectors.captures.playback import Place
from connectors.simulator.scenario import FloatArray, SignalState, StateArray
from mines.model import Batch, RowKind, Tick
from mines.quality import Reason, Severity, reason_of, severity_of

_NS_PER_MS = 1_000_000


class TickValues:
    """Values and states of one source's points, shape (points,), as the capture's ticks set them.

    Before a point's first row the first one is shown; what was bad is shown as lost, its value 0.

    Args:
        position: Of the source among the site's.
        count: Its points.
        ticks: Of the capture, in order.
    """

    def __init__(self, position: int, count: int, ticks: Iterable[Tick]) -> None:
        self._batches = [
            (tick.time_ms * _NS_PER_MS, item.batch)
            for tick in ticks
            for item in tick.batches
            if item.source == position and item.batch.kind == RowKind.SAMPLE
        ]
        self.value: FloatArray = np.zeros(count)
        self.state: StateArray = np.full(count, SignalState.LOST, dtype=np.uint8)
        self._next = 0
        self._place = Place(0, -1)
        self._prime()

    @property
    def times_ns(self) -> Sequence[int]:
        """When its rows came [ns since 1970 UTC]."""
        return [time_ns for time_ns, _ in self._batches]

    def largest(self) -> FloatArray:
        """The largest value of each point, without its sign, shape (points,); 0 where it never had one."""
        largest: FloatArray = np.zeros(len(self.value))
        for _, batch in self._batches:
            np.maximum.at(largest, batch.index, np.nan_to_num(np.abs(batch.value), posinf=0.0))
        return largest

    def run_to(self, place: Place) -> None:
        """Lets all have happened that had by this place; at an earlier one, or in another lap, it begins anew."""
        if place.lap != self._place.lap or place.time_ns < self._place.time_ns:
            self._prime()
        self._place = place
        while self._next < len(self._batches) and self._batches[self._next][0] <= place.time_ns:
            self._apply(self._batches[self._next][1])
            self._next += 1

    def _prime(self) -> None:
        for _, batch in reversed(self._batches):
            self._apply(batch)
        self._next = 0

    def _apply(self, batch: Batch) -> None:
        states = [_state(word) for word in batch.quality.tolist()]
        self.state[batch.index] = states
        self.value[batch.index] = np.where(np.isnan(batch.value), 0.0, batch.value)


def _state(word: int) -> SignalState:
    if severity_of(word) == Severity.BAD:
        return SignalState.LOST
    return SignalState.OVER_RANGE if reason_of(word) == Reason.OUT_OF_RANGE else SignalState.GOOD
