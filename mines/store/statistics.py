"""Statistics that know quality: the one function behind stored statistics, `query --every`, rates and gaps of trends.

A good sample vouches until the next row of its point, at most for two periods and a second; a confirmation says that
the last sample still stands and vouches in the same way. What nobody vouches for is in no mean: `good_ms` says how much
of a stretch was covered, and what is missing to its length was excluded. Pure; arrays over many points at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from mines.model import ValueArray
from mines.quality import Severity, severities
from mines.store.row_gather import Gathered

SHANGHAI_MS: Final = 8 * 3_600_000
"""Stretches of a day begin at local midnight."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """One row a point and stretch that holds a row or covered time, by slot and time; all arrays of shape (n,).

    Values are NaN where nothing good was. `mean` is weighted by covered time, NaN where that is nothing.
    """

    slot: npt.NDArray[np.int32]
    start_ms: Ints
    low: ValueArray
    high: ValueArray
    mean: ValueArray
    good_ms: Ints
    rows: Ints  # received, of any quality; confirmations are none
    good_rows: Ints

    def __len__(self) -> int:
        return len(self.slot)

    @classmethod
    def joined(cls, parts: Sequence[Statistics]) -> Self:
        """All parts, at least one, one after the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def taken(self, rows: npt.NDArray[np.intp] | Bools) -> Statistics:
        """Only these rows."""
        return Statistics(*(getattr(self, field.name)[rows] for field in fields(self)))


def statistics(
    samples: Gathered, confirmations: Gathered, period_ms: Ints, span: tuple[int, int], *, every_ms: int
) -> Statistics:
    """Statistics of every stretch.

    Args:
        samples: Stored rows, in any order; with them what stood before the span begins, two periods and a second of it.
        confirmations: Likewise.
        period_ms: Period of the point of each slot, (slots,) [ms].
        span: [from, to) [ms]; only time and rows within it count.
        every_ms: Length of a stretch; stretches begin at multiples of it after local midnight.
    Source: architecture §5, statistics know quality.
    """
    tokens = _tokens(samples, confirmations)
    begin = tokens.time_ms
    until = np.minimum(_next_ms(tokens), begin + 2 * period_ms[tokens.slot] + 1000)
    until = np.where(tokens.good, np.maximum(until, begin), begin)
    begin, until = np.maximum(begin, span[0]), np.minimum(until, span[1])
    inside = (tokens.time_ms >= span[0]) & (tokens.time_ms < span[1])
    covered = np.flatnonzero(tokens.good & ((until > begin) | (inside & tokens.is_row)))
    piece, stretch, length_ms = _cut(begin[covered], until[covered], every_ms)
    owner = covered[piece]
    received = np.flatnonzero(inside & tokens.is_row)
    return _summed(tokens, owner, stretch, length_ms, received=received, every_ms=every_ms)


@dataclass(frozen=True, slots=True, eq=False)
class _Tokens:
    """Samples and confirmations of all points, by point and time. A confirmation repeats what it confirms."""

    slot: npt.NDArray[np.int32]
    time_ms: Ints
    value: ValueArray
    good: Bools
    is_row: Bools


def _tokens(samples: Gathered, confirmations: Gathered) -> _Tokens:
    slot = np.concatenate((samples.slot, confirmations.slot))
    time_ms = np.concatenate((samples.axis_time_ms(), confirmations.receive_time_ms))
    is_row = np.arange(len(slot)) < len(samples)
    value = np.concatenate((samples.value, np.full(len(confirmations), np.nan)))
    good = np.zeros(len(slot), dtype=np.bool_)
    good[: len(samples)] = (severities(samples.quality) == Severity.GOOD) & np.isfinite(samples.value)
    order = _order(slot, time_ms)
    if order is not None:
        slot, time_ms, value = slot[order], time_ms[order], value[order]
        is_row, good = is_row[order], good[order]
    if len(confirmations):
        last_row = np.maximum.accumulate(np.where(is_row, np.arange(len(slot)), -1))
        known = (last_row >= 0) & (slot[last_row] == slot)
        good = np.where(is_row, good, known & good[last_row])
        value = np.where(is_row, value, value[last_row])
    return _Tokens(slot, time_ms, value, good, is_row)


def _order(slot: npt.NDArray[np.int32], time_ms: Ints) -> npt.NDArray[np.intp] | None:
    """By point, then time, rows before confirmations of the same moment; None where they stand so already."""
    if len(slot) < 2:
        return None
    same = slot[1:] == slot[:-1]
    if ((slot[1:] > slot[:-1]) | (same & (time_ms[1:] >= time_ms[:-1]))).all():
        return None
    return np.lexsort((time_ms, slot))


def _next_ms(tokens: _Tokens) -> Ints:
    """Time of the point's next token; far away where there is none."""
    following = np.full(len(tokens.slot), np.iinfo(np.int64).max // 4)
    if len(tokens.slot):
        same = tokens.slot[1:] == tokens.slot[:-1]
        following[:-1][same] = tokens.time_ms[1:][same]
    return following


def _cut(begin: Ints, until: Ints, every_ms: int) -> tuple[npt.NDArray[np.intp], Ints, Ints]:
    """Intervals cut where stretches begin: which interval, which stretch, how long [ms]; an empty one is one piece."""
    first = _stretch(begin, every_ms)
    last = np.maximum(_stretch(until - 1, every_ms), first)
    times = last - first + 1
    piece = np.repeat(np.arange(len(begin)), times)
    step = np.arange(len(piece)) - np.repeat(np.cumsum(times) - times, times)
    stretch = first[piece] + step
    left = np.maximum(begin[piece], stretch * every_ms - SHANGHAI_MS)
    right = np.minimum(until[piece], (stretch + 1) * every_ms - SHANGHAI_MS)
    return piece, stretch, np.maximum(right - left, 0)


def _stretch(time_ms: Ints, every_ms: int) -> Ints:
    return (time_ms + SHANGHAI_MS) // every_ms


def _summed(
    tokens: _Tokens,
    owner: npt.NDArray[np.intp],
    stretch: Ints,
    length_ms: Ints,
    *,
    received: npt.NDArray[np.intp],
    every_ms: int,
) -> Statistics:
    """Pieces and received rows, put together by point and stretch."""
    row_stretch = _stretch(tokens.time_ms[received], every_ms)
    both = np.concatenate((stretch, row_stretch))
    if not len(both):
        return nothing()
    lowest, width = int(both.min()), int(both.max() - both.min()) + 1
    piece_id = tokens.slot[owner].astype(np.int64) * width + (stretch - lowest)
    row_id = tokens.slot[received].astype(np.int64) * width + (row_stretch - lowest)
    ids = np.unique(np.concatenate((piece_id, row_id)))
    at_piece, at_row = np.searchsorted(ids, piece_id), np.searchsorted(ids, row_id)
    n = len(ids)
    weight = np.bincount(at_piece, weights=length_ms, minlength=n)
    value = tokens.value[owner]
    area = np.bincount(at_piece, weights=length_ms * value, minlength=n)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, at_piece, value)
    np.maximum.at(high, at_piece, value)
    some = np.isfinite(low)
    good_rows = tokens.good[received]
    return Statistics(
        slot=(ids // width).astype(np.int32),
        start_ms=(ids % width + lowest) * every_ms - SHANGHAI_MS,
        low=np.where(some, low, np.nan),
        high=np.where(some, high, np.nan),
        mean=np.divide(area, weight, out=np.full(n, np.nan), where=weight > 0),
        good_ms=weight.astype(np.int64),
        rows=np.bincount(at_row, minlength=n).astype(np.int64),
        good_rows=np.bincount(at_row, weights=good_rows, minlength=n).astype(np.int64),
    )


def nothing() -> Statistics:
    """No stretch."""
    ints, values = np.zeros(0, dtype=np.int64), np.zeros(0)
    return Statistics(np.zeros(0, dtype=np.int32), ints, values, values, values, ints, ints, ints)
