"""Statistics against an oracle that walks millisecond by millisecond: samples of every quality, confirmations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mines.clock import NO_TIME_MS
from mines.model import RowKind
from mines.quality import GOOD, Reason, Severity, bad, quality
from mines.store.row_gather import Gathered
from mines.store.statistics import SHANGHAI_MS, statistics

WORDS = {"good": GOOD, "bad": bad(Reason.TIMEOUT), "uncertain": quality(Severity.UNCERTAIN, Reason.OUT_OF_RANGE)}
EVERY = 10


def gathered(rows, kind=RowKind.SAMPLE):
    """Rows of (slot, time, value, word)."""
    n = len(rows)
    return Gathered(
        slot=np.array([row[0] for row in rows], dtype=np.int32),
        receive_time_ms=np.array([row[1] for row in rows], dtype=np.int64),
        source_time_ms=np.full(n, NO_TIME_MS, dtype=np.int64),
        value=np.array([row[2] if len(row) > 2 else np.nan for row in rows], dtype=np.float64),
        quality=np.array([WORDS[row[3]] if len(row) > 3 else 0 for row in rows], dtype=np.uint16),
        batch_no=np.zeros(n, dtype=np.int64),
        kind=np.full(n, kind, dtype=np.uint8),
    )


def oracle(samples, confirmations, period_ms, span, slot):
    """By hand, a millisecond at a time: {stretch: (covered values, rows, good rows)}."""
    tokens = [(row[1], 0, i, row) for i, row in enumerate(samples) if row[0] == slot]
    tokens += [(row[1], 1, i, None) for i, row in enumerate(confirmations) if row[0] == slot]
    tokens.sort(key=lambda token: token[:3])
    out = {}

    def at(time_ms):
        return out.setdefault((time_ms + SHANGHAI_MS) // EVERY, ([], [], [0, 0]))

    last = None
    for number, (time_ms, _, _, row) in enumerate(tokens):
        last = row if row is not None else last
        is_good = last is not None and last[3] == "good" and math.isfinite(last[2])
        if row is not None and span[0] <= time_ms < span[1]:
            at(time_ms)[2][0] += 1
            if is_good:
                at(time_ms)[2][1] += 1
                at(time_ms)[1].append(row[2])
        until = tokens[number + 1][0] if number + 1 < len(tokens) else 10**9
        for ms in range(time_ms, min(until, time_ms + 2 * period_ms + 1000)) if is_good else ():
            if span[0] <= ms < span[1]:
                at(ms)[0].append(last[2])
    return out


ROW = st.tuples(
    st.integers(0, 2),
    st.integers(0, 60),
    st.integers(-5, 5).map(float) | st.just(np.inf),
    st.sampled_from(sorted(WORDS)),
)
CONFIRM = st.tuples(st.integers(0, 2), st.integers(0, 60))


@settings(max_examples=200, deadline=None)
@given(st.lists(ROW, max_size=14), st.lists(CONFIRM, max_size=6), st.integers(0, 30), st.integers(1, 40))
def test_statistics_are_what_walking_by_the_millisecond_gives(samples, confirmations, begin, length):
    span = (begin, begin + length)
    period = np.array([-495, -497, -490])  # two periods and a second are 10, 6 and 20 ms here
    found = statistics(gathered(samples), gathered(confirmations, RowKind.CONFIRM), period, span, every_ms=EVERY)
    for slot in range(3):
        expected = oracle(samples, confirmations, int(period[slot]), span, slot)
        mine = found.taken(found.slot == slot)
        assert ((mine.start_ms + SHANGHAI_MS) // EVERY).tolist() == sorted(expected)
        for row, stretch in enumerate(sorted(expected)):
            covered, instants, counts = expected[stretch]
            assert (mine.good_ms[row], mine.rows[row], mine.good_rows[row]) == (len(covered), *counts)
            held = covered + instants
            assert mine.low[row] == pytest.approx(min(held, default=np.nan), nan_ok=True)
            assert mine.high[row] == pytest.approx(max(held, default=np.nan), nan_ok=True)
            assert mine.mean[row] == pytest.approx(np.mean(covered) if covered else np.nan, nan_ok=True)


def test_a_confirmed_value_is_covered_as_long_as_it_is_confirmed():
    samples = gathered([(0, 0, 2.0, "good")])
    confirmed = gathered([(0, ms) for ms in range(1000, 60_000, 1000)], RowKind.CONFIRM)
    found = statistics(samples, confirmed, np.array([1000]), (0, 300_000), every_ms=300_000)
    assert (found.good_ms.tolist(), found.mean.tolist(), found.rows.tolist()) == ([62_000], [2.0], [1])


def test_a_bad_row_ends_what_was_vouched_for_and_a_confirmation_of_it_vouches_for_nothing():
    samples = gathered([(0, 0, 2.0, "good"), (0, 500, np.nan, "bad")])
    confirmed = gathered([(0, 900)], RowKind.CONFIRM)
    found = statistics(samples, confirmed, np.array([1000]), (0, 10_000), every_ms=10_000)
    assert found.good_ms.tolist() == [500]
