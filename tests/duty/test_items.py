"""Points: linear between full and zero, redistribution, and what an item says of itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.items import linear_fraction, redistributed, score_items
from compliance.measures import Measure
from compliance.rule_pack import scoring_rules
from mines.model import Subsystem

PACK = scoring_rules()
EVERYTHING = tuple(Subsystem)


@pytest.mark.parametrize(
    ("value", "full", "zero", "fraction"),
    [
        (100.0, 99.9, 99.5, 1.0),
        (99.9, 99.9, 99.5, 1.0),
        (99.6, 99.9, 99.5, 0.25),
        (99.5, 99.9, 99.5, 0.0),
        (0.0, 99.9, 99.5, 0.0),
        (3.0, 3.0, 20.0, 1.0),
        (11.5, 3.0, 20.0, 0.5),
        (99.0, 3.0, 20.0, 0.0),
    ],
)
def test_points_are_linear_between_full_and_zero(value, full, zero, fraction):
    assert linear_fraction(value, full, zero) == pytest.approx(fraction)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.5, 10), min_size=1, max_size=60), st.sets(st.integers(0, 59)))
def test_redistributed_weights_sum_to_one_hundred_and_leave_nothing_to_what_does_not_apply(weights, off):
    kept = [0.0 if i in off else weight for i, weight in enumerate(weights)]
    if not any(kept):
        return

    points = redistributed(kept)

    assert sum(points) == 10_000
    assert all(p == 0 for p, weight in zip(points, kept, strict=True) if weight == 0.0)
    whole = sum(kept)
    assert all(abs(p - weight / whole * 10_000) < 1 for p, weight in zip(points, kept, strict=True))


def test_with_every_subsystem_the_weights_are_those_of_the_table():
    items = score_items(PACK, EVERYTHING, {})

    assert [item.points for item in items] == [round(row.weight * 100) for row in PACK.indicators]


def test_what_is_not_measured_is_unknown_with_all_its_weight():
    items = score_items(PACK, EVERYTHING, {})

    assert {item.reason for item in items} == {"not_measured_yet"}
    assert all((item.lost, item.unknown, item.low) == (0, item.points, 0) for item in items)


@pytest.mark.parametrize(
    ("low", "high", "held_back", "lost", "unknown", "reason"),
    [
        (100.0, 100.0, "", 0, 0, "full"),
        (99.0, 100.0, "", 0, 0, "full"),
        (96.0, 98.0, "", 100, 200, "below_full"),
        (0.0, 100.0, "", 0, 400, "missing_data"),
        (10.0, 20.0, "", 400, 0, "below_full"),
        (100.0, 100.0, "long_run", 0, 400, "long_run"),
    ],
    ids=["full", "above_full", "both", "missing", "below_zero", "held_back"],
)
def test_an_interval_in_is_an_interval_out(low, high, held_back, lost, unknown, reason):
    measure = Measure(low=low, high=high, points=(), held_back=held_back)

    item = next(i for i in score_items(PACK, EVERYTHING, {"G1": measure}) if i.indicator.id == "G1")

    assert (item.points, item.lost, item.unknown, item.reason) == (400, lost, unknown, reason)


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_a_narrower_interval_never_lowers_low_or_raises_high(a, b, c, d):
    low, inner_low, inner_high, high = sorted((a, b, c, d))
    wide, narrow = (
        next(i for i in score_items(PACK, EVERYTHING, {"V1": Measure(ends[0], ends[1], ())}) if i.indicator.id == "V1")
        for ends in ((low, high), (inner_low, inner_high))
    )

    assert wide.low <= narrow.low <= narrow.points - narrow.lost <= wide.points - wide.lost
    assert 0 <= narrow.lost + narrow.unknown <= narrow.points
