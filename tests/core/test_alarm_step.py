"""The alarm step against its rules: golden folders, a slow oracle, and what must hold however rows are grouped."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alarm_cases import Oracle, Row, load_case, point, rows_of, run_ticks
from hypothesis import given, settings
from hypothesis import strategies as st

from mines.alarms.limits import Limit, limit_table
from mines.alarms.state import AlarmState
from mines.alarms.step import step_rows, step_timers

CASES = sorted(path for path in (Path(__file__).parents[2] / "fixtures" / "alarms").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_golden_folder_gives_its_events(folder):
    points, rows, ticks = load_case(folder)
    _, events = run_ticks(points, rows, ticks)
    got = [[e.time_ms, e.kind.value, e.point, e.cause, e.value] for e in events]
    expected = [json.loads(line) for line in (folder / "expected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert got == expected


POINTS = [
    point("a", high_alarm=1.0, high_clear=1.0, high_cut=1.5, high_restore=1.0),
    point("b", high_alarm=1.0, high_clear=0.8, on_delay_s=0.7, off_delay_s=1.1),
    point("c", low_alarm=0.25, low_clear=0.5, off_delay_s=0.3, high_alarm=4.0),
    point("d"),
]
VALUES = st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.51, 0.79, 0.8, 0.99, 1.0, 1.2, 1.49, 1.5, 1.6, 4.0, 4.5, float("nan")])
QUALITIES = st.sampled_from(["good", "good", "good", "uncertain", "over", "under", "bad"])


@st.composite
def histories(draw):
    steps = draw(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3), VALUES, QUALITIES), max_size=40))
    now, rows = 0, []
    for gap, index, value, quality in steps:
        now += gap
        if quality == "bad" or (np.isnan(value) and quality == "good"):
            value, quality = float("nan"), "bad"
        rows.append(Row(now, index, value, quality))
    return rows, now + 2_000


def _ends(cuts, until):
    return sorted({cut for cut in cuts if cut < until} | {until})


@given(histories(), st.lists(st.integers(1, 20_000), max_size=20))
@settings(max_examples=150, deadline=None)
def test_step_agrees_with_the_oracle_row_by_row(history, cuts):
    rows, until = history
    _, events = run_ticks(POINTS, rows, _ends(cuts, until))
    for index, p in enumerate(POINTS):
        for limit, (set_at, clear_at) in _limits(p).items():
            oracle = Oracle(p, set_at, clear_at, high=limit.high)
            for row in rows:
                if row.point == index:
                    oracle.row(row.time_ms, row.value, row.quality)
            oracle.timers(until)
            got = [(e.time_ms, e.kind.value) for e in events if e.point == p.id and e.cause == limit.word]
            assert got == oracle.log


def _limits(p):
    table = limit_table([p])
    return {
        limit: (float(table.set_at[limit, 0]), float(table.clear_at[limit, 0]))
        for limit in Limit
        if not np.isnan(table.set_at[limit, 0])
    }


@given(histories(), st.lists(st.integers(1, 20_000), max_size=30), st.lists(st.integers(1, 20_000), max_size=5))
@settings(max_examples=100, deadline=None)
def test_regrouping_into_other_ticks_changes_no_transition(history, cuts, other_cuts):
    rows, until = history
    _, one = run_ticks(POINTS, rows, _ends(cuts, until))
    _, other = run_ticks(POINTS, rows, _ends(other_cuts, until))
    for p in POINTS:
        assert [e for e in one if e.point == p.id] == [e for e in other if e.point == p.id] or _same_set(one, other, p)


def _same_set(one, other, p):
    """Limits of one point may fall due in another order between rows; each limit's own story is the same."""
    return all(
        [e for e in one if e.point == p.id and e.cause == limit.word]
        == [e for e in other if e.point == p.id and e.cause == limit.word]
        for limit in Limit
    )


@given(histories())
@settings(max_examples=60, deadline=None)
def test_state_is_the_fold_of_its_events(history):
    rows, until = history
    state, events = run_ticks(POINTS, rows, list(range(250, until + 250, 250)))
    again = AlarmState(limit_table(POINTS))
    for event in events:
        again.fold(event)
    for left, right in zip(state.digest(), again.digest(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert state.standing == again.standing


@given(histories())
@settings(max_examples=60, deadline=None)
def test_nothing_but_a_good_value_ever_clears(history):
    rows, until = history
    worse = [row if row.quality != "good" else Row(row.time_ms, row.point, row.value, "uncertain") for row in rows]
    _, events = run_ticks(POINTS, worse, list(range(250, until + 250, 250)))
    assert not [e for e in events if e.kind.value == "alarm_cleared"]


def test_every_row_of_a_tick_is_evaluated_not_only_the_latest():
    p = [point("a", high_alarm=1.0, high_cut=1.5, high_restore=1.0)]
    state = AlarmState(limit_table(p))
    events = step_rows(state, rows_of([Row(1, 0, 0.4, "good"), Row(2, 0, 1.5, "good"), Row(3, 0, 0.4, "good")]))
    assert [(e.time_ms, e.kind.value, e.cause) for e in events] == [
        (2, "alarm_raised", "high_alarm"),
        (2, "alarm_raised", "high_cut"),
        (3, "alarm_cleared", "high_alarm"),
        (3, "alarm_cleared", "high_cut"),
    ]


def test_a_delay_does_not_run_out_on_missing_data():
    p = [point("a", subsystem="power", high_alarm=1.0, on_delay_s=1.0)]
    state = AlarmState(limit_table(p))
    step_rows(state, rows_of([Row(0, 0, 2.0, "good"), Row(500, 0, float("nan"), "bad")]))
    assert step_timers(state, 5_000, 5_000) == []
    assert [e.kind.value for e in step_rows(state, rows_of([Row(6_000, 0, 2.0, "good")]))] == []
    assert [e.kind.value for e in step_timers(state, 6_250, 6_250)] == ["alarm_raised"]


def test_a_step_of_the_wall_clock_during_a_delay_neither_shortens_nor_lengthens_it():
    p = [point("a", subsystem="power", high_alarm=1.0, on_delay_s=10.0)]
    for step_ms in (3_600_000, -3_600_000):
        state = AlarmState(limit_table(p))
        began = rows_of([Row(1_000, 0, 2.0, "good")])
        stepped = replace(began, receive_time_ms=began.receive_time_ms + step_ms, monotonic_ns=began.monotonic_ns * 5)
        assert [e.kind.value for e in step_rows(state, began)] == ["alarm_pending"]
        assert step_rows(state, stepped) == []  # 4 s later on the monotonic clock, an hour off on the wall
        assert step_timers(state, 10_900 + step_ms, 10_900) == []
        assert [e.kind.value for e in step_timers(state, 11_000 + step_ms, 11_000)] == ["alarm_raised"]
