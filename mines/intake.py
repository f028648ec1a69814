"""The intake: streams of all sources into one queue, judged, counted, and each defect kept where it is.

An exception out of a source is a defect: it is logged, said as a link report, its points are marked bad, and the source
is started anew. It never reaches a neighbour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from mines.box_time import BoxTime
from mines.model import Batch, LinkReport, LinkState, RowKind, SourcedBatch, make_batch
from mines.quality import Flag, Reason, bad
from mines.rows import RangeJudge
from mines.snapshot_document import SourceCounters
from mines.source import Source

_LOG = logging.getLogger("minewatch.intake")
_BACKOFF_S = 5.0


class Intake:
    """Takes what the sources yield; `drain` hands it on, once a tick."""

    def __init__(self, sources: Sequence[Source], time: BoxTime) -> None:
        """`sources` in the site's order; nothing streams before `start`."""
        self._sources, self._time = sources, time
        self._judges = [RangeJudge(source.points) for source in sources]
        self._queue: list[tuple[int, Batch | LinkReport]] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.counters = [_counters(source) for source in sources]

    def start(self) -> None:
        """Begins every stream; needs a running loop."""
        self._pumps = [
            asyncio.create_task(self._pump(i), name=f"pump {source.id}") for i, source in enumerate(self._sources)
        ]

    async def stop(self) -> None:
        """Closes every stream; what came before is still in the queue."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def drain(self) -> tuple[tuple[SourcedBatch, ...], tuple[LinkReport, ...]]:
        """Everything since the last drain: batches by source and batch_no, link reports as they came."""
        queue, self._queue = self._queue, []
        batches = [SourcedBatch(i, item) for i, item in queue if isinstance(item, Batch)]
        batches.sort(key=lambda item: item.source)  # stable: within a source in order of batch_no
        return tuple(batches), tuple(item for _, item in queue if isinstance(item, LinkReport))

    async def _pump(self, position: int) -> None:
        source, last_batch, error = self._sources[position], 0, ""
        while True:
            base = last_batch
            try:
                async with aclosing(source.stream()) as stream:
                    async for item in stream:
                        if error:
                            self._queue.append((position, self._own_report(source, LinkState.GOOD, "")))
                            error = ""
                        if isinstance(item, Batch):
                            accepted = self._accepted(position, replace(item, batch_no=base + item.batch_no))
                            last_batch = accepted.batch_no
                            item = accepted
                        self._queue.append((position, item))
                error = "stream ended"
            except Exception as problem:  # the one boundary: a defect of one source stops no other
                _LOG.exception("source %s failed", source.id)
                error = f"{type(problem).__name__}: {problem}"
            last_batch += 1
            self._queue.append((position, self._accepted(position, self._all_bad(source, last_batch))))
            self._queue.append((position, self._own_report(source, LinkState.LOST, f"source_defect: {error}")))
            await asyncio.sleep(_BACKOFF_S)

    def _accepted(self, position: int, batch: Batch) -> Batch:
        points = len(self._sources[position].points)
        if len(batch) and not (0 <= int(batch.index.min()) and int(batch.index.max()) < points):
            raise IndexError(f"batch {batch.batch_no} names a point that the source does not have")
        batch = self._judges[position].judged(batch)
        if self._time.unsure:
            batch = replace(batch, quality=batch.quality | np.uint16(Flag.CLOCK_UNSURE))
        if batch.kind != RowKind.CONFIRM:
            self.counters[position].count(batch.quality)
        return batch

    def _all_bad(self, source: Source, batch_no: int) -> Batch:
        n = len(source.points)
        return make_batch(
            np.arange(n, dtype=np.int32),
            np.full(n, np.nan),
            bad(Reason.SOURCE_DEFECT),
            receive_time_ms=self._time.wall_ms(),
            monotonic_ns=self._time.monotonic_ns(),
            batch_no=batch_no,
        )

    def _own_report(self, source: Source, state: LinkState, error: str) -> LinkReport:
        """What the box itself says of a source that failed and was started anew."""
        now = self._time.wall_ms()
        return LinkReport(
            source=source.id,
            unit=None,
            state=state,
            since_ms=now,
            last_answer_ms=None,
            last_error=error,
            duration_ms=None,
            polls=0,
            good=0,
            bad=0,
            reconnects=0,
            time_ms=now,
        )


def _counters(source: Source) -> SourceCounters:
    return SourceCounters(
        id=source.id,
        kind=str(getattr(source, "kind", "")),
        endpoint=str(getattr(source, "endpoint", "")),
        points=len(source.points),
        period_ms=_mean_period_ms([point.period_s for point in source.points]),
    )


def _mean_period_ms(periods_s: Sequence[float]) -> int:
    """The period at which points × time ÷ period is the number of samples to expect: the harmonic mean [ms]."""
    return round(1000 * len(periods_s) / sum(1 / period_s for period_s in periods_s)) if periods_s else 1000
