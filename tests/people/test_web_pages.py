"""Links, systems, points, events: each page's document, and that HTML and JSON are the same document."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from web_snapshots import WALL_MS, alarm, event, link, make_desk, never_row, quick_app, row

from mines.clock import NO_TIME_MS
from mines.errors import StoreError
from mines.events import Event, EventKind
from mines.quality import GOOD, Reason, bad
from mines.store.reader import SampleColumns
from mines.words import word
from web.render import FINDING_SHAPE

CH4 = "gas.f1602.t1.ch4"
PAGES = {
    "/": "/overview.json",
    "/alarms": "/alarms.json",
    "/links": "/links.json",
    "/events": "/events.json",
    "/score": "/score.json",
    "/systems/gas": "/systems/gas.json",
    f"/points/{CH4}": f"/points/{CH4}.json",
}


class FakeReader:
    """The two verbs of the store's reader that pages use."""

    def __init__(self, events=(), columns=None, error=None):
        self.events_kept, self.columns, self.error, self.asked = list(events), columns, error, []

    def events(self, from_ms=None, to_ms=None):
        self._ask(from_ms, to_ms)
        return [e for e in self.events_kept if (from_ms or 0) <= e.time_ms < (to_ms or 2**62)]

    def samples(self, point_id, from_ms=None, to_ms=None):
        self._ask(from_ms, to_ms)
        return self.columns

    def _ask(self, from_ms, to_ms):
        self.asked.append((from_ms, to_ms))
        if self.error:
            raise StoreError(self.error)


def with_reader(tmp_path, reader):
    from dataclasses import replace

    desk = make_desk(tmp_path)
    desk.readers = replace(desk.readers, open_reader=lambda: reader)
    desk.app = quick_app(desk.readers)
    desk.show(desk.builder)
    return desk


def columns(values, quality=GOOD):
    n = len(values)
    return SampleColumns(
        receive_time_ms=WALL_MS + np.arange(n, dtype=np.int64) * 1_000,
        source_time_ms=np.full(n, NO_TIME_MS, dtype=np.int64),
        value=np.asarray(values, dtype=np.float64),
        quality=np.full(n, quality, dtype=np.uint16),
        batch_no=np.arange(1, n + 1, dtype=np.int64),
        kind=np.zeros(n, dtype=np.uint8),
    )


@pytest.mark.parametrize(("page", "twin"), PAGES.items(), ids=PAGES)
def test_html_and_json_are_renderings_of_one_document(tmp_path, monkeypatch, page, twin):
    import web.app

    documents = []
    real = web.app.render

    def spy(document, **how):
        documents.append(json.loads(json.dumps(document, allow_nan=False)))
        return real(document, **how)

    monkeypatch.setattr(web.app, "render", spy)
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    desk.show(builder)
    desk.html(page)
    printed = desk.json(twin)
    assert documents[0] == printed
    assert len(documents) == 2
    assert f'href="{twin}"' in desk.html(page)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "no snapshot"])
def test_no_page_prints_what_is_not_there(tmp_path, page, snapshot):
    desk = make_desk(tmp_path)
    if snapshot:
        builder = desk.builder
        builder.values = {CH4: never_row()}
        builder.alarms = [alarm("not.in.the.site"), alarm(CH4, value=None, value_worst=None, value_start=None)]
        builder.events = [
            event(90, "alarm_raised", "not.in.the.site", cause="high_alarm", value=1.0),
            event(91, "clock_step"),
        ]
        desk.show(builder)
    for language in ("zh", "en"):
        text = re.sub(r"<[^>]*>", " ", desk.html(f"{page}?lang={language}"))
        assert not re.search(r"\b(None|Undefined|nan|NaN|null|True|False)\b", text)


def test_a_dead_device_leads_the_links_with_its_last_error(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [
        link("kj", unit=None),
        link("fan", "degraded"),
        link("pump", "lost", error="timed out after 1.0 s"),
    ]
    desk.show(builder)
    found = desk.json("/links.json")["links"]
    assert (found[0]["source"], found[0]["state"]) == ("pump", "lost")
    assert found[-1]["source"] == "kj"
    html = desk.html("/links")
    for text in (
        "▨",
        "通讯中断",
        "timed out after 1.0 s",
        "2026-11-23 14:41:07",
        "15:39:07",
        "0:02:00 前",
        "modbus_tcp",
        "192.0.2.10:502 pump",
    ):
        assert text in html


FINDINGS = {
    "dead_line": link("pump", "lost", error="refused"),
    "dead_unit": link("pump", "lost", error="timeout"),
    "wrong_device": link("pump", "degraded", error="wrong device: vendor 'A' ≠ 'B'"),
    "certificate": link("kj", "lost", unit=None, error="certificate expired: 2026-01-01 < 2026-11-25"),
    "exception": link("pump", "degraded", error="exception 4"),
    "quarantine": link("pump", "degraded", error="exception 2", counters={"quarantined requests": 3}),
    "busy": link("pump", "degraded", error="exception 6"),
    "implausible": link("pump", "degraded", error="all zeros"),
    "clock": link("kj", unit=None, clock="behind", skew_ms=-3_600_000),
    "slow": link("pump", duration_ms=700.0, counters={"slow lately": 1}),
    "overrun": link("pump", counters={"cycle ms": 1_300, "overruns": 4}),
    "other": link("pump", "degraded", error="something"),
    "none": link("pump"),
}


@pytest.mark.parametrize("finding", FINDINGS)
def test_what_a_link_suffers_from_is_told_apart_by_word_and_shape(tmp_path, finding):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [FINDINGS[finding]]
    desk.show(builder)
    row = next(row for row in desk.json("/links.json")["links"] if row["source"] == FINDINGS[finding]["source"])
    assert row["finding"] == finding
    for language in ("zh", "en"):
        html = desk.html(f"/links?lang={language}")
        assert (f"finding-{finding}" in html) == (finding != "none")
        assert finding == "none" or word(f"finding.{finding}", language) in html
    assert len(set(FINDING_SHAPE.values())) == len(FINDING_SHAPE)


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (link("kj", unit=None, duration_ms=700.0), "slow"),
        (link("kj", unit=None, duration_ms=70.0), "none"),
        (link("pump", duration_ms=2_400.0), "none"),
        (link("pump", counters={"cycle ms": 900, "overruns": 4}), "none"),
        (link("pump", counters={"cycle ms": 900, "cycle ms of 10 s": 11_000}), "overrun"),
        (link("pump", counters={"cycle ms": 900, "cycle ms of 10 s": 9_000}), "none"),
        (link("pump", counters={"cycle ms": 1_300, "slow lately": 1}), "slow"),
        (link("pump", "lost", error="timeout", counters={"cycle ms": 1_300}), "dead_unit"),
        (link("pump", "degraded", error="exception 4", counters={"slow lately": 1}), "exception"),
    ],
    ids=["a slow server", "a quick server", "a long reply on a slow wire", "overruns that are over",
         "the slower points", "in time again", "the guilty one of a line", "dead before all", "refused before slow"],
)  # fmt: skip
def test_a_slow_unit_and_a_line_that_cannot_keep_its_period_are_told_apart(tmp_path, given, finding):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [given]
    desk.show(builder)
    assert next(row for row in desk.json("/links.json")["links"] if row["endpoint"])["finding"] == finding


def test_the_points_of_a_unit_are_its_own(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [link("pump", unit=1), link("pump", unit=2), link("kj", unit=None)]
    desk.show(builder)
    points = {(row["source"], row["unit"]): row["points"] for row in desk.json("/links.json")["links"]}
    assert (points["pump", 1], points["pump", 2], points["kj", None]) == (2, 0, 4)


def test_the_difference_of_a_devices_clock_is_shown(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [FINDINGS["clock"]]
    desk.show(builder)
    html = desk.html("/links")
    assert re.search(r"[-−]3,?600\.0 s 慢", html)


def test_source_that_never_reported_is_in_the_list(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.links = [link("kj", unit=None)]
    desk.show(builder)
    states = {row["source"]: row["state"] for row in desk.json("/links.json")["links"]}
    assert states["fan"] == "none"
    assert "无报告" in desk.html("/links")


def test_no_link_is_called_good_while_run_is_silent(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    desk.clock.advance_ms(20_000)
    found = desk.json("/links.json")
    assert {row["state"] for row in found["links"]} == {"unknown"}
    assert found["head"]["links"]["good"] == 0


def test_system_page_lists_every_point_of_the_system_with_state_quality_age_and_limits(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    found = desk.json("/systems/gas.json")["points"]
    assert {p["id"] for p in found} == {p.id for p in desk.site.points if p.id.startswith("gas.")}
    html = desk.html("/systems/gas")
    for text in ("实时", "0.9 s", "好", "上限断电 1.50"):
        assert text in html


@pytest.mark.parametrize("address", ["/systems/nothing", "/points/nothing", "/nothing", "/systems/gas/more"])
def test_what_is_not_there_is_404(tmp_path, address):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    assert "没有这个页面或测点" in desk.html(address, 404)


def test_unknown_point_is_a_json_error_for_programs(tmp_path):
    desk = make_desk(tmp_path)
    answer = desk.app.test_client().get("/points/nothing.json")
    assert (answer.status_code, answer.get_json()["status"]) == (404, 404)


def test_point_page_has_rows_both_times_raw_code_limits_and_rule(tmp_path):
    desk = with_reader(tmp_path, FakeReader(columns=columns([0.41, 0.42, np.nan], bad(Reason.TIMEOUT))))
    found = desk.json(f"/points/{CH4}.json")
    assert [r["value"] for r in found["rows"]] == [None, 0.42, 0.41]
    assert found["rows"][0]["source_ms"] is None
    html = desk.html(f"/points/{CH4}")
    for text in ("0x8200", "无应答", "设备未给出", "上限断电", "1.50", word("statement.below_restore")):
        assert text in html


def test_point_page_survives_a_store_that_cannot_be_read(tmp_path):
    desk = with_reader(tmp_path, FakeReader(error="journal: damaged"))
    html = desk.html(f"/points/{CH4}")
    assert "历史不可读" in html
    assert "journal: damaged" in html
    assert "0.40" in html


def test_events_page_asks_the_store_for_the_last_day_newest_first(tmp_path):
    kept = [
        Event(
            i,
            WALL_MS - 60_000 + i,
            EventKind.LINK_CHANGED,
            cause="lost",
            detail={"source": "fan", "unit": 1, "error": "x"},
        )
        for i in (1, 2, 3)
    ]
    reader = FakeReader(events=kept)
    desk = with_reader(tmp_path, reader)
    found = desk.json("/events.json")
    assert [e["seq"] for e in found["events"]] == [3, 2, 1]
    assert reader.asked == [(desk.clock.wall_ms() - 86_400_000, None)]


def test_events_between_two_times_as_people_type_them(tmp_path):
    reader = FakeReader()
    desk = with_reader(tmp_path, reader)
    desk.html("/events?from=2026-11-23T15:00:00&to=2026-11-23T16:00:00")
    assert reader.asked == [(1_795_417_200_000, 1_795_420_800_000)]
    assert "该时段没有事件" in desk.html("/events?from=0&to=1")


@pytest.mark.parametrize("query", ["from=yesterday", "to=1e5", "from=2026-13-01"])
def test_events_with_a_time_that_is_none_is_400(tmp_path, query):
    desk = make_desk(tmp_path)
    assert "expected" in desk.html(f"/events?{query}", 400)


def test_events_that_do_not_fit_are_counted(tmp_path):
    kept = [Event(i, WALL_MS - 60_000, EventKind.BOX_STARTED) for i in range(1, 621)]
    desk = with_reader(tmp_path, FakeReader(events=kept))
    found = desk.json("/events.json")
    assert (len(found["events"]), found["left_out"], found["count"]) == (500, 120, 620)
    assert "另有 120 条未显示" in desk.html("/events")


def test_events_survive_a_store_that_cannot_be_read(tmp_path):
    desk = with_reader(tmp_path, FakeReader(error="events.db: locked"))
    assert "事件库不可读" in desk.html("/events")


def test_refused_act_in_the_event_list_says_who_and_why(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    who = {"id": "x", "name": "王调度", "role": "", "station": "", "authenticated": False}
    builder.events = [
        event(90, "act_refused", CH4, cause="high_alarm", actor=who, ledger_id=3, refused="changed_since")
    ]
    desk.show(builder)
    html = desk.html("/")
    for text in ("王调度", "未登录操作", word("refusal.changed_since")):
        assert text in html


def test_bar_stands_on_the_range_with_its_limit_marks(tmp_path):
    from web.charts import bar

    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.values = {CH4: row(1.0), "ventilation.main1.run": row(1.0)}
    desk.show(builder)
    drawn = bar(desk.json(f"/points/{CH4}.json")["point"])
    assert drawn == {
        "at": 25.0,
        "marks": [{"at": 25.0, "limit": "high_alarm"}, {"at": 37.5, "limit": "high_cut"}],
        "low": 0.0,
        "high": 4.0,
    }
    assert bar(desk.json("/points/ventilation.main1.run.json")["point"]) is None
