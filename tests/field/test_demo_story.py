"""The demo mine tells its story: the surge of every start to the second, the rest by the clock on the wall."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.simulator.demo.story import DemoStory
from connectors.simulator.demo.tables import Tables
from connectors.simulator.scenario import Moments, SignalState

TABLES = Tables()
STORY = DemoStory(TABLES.points, TABLES.signals)
POINTS = {point.id: point for point in TABLES.points}
COLUMN = {point_id: column for column, point_id in enumerate(STORY.ids)}
T1 = "gas.f1602.t1.ch4"
LONG_AFTER_START_MS = 10_000_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
STARTS = st.integers(min_value=1_600_000_000_000, max_value=1_893_456_000_000)  # 2020 … 2030, any time of day


def local_ms(text: str, day: str = "2026-11-25") -> int:
    """Milliseconds of a time of day in Asia/Shanghai."""
    when = datetime.fromisoformat(f"{day}T{text}").replace(tzinfo=timezone(timedelta(hours=8)))
    return round(when.timestamp() * 1000)


def values(moments: Moments, point_id: str) -> np.ndarray:
    return STORY.at(moments).value[:, COLUMN[point_id]]


def by_the_clock(begin: str, minutes: float, step_ms: int = 1_000, day: str = "2026-11-25") -> Moments:
    """A stretch of wall time long after the start."""
    wall = local_ms(begin, day) + np.arange(0, round(minutes * 60_000), step_ms, dtype=np.int64)
    return Moments(wall, np.full(len(wall), LONG_AFTER_START_MS, dtype=np.int64))


@settings(max_examples=40, deadline=None)
@given(start=STARTS)
def test_the_surge_raises_once_for_70_s_and_clears_by_175_s_after_any_start(start):
    shown = values(Moments.run(start, 300_000, 250), T1)
    active = shown >= 1.0
    raised, cleared = (
        np.flatnonzero(np.diff(active.astype(int)) == 1) + 1,
        np.flatnonzero(np.diff(active.astype(int)) == -1) + 1,
    )
    assert len(raised) == len(cleared) == 1
    raised_s, cleared_s = raised[0] / 4, cleared[0] / 4
    assert 89.0 <= raised_s <= 90.0
    assert abs(cleared_s - raised_s - 70.0) <= 0.25
    assert cleared_s <= 175.0
    assert shown.max() == 1.06
    begins_s = np.flatnonzero(shown > 0.42)[0] / 4
    assert begins_s <= 10.0
    assert shown[0] == 0.42
    assert abs(np.flatnonzero(shown == 1.06)[0] / 4 - (4.0 + 95.0)) <= 1.0  # 95 s from 0.42 to 1.06


@settings(max_examples=15, deadline=None)
@given(start=STARTS)
def test_the_surge_stops_the_shearer_at_the_limit_and_keeps_the_neighbours_below_theirs(start):
    moments = Moments.run(start, 1_500_000, 1_000)
    readings = STORY.at(moments)
    run = readings.value[:, COLUMN["gas.f1602.shearer.run"]]
    over = np.flatnonzero(readings.value[:, COLUMN[T1]] >= 1.0)
    assert run[: over[0] - 1].min() == 1
    assert run[over[0] : 1_200].max() == 0
    for point_id in ("gas.f1602.t0.ch4", "gas.f1602.t2.ch4", "gas.f1602.t2m.ch4", "gas.f1602.shearer.ch4"):
        assert readings.value[:, COLUMN[point_id]].max() < 1.0, point_id


@settings(max_examples=15, deadline=None)
@given(start=STARTS)
def test_t1_is_continuous_through_the_surge_and_after(start):
    shown = values(Moments.run(start, 1_800_000, 1_000), T1)
    assert np.abs(np.diff(shown)).max() < 0.025


def test_the_same_moments_give_the_same_readings_one_by_one_or_together():
    moments = Moments.run(local_ms("13:20"), 60_000, 5_000)
    together = STORY.at(moments).value
    fresh = DemoStory(TABLES.points, TABLES.signals)
    for row, (wall, elapsed) in enumerate(zip(moments.wall_ms.tolist(), moments.elapsed_ms.tolist(), strict=True)):
        assert (fresh.at(Moments.single(wall, elapsed)).value[0] == together[row]).all()
    other = DemoStory(TABLES.points, TABLES.signals, seed=2)
    assert (other.at(moments).value != together).any()


def _breaches(moments: Moments) -> set[tuple[str, str]]:
    value = STORY.at(moments).value
    found = set()
    for column, point in enumerate(TABLES.points):
        shown = value[:, column]
        for limit, breached in (
            ("high_alarm", point.high_alarm is not None and bool((shown >= point.high_alarm).any())),
            ("high_cut", point.high_cut is not None and bool((shown >= point.high_cut).any())),
            ("low_alarm", point.low_alarm is not None and bool((shown <= point.low_alarm).any())),
        ):
            if breached:
                found.add((point.id, limit))
        low, high = point.range_low, point.range_high
        assert low is None or shown.min() >= low, point.id
        assert high is None or shown.max() <= high, point.id
    return found


BY_THE_CLOCK = {
    ("gas.h1603r.return.co", "high_alarm"),  # the blast
    ("vent.fan1.run", "low_alarm"),  # the planned change-over, the false stop
    ("vent.fan_house.duct_pressure", "low_alarm"),  # the dip of the change-over
    ("water.pump2.no_flow", "high_alarm"),  # the lost prime
}


@pytest.mark.parametrize("day", ["2026-11-25", "2026-02-03"])
def test_outside_its_stories_no_point_of_the_mine_reaches_a_limit_or_leaves_its_range_all_day(day):
    breaches: set[tuple[str, str]] = set()
    for hour in range(24):
        breaches |= _breaches(by_the_clock(f"{hour:02d}:00", 60, 6_000, day))
    assert breaches == BY_THE_CLOCK


ANY_DAY = {*BY_THE_CLOCK, (T1, "high_alarm"), ("hoist.aux.brake_gap1", "high_alarm")}


@settings(max_examples=30, deadline=None)
@given(start=STARTS)
def test_whenever_the_demo_starts_only_story_points_alarm(start):
    breaches = _breaches(Moments.run(start, 600_000, 2_000))
    assert (T1, "high_alarm") in breaches
    assert breaches <= ANY_DAY


QUIET = [("00:00", 240), ("06:00", 200), ("10:05", 180), ("15:21", 330)]


@pytest.mark.parametrize(("begin", "minutes"), QUIET)
def test_between_the_stories_nothing_alarms(begin, minutes):
    assert _breaches(by_the_clock(begin, minutes, 5_000)) == set()


def test_the_face_breathes_and_the_return_follows_the_shearer_eight_minutes_later():
    moments = by_the_clock("12:00", 180, 5_000)
    assert 0.22 <= values(moments, T1).min()
    assert values(moments, T1).max() <= 0.45
    assert 0.38 <= values(moments, "gas.f1602.t0.ch4").min()
    assert values(moments, "gas.f1602.t0.ch4").max() <= 0.65
    assert 0.30 <= values(moments, "gas.f1602.t2.ch4").min()
    assert values(moments, "gas.f1602.t2.ch4").max() <= 0.52
    quiet = DemoStory(TABLES.points, {k: s.__class__(s.course, s.constant) for k, s in TABLES.signals.items()})
    start_of_cut = by_the_clock("14:07", 20)
    t1 = quiet.at(start_of_cut).value[:, COLUMN[T1]]
    t2 = quiet.at(start_of_cut).value[:, COLUMN["gas.f1602.t2.ch4"]]
    assert round(t1[119] - t1[60], 2) == 0.12  # cutting from 14:08, +0.12 a minute later
    lag_s = np.flatnonzero(t2 > t2[60] + 0.05)[0] - np.flatnonzero(t1 > t1[60] + 0.06)[0]
    assert 420 <= lag_s <= 540


def test_intakes_stay_flat_near_zero():
    for point_id in (p.id for p in TABLES.points if p.rule in ("gas.ch4.intake", "gas.ch4.heading_intake")):
        shown = values(by_the_clock("00:00", 1440, 30_000), point_id)
        assert 0.0 <= shown.min() <= shown.max() <= 0.06, point_id


@pytest.mark.parametrize("blast", ["05:10", "13:10", "21:10"])
def test_a_blast_peaks_in_four_minutes_halves_in_six_and_its_co_is_below_24_within_18(blast):
    moments = by_the_clock(blast, 60)
    ch4, co = values(moments, "gas.h1603r.t2.ch4"), values(moments, "gas.h1603r.return.co")
    assert ch4[0] <= 0.33
    assert 0.82 <= ch4.max() <= 0.88
    assert 230 <= int(ch4.argmax()) <= 250
    assert abs((ch4[600] - 0.30) / (ch4[240] - 0.30) - 0.5) < 0.08
    assert 43 <= co.max() <= 47
    assert co[18 * 60 :].max() < 24
    assert (co >= 24).sum() > 600


def test_the_planned_change_over_dips_to_310_pa_for_70_s_and_brings_fan_2_up_in_48_s():
    moments = by_the_clock("09:29", 5)
    pressure = values(moments, "vent.fan_house.duct_pressure")
    assert abs(pressure.min() - 310) <= 8
    assert abs(int((pressure < 980).sum()) - 70) <= 2
    run1, run2 = values(moments, "vent.fan1.run"), values(moments, "vent.fan2.run")
    assert run1[59] == 1
    assert run1[60] == 0
    started = np.flatnonzero(run2 == 1)[0]
    full = np.flatnonzero(values(moments, "vent.fan2.frequency") >= 49.9)[0]
    assert abs(full - started - 48) <= 4
    assert values(by_the_clock("10:02", 1), "vent.fan1.run").min() == 1


def test_the_false_stop_is_one_dissenting_signal():
    moments = by_the_clock("15:05", 6)
    assert values(moments, "vent.fan1.run").max() == 0
    assert values(moments, "vent.fan1.current_a").min() > 8.0
    assert values(moments, "vent.fan1.pressure").min() > 1_640
    assert values(moments, "vent.fan_house.duct_pressure").min() > 1_640
    assert values(by_the_clock("15:11", 1), "vent.fan1.run").min() == 1


def test_the_sump_fills_in_three_and_a_half_hours_and_balances_with_its_flows_over_a_day():
    moments = by_the_clock("00:00", 1440, 60_000)
    readings = STORY.at(moments).value
    volume = readings[:, COLUMN["water.sump.volume"]]
    assert abs(volume.min() - 240) < 2
    assert abs(volume.max() - 540) < 2
    flow = sum(readings[:, COLUMN[f"water.pump{n}.flow"]] for n in (1, 2, 3))
    assert abs(float(flow.mean()) - 85.0) < 1.0  # what comes in goes out
    assert np.abs(np.diff(volume)).max() < 3.0
    running = [(readings[:, COLUMN[f"water.pump{n}.run"]] == 1).sum() / 60 for n in (1, 2, 3)]
    assert 5 <= sum(running) <= 13.5  # honest pumps run 5-13 h a day
    level = readings[:, COLUMN["water.sump.level"]]
    assert np.abs(level - volume / 300).max() < 0.01


def test_pump_2_loses_its_prime_at_14_40():
    before, after = by_the_clock("14:35", 4), by_the_clock("14:41", 14)
    assert abs(values(before, "water.pump2.flow").mean() - 155) < 2
    assert abs(values(before, "water.pump2.current").mean() - 200) < 2
    assert abs(values(after, "water.pump2.flow").mean() - 22) < 2
    assert abs(values(after, "water.pump2.current").mean() - 121) < 2
    assert values(by_the_clock("15:00", 10), "water.pump3.run").min() == 1
    assert values(by_the_clock("15:00", 10), "water.pump2.available").max() == 0


def test_the_hoist_makes_a_trip_of_420_m_every_230_s_and_never_overspeeds():
    moments = by_the_clock("00:40", 60)
    position, speed = values(moments, "hoist.aux.position"), values(moments, "hoist.aux.speed")
    assert (position.min(), position.max()) == (0.0, 420.0)
    assert 3.15 <= speed.max() < 3.3
    starts = np.flatnonzero(np.diff((speed > 0).astype(int)) == 1)
    assert set(np.diff(starts)) <= {229, 230, 231}
    assert np.abs(np.diff(position)).max() <= 3.3
    cycles = values(by_the_clock("00:00", 1440, 60_000), "hoist.aux.cycles")
    assert cycles[-1] - cycles[0] == 324
    assert np.diff(cycles).min() >= 0


def test_the_brake_gap_reaches_its_limit_on_the_ninth_day_and_blocks_the_next_start():
    gaps = [
        values(by_the_clock("07:55", 1, day=f"2026-11-{day:02d}"), "hoist.aux.brake_gap1").max() for day in range(1, 19)
    ]
    over = [index for index, gap in enumerate(gaps) if gap >= 2.0]
    assert len(over) == 2
    assert over[1] - over[0] == 9
    assert max(gaps) == pytest.approx(2.1)
    day = f"2026-11-{over[0] + 1:02d}"
    assert values(by_the_clock("07:55", 5, day=day), "hoist.aux.ready").max() == 0
    assert values(by_the_clock("08:40", 5, day=day), "hoist.aux.ready").min() == 1
    assert values(by_the_clock("07:40", 55, day=day), "hoist.aux.run").max() == 0


def test_the_places_add_up_to_the_people_underground():
    readings = STORY.at(by_the_clock("00:00", 1440, 60_000)).value
    places = [
        p
        for p in STORY.ids
        if p.startswith("people.")
        and p.split(".")[1] in ("f1602", "h1603b", "h1603r", "transport", "chambers", "other")
    ]
    total = readings[:, COLUMN["people.total"]]
    assert (sum(readings[:, COLUMN[p]] for p in places) == total).all()
    assert (total.min(), total.max()) == (87, 140)
    assert values(by_the_clock("07:40", 50), "people.total").min() == 140


def test_pure_gas_is_mixed_flow_times_concentration():
    readings = STORY.at(by_the_clock("03:00", 30)).value
    mixed, share, pure = (readings[:, COLUMN[f"drain.main.{n}"]] for n in ("mixed_flow", "concentration", "pure_flow"))
    assert np.abs(pure - mixed * share / 100).max() < 0.02
    assert 18 < pure.mean() < 20


def test_an_incident_can_lose_a_sensor_and_the_rest_goes_on():
    def lose(moments, picture):
        picture.state("gas.f1602.t2.ch4")[:] = SignalState.LOST

    readings = DemoStory(TABLES.points, TABLES.signals, incidents=[lose]).at(by_the_clock("02:00", 1))
    lost = readings.state == SignalState.LOST
    assert lost[:, COLUMN["gas.f1602.t2.ch4"]].all()
    assert lost.sum() == len(readings.state)


def test_running_totals_never_go_back_and_nothing_jumps_at_midnight():
    totals = [p.id for p in TABLES.points if p.kind == "total"]
    moments = by_the_clock("00:00", 2880, 300_000)
    for point_id in totals:
        assert np.diff(values(moments, point_id)).min() >= 0, point_id
    midnight = by_the_clock("23:59", 2)
    value = STORY.at(midnight).value
    for column, point in enumerate(TABLES.points):
        if point.kind == "analog" and point.subsystem not in ("hoisting", "compressed_air"):  # those step by trade
            step = np.abs(np.diff(value[:, column])).max()
            assert step <= 0.02 * (point.range_high - point.range_low), point.id
