"""What stood at the beginning of a stretch: the latest rows and link reports as one tick, and the last minute. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mines.model import Batch, LinkReport, RowKind, SourcedBatch, Tick
from mines.quality import Severity, severities
from mines.store.frame import Frame

_RowPlace = tuple[Batch, int]
LEAD_MS: Final = 60_000
"""So long before a stretch its ticks are kept as they were: what is judged over several looks needs them."""


@dataclass(slots=True)
class PictureTaker:
    """Takes frames of one boot in their order; then `picture` is what stood after the last tick, `lead` the minute."""

    _latest: dict[tuple[int, int], _RowPlace] = field(default_factory=dict)
    _usable: dict[tuple[int, int], _RowPlace] = field(default_factory=dict)
    _links: dict[tuple[str, int | None], LinkReport] = field(default_factory=dict)
    _last: Tick | None = None
    _lead: deque[Tick] = field(default_factory=deque)

    @property
    def points(self) -> int:
        """How many points have a row."""
        return len(self._latest)

    @property
    def lead(self) -> tuple[Tick, ...]:
        """The ticks of the last minute."""
        return tuple(self._lead)

    def take(self, frame: Frame) -> None:
        """One more frame."""
        for tick in frame.ticks:
            self._last = tick
            for item in tick.batches:
                self._take_batch(item)
            for report in tick.links:
                self._links[report.source, report.unit] = report
        self._lead += frame.ticks
        while self._lead and self._lead[-1].time_ms - self._lead[0].time_ms > LEAD_MS:
            self._lead.popleft()

    def picture(self) -> Tick | None:
        """For each source its points' latest usable rows and then their latest rows where those are bad; all links.

        None where no tick was taken. It is no tick that ever was: a watch is primed with it, never stepped.
        """
        if self._last is None:
            return None
        last = self._last
        lost = {key: place for key, place in self._latest.items() if self._usable.get(key) != place}
        sources = sorted({source for source, _ in self._latest})
        batches = [_joined(source, places) for source in sources for places in (self._usable, lost)]
        return Tick(
            number=last.number,
            time_ms=last.time_ms,
            monotonic_ns=last.monotonic_ns,
            batches=tuple(item for item in batches if len(item.batch)),
            links=tuple(self._links.values()),
        )

    def _take_batch(self, item: SourcedBatch) -> None:
        batch = item.batch
        if batch.kind != RowKind.SAMPLE:
            return
        usable = (severities(batch.quality) != Severity.BAD).tolist()
        for row, (index, good) in enumerate(zip(batch.index.tolist(), usable, strict=True)):
            self._latest[item.source, index] = (batch, row)
            if good:
                self._usable[item.source, index] = (batch, row)


def _joined(source: int, places: dict[tuple[int, int], _RowPlace]) -> SourcedBatch:
    chosen = sorted((index, place) for (of, index), place in places.items() if of == source)
    rows = [place for _, place in chosen]
    batch = Batch(
        index=np.array([index for index, _ in chosen], dtype=np.int32),
        value=np.array([each.value[row] for each, row in rows], dtype=np.float64),
        quality=np.array([each.quality[row] for each, row in rows], dtype=np.uint16),
        source_time_ms=np.array([each.source_time_ms[row] for each, row in rows], dtype=np.int64),
        receive_time_ms=np.array([each.receive_time_ms[row] for each, row in rows], dtype=np.int64),
        monotonic_ns=np.array([each.monotonic_ns[row] for each, row in rows], dtype=np.int64),
        batch_no=max((each.batch_no for each, _ in rows), default=0),
    )
    return SourcedBatch(source, batch)
