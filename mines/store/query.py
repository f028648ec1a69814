"""Rows and stretches of one point, as `query` prints them. Pure: columns in, plain rows out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mines.clock import NO_TIME_MS
from mines.model import RowKind, TimeArray
from mines.store.row_gather import Gathered
from mines.store.statistics import Statistics, statistics

if TYPE_CHECKING:
    from mines.store.reader import SampleColumns

_EARLIEST_MS, _LATEST_MS = -(2**60), 2**60


def raw_rows(columns: SampleColumns) -> list[list[Any]]:
    """Every stored row: [time_ms, source_time_ms | null, value | null, quality, batch_no], in journal order."""
    finite = np.isfinite(columns.value).tolist()
    rows = zip(
        columns.receive_time_ms.tolist(),
        columns.source_time_ms.tolist(),
        columns.value.tolist(),
        finite,
        columns.quality.tolist(),
        columns.batch_no.tolist(),
        strict=True,
    )
    return [
        [time_ms, None if source_ms == NO_TIME_MS else source_ms, value if ok else None, quality, batch_no]
        for time_ms, source_ms, value, ok, quality, batch_no in rows
    ]


def bucket_rows(
    columns: SampleColumns,
    confirmed_ms: TimeArray,
    *,
    span: tuple[int | None, int | None],
    every_ms: int,
    period_s: float,
) -> list[list[Any]]:
    """[start_ms, min, max, mean, good_s, count] of each stretch that holds a row or vouched time.

    The mean is weighted by the time that good values vouch for; minimum and maximum are over good values, so an
    extreme is never lost; `count` is every row received in the stretch. null where no good value is.

    Args:
        columns: Rows of one point, those shortly before the span included: they may vouch into it.
        confirmed_ms: When the point was confirmed unchanged, likewise.
        span: [from, to) [ms], None = open.
        every_ms: Length of a stretch.
        period_s: Of the point [s].
    """
    begin = _EARLIEST_MS if span[0] is None else span[0]
    end = _LATEST_MS if span[1] is None else span[1]
    period_ms = np.array([round(1000 * period_s)], dtype=np.int64)
    found = statistics(_one_point(columns), _confirmations(confirmed_ms), period_ms, (begin, end), every_ms=every_ms)
    return stretch_rows(found)


def stretch_rows(found: Statistics) -> list[list[Any]]:
    """Statistics of one point as `query` prints them: [start_ms, min, max, mean, good_s, count]."""
    rows = zip(found.start_ms, found.low, found.high, found.mean, found.good_ms.tolist(), found.rows, strict=True)
    return [
        [int(start), _number(low), _number(high), _number(mean), good_ms / 1000, int(count)]
        for start, low, high, mean, good_ms, count in rows
    ]


def longest_voucher_ms(period_s: float) -> int:
    """How long before a span rows may still vouch into it: two periods and a second."""
    return round(2000 * period_s) + 1000


def _one_point(columns: SampleColumns) -> Gathered:
    slot = np.zeros(len(columns), dtype=np.int32)
    times = (columns.receive_time_ms, columns.source_time_ms)
    return Gathered(slot, *times, columns.value, columns.quality, columns.batch_no, columns.kind)


def _confirmations(confirmed_ms: TimeArray) -> Gathered:
    n = len(confirmed_ms)
    numbers = np.zeros(n, dtype=np.int64)
    kind = np.full(n, RowKind.CONFIRM, dtype=np.uint8)
    words = np.zeros(n, dtype=np.uint16)
    return Gathered(np.zeros(n, dtype=np.int32), confirmed_ms, numbers, np.full(n, np.nan), words, numbers, kind)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
