"""The commissioning report: what stands on the paper that an engineer signs, and what must never stand there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import typer
from site_folders import POINTS_CSV, write_site
from typer.testing import CliRunner
from web_browser import chromium
from web_snapshots import lost_row, never_row, row

from connectors.commissioning.devices import source_plans
from connectors.commissioning.document import Facts, Record, commissioning_document
from connectors.commissioning.page import page
from connectors.commissioning.papers import Paper, read_paper
from connectors.opcua.certificates import make_certificate, make_key
from connectors.report_command import add_report_commands
from mines.clock import SystemClock
from mines.process_image import Freshness
from mines.quality import Flag, Reason, bad, uncertain
from mines.run import snapshot_path
from mines.site.site_file import load_site
from mines.snapshot import SCHEMA, SnapshotView
from mines.words import word

WALL_MS = 1_795_419_667_000  # 2026-11-23 15:41:07 Asia/Shanghai
LEVEL, METHANE, CURRENT = "dewatering.sump.level", "gas.t1.ch4", "dewatering.p1.current"

SITE_TOML = """schema = 1

[mine]
id = "test-mine"
name_zh = "虚构煤矿"
name_en = "Fictitious"
simulated = true

[subsystem.gas]
[subsystem.dewatering]

[source.kj]
kind = "opcua"
url = "opc.tcp://192.0.2.20:4840"

[source.pump]
kind = "modbus_tcp"
host = "192.0.2.10"
[source.pump.unit.1]
profile = "pump_station"
"""
POINTS = (
    POINTS_CSV.replace("name_zh,", "name_zh,data_type,", 1)
    .replace("水仓水位,", "水仓水位,uint16,")
    .replace("甲烷,", "甲烷,,", 1)
    .replace("泵电流,", "泵电流,int16,")
)


@pytest.fixture
def site(tmp_path):
    return load_site(write_site(tmp_path / "site", toml=SITE_TOML, points=POINTS))


def _link(source, unit, state, **more):
    return {
        "source": source,
        "unit": unit,
        "endpoint": "",
        "state": state,
        "since_ms": WALL_MS - 60_000,
        "last_answer_ms": WALL_MS - 500,
        "last_error": None,
        "duration_ms": 4,
        "polls": 100,
        "good": 190,
        "bad": 10,
        "reconnects": 2,
        "time_ms": WALL_MS,
        "counters": {"cycle ms": 38, "overruns": 0},
        "clock": None,
        "skew_ms": -1500,
    } | more


def _snapshot(site, **changes):
    return {
        "schema": SCHEMA,
        "boot_id": "boot-1",
        "seq": 7,
        "time_ms": WALL_MS,
        "software": "minewatch 9.9",
        "site_sha256": site.sha256,
        "clock_unsure": False,
        "durable": {"frame": 12, "rows": 3456, "event_seq": 78},
        "links": [_link("pump", 1, "lost", last_error="timeout"), _link("kj", None, "good")],
        "points": {
            LEVEL: row(1.234),
            METHANE: row(0.42, quality=uncertain(Reason.SENSOR_NOT_ACCURATE, Flag.CALIBRATING)),
            CURRENT: lost_row(),
        },
    } | changes


def _facts(site, document=None, *, alive=True):
    view = SnapshotView(document or {}, alive=alive, silent_ms=100 if document else None)
    return Facts(site, source_plans(site), view, Record(WALL_MS - 86_400_000, WALL_MS), "minewatch 0.1", WALL_MS)


def _points(document):
    return {
        point["id"]: point
        for source in document["sources"]
        for device in source["devices"]
        for point in device["points"]
    }


class _Page(HTMLParser):
    """Tags that are open and closed, the texts of cells and every tag's name."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.cells and {"td", "th"} & set(self.open):
            self.cells[-1] += data


def test_a_point_stands_with_what_it_is_set_to_and_what_it_says(site):
    document = commissioning_document(_facts(site, _snapshot(site)))
    level = _points(document)[LEVEL]
    assert (level["address"], level["data_type"], level["unit"], level["value"]) == (
        "1/holding/0",
        "uint16",
        "m",
        1.234,
    )
    assert (level["severity"], level["reason"], level["freshness"], level["time_ms"]) == (
        "good",
        "none",
        "live",
        WALL_MS - 400,
    )
    methane = _points(document)[METHANE]
    assert (methane["severity"], methane["reason"], methane["flags"]) == (
        "uncertain",
        "sensor_not_accurate",
        ["calibrating"],
    )
    current = _points(document)[CURRENT]
    assert (current["value"], current["severity"], current["reason"], current["freshness"]) == (
        None,
        "bad",
        "timeout",
        "lost",
    )


def test_a_source_stands_with_its_line_its_plan_its_links_and_its_devices(site):
    document = commissioning_document(_facts(site, _snapshot(site)))
    kj, pump = document["sources"]
    assert (kj["kind"], kj["endpoint"], kj["devices"][0]["unit"]) == ("opcua", "opc.tcp://192.0.2.20:4840", None)
    assert kj["plan"][0]["nodes"] == 1
    assert (pump["kind"], pump["endpoint"], pump["passive"]) == ("modbus_tcp", "192.0.2.10:502", False)
    [line] = pump["plan"]
    assert (line["units"], line["registers"], line["period_ms"]) == ([1], 2, 1000)
    assert line["cycle_ms"] > 0
    [device] = pump["devices"]
    assert (device["unit"], device["profile"], device["state"], device["last_error"]) == (
        1,
        "pump_station",
        "lost",
        "timeout",
    )
    assert [link["state"] for link in pump["links"]] == ["lost"]
    assert [link["state"] for link in kj["links"]] == ["good"]


@pytest.mark.parametrize("alive", [False, True], ids=["never ran", "runs another site"])
def test_without_a_run_of_exactly_this_site_every_value_is_a_dash_and_it_is_said(site, alive):
    snapshot = _snapshot(site, site_sha256="f" * 64)
    document = commissioning_document(_facts(site, snapshot if alive else None, alive=alive))
    assert document["run"]["this_site"] is False
    for point in _points(document).values():
        assert {point[key] for key in ("value", "severity", "reason", "time_ms", "source_ms", "freshness")} == {None}
    text = page(document)
    assert ("run works with another site" if alive else "run is not running") in text
    assert "every value is a dash" in text
    assert "1.23" not in text


def test_the_last_values_of_a_run_that_died_are_not_on_the_paper(site):
    document = commissioning_document(_facts(site, _snapshot(site), alive=False))
    assert all(point["value"] is None for point in _points(document).values())
    assert all(source["links"] == [] for source in document["sources"])
    assert "run is not running" in page(document)


def test_a_point_that_never_had_a_value_is_a_dash_with_its_state(site):
    snapshot = _snapshot(site)
    snapshot["points"][LEVEL] = never_row()
    document = commissioning_document(_facts(site, snapshot))
    assert (_points(document)[LEVEL]["value"], _points(document)[LEVEL]["freshness"]) == (None, "never")
    assert word("freshness.never") in page(document)


def test_the_page_has_for_every_point_a_blank_to_write_into_and_one_to_sign(site):
    text = page(commissioning_document(_facts(site, _snapshot(site))))
    rows = re.findall(r"<tr>.*?</tr>", text)
    [level] = [line for line in rows if LEVEL in line]
    assert level.count('class="blank"') == 2
    for head in ("就地显示", "local display", "核对人", "signature", "签字", "Signatures"):
        assert head in text


def test_the_page_is_whole_html_without_scripts_and_without_anything_from_elsewhere(site):
    text = page(commissioning_document(_facts(site, _snapshot(site))))
    read = _Page(text)
    assert read.open == []
    assert not {"script", "link", "img", "iframe", "form"} & read.tags
    assert "http" not in text.replace("opc.tcp", "")
    assert text.startswith("<!DOCTYPE html>")
    assert '<html lang="zh-CN">' in text
    assert "table-header-group" in text
    assert "size: A4 landscape" in text


def test_the_page_says_what_it_is_of_and_who_it_is_not(site):
    text = page(commissioning_document(_facts(site, _snapshot(site))))
    assert site.sha256 in text
    assert "minewatch 0.1" in text
    assert "2026-11-23 15:41:07" in text
    assert "2026-11-22 15:41:07" in text  # the site is in use since
    for code in ("statement.every_page", "statement.installation", "statement.simulated"):
        assert word(code) in text
    assert "帧 frame 12, 行 rows 3456, 事件 event 78" in text


def test_words_stand_in_chinese_first_with_english_beside_them(site):
    cells = _Page(page(commissioning_document(_facts(site, _snapshot(site))))).cells
    assert f"{word('severity.good')} good" in cells
    assert any(cell.startswith(word("link.lost")) and "lost" in cell for cell in cells)
    assert any(word("quality.timeout") in cell and "no answer in time" in cell for cell in cells)
    assert any(word("flag.calibrating") in cell for cell in cells)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<script>alert(1)</script>", id="script"),
        pytest.param('" onload="x', id="attribute"),
        pytest.param("'><img src=x>", id="tag"),
        pytest.param("&lt;b&gt;", id="entities"),
    ],
)
def test_a_foreign_text_stays_text(site, text):
    point = replace(site.points[0], name_zh=text, name_en=text, address=site.points[0].address, states={1: text})
    hostile = replace(site, points=(point, *site.points[1:]))
    snapshot = _snapshot(hostile, software=text)
    snapshot["points"][LEVEL] = row(1.0)
    snapshot["links"][0] |= {"last_error": text, "state": text, "counters": {text: 1}}
    facts = _facts(hostile, snapshot)
    [opcua, pump] = facts.sources
    pump = replace(
        pump,
        papers=(Paper("own", text, text),),
        devices=(replace(pump.devices[0], profile=text, identity={text: text}, signature={text: text}),),
    )
    read = _Page(page(commissioning_document(replace(facts, sources=(opcua, pump)))))
    assert read.open == []
    assert not {"script", "img"} & read.tags
    assert sum(text in cell for cell in read.cells) >= 4


def test_the_name_of_a_mine_cannot_leave_the_style_sheet(site):
    mine = replace(site.mine, id='x"; } body { display: none } /*')
    text = page(commissioning_document(_facts(replace(site, mine=mine))))
    style = text.partition("<style>")[2].partition("</style>")[0]
    quoted = re.sub(r'"[^"]*"', "", style)
    assert "display: none" not in quoted
    assert quoted.count("{") == quoted.count("}")
    assert '"' not in quoted


@pytest.mark.parametrize(
    ("value", "states", "decimals", "shown"),
    [
        pytest.param(1.0, {0: "停", 1: "开"}, 2, "1 开", id="a state"),
        pytest.param(7.0, {0: "停", 1: "开"}, 2, "7", id="a value that is none of its states"),
        pytest.param(0.1 + 0.2, {}, 2, "0.30", id="decimals as set"),
        pytest.param(-0.5, {}, 0, "-0", id="no decimals"),
        pytest.param(12345.678, {}, 1, "12345.7", id="no grouping"),
    ],
)
def test_a_value_is_printed_with_its_decimals_and_its_word(site, value, states, decimals, shown):
    point = replace(site.points[0], states=states, decimals=decimals)
    changed = replace(site, points=(point, *site.points[1:]))
    snapshot = _snapshot(changed)
    snapshot["points"][LEVEL] = row(value)
    text = page(commissioning_document(_facts(changed, snapshot)))
    [cells] = [re.findall(r"<td>(.*?)</td>", line) for line in re.findall(r"<tr>.*?</tr>", text) if LEVEL in line]
    assert cells[8] == f"<b>{shown}</b>"


def test_the_papers_of_a_source_are_read_with_fingerprint_and_end(tmp_path):
    papers = make_certificate(make_key(), uri="urn:x", name="box", hosts=["box"], now_ms=WALL_MS, days=10)
    (tmp_path / "a.pem").write_bytes(papers.pem)
    (tmp_path / "b.der").write_bytes(papers.der)
    (tmp_path / "c.pem").write_text("nothing")
    found = list(read_paper("trust", tmp_path))
    assert [(paper.file, paper.fault) for paper in found] == [("a.pem", ""), ("b.der", ""), ("c.pem", "unreadable")]
    assert {paper.sha256 for paper in found[:2]} == {found[0].sha256}
    assert len(found[0].sha256) == 64
    assert found[0].subject == "CN=box"
    assert found[0].ends_ms == WALL_MS + 10 * 86_400_000
    assert [paper.fault for paper in read_paper("own", tmp_path / "none.pem")] == ["unreadable"]


def _command(*arguments):
    app = typer.Typer()
    add_report_commands(app)
    return CliRunner().invoke(app, ["report", "commissioning", *map(str, arguments)])


def test_the_command_writes_the_page_and_prints_the_document(site, tmp_path):
    now = SystemClock()
    site.runtime.mkdir(parents=True)
    live = {"time_ms": now.wall_ms(), "mono_ms": now.monotonic_ns() // 1_000_000}
    snapshot_path(site).write_text(json.dumps(_snapshot(site) | live), "utf-8")
    file = tmp_path / "paper" / "report.html"
    printed = _command(site.folder, "--out", file)
    assert (printed.exit_code, printed.stdout.strip()) == (0, str(file))
    assert "1.23" in file.read_text("utf-8")
    document = json.loads(_command(site.folder, "--json").stdout)
    assert document["run"]["this_site"] is True
    assert _points(document)[LEVEL]["value"] == 1.234
    assert _points(document)[LEVEL]["freshness"] == Freshness.LIVE.name.lower()


def test_the_command_works_where_no_run_ever_was_and_writes_nothing_into_the_record(site):
    document = json.loads(_command(site.folder, "--json").stdout)
    assert document["run"]["alive"] is False
    assert document["site"]["accepted_ms"] is None
    assert not site.data.exists()


def test_a_site_with_a_mistake_has_no_report(tmp_path):
    folder = write_site(tmp_path / "site", toml=SITE_TOML.replace("pump_station", "no_such"), points=POINTS)
    result = _command(folder, "--json")
    assert result.exit_code != 0
    assert "no_such" in str(result.exception)


@pytest.mark.browser
def test_on_a4_paper_nothing_is_cut_and_the_heads_stand_on_every_sheet(site, tmp_path):
    many = replace(
        site, points=site.points + tuple(replace(site.points[0], id=f"dewatering.sump.level{i}") for i in range(60))
    )
    file = tmp_path / "report.html"
    file.write_text(page(commissioning_document(_facts(many, _snapshot(many)))), "utf-8")
    with chromium() as browser:
        sheet = browser.new_page(viewport={"width": 1047, "height": 718})  # 277 mm × 190 mm at 96 dpi
        sheet.goto(file.as_uri())
        sheet.emulate_media(media="print")
        assert sheet.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        wide = "[...document.querySelectorAll('td, th')].filter(c => c.scrollWidth > c.clientWidth + 1).length"
        assert sheet.evaluate(wide) == 0
        printed = sheet.pdf(prefer_css_page_size=True)
    pages = [int(count) for count in re.findall(rb"/Count (\d+)", printed)]
    assert max(pages) >= 4


def test_a_bad_value_that_a_device_sent_is_marked_bad_on_the_paper(site):
    snapshot = _snapshot(site)
    snapshot["points"][LEVEL] = row(None, quality=bad(Reason.SENSOR_FAILURE))
    text = page(commissioning_document(_facts(site, snapshot)))
    [line] = [line for line in re.findall(r"<tr>.*?</tr>", text) if LEVEL in line]
    assert word("quality.sensor_failure") in line
    assert "<b>—</b>" in line
