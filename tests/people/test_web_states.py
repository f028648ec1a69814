"""The freshness contract on pages: every state by shape and word, never stale as live (pages §3d)."""

from __future__ import annotations

import json
import re

import pytest
from web_site import POINTS, make_site
from web_snapshots import MONO_MS, WALL_MS, lost_row, make_desk, never_row, row

from mines.process_image import GAS_CAP_MS, Freshness
from mines.quality import Flag, Reason, uncertain

CH4 = "gas.f1602.t1.ch4"
DEAD = "采集已停止"


def value_cell(html: str, state: str) -> str:
    """The first value on a page that is shown in a state."""
    found = re.search(
        rf'<span class="v {state} [^>]*?title="([^"]*)"><span class="v-in">([^<]*)</span>', html, re.DOTALL
    )
    assert found, f"no value in state {state}"
    return found.group(2)


@pytest.mark.parametrize(
    ("given", "state", "shown", "word", "shape"),
    [
        (row(0.42), "live", "0.42", "实时", "◎"),
        (row(0.42, age_ms=2_600), "late", "0.42", "延迟", "◐"),
        (row(0.42, age_ms=9_700), "stale", "0.42", "陈旧", "▤"),
        (lost_row(0.42), "lost", "—", "中断", "▨"),
        (never_row(), "never", "—", "未接入", "┄"),
    ],
    ids=["live", "late", "stale", "lost", "never"],
)
def test_each_state_is_shown_by_shape_and_word(tmp_path, given, state, shown, word, shape):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.values[CH4] = given
    desk.show(builder)
    html = desk.html(f"/points/{CH4}")
    assert value_cell(html, state) == shown
    assert re.search(rf'<span class="st {state}"><span class="shape">{shape}</span> {word}</span>', html)


def test_lost_value_is_found_only_in_the_tooltip_with_its_time(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.values[CH4] = lost_row(0.77, reason=Reason.SENSOR_FAILURE)
    desk.show(builder)
    html = desk.html("/systems/gas")
    assert "断线" in html
    assert ">0.77<" not in html
    assert 'title="最后可用值 0.77 %CH4 · 2026-11-23 15:40:07"' in html


def test_ages_grow_by_the_silence_of_the_snapshot(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    desk.clock.advance_ms(4_000)
    point = desk.json(f"/points/{CH4}.json")["point"]
    assert (point["age_ms"], point["state"]) == (400 + 500 + 4_000, "late")


def test_gas_value_past_its_cap_is_not_late_but_stale(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.values[CH4] = row(0.42, age_ms=GAS_CAP_MS - 500)
    desk.show(builder)
    assert desk.json(f"/points/{CH4}.json")["point"]["state"] == "late"
    desk.clock.advance_ms(150)
    assert desk.json(f"/points/{CH4}.json")["point"]["state"] == "stale"


def test_browser_is_told_the_age_at_which_each_value_may_no_longer_stand(tmp_path):
    site = make_site(tmp_path)
    desk = make_desk(tmp_path, site)
    desk.show(desk.builder)
    bounds = {p["id"]: p["late_ms"] for p in desk.json("/systems/gas.json")["points"]}
    assert set(bounds.values()) == {GAS_CAP_MS}
    assert desk.json("/points/dewatering.sump.level.json")["point"]["late_ms"] == 15_000


@pytest.mark.parametrize("address", ["/", "/alarms", "/links", "/systems/gas", f"/points/{CH4}", "/events", "/score"])
def test_every_page_says_that_run_is_silent(tmp_path, address):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    assert DEAD not in desk.html(address)
    desk.clock.advance_ms(10_000)
    html = desk.html(address)
    assert "采集已停止 15:41:07 起 — 画面非实时" in html
    assert "数据新鲜" not in html


def test_no_value_is_shown_while_run_is_silent(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    desk.clock.advance_ms(10_000)
    for address in ("/", "/systems/gas", f"/points/{CH4}"):
        shown = re.findall(r'<span class="v-in">([^<]*)</span>', desk.html(address))
        assert shown
        assert set(shown) == {"—"}
    document = desk.json("/overview.json")
    assert {p["state"] for p in document["worst"]} == {"lost"}
    assert {p["value"] for p in document["worst"]} == {None}


def test_an_orderly_stop_is_not_live_at_once(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.more["stopped"] = True
    desk.show(builder)
    html = desk.html("/")
    assert DEAD in html
    assert "正常停机" in html


@pytest.mark.parametrize("schema", [None, 0, 2, "half"], ids=["missing", "older", "newer", "damaged"])
def test_without_a_readable_snapshot_nothing_looks_measured(tmp_path, schema):
    desk = make_desk(tmp_path)
    if schema == "half":
        desk.readers.snapshot_path.write_text(json.dumps(desk.builder.document())[:200])
    elif schema is not None:
        desk.show(desk.builder.document() | {"schema": schema})
    html = desk.html("/")
    assert "没有可读的采集快照" in html
    assert set(re.findall(r'<span class="v-in">([^<]*)</span>', html)) == {"—"}
    head = desk.json("/overview.json")["head"]
    assert (head["alive"], head["seq"], head["as_of_ms"], head["points"]["unknown"]) == (False, None, None, len(POINTS))


def test_a_snapshot_of_another_life_of_the_machine_is_dead(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder.document() | {"mono_ms": MONO_MS + 10**9})
    assert DEAD in desk.html("/")


def test_wrong_wall_clock_of_the_pages_changes_no_age(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    desk.clock.set_wall_ms(WALL_MS + 86_400_000)
    point = desk.json(f"/points/{CH4}.json")["point"]
    assert (point["age_ms"], point["state"]) == (900, "live")


def test_over_range_is_shown_as_at_least_the_range_end(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.values[CH4] = row(4.51, quality=uncertain(Reason.OUT_OF_RANGE, Flag.OVER_RANGE))
    desk.show(builder)
    html = desk.html(f"/points/{CH4}")
    assert value_cell(html, "live") == "≥4.00"
    assert "超量程" in html
    assert desk.json(f"/points/{CH4}.json")["point"]["value"] == 4.51


def test_point_that_run_does_not_know_yet_is_never_connected_and_the_page_says_why(tmp_path):
    desk = make_desk(tmp_path)
    document = desk.builder.document()
    del document["points"][CH4]
    desk.show(document | {"site_sha256": "0" * 64})
    assert desk.json(f"/points/{CH4}.json")["point"]["state"] == Freshness.NEVER.name.lower()
    assert "配置不一致" in desk.html("/")


def test_demo_data_is_framed_and_named_on_every_page(tmp_path):
    desk = make_desk(tmp_path, simulated=True)
    desk.show(desk.builder)
    for address in ("/", "/alarms", "/score"):
        html = desk.html(address)
        assert 'data-origin="simulated"' in html
        assert html.count("演示数据·虚构煤矿") > 3


def test_live_mine_bears_no_demo_mark(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    assert "演示数据" not in desk.html("/")


def test_replay_is_named_as_not_live(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder.document() | {"origin": "replay"})
    assert "回放·非实时" in desk.html("/")
