"""Clocks of devices: right, ahead, behind, of another year, jumped, still; each said once, also over a restart."""

import numpy as np
import pytest
from alarm_cases import point
from hypothesis import given, settings
from hypothesis import strategies as st

from mines.clock import NO_TIME_MS
from mines.device_clock import LOOKS, SETTLED_MS, TOLERANCE_MS, DeviceClock
from mines.events import EventKind
from mines.model import LinkReport, LinkState, RowKind, SourcedBatch, Tick, make_batch
from mines.quality import GOOD, Reason, bad
from mines.watch import Watch

NOW = 1_795_000_000_000
HOUR = 3_600_000
POINTS = [[point("a"), point("b")]]


def told(clock, skews, *, start=NOW, every_ms=2_000):
    """Causes that a clock of these skews gives, look by look."""
    said = []
    for i, skew in enumerate(skews):
        at = start + i * every_ms
        said += clock.look(at + skew, at)
    return said


@pytest.mark.parametrize(
    ("skew", "cause"),
    [
        (0, "right"),
        (TOLERANCE_MS, "right"),
        (-TOLERANCE_MS, "right"),
        (2 * TOLERANCE_MS, "ahead"),
        (-HOUR, "behind"),
        (946_684_800_000 - NOW, "wrong_year"),
        (-NOW, "wrong_year"),
    ],
    ids=["exact", "just ahead", "just behind", "ahead", "an hour behind", "in 2000", "in 1970"],
)
def test_a_clock_is_said_once_and_only_when_it_has_been_seen_for_a_while(skew, cause):
    clock = DeviceClock(TOLERANCE_MS)
    assert told(clock, [skew] * (LOOKS - 1)) == []
    assert told(clock, [skew] * 50, start=NOW + SETTLED_MS) == [cause]
    assert clock.skew_ms == skew


def test_a_jump_is_an_event_of_its_own_beside_the_new_state():
    clock = DeviceClock(TOLERANCE_MS)
    assert told(clock, [100] * 5 + [HOUR] * 5 + [2 * HOUR] * 5 + [50] * 5) == [
        "right", "jumped", "ahead", "jumped", "jumped", "right",
    ]  # fmt: skip


def test_one_strange_look_says_nothing():
    clock = DeviceClock(TOLERANCE_MS)
    assert told(clock, [0] * 5 + [-HOUR] + [0] * 5 + [HOUR] + [0] * 5) == ["right"]


def test_a_slow_drift_ends_in_a_wrong_clock_without_a_jump():
    clock = DeviceClock(TOLERANCE_MS)
    assert told(clock, range(0, 3 * TOLERANCE_MS, 100)) == ["right", "ahead"]


def test_at_the_edge_of_the_tolerance_a_clock_does_not_chatter():
    clock = DeviceClock(TOLERANCE_MS)
    assert told(clock, [0] * 5 + [TOLERANCE_MS - 500, TOLERANCE_MS + 500] * 100) == ["right"]


def test_a_clock_that_stands_still_is_said_and_said_again_when_it_goes():
    clock = DeviceClock(TOLERANCE_MS)
    said = told(clock, [0] * 5)
    for at in range(NOW + 10_000, NOW + 60_000, 1_000):
        said += clock.look(NOW + 10_000, at)
    said += told(clock, [0] * 5, start=NOW + 60_000)
    assert said == ["right", "stands_still", "right"]


def test_an_answer_that_is_reported_again_is_no_clock_that_stands_still():
    clock = DeviceClock(TOLERANCE_MS)
    assert told(clock, [0] * 5) == ["right"]
    assert [clock.look(NOW + 8_000, NOW + 8_000) for _ in range(100)] == [[]] * 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-9, 9).map(lambda k: 3 * k * TOLERANCE_MS), min_size=1, max_size=6), st.integers(0, 40))
def test_a_restart_at_any_look_says_neither_more_nor_less(levels, cut):
    skews = [level for level in levels for _ in range(8)]
    whole = DeviceClock(TOLERANCE_MS)
    expected = told(whole, skews)
    first, second = DeviceClock(TOLERANCE_MS), DeviceClock(TOLERANCE_MS)
    cut = min(cut // 8 * 8, len(skews))  # not within what is just being found out
    said = []
    for i, skew in enumerate(skews[:cut]):
        at = NOW + i * 2_000
        for cause in first.look(at + skew, at):
            said.append(cause)
            second.say(cause, skew)  # as the log would be folded
    said += told(second, skews[cut:], start=NOW + cut * 2_000)
    assert said == expected


def tick(number, values=None, *, source_ms=None, links=(), step=0, word=GOOD, kind=RowKind.SAMPLE):
    ms = NOW + number * 2_000
    batches = ()
    if values is not None:
        n = len(values)
        column = np.full(n, NO_TIME_MS if source_ms is None else source_ms, dtype=np.int64)
        rows = make_batch(
            range(n), values, word, receive_time_ms=ms, monotonic_ns=ms * 10**6, batch_no=number,
            source_time_ms=column, kind=kind,
        )  # fmt: skip
        batches = (SourcedBatch(0, rows),)
    return Tick(number, ms, ms * 10**6, batches, tuple(links), (), step)


def clock_events(watch, ticks):
    events = [event for one in ticks for event in watch.step(one)]
    return [(e.cause, e.detail["clock"]) for e in events if e.kind == EventKind.DEVICE_CLOCK]


def changing(count, skew, start=1, **more):
    return [tick(k, [float(k), 1.0], source_ms=NOW + k * 2_000 + skew, **more) for k in range(start, start + count)]


def test_times_of_changing_values_tell_the_clock_of_the_device():
    watch = Watch(POINTS, 1)
    assert clock_events(watch, [*changing(6, -50), *changing(6, -HOUR, 7)]) == [
        ("right", "values"), ("jumped", "values"), ("behind", "values"),
    ]  # fmt: skip
    assert watch.clocks.skew_ms(POINTS[0][0].source, None) == -HOUR


def test_an_old_time_on_a_value_that_has_not_changed_says_nothing_of_the_clock():
    watch = Watch(POINTS, 1)
    same = [tick(k, [1.0, 2.0], source_ms=NOW - 10 * HOUR) for k in range(1, 20)]
    assert clock_events(watch, same) == []


def test_changing_values_under_one_time_are_a_clock_that_stands_still():
    watch = Watch(POINTS, 1)
    ticks = [tick(k, [float(k), 1.0], source_ms=NOW) for k in range(1, 12)]
    assert ("stands_still", "values") in clock_events(watch, [*changing(5, 0, -5), *ticks])


@pytest.mark.parametrize(
    "more", [{"word": bad(Reason.SENSOR_FAILURE)}, {"kind": RowKind.BACKFILL}], ids=["bad rows", "history"]
)
def test_bad_rows_and_history_tell_no_time(more):
    assert clock_events(Watch(POINTS, 1), changing(20, -HOUR, **more)) == []


def report(k, device_ms, state=LinkState.GOOD):
    at = NOW + k * 2_000
    return LinkReport("s", None, state, NOW, at, "", 1.0, 0, 0, 0, 0, "", at, {}, device_ms)


def test_the_servers_own_clock_is_judged_by_itself():
    watch = Watch(POINTS, 1)
    ticks = [
        tick(k, [float(k), 1.0], source_ms=NOW + k * 2_000, links=[report(k, NOW + k * 2_000 + HOUR)])
        for k in range(1, 9)
    ]
    assert sorted(clock_events(watch, ticks)) == [("ahead", "server"), ("right", "values")]
    assert watch.clocks.state("s", None) == "ahead"


def test_a_lost_link_repeats_what_it_knew_and_that_is_no_look():
    watch = Watch(POINTS, 1)
    assert clock_events(watch, [tick(k, links=[report(k, NOW, LinkState.LOST)]) for k in range(1, 30)]) == []


def test_a_step_of_the_boxs_own_clock_is_no_jump_of_the_devices():
    watch = Watch(POINTS, 1)
    before = clock_events(watch, changing(6, 0))
    after = clock_events(watch, [tick(7, step=HOUR), *changing(6, -HOUR, 8)])
    assert (before, after) == ([("right", "values")], [("behind", "values")])
