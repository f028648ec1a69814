"""Stretches of time as arrays: union, intersection, at least k of n. Half-open [start, end), ms UTC. Pure numpy.

An `Intervals` has shape (n, 2), dtype int64: sorted, disjoint, no two touching, none empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Intervals = npt.NDArray[np.int64]

NOWHEN: Intervals = np.zeros((0, 2), dtype=np.int64)
"""No time at all. Never written to."""
NOWHEN.setflags(write=False)


def interval(start_ms: int, end_ms: int) -> Intervals:
    """One stretch; no time at all where the end is not after the start.

    Source: project default; plain arithmetic of half-open intervals.
    """
    return np.array([[start_ms, end_ms]], dtype=np.int64) if end_ms > start_ms else NOWHEN


def merged(start_ms: npt.NDArray[np.int64], end_ms: npt.NDArray[np.int64]) -> Intervals:
    """Stretches in order of time that do not overlap, the touching ones made one. Linear.

    Args:
        start_ms: (n,) [ms], ascending.
        end_ms: (n,) [ms], each after its start and not after the next start.
    Source: project default; plain arithmetic of half-open intervals.
    """
    if not len(start_ms):
        return NOWHEN
    apart = start_ms[1:] > end_ms[:-1]
    begins = np.concatenate([[True], apart])
    ends = np.concatenate([apart, [True]])
    return np.column_stack([start_ms[begins], end_ms[ends]])


def union(parts: Sequence[Intervals]) -> Intervals:
    """Time in any of the parts.

    Source: project default; plain arithmetic of half-open intervals.
    """
    return at_least(1, parts)


def intersection(parts: Sequence[Intervals]) -> Intervals:
    """Time in every one of the parts; no time at all where there are no parts.

    Source: project default; plain arithmetic of half-open intervals.
    """
    return at_least(len(parts), parts) if parts else NOWHEN


def at_least(count: int, parts: Sequence[Intervals]) -> Intervals:
    """Time in at least `count` of the parts. `count` is 1 or more.

    Source: project default; plain arithmetic of half-open intervals.
    """
    if count > len(parts):
        return NOWHEN
    rows = np.concatenate(parts)
    return _at_least(count, rows[:, 0], rows[:, 1]) if len(rows) else NOWHEN


def subtract(whole: Intervals, taken: Intervals) -> Intervals:
    """Time in `whole` that is not in `taken`.

    Source: project default; plain arithmetic of half-open intervals.
    """
    if not len(whole) or not len(taken):
        return whole
    first = min(int(whole[0, 0]), int(taken[0, 0]))
    last = max(int(whole[-1, 1]), int(taken[-1, 1]))
    edges = np.concatenate([[first], taken.ravel(), [last]]).reshape(-1, 2)
    free = edges[edges[:, 1] > edges[:, 0]]
    return intersection([whole, free]) if len(free) else NOWHEN


def length_ms(intervals: Intervals) -> int:
    """How much time it is [ms].

    Source: project default; plain arithmetic of half-open intervals.
    """
    return int((intervals[:, 1] - intervals[:, 0]).sum())


def longest(intervals: Intervals, count: int) -> list[list[int]]:
    """The `count` longest stretches as [[start_ms, end_ms], …], in order of time.

    Source: project default; plain arithmetic of half-open intervals.
    """
    lengths = intervals[:, 1] - intervals[:, 0]
    chosen = np.sort(np.argsort(-lengths, kind="stable")[:count])
    rows: list[list[int]] = intervals[chosen].tolist()
    return rows


def _at_least(count: int, start_ms: npt.NDArray[np.int64], end_ms: npt.NDArray[np.int64]) -> Intervals:
    """Sweeps over all edges: how many stretches are open after each; keeps where that is `count` or more."""
    edges, place = np.unique(np.concatenate([start_ms, end_ms]), return_inverse=True)
    steps = np.concatenate([np.ones(len(start_ms)), -np.ones(len(end_ms))])
    open_after = np.cumsum(np.bincount(place, weights=steps))
    enough = np.concatenate([[False], open_after >= count - 0.5])  # counts are whole, summed as floats
    begins = np.flatnonzero(enough[1:] & ~enough[:-1])
    ends = np.flatnonzero(enough[:-1] & ~enough[1:])
    return np.column_stack([edges[begins], edges[ends]]) if len(begins) else NOWHEN
