"""What must hold of every score, whatever the mine did: missing never helps, worse never helps, the sums are exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from score_cases import COLUMN_NAMES, QUALITIES, MemoryReader, columns, joined, make_point, stretch

from compliance.evidence import Vouching, gather_evidence
from compliance.mine_record import MineRecord
from compliance.rule_pack import scoring_rules
from compliance.scoring import ScoreDocument, score
from compliance.template import make_template
from compliance.window import Window
from mines.model import Mine, Point, RowKind, Subsystem
from mines.quality import GOOD
from mines.store.reader import SampleColumns

HOUR_MS = 3_600_000
WINDOW = Window(1_795_500_000_000, 1_795_500_000_000 + 8 * HOUR_MS)
PACK = scoring_rules()
VOUCHING = Vouching(2, 1)
RANK = {"not_counted": 0, "not_enough_data": 0, "not_met": 0, "under_review": 1, "met": 2}
GAS, VENTILATION, WATER, HOISTING = (
    Subsystem.GAS,
    Subsystem.VENTILATION,
    Subsystem.DEWATERING,
    Subsystem.HOISTING,
)
POINTS = (
    make_point("gas.a.t1", GAS, "methane", area="A", rule="gas.ch4.face", period_s=10),
    make_point("gas.a.t2", GAS, "methane", area="A", rule="gas.ch4.return", period_s=10),
    make_point("gas.b.t1", GAS, "methane", area="B", period_s=10),
    make_point("vent.fan1.run", VENTILATION, "main_fan_run", area="fan1"),
    make_point("vent.fan1.current", VENTILATION, "main_fan_current", area="fan1", range_low=0, range_high=20),
    make_point("vent.fan1.pressure", VENTILATION, "main_fan_pressure", area="fan1", low_alarm=800),
    make_point("vent.fan2.run", VENTILATION, "main_fan_run", area="fan2"),
    make_point("vent.fan2.current", VENTILATION, "main_fan_current", area="fan2", range_low=0, range_high=20),
    make_point("water.sump.level", WATER, "sump_level", area="sump", range_low=0, range_high=4, high_alarm=3),
    make_point("water.pump1.auto", WATER, "pump_mode", area="pump1"),
    make_point("water.pump1.available", WATER, "pump_available", area="pump1"),
    make_point("hoist.ready", HOISTING, "hoist_ready", area="incline"),
    make_point("hoist.overspeed", HOISTING, "hoist_protection", area="incline"),
)
BEST = {"main_fan_current": 8.0, "main_fan_pressure": 1650.0}
WORST = {"sump_level": 3.9}
REQUIRED = (GAS, VENTILATION, WATER, HOISTING)


def good_value(point: Point) -> float:
    return BEST.get(point.role, 1.0)


def poor_value(point: Point) -> float:
    return WORST.get(point.role, 0.0)


HISTORIES = st.tuples(*(st.lists(st.sampled_from("ggggpbus"), min_size=16, max_size=16).map("".join) for _ in POINTS))
"""Of each point, half hour by half hour: good, poor (good rows that disprove), bad, uncertain, silent."""

STORIES = st.tuples(HISTORIES, st.integers(0, len(POINTS) - 1))
"""Histories, and which point is event-driven: its later rows of a stretch are confirmations."""


def told(story: tuple[tuple[str, ...], int]) -> MemoryReader:
    histories, event_driven = story
    samples = {point.id: rows_of(point, blocks) for point, blocks in zip(POINTS, histories, strict=True)}
    chosen = POINTS[event_driven].id
    rows = samples[chosen]
    changed = np.ones(len(rows), dtype=bool)
    changed[1:] = (np.diff(rows.value) != 0) | (np.diff(rows.quality.astype(int)) != 0)
    samples[chosen] = SampleColumns(**{name: getattr(rows, name)[changed] for name in COLUMN_NAMES})
    return MemoryReader(samples, {chosen: rows.time_ms[~changed]})


def rows_of(point: Point, blocks: str) -> SampleColumns:
    period_ms = round(point.period_s * 1000)
    parts = [columns([])]
    for block, state in enumerate(blocks):
        start = WINDOW.from_ms + block * HOUR_MS // 2
        quality = {"b": QUALITIES["bad"], "u": QUALITIES["uncertain"]}.get(state, GOOD)
        value = poor_value(point) if state == "p" else good_value(point)
        if state != "s":
            parts.append(stretch(start, start + HOUR_MS // 2 - period_ms, period_ms, value, quality))
    return joined(parts)


def scored(reader: MemoryReader, points: tuple[Point, ...] = POINTS, earlier: tuple[Point, ...] = ()) -> ScoreDocument:
    template = make_template(points, earlier, REQUIRED, PACK)
    evidence = gather_evidence(reader, template.expected, WINDOW, VOUCHING)
    return score(MineRecord(Mine("m", "煤矿", "Mine"), {}), template, evidence, PACK)


def never_better(after: ScoreDocument, before: ScoreDocument) -> None:
    assert after.low <= before.low
    for was, now in zip(before.items, after.items, strict=True):
        assert now.low <= was.low, now.indicator.id
    for was, now in zip(before.subsystems, after.subsystems, strict=True):
        if was.duty and now.duty:
            assert now.duty.share.low <= was.duty.share.low, now.subsystem
    for name, target in after.targets.items():
        assert RANK[target.state] <= RANK[before.targets[name].state], name


@settings(max_examples=40, deadline=None)
@given(STORIES, st.integers(0, 7 * 60))
def test_replacing_any_hour_by_missing_never_raises_low_or_the_status(story, minute):
    reader = told(story)
    start = WINDOW.from_ms + minute * 60_000

    before, after = scored(reader), scored(reader.without(start, start + HOUR_MS))

    never_better(after, before)
    duty_items = ("G1", "V1")
    was = {item.indicator.id: item for item in before.items}
    assert all(item.lost <= was[item.indicator.id].lost for item in after.items if item.indicator.id in duty_items)


@settings(max_examples=40, deadline=None)
@given(STORIES, st.sampled_from(POINTS))
def test_removing_a_point_never_raises_low_or_the_status(story, removed):
    reader = told(story)
    kept = tuple(point for point in POINTS if point.id != removed.id)

    never_better(scored(reader, kept, earlier=POINTS), scored(reader))


@settings(max_examples=20, deadline=None)
@given(STORIES, st.sampled_from(POINTS))
def test_wiping_all_history_of_a_point_never_raises_low_or_the_status(story, wiped):
    reader = told(story)
    rest = MemoryReader(
        *({k: v for k, v in part.items() if k != wiped.id} for part in (reader.samples, reader.confirmed))
    )

    never_better(scored(rest), scored(reader))


@settings(max_examples=20, deadline=None)
@given(STORIES, st.sampled_from(POINTS))
def test_calling_a_point_by_another_role_never_raises_low_or_the_status(story, disguised):
    reader = told(story)
    points = tuple(replace(point, role="other") if point.id == disguised.id else point for point in POINTS)

    never_better(scored(reader, points, earlier=POINTS), scored(reader))


@settings(max_examples=40, deadline=None)
@given(STORIES, st.sampled_from(POINTS), st.integers(0, 15), st.sampled_from(["poor", "bad"]))
def test_worse_evidence_never_scores_higher(story, point, block, how):
    reader = told(story)
    start = WINDOW.from_ms + block * HOUR_MS // 2
    rows = reader.samples[point.id]
    worse = (rows.time_ms >= start) & (rows.time_ms < start + HOUR_MS // 2)
    value = np.where(worse & (how == "poor"), poor_value(point), rows.value)
    quality = np.where(worse & (how == "bad"), QUALITIES["bad"], rows.quality).astype(np.uint16)
    changed = MemoryReader(reader.samples | {point.id: replace(rows, value=value, quality=quality)}, reader.confirmed)

    never_better(scored(changed), scored(reader))


@settings(max_examples=40, deadline=None)
@given(STORIES)
def test_lost_and_unknown_points_add_up_exactly(story):
    reader = told(story)
    document = scored(reader).to_json()

    cents = [{key: round(item[key] * 100) for key in ("points", "lost", "unknown")} for item in document["items"]]
    assert all(item["lost"] >= 0 and item["unknown"] >= 0 for item in cents)
    assert all(item["lost"] + item["unknown"] <= item["points"] for item in cents)
    assert sum(item["points"] for item in cents) == 10_000
    high, low = round(document["score"]["high"] * 100), round(document["score"]["low"] * 100)
    assert 10_000 - sum(item["lost"] for item in cents) == high
    assert high - sum(item["unknown"] for item in cents) == low


def test_an_empty_box_proves_nothing_and_loses_only_what_its_list_lacks():
    document = scored(MemoryReader())

    assert document.low == 0
    assert {item.indicator.id for item in document.items if item.lost} == {"C1"}


def test_the_best_history_reaches_the_full_mark_of_what_is_measured():
    period = {point.id: round(point.period_s * 1000) for point in POINTS}
    samples = {p.id: stretch(WINDOW.from_ms, WINDOW.to_ms - 1, period[p.id], good_value(p)) for p in POINTS}

    document = scored(MemoryReader(samples))

    low = {item.indicator.id: item.low for item in document.items if item.low}
    full = {item.indicator.id: item.points for item in document.items}
    assert low == {id_: full[id_] for id_ in ("G1", "V1", "D1")}  # C1 and C2 lack the roles that have no point


def test_backfilled_rows_stand_at_their_source_time():
    point = POINTS[0]
    rows = stretch(WINDOW.from_ms, WINDOW.to_ms - 1, 10_000, 0.3)
    late = replace(
        rows,
        source_time_ms=rows.receive_time_ms,
        receive_time_ms=rows.receive_time_ms + 30 * 24 * HOUR_MS,
        kind=np.full(len(rows), RowKind.BACKFILL, dtype=np.uint8),
    )

    live, backfilled = scored(MemoryReader({point.id: rows})), scored(MemoryReader({point.id: late}))

    assert backfilled.low == live.low
    assert [s.answered for s in backfilled.subsystems] == [s.answered for s in live.subsystems]
