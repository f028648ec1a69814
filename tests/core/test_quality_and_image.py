"""Quality words, range judgement, layers of rows, the process image and its freshness."""

import numpy as np
import pytest
from alarm_cases import Row, point, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mines.model import Subsystem
from mines.process_image import Freshness, ProcessImage, freshness
from mines.quality import (
    GOOD,
    Flag,
    Reason,
    Severity,
    bad,
    flags_of,
    judge_range,
    quality,
    reason_of,
    severity_of,
    uncertain,
)
from mines.rows import layers
from mines.words import codes, link_error, word


@given(st.sampled_from(Severity), st.sampled_from(Reason), st.integers(0, 255))
def test_quality_word_gives_back_its_parts(severity, reason, flags):
    built = quality(severity, reason, flags)
    assert 0 <= built <= 0xFFFF
    assert (severity_of(built), reason_of(built), flags_of(built)) == (severity, reason, Flag(flags))


@pytest.mark.parametrize("reason", Reason, ids=lambda r: r.name)
def test_every_reason_has_a_chinese_and_an_english_word(reason):
    code = f"quality.{reason.name.lower()}"
    assert word(code, "zh")
    assert word(code, "en")


@pytest.mark.parametrize(
    ("error", "zh"),
    [
        ("timeout", "超时无应答"),
        ("exception 2", "设备返回异常 2"),
        ("source_defect: KeyError", "采集程序缺陷: KeyError"),
        ("BadSessionIdInvalid", "BadSessionIdInvalid"),
        ("", ""),
    ],
)
def test_link_error_has_its_word_or_stays_as_it_is(error, zh):
    assert link_error(error) == zh


def test_every_word_is_there_in_both_languages():
    assert [code for code in codes() if not (word(code, "zh") and word(code, "en"))] == []


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [
        (2.0, GOOD, GOOD),
        (4.0, GOOD, GOOD),
        (4.01, GOOD, uncertain(Reason.OUT_OF_RANGE, Flag.OVER_RANGE)),
        (-0.01, GOOD, uncertain(Reason.OUT_OF_RANGE, Flag.UNDER_RANGE)),
        (float("inf"), GOOD, uncertain(Reason.OUT_OF_RANGE, Flag.OVER_RANGE)),
        (float("nan"), GOOD, bad(Reason.NOT_A_NUMBER)),
        (float("nan"), bad(Reason.TIMEOUT), bad(Reason.TIMEOUT)),
        (9.0, bad(Reason.TIMEOUT), bad(Reason.TIMEOUT)),
        (9.0, uncertain(Reason.SUB_NORMAL), uncertain(Reason.SUB_NORMAL, Flag.OVER_RANGE)),
        (2.0, quality(Severity.GOOD, flags=Flag.CALIBRATING), quality(Severity.GOOD, flags=Flag.CALIBRATING)),
    ],
)
def test_range_judgement_marks_and_never_touches_the_value(value, before, after):
    values = np.array([value])
    judged = judge_range(values, np.array([before], dtype=np.uint16), np.array([0.0]), np.array([4.0]))
    assert int(judged[0]) == after
    np.testing.assert_array_equal(values, [value])


@given(st.lists(st.integers(0, 6), max_size=60))
@settings(deadline=None)
def test_layers_hold_every_row_once_and_no_point_twice(indices):
    index = np.array(indices, dtype=np.int32)
    found = layers(index)
    assert sorted(np.concatenate(found).tolist() if found else []) == list(range(len(indices)))
    for layer in found:
        assert len(set(index[layer].tolist())) == len(layer)
    for p in set(indices):
        order = [row for layer in found for row in layer.tolist() if index[row] == p]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("age_ms", "period_ms", "gas", "word_", "expected"),
    [
        (2_500, 1_000, False, GOOD, Freshness.LIVE),
        (2_501, 1_000, False, GOOD, Freshness.LATE),
        (15_000, 1_000, False, GOOD, Freshness.LATE),
        (15_001, 1_000, False, GOOD, Freshness.STALE),
        (10_000, 10_000, True, GOOD, Freshness.LIVE),
        (10_001, 10_000, True, GOOD, Freshness.STALE),
        (10_001, 10_000, False, GOOD, Freshness.LIVE),
        (100, 1_000, False, bad(Reason.TIMEOUT), Freshness.LOST),
        (100, 1_000, False, uncertain(Reason.OUT_OF_RANGE), Freshness.LIVE),
        (-1, 1_000, False, bad(Reason.WAITING_FOR_INITIAL_DATA), Freshness.NEVER),
    ],
)
def test_freshness_bounds(age_ms, period_ms, gas, word_, expected):
    got = freshness(np.array([age_ms]), np.array([period_ms]), np.array([gas]), np.array([word_], dtype=np.uint16))
    assert Freshness(int(got[0])) == expected


def test_image_ages_from_the_last_usable_row_and_confirmations_vouch_for_it():
    image = ProcessImage([point("a"), point("b", subsystem=Subsystem.POWER)])
    image.apply(rows_of([Row(1_000, 0, 0.4, "good"), Row(1_500, 0, 0.5, "good"), Row(1_500, 1, 7.0, "good")]))
    image.apply(rows_of([Row(2_500, 0, float("nan"), "bad")]))
    image.confirm(np.array([0, 1], dtype=np.int32), np.array([3_000_000_000, 3_000_000_000]))
    assert image.age_ms(4_000_000_000).tolist() == [2_500, 1_000]
    assert [Freshness(int(s)) for s in image.freshness(4_000_000_000)] == [Freshness.LOST, Freshness.LIVE]
    assert image.usable_value.tolist() == [0.5, 7.0]
