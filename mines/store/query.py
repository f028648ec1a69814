"""Rows and stretches of one point, as `query` prints them. Pure: columns in, plain rows out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mines.clock import NO_TIME_MS
from mines.quality import Severity, severities

if TYPE_CHECKING:
    from mines.store.reader import SampleColumns

_SHANGHAI_MS = 8 * 3_600_000  # stretches of a day begin at local midnight


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


def vouched_until(
    time_ms: npt.NDArray[np.int64], good: npt.NDArray[np.bool_], period_s: float
) -> npt.NDArray[np.int64]:
    """End of the time each row vouches for: the next row, at most 2 P + 1 s; rows that are not good vouch for nothing.

    Args:
        time_ms: Ascending receive times, (n,) [ms].
        good: Rows of good quality, (n,).
        period_s: The point's period [s].
    Returns:
        (n,) [ms]; equal to `time_ms` where the row vouches for nothing.
    Source: design §5, statistics know quality.
    """
    longest = round(2000 * period_s) + 1000
    following = np.append(time_ms[1:], np.iinfo(np.int64).max - longest)
    until = np.minimum(np.maximum(following, time_ms), time_ms + longest)
    return np.where(good, until, time_ms)


def bucket_rows(columns: SampleColumns, *, every_ms: int, period_s: float) -> list[list[Any]]:
    """[start_ms, min, max, mean, good_s, count] of each stretch that holds a row or vouched time.

    The mean is weighted by the time that good values vouch for; minimum and maximum are over good values, so an
    extreme is never lost; `count` is every row received in the stretch. null where no good value is.
    """
    order = np.argsort(columns.receive_time_ms, kind="stable")
    time_ms, value = columns.receive_time_ms[order], columns.value[order]
    good = (severities(columns.quality[order]) == Severity.GOOD) & np.isfinite(value)
    until = vouched_until(time_ms, good, period_s)
    piece_bucket, piece_ms, piece_row = _pieces(time_ms, until, every_ms)
    row_bucket = _bucket(time_ms, every_ms)
    buckets = np.unique(np.concatenate((row_bucket, piece_bucket)))
    n = len(buckets)
    weight, area = np.zeros(n), np.zeros(n)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    at = np.searchsorted(buckets, piece_bucket)
    np.add.at(weight, at, piece_ms)
    np.add.at(area, at, piece_ms * value[piece_row])
    held = np.concatenate((at, np.searchsorted(buckets, row_bucket[good])))
    values = np.concatenate((value[piece_row], value[good]))
    np.minimum.at(low, held, values)
    np.maximum.at(high, held, values)
    count = np.bincount(np.searchsorted(buckets, row_bucket), minlength=n)
    mean = np.divide(area, weight, out=np.full(n, np.nan), where=weight > 0)
    starts = buckets * every_ms - _SHANGHAI_MS
    return [
        [int(start), _number(lo), _number(hi), _number(m), w / 1000, int(c)]
        for start, lo, hi, m, w, c in zip(starts, low, high, mean, weight.tolist(), count, strict=True)
    ]


def _pieces(
    begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64], every_ms: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Vouched intervals cut at stretch boundaries: (stretch, length [ms], row) of each piece."""
    rows = np.flatnonzero(end > begin)
    begin, end = begin[rows], end[rows]
    first, last = _bucket(begin, every_ms), _bucket(end - 1, every_ms)
    times = last - first + 1
    row = np.repeat(np.arange(len(rows)), times)
    step = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
    bucket = first[row] + step
    left = np.maximum(begin[row], bucket * every_ms - _SHANGHAI_MS)
    right = np.minimum(end[row], (bucket + 1) * every_ms - _SHANGHAI_MS)
    return bucket, (right - left).astype(np.float64), rows[row]


def _bucket(time_ms: npt.NDArray[np.int64], every_ms: int) -> npt.NDArray[np.int64]:
    return (time_ms + _SHANGHAI_MS) // every_ms


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
