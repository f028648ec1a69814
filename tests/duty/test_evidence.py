"""Rows become evidence: what a row vouches for, what a confirmation stands for, what silence is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from score_cases import MemoryReader, columns, make_point

from compliance.evidence import PointEvidence, Vouching, gather_evidence, point_evidence
from compliance.window import Window
from mines.model import RowKind, Subsystem
from mines.quality import GOOD, Reason, bad, uncertain

WINDOW = Window(0, 100_000)
VOUCHING = Vouching(2, 1)  # P = 1 s: the next row may come 3 s later


def evidence(rows, confirmed=(), window: Window = WINDOW) -> PointEvidence:
    times = np.array(confirmed, dtype=np.int64)
    return point_evidence(columns(rows), times, 1.0, window=window, vouching=VOUCHING)


def proved(found: PointEvidence) -> list[list[int]]:
    return found.valid.proved.tolist()


def disproved(found: PointEvidence) -> list[list[int]]:
    return found.valid.disproved.tolist()


def test_a_good_row_vouches_until_the_next_that_comes_in_time():
    found = evidence([(1000, 0.3, GOOD), (2000, 0.3, GOOD), (5000, 0.3, GOOD)])

    assert proved(found) == [[1000, 5000]]


def test_a_row_that_nothing_follows_in_time_vouches_for_nothing():
    found = evidence([(1000, 0.3, GOOD), (2000, 0.3, GOOD), (5001, 0.3, GOOD)])

    assert proved(found) == [[1000, 2000]]
    assert found.watched.tolist() == [[1000, 2000]]
    assert found.answered


@pytest.mark.parametrize("word", [bad(Reason.TIMEOUT), uncertain(Reason.OUT_OF_RANGE)], ids=["bad", "uncertain"])
def test_rows_that_are_not_good_vouch_for_nothing_but_were_watched(word):
    found = evidence([(1000, 0.3, GOOD), (2000, 0.3, word), (3000, 0.3, word), (4000, 0.3, GOOD)])

    assert proved(found) == [[1000, 2000]]
    assert disproved(found) == [[2000, 4000]]
    assert found.watched.tolist() == [[1000, 4000]]


def test_a_good_row_without_a_number_vouches_for_nothing():
    assert proved(evidence([(1000, np.nan, GOOD), (2000, 0.3, GOOD)])) == []


def test_confirmations_carry_the_sample_before_them():
    found = evidence([(1000, 1.0, GOOD), (6000, 0.0, GOOD)], confirmed=[2000, 4000, 5500, 7000, 8000])

    assert found.holds(found.value == 1.0).proved.tolist() == [[1000, 6000]]
    assert found.holds(found.value == 1.0).disproved.tolist() == [[6000, 8000]]


def test_a_confirmation_after_a_gap_stands_for_nothing_until_the_next_sample():
    found = evidence([(1000, 1.0, GOOD), (9000, 1.0, GOOD)], confirmed=[2000, 6000, 7000, 8000, 10_000])

    assert proved(found) == [[1000, 2000], [9000, 10_000]]


def test_confirmations_before_any_sample_stand_for_nothing():
    found = evidence([(5000, 1.0, GOOD), (6000, 1.0, GOOD)], confirmed=[2000, 3000, 4000])

    assert proved(found) == [[5000, 6000]]


def test_a_confirmation_of_a_bad_sample_proves_nothing():
    assert proved(evidence([(1000, 1.0, bad(Reason.TIMEOUT))], confirmed=[2000, 3000])) == []


def test_a_confirmation_at_the_moment_of_a_sample_confirms_that_sample():
    found = evidence([(1000, 1.0, GOOD), (2000, 0.0, GOOD)], confirmed=[2000, 3000])

    assert found.holds(found.value == 0.0).proved.tolist() == [[2000, 3000]]


def test_evidence_is_cut_to_the_window_and_begins_with_the_row_before_it():
    found = evidence([(1000, 1.0, GOOD), (3000, 1.0, GOOD), (5000, 1.0, GOOD)], window=Window(2000, 4000))

    assert proved(found) == [[2000, 4000]]


def test_a_point_that_answered_only_before_the_window_did_not_answer():
    found = evidence([(1000, 1.0, GOOD), (1900, 1.0, bad(Reason.TIMEOUT)), (2500, 1.0, bad(Reason.TIMEOUT))])
    later = evidence([(1000, 1.0, GOOD), (2500, 1.0, bad(Reason.TIMEOUT))], window=Window(2000, 4000))

    assert (found.answered, later.answered) == (True, False)


def test_backfilled_rows_fill_the_gap_they_were_missing_in():
    live = columns([(1000, 1.0, GOOD), (2000, 1.0, GOOD), (8000, 1.0, GOOD), (9000, 1.0, GOOD)])
    late = replace(
        columns([(20_000, 1.0, GOOD)] * 3, RowKind.BACKFILL),
        source_time_ms=np.array([4000, 6000, 7000], dtype=np.int64),
    )
    rows = replace(
        live,
        **{
            name: np.concatenate([getattr(live, name), getattr(late, name)])
            for name in ("receive_time_ms", "source_time_ms", "value", "quality", "batch_no", "kind")
        },
    )

    found = point_evidence(rows, np.zeros(0, dtype=np.int64), 1.0, window=WINDOW, vouching=VOUCHING)

    assert proved(found) == [[1000, 9000]]


def test_rows_out_of_order_are_put_in_order():
    found = evidence([(3000, 1.0, GOOD), (1000, 1.0, GOOD), (2000, 1.0, GOOD)])

    assert proved(found) == [[1000, 3000]]


def test_no_rows_are_no_evidence():
    found = evidence([], confirmed=[1000, 2000])

    assert (proved(found), found.watched.tolist(), found.answered) == ([], [], False)


def test_rows_are_read_from_a_little_before_the_window():
    point = make_point("p", Subsystem.GAS, "methane", period_s=1.0)
    reader = MemoryReader({"p": columns([(49_000, 1.0, GOOD), (51_000, 1.0, GOOD), (52_000, 1.0, GOOD)])})

    found = gather_evidence(reader, [point], Window(50_000, 60_000), VOUCHING)

    assert proved(found.of(point)) == [[50_000, 52_000]]
