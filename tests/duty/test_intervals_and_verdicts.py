"""Interval arithmetic and three-valued logic against the same done minute by minute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.intervals import (
    NOWHEN,
    at_least,
    intersection,
    interval,
    length_ms,
    longest,
    merged,
    subtract,
    union,
)
from compliance.verdicts import UNKNOWN, Share, Verdict, all_of, any_of, at_least_of, share, total
from compliance.window import months_before

LENGTH = 24
FLAGS = st.lists(st.booleans(), min_size=LENGTH, max_size=LENGTH).map(np.array)
KNOWN = st.lists(st.sampled_from((1, 0, -1)), min_size=LENGTH, max_size=LENGTH).map(np.array)


def of_flags(flags: np.ndarray) -> np.ndarray:
    start = np.flatnonzero(flags).astype(np.int64)
    return merged(start, start + 1)


def flags_of(intervals: np.ndarray) -> np.ndarray:
    flags = np.zeros(LENGTH, dtype=bool)
    for start, end in intervals:
        flags[start:end] = True
    return flags


def verdict(known: np.ndarray) -> Verdict:
    return Verdict(of_flags(known == 1), of_flags(known == -1))


def is_proper(intervals: np.ndarray) -> bool:
    return bool((intervals[:, 1] > intervals[:, 0]).all() and (intervals[1:, 0] > intervals[:-1, 1]).all())


@settings(max_examples=200, deadline=None)
@given(st.lists(FLAGS, min_size=1, max_size=4), st.integers(1, 5))
def test_at_least_is_the_count_at_every_moment(parts, count):
    found = at_least(count, [of_flags(part) for part in parts])

    assert is_proper(found)
    assert (flags_of(found) == (np.sum(parts, axis=0) >= count)).all()


@settings(max_examples=100, deadline=None)
@given(FLAGS, FLAGS)
def test_subtract_leaves_what_is_not_taken(whole, taken):
    found = subtract(of_flags(whole), of_flags(taken))

    assert is_proper(found)
    assert (flags_of(found) == (whole & ~taken)).all()
    assert length_ms(found) == (whole & ~taken).sum()


def test_union_and_intersection_of_nothing_are_no_time():
    assert len(union([])) == len(intersection([])) == len(union([NOWHEN, NOWHEN])) == 0


def test_a_stretch_that_ends_before_it_begins_is_no_time():
    assert len(interval(5, 5)) == len(interval(5, 4)) == 0


def test_longest_are_given_in_order_of_time():
    stretches = np.array([[0, 3], [10, 20], [30, 31], [40, 45]], dtype=np.int64)

    assert longest(stretches, 2) == [[10, 20], [40, 45]]


@settings(max_examples=200, deadline=None)
@given(st.lists(KNOWN, min_size=1, max_size=4), st.integers(1, 4))
def test_verdicts_are_kleene_logic_at_every_moment(parts, count):
    verdicts = [verdict(part) for part in parts]
    proved, disproved = (np.sum([part == sign for part in parts], axis=0) for sign in (1, -1))
    n = len(parts)

    for found, needed in ((all_of(verdicts), n), (any_of(verdicts), 1), (at_least_of(count, verdicts), count)):
        if needed > n:
            assert len(found.known) == 0
            continue
        assert (flags_of(found.proved) == (proved >= needed)).all()
        assert (flags_of(found.disproved) == (disproved > n - needed)).all()


def test_no_condition_at_all_is_unknown():
    assert len(all_of([]).known) == len(any_of([]).known) == len(UNKNOWN.known) == 0


def test_share_is_proved_and_unknown_against_required():
    found = share(Verdict(interval(0, 60), interval(60, 70)), interval(10, 110), interval(0, 80))

    assert found == Share(required_ms=100, proved_ms=50, disproved_ms=10, watched_ms=70)
    assert (found.low, found.high, found.coverage) == (0.5, 0.9, 0.6)
    assert found.observed == pytest.approx(50 / 70)


def test_a_share_of_nothing_required_is_open():
    empty = total([])

    assert (empty.low, empty.high, empty.coverage, empty.observed) == (0.0, 1.0, 0.0, None)


@pytest.mark.parametrize(
    ("as_of", "months", "start"),
    [
        (1_795_536_000_000, 3, 1_787_587_200_000),
        (1_780_156_800_000, 3, 1_772_208_000_000),  # 31 May → 28 February
        (1_768_665_600_123, 1, 1_765_987_200_123),  # across the year, milliseconds kept
    ],
    ids=["november", "short_february", "new_year"],
)
def test_the_window_goes_back_calendar_months_at_the_mine(as_of, months, start):
    assert (months_before(as_of, months).from_ms, months_before(as_of, months).to_ms) == (start, as_of)
