"""Duty of gas, ventilation, dewatering and hoisting, minute by minute."""

from __future__ import annotations

from dataclasses import replace

import pytest
from score_cases import QUALITIES, MemoryReader, columns, make_point

from compliance.evidence import Vouching, gather_evidence
from compliance.measures import connected, empty_sump, fresh_data, monitored_places
from compliance.operating import Duty, duties
from compliance.rule_pack import scoring_rules
from compliance.template import make_template
from compliance.window import Window
from mines.model import Point, Subsystem
from mines.quality import GOOD

MINUTE_MS = 60_000
PACK = scoring_rules()
FAN = {
    "run": make_point("fan1.run", Subsystem.VENTILATION, "main_fan_run", area="fan1"),
    "current": make_point("fan1.current", Subsystem.VENTILATION, "main_fan_current", area="fan1", range_high=20.0),
    "pressure": make_point("fan1.pressure", Subsystem.VENTILATION, "main_fan_pressure", area="fan1", low_alarm=800.0),
}
WATER = {
    "level": make_point("sump.level", Subsystem.DEWATERING, "sump_level", area="sump", high_alarm=3.0, range_high=4.0),
    "auto": make_point("pump1.auto", Subsystem.DEWATERING, "pump_mode", area="pump1"),
    "available": make_point("pump1.available", Subsystem.DEWATERING, "pump_available", area="pump1"),
    "auto2": make_point("pump2.auto", Subsystem.DEWATERING, "pump_mode", area="pump2"),
    "available2": make_point("pump2.available", Subsystem.DEWATERING, "pump_available", area="pump2"),
}
HOIST = {
    "ready": make_point("hoist.ready", Subsystem.HOISTING, "hoist_ready", area="incline"),
    "overspeed": make_point("hoist.overspeed", Subsystem.HOISTING, "hoist_protection", area="incline"),
    "overwind": make_point("hoist.overwind", Subsystem.HOISTING, "hoist_protection", area="incline"),
}
GAS = {
    "t1": make_point("a.t1", Subsystem.GAS, "methane", area="A", rule="gas.ch4.face"),
    "t2": make_point("a.t2", Subsystem.GAS, "methane", area="A", rule="gas.ch4.return"),
    "extra": make_point("a.extra", Subsystem.GAS, "methane", area="A"),
    "b": make_point("b.t1", Subsystem.GAS, "methane", area="B"),
}


def minutes(text: str, points: dict[str, Point]) -> tuple[MemoryReader, Window]:
    """One line a point: `name: v v v …`, a value a minute; `.` no row, `!` a bad row."""
    samples = {}
    for line in text.strip().splitlines():
        name, _, values = line.strip().partition(":")
        cells = values.split()
        rows = [
            (i * MINUTE_MS, 0.0 if cell == "!" else float(cell), QUALITIES["bad"] if cell == "!" else GOOD)
            for i, cell in enumerate(cells)
            if cell != "."
        ]
        samples[points[name].id] = columns(rows)
    return MemoryReader(samples), Window(0, (len(cells) - 1) * MINUTE_MS + 1)  # the last row is in it and ends it


def judged(text: str, points: dict[str, Point], earlier: tuple[Point, ...] = ()) -> Duty:
    reader, window = minutes(text, points)
    subsystem = next(iter(points.values())).subsystem
    template = make_template(tuple(points.values()), earlier, [subsystem], PACK)
    evidence = gather_evidence(reader, template.expected, window, Vouching(2, 1))
    return duties(template, evidence, PACK)[subsystem]


def nearly(figure: float) -> object:
    """Up to the one millisecond of the window that no row follows."""
    return pytest.approx(figure, rel=1e-5)


def in_minutes(duty: Duty) -> tuple[float, float]:
    return round(duty.share.proved_ms / MINUTE_MS, 3), round(duty.share.disproved_ms / MINUTE_MS, 3)


@pytest.mark.parametrize(
    ("text", "proved_disproved"),
    [
        ("run: 1 1 1 1 1\n current: 8 8 8 8 8\n pressure: 1650 1650 1650 1650 1650", (4, 0)),
        ("run: 0 0 0 0 0\n current: 8 8 8 8 8\n pressure: 1650 1650 1650 1650 1650", (4, 0)),
        ("run: 1 1 1 1 1\n current: 0 0 0 0 0\n pressure: 700 700 700 700 700", (0, 4)),
        ("run: 1 1 1 1 1\n current: 8 8 ! ! 8\n pressure: ! ! ! ! !", (2, 0)),
        ("run: 0 0 0 0 0\n current: ! ! ! ! !\n pressure: ! ! ! ! !", (0, 0)),
        ("run: 1 1 1 1 1\n current: 2 2 2 2 2\n pressure: 800 800 800 800 800", (0, 4)),
        ("run: 1 1 1 1 1\n current: 2.1 2.1 2.1 2.1 2.1\n pressure: 0 0 0 0 0", (4, 0)),
    ],
    ids=[
        "three_say_running",
        "run_bit_dissents",
        "one_of_three_is_no_proof",
        "two_while_both_are_good",
        "one_bad_word_against_the_fan_decides_nothing",
        "at_the_threshold_is_not_above_it",
        "above_a_tenth_of_the_range",
    ],
)
def test_a_main_fan_runs_by_two_signals(text, proved_disproved):
    assert in_minutes(judged(text, FAN)) == proved_disproved


def test_two_currents_of_one_fan_are_one_signal():
    points = FAN | {"current2": replace(FAN["current"], id="fan1.current2")}
    del points["run"], points["pressure"]

    assert in_minutes(judged("current: 8 8 8\n current2: 8 8 8", points)) == (0, 0)


def test_signals_of_two_fans_do_not_add_up():
    points = {"run": FAN["run"], "current": replace(FAN["current"], area="fan2")}

    assert in_minutes(judged("run: 1 1 1\n current: 8 8 8", points)) == (0, 0)


def test_one_of_two_fans_is_enough():
    points = FAN | {name + "2": replace(p, id=p.id.replace("1", "2"), area="fan2") for name, p in FAN.items()}
    stopped = "run: 0 0 0\n current: 0 0 0\n pressure: 0 0 0\n"

    assert in_minutes(judged(stopped + "run2: 1 1 1\n current2: 8 8 8\n pressure2: 900 900 900", points)) == (2, 0)


def test_a_negative_pressure_counts_by_its_size():
    points = {
        "run": FAN["run"],
        "pressure": replace(FAN["pressure"], low_alarm=None, range_low=-4000.0, range_high=0.0),
    }

    assert in_minutes(judged("run: 1 1 1 1\n pressure: -1650 -1650 -300 -300", points)) == (2, 1)


def test_a_signal_without_range_and_limit_proves_nothing():
    points = {"run": FAN["run"], "current": replace(FAN["current"], range_high=None)}

    assert in_minutes(judged("run: 1 1 1\n current: 8 8 8", points)) == (0, 0)


@pytest.mark.parametrize(
    ("text", "proved_disproved"),
    [
        ("level: 1 1 1\n auto: 1 1 1\n available: 1 1 1\n auto2: 0 0 0\n available2: 0 0 0", (2, 0)),
        ("level: 1 1 1\n auto: 1 1 1\n available: 0 0 0\n auto2: 0 0 0\n available2: 1 1 1", (0, 2)),
        ("level: 1 3 1\n auto: 1 1 1\n available: 1 1 1\n auto2: 0 0 0\n available2: 0 0 0", (1, 1)),
        ("level: ! ! !\n auto: 1 1 1\n available: 1 1 1\n auto2: 0 0 0\n available2: 0 0 0", (0, 0)),
        ("level: 1 1 1\n auto: 0 0 0\n available: 0 0 0\n auto2: . . .\n available2: . . .", (0, 0)),
    ],
    ids=[
        "one_pump_in_auto",
        "auto_and_available_of_different_pumps",
        "at_the_limit",
        "level_lost",
        "other_pump_unknown",
    ],
)
def test_dewatering_needs_the_level_in_band_and_one_pump_available_in_auto(text, proved_disproved):
    assert in_minutes(judged(text, WATER)) == proved_disproved


def test_a_sump_without_a_limit_has_no_band():
    points = {name: WATER[name] for name in ("auto", "available")} | {"level": replace(WATER["level"], high_alarm=None)}

    assert in_minutes(judged("level: 1 1 1\n auto: 1 1 1\n available: 1 1 1", points)) == (0, 0)


def test_every_station_must_be_on_duty():
    other = {name + "b": replace(p, id="b." + p.id, area="station b") for name, p in WATER.items() if "2" not in name}
    points = {name: WATER[name] for name in ("level", "auto", "available")} | other
    here = "level: 1 1 1\n auto: 1 1 1\n available: 1 1 1\n"

    assert in_minutes(judged(here + "levelb: 1 1 1\n autob: 0 0 0\n availableb: 1 1 1", points)) == (0, 2)
    assert in_minutes(judged(here + "levelb: 1 1 1\n autob: 1 1 1\n availableb: 1 1 1", points)) == (2, 0)


@pytest.mark.parametrize(
    ("text", "proved_disproved"),
    [
        ("ready: 1 1 1\n overspeed: 1 1 1\n overwind: 1 1 1", (2, 0)),
        ("ready: 1 1 1\n overspeed: 1 0 1\n overwind: 1 1 1", (1, 1)),
        ("ready: 0 0 0\n overspeed: 1 1 1\n overwind: 1 1 1", (0, 2)),
        ("ready: 1 1 1\n overspeed: 1 1 1\n overwind: . . .", (0, 0)),
    ],
    ids=["ready_and_live", "bypassed", "locked_out", "one_protection_unknown"],
)
def test_hoisting_needs_ready_and_every_protection_live(text, proved_disproved):
    assert in_minutes(judged(text, HOIST)) == proved_disproved


def test_a_hoist_without_protections_in_the_list_is_unknown():
    assert in_minutes(judged("ready: 1 1 1", {"ready": HOIST["ready"]})) == (0, 0)


def test_a_bad_methane_reading_is_missing_and_not_disproved():
    points = {"t1": GAS["t1"], "t2": GAS["t2"], "b": GAS["b"]}
    duty = judged("t1: 0.3 0.3 0.3 0.3\n t2: 0.3 ! 0.3 0.3\n b: 0.3 0.3 0.3 0.3", points)

    assert in_minutes(duty) == (2, 0)
    assert duty.share.high == 1.0


def test_an_extra_sensor_beside_the_required_ones_costs_nothing():
    points = {"t1": GAS["t1"], "extra": GAS["extra"]}

    assert in_minutes(judged("t1: 0.3 0.3 0.3\n extra: ! ! !", points)) == (2, 0)


def test_place_hours_count_each_place_for_itself():
    reader, window = minutes("t1: 0.3 0.3 0.3 0.3 0.3\n b: 0.3 0.3 ! ! .", points := {"t1": GAS["t1"], "b": GAS["b"]})
    template = make_template(tuple(points.values()), (), [Subsystem.GAS], PACK)
    evidence = gather_evidence(reader, template.expected, window, Vouching(2, 1))
    gas = duties(template, evidence, PACK)[Subsystem.GAS]

    measure = monitored_places(gas, evidence)

    assert (measure.low, measure.high) == (nearly(75.0), nearly(100.0))  # 4 of 4 minutes at A, 2 of 4 at B
    assert (gas.share.low, gas.share.high) == (nearly(0.5), nearly(1.0))


def test_fresh_data_loses_bad_rows_and_leaves_silence_open():
    reader, window = minutes("t1: 0.3 0.3 0.3 0.3 0.3\n b: 0.3 ! ! . .", points := {"t1": GAS["t1"], "b": GAS["b"]})
    template = make_template(tuple(points.values()), (), [Subsystem.GAS], PACK)
    evidence = gather_evidence(reader, template.expected, window, Vouching(2, 1))

    measure = fresh_data(template, evidence)

    # Two points and the role co without any, 4 minutes each: 5 proved, 1 bad, the rest open.
    assert (measure.low, measure.high) == (nearly(500 / 12), nearly(1100 / 12))
    assert measure.points == ("b.t1", "a.t1")


@pytest.mark.parametrize(
    ("levels", "interval"),
    [
        ("1 1 1 1 1", (100.0, 100.0)),
        ("1 2 2.1 1 1", (75.0, 75.0)),
        ("1 1 . . .", (25.0, 100.0)),
    ],
    ids=["empty", "half_is_still_empty", "silent"],
)
def test_empty_sump_is_a_share_of_time(levels, interval):
    reader, window = minutes(f"level: {levels}", {"level": WATER["level"]})
    template = make_template((WATER["level"],), (), [Subsystem.DEWATERING], PACK)
    evidence = gather_evidence(reader, template.expected, window, Vouching(2, 1))

    measure = empty_sump(template, evidence, PACK)

    assert (measure.low, measure.high) == (nearly(interval[0]), nearly(interval[1]))
    assert measure.held_back == ""  # four minutes are no long run


def test_connected_is_answered_at_low_and_listed_or_once_listed_at_high():
    points = {"t1": GAS["t1"], "b": GAS["b"]}
    reader, window = minutes("t1: 0.3 0.3 0.3\n b: ! ! !", points)
    template = make_template(tuple(points.values()), (GAS["t2"],), [Subsystem.GAS], PACK)
    evidence = gather_evidence(reader, template.expected, window, Vouching(2, 1))

    measure = connected(template, evidence)

    # t1 answered, b never did, t2 left the list, and the role co has no point: 1 and 3 of 4.
    assert (measure.low, measure.high) == (25.0, 75.0)
    assert measure.points == ("b.t1", "a.t2")


def test_a_point_that_left_the_list_stays_expected():
    was = tuple(GAS[name] for name in ("t1", "t2"))
    duty = judged("t1: 0.3 0.3 0.3", {"t1": GAS["t1"]}, earlier=was)

    assert in_minutes(duty) == (0, 0)
    assert [point.id for point in duty.points] == ["a.t1", "a.t2"]


def test_a_renamed_point_is_no_loss():
    renamed = replace(GAS["t2"], id="a.t2.new", formerly="a.t2")
    duty = judged("t1: 0.3 0.3 0.3\n t2: 0.3 0.3 0.3", {"t1": GAS["t1"], "t2": renamed}, earlier=(GAS["t1"], GAS["t2"]))

    assert in_minutes(duty) == (2, 0)
