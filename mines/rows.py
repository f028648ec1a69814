"""The rows of one tick in process order: what alarms and the process image step over.

Process order of points is the points of the site's sources, one source after the other, so that a row's process index
is the offset of its source plus its index there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mines.model import Batch, IndexArray, Point, RowKind, Tick, TimeArray, ValueArray
from mines.quality import QualityArray, judge_range


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Samples of one tick in arrival order; all arrays of shape (n,). `index` is the process index."""

    index: IndexArray
    value: ValueArray
    quality: QualityArray
    source_time_ms: TimeArray
    receive_time_ms: TimeArray
    monotonic_ns: TimeArray

    def __len__(self) -> int:
        return len(self.index)


def source_offsets(points_per_source: Sequence[int]) -> IndexArray:
    """Process index of each source's first point. Shape (sources,)."""
    counts = np.asarray(points_per_source, dtype=np.int32)
    return np.concatenate([np.zeros(1, dtype=np.int32), np.cumsum(counts, dtype=np.int32)[:-1]]).astype(np.int32)


def gather_rows(tick: Tick, offsets: IndexArray, kind: RowKind = RowKind.SAMPLE) -> Rows:
    """All rows of one kind that the tick drained, in arrival order.

    Args:
        tick: As drained; the order of its batches is the order of the rows.
        offsets: From `source_offsets`, shape (sources,).
        kind: Which rows.
    Returns:
        Rows with process indices; of length 0 where there are none.
    """
    chosen = [item for item in tick.batches if item.batch.kind == kind]
    batches = [item.batch for item in chosen]
    index = [item.batch.index + offsets[item.source] for item in chosen]
    return Rows(
        index=_joined(index, np.int32),
        value=_joined([batch.value for batch in batches], np.float64),
        quality=_joined([batch.quality for batch in batches], np.uint16),
        source_time_ms=_joined([batch.source_time_ms for batch in batches], np.int64),
        receive_time_ms=_joined([batch.receive_time_ms for batch in batches], np.int64),
        monotonic_ns=_joined([batch.monotonic_ns for batch in batches], np.int64),
    )


class RangeJudge:
    """Applies the spans of one source's points to its batches, before anything else sees them."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._low = np.array([np.nan if p.range_low is None else p.range_low for p in points], dtype=np.float64)
        self._high = np.array([np.nan if p.range_high is None else p.range_high for p in points], dtype=np.float64)

    def judged(self, batch: Batch) -> Batch:
        """The batch with its quality judged; values untouched."""
        if batch.kind == RowKind.CONFIRM:
            return batch
        words = judge_range(batch.value, batch.quality, self._low[batch.index], self._high[batch.index])
        return Batch(
            index=batch.index,
            value=batch.value,
            quality=words,
            source_time_ms=batch.source_time_ms,
            receive_time_ms=batch.receive_time_ms,
            monotonic_ns=batch.monotonic_ns,
            batch_no=batch.batch_no,
            kind=batch.kind,
        )


def layers(index: IndexArray) -> list[IndexArray]:
    """Row numbers in layers: layer k holds the k-th row of each point, so that a layer has no point twice.

    Stepping layer after layer gives every point its rows in arrival order while each step works on arrays.

    Args:
        index: Process index of each row, shape (n,).
    Returns:
        Arrays of row numbers, ascending within a layer; together every row once.
    """
    n = len(index)
    if n == 0:
        return []
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.concatenate((starts, [n])))
    if int(lengths.max()) == 1:
        return [np.arange(n, dtype=np.int32)]
    rank = np.arange(n) - np.repeat(starts, lengths)
    return [np.sort(order[rank == k]).astype(np.int32) for k in range(int(lengths.max()))]


def _joined(columns: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(columns).astype(dtype, copy=False) if columns else np.zeros(0, dtype=dtype)
