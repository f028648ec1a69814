"""The wall: tiles, worst first, events, counts (pages §3a)."""

from __future__ import annotations

import pytest
from web_site import make_site, many_points
from web_snapshots import alarm, event, link, lost_row, make_desk, row

from mines.quality import Reason, uncertain
from mines.words import word

CH4 = "gas.f1602.t1.ch4"


def tiles(desk) -> dict[str, dict]:
    return {tile["id"]: tile for tile in desk.json("/overview.json")["subsystems"]}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "normal"),
        ({"values": {"gas.h1603.co": row(4.0, quality=uncertain(Reason.SENSOR_NOT_ACCURATE))}}, "uncertain"),
        ({"alarms": [alarm(CH4, state="returned_unacked")]}, "returned"),
        ({"alarms": [alarm(CH4, state="returned_unacked")], "values": {"gas.h1603.co": lost_row()}}, "unknown"),
        ({"alarms": [alarm(CH4, level=4)], "values": {"gas.h1603.co": lost_row()}}, "alarm"),
    ],
    ids=["normal", "uncertain", "returned", "unknown above normal", "alarm above unknown"],
)
def test_tile_shows_the_worst_of_its_points(tmp_path, change, state):
    desk = make_desk(tmp_path)
    builder = desk.builder
    for name, value in change.items():
        setattr(builder, name, value)
    desk.show(builder)
    found = tiles(desk)
    assert found["gas"]["state"] == state
    assert found["ventilation"]["state"] == "normal"


def test_tile_level_is_its_worst_standing_alarm(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [alarm(CH4, level=2), alarm("gas.h1603.t1.ch4", "high_cut", level=1, state="acked")]
    desk.show(builder)
    assert tiles(desk)["gas"]["level"] == 1
    assert 'class="tile alarm l1"' in desk.html("/")


def test_worst_points_are_alarms_then_unknown_then_uncertain_then_nearest_to_a_limit(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [
        alarm(CH4, level=2),
        alarm("hoisting.aux.speed", level=1),
        alarm("transport.belt.co", state="returned_unacked"),
    ]
    builder.values = {
        "power.line1.voltage": lost_row(),
        "gas.f1602.t2.ch4": row(0.95),
        "gas.h1603.co": row(3.0, quality=uncertain(Reason.SUB_NORMAL)),
    }
    desk.show(builder)
    order = [point["id"] for point in desk.json("/overview.json")["worst"]]
    assert order[:6] == [
        "hoisting.aux.speed",
        CH4,
        "power.line1.voltage",
        "transport.belt.co",
        "gas.h1603.co",
        "gas.f1602.t2.ch4",
    ]
    assert len(order) == 8


def test_low_limit_ranks_by_how_far_the_value_has_fallen(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.values = {"ventilation.main.pressure": row(950.0)}
    desk.show(builder)
    assert desk.json("/overview.json")["worst"][0]["id"] == "ventilation.main.pressure"


def test_points_that_one_dead_link_took_along_take_one_line_of_the_wall(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [alarm("gas.h1603.t1.ch4")]
    builder.values = {point.id: lost_row() for point in desk.site.points if point.source == "kj"}
    builder.values["gas.h1603.co"] = lost_row(reason=Reason.SENSOR_FAILURE)
    desk.show(builder)
    worst = [(p["id"], p["alike"]) for p in desk.json("/overview.json")["worst"]]
    assert worst[:3] == [("gas.h1603.t1.ch4", 0), ("gas.f1602.t1.ch4", 1), ("gas.h1603.co", 0)]
    assert len(worst) == 8
    assert "同源 +1" in desk.html("/")


def test_every_lost_point_is_behind_a_line_of_the_wall_while_run_is_silent(tmp_path):
    desk = make_desk(tmp_path, make_site(tmp_path, many_points(300)))
    desk.show(desk.builder)
    desk.clock.advance_ms(20_000)
    assert sum(1 + p["alike"] for p in desk.json("/overview.json")["worst"]) == 300


def test_alarm_bar_counts_by_level_and_links_to_the_list(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [
        alarm(CH4, level=2),
        alarm("gas.h1603.t1.ch4", level=2, state="acked"),
        alarm("hoisting.aux.speed", level=1),
    ]
    builder.alarms.append(alarm("transport.belt.co", level=3, state="returned_unacked"))
    desk.show(builder)
    head = desk.json("/overview.json")["head"]
    assert head["alarms"] == {"1": 1, "2": 2, "3": 0, "4": 0}
    assert (head["unacked"], head["returned"]) == (3, 1)
    html = desk.html("/")
    assert 'href="/alarms?state=open"' in html
    assert 'href="/alarms?level=1"' in html


def test_last_six_events_newest_first_with_who_and_what(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.events = [event(i, "alarm_raised", CH4, cause="high_alarm", value=1.02, level=2) for i in range(80, 90)]
    builder.events.append(event(90, "link_changed", cause="lost", source="air", unit=1, was="good", error="timed out"))
    desk.show(builder)
    assert [e["seq"] for e in desk.json("/overview.json")["events"]] == [90, 89, 88, 87, 86, 85]
    html = desk.html("/")
    assert "timed out" in html
    assert "上限报警" in html


def test_freshness_dot_moves_with_seq_only(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    phases = []
    for seq in (100, 100, 101, 102, 104):
        builder.seq = seq
        desk.show(builder)
        desk.clock.advance_ms(50)
        phases.append(desk.html("/").split('data-phase="')[1][0])
    assert phases == ["0", "0", "1", "2", "0"]


def test_links_heard_of_and_durable_watermark_stand_in_the_head(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [link("kj", unit=None), link("fan", "lost", error="timeout")]
    desk.show(builder)
    html = desk.html("/")
    assert "1/2" in html
    assert "1,234,567" in html


@pytest.mark.parametrize("address", ["/", "/alarms", "/links", "/systems/gas", f"/points/{CH4}", "/events", "/score"])
def test_statement_and_provenance_stand_on_every_page(tmp_path, address):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    html = desk.html(address)
    assert word("statement.every_page") in html
    for fact in ("截至 2026-11-23 15:41:07", "序号 100", "软件 0.1.0", desk.site.sha256[:12], 'id="deadman-reveal"'):
        assert fact in html


def test_overview_says_that_no_alarm_is_not_no_danger(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    assert word("statement.overview") in desk.html("/")


def test_overview_of_two_thousand_points_shows_the_worst_of_them(tmp_path):
    desk = make_desk(tmp_path, make_site(tmp_path, many_points(2_000)))
    desk.builder.alarms = [alarm(f"gas.m{i:04}.ch4") for i in range(0, 60, 3)]
    desk.show(desk.builder)
    worst = desk.json("/overview.json")["worst"]
    assert worst[0]["id"] in {f"gas.m{i:04}.ch4" for i in range(0, 60, 3)}
    assert len(worst) <= 8
    assert worst[0]["id"] in desk.html("/")


def test_snapshot_is_parsed_once_per_file(tmp_path, monkeypatch):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    parsed = []
    import web.readers

    real = web.readers.read
    monkeypatch.setattr(web.readers, "read", lambda *given: parsed.append(1) or real(*given))
    for _ in range(5):
        desk.html("/")
    assert len(parsed) == 1
