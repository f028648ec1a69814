"""Headers, hostile names, nothing from outside, scripts of ES2017, colours that can be read."""

from __future__ import annotations

import re
from pathlib import Path

import esprima
import pytest
from web_site import POINTS, make_site, renamed
from web_snapshots import alarm, event, make_desk

import web

STATIC = Path(web.__file__).parent / "static"
TEMPLATES = Path(web.__file__).parent / "templates"
CH4 = "gas.f1602.t1.ch4"
ADDRESSES = ("/", "/alarms", "/links", "/events", "/score", "/systems/gas", f"/points/{CH4}")
SHEETS = sorted(STATIC.glob("*.css"))
SCRIPTS = sorted(STATIC.glob("*.js"))


def test_every_answer_carries_the_safety_headers(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    for address in (*ADDRESSES, "/alarms.json", "/api/v1/snapshot", "/nothing", "/healthz"):
        headers = desk.app.test_client().get(address).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("address", ADDRESSES)
def test_page_has_no_inline_script_or_style_and_nothing_from_outside(tmp_path, address):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    desk.show(builder)
    html = desk.html(address)
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html)
    outside = re.findall(r'(?:src|href|action|formaction)="((?:[a-z]+:)?//[^"]*)"', html)
    assert outside == []
    assert "http" not in re.sub(r"http-equiv", "", html)


@pytest.mark.parametrize("path", [*SHEETS, *SCRIPTS, *sorted(TEMPLATES.glob("*.html"))], ids=lambda p: p.name)
def test_files_name_no_outside_address(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text)
    assert "@import" not in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_script_is_es2017(path):
    tree = esprima.parseScript(path.read_text(encoding="utf-8"))
    assert tree.body


def test_the_es2017_check_can_fail():
    with pytest.raises(esprima.Error):
        esprima.parseScript("const a = b?.c;")


def test_style_sheets_use_nothing_newer_than_chromium_69():
    newer = (
        r"\b(min|max|clamp)\(|:(has|is|where)\(|\binset:|[^-]aspect-ratio:|:focus-visible|\ddvh\b|@(layer|container)"
    )
    for path in SHEETS:
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(newer, text), path.name
        assert not re.search(r"(?<!grid-)\bgap:", text), path.name


def test_dead_mans_handle_runs_14_seconds_and_no_preference_stops_it():
    text = (STATIC / "states.css").read_text(encoding="utf-8")
    assert "animation: reveal 1ms linear 14s forwards" in text
    assert "animation: cover 14s linear forwards" in text
    reduced = re.search(r"@media \(prefers-reduced-motion: reduce\) \{(.*?)\n\}", text, re.DOTALL)
    assert reduced
    assert "deadman" not in reduced.group(1)
    assert "*" not in reduced.group(1)


def test_only_symbols_of_unacknowledged_alarms_blink_once_a_second(tmp_path):
    text = (STATIC / "states.css").read_text(encoding="utf-8")
    assert re.findall(r"animation: blink ([^;]+);", text) == ["1s steps(1, end) infinite"]
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [
        alarm(CH4),
        alarm("gas.h1603.co", state="acked"),
        alarm("gas.f1602.t2.ch4", state="returned_unacked"),
    ]
    desk.show(builder)
    table = desk.html("/alarms").split("<tbody")[1]
    blinking = re.findall(r'<span class="([^"]*\bblink\b[^"]*)">(.)</span>', table)
    assert blinking == [("shape blink", "▲")]


HOSTILE = {
    "script": '<script>alert("x")</script>',
    "attribute": '" onmouseover="alert(1)" x="',
    "template": "{{ 7 * 7 }}{% raw %}",
    "rtl": "甲烷\u202eexe.4HC",
    "long": "很长的名字" * 2_000,
    "rare": "𠮷野煤矿😀",
    "sql": "'; DROP TABLE ledger; --",
    "formula": "=1+1",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_text_and_nothing_else(tmp_path, name):
    points = tuple(renamed(p, name) if p.id == CH4 else p for p in POINTS)
    desk = make_desk(tmp_path, make_site(tmp_path, points))
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    builder.events = [
        event(90, "alarm_raised", CH4, cause="high_alarm", value=1.0, level=2),
        event(91, "link_changed", cause="lost", source=name, unit=1, error=name),
    ]
    desk.show(builder)
    for address in (*ADDRESSES, "/?lang=en"):
        html = desk.html(address)
        assert "<script>alert" not in html
        assert 'onmouseover="alert' not in html
        assert "49" not in re.findall(r"<bdi[^>]*>(.*?)</bdi>", html)
    assert desk.json(f"/points/{CH4}.json")["point"]["name_zh"] == name


def test_names_are_isolated_from_the_direction_of_the_text_around_them(tmp_path):
    points = tuple(renamed(p, HOSTILE["rtl"]) if p.id == CH4 else p for p in POINTS)
    desk = make_desk(tmp_path, make_site(tmp_path, points))
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    desk.show(builder)
    for address in ("/", "/alarms", "/systems/gas", f"/points/{CH4}"):
        html = re.sub(r"<title>.*?</title>|(title|aria-label)=\"[^\"]*\"", "", desk.html(address))
        inside = re.findall(r"<bdi[^>]*>[^<]*\u202e[^<]*</bdi>", html)
        assert len(inside) == html.count("\u202e") > 0


def test_hostile_alarm_and_note_from_the_ledger_are_text(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    desk.show(builder)
    form = {"alarm": f"{CH4}/high_alarm@1", "name": "<script>alert(1)</script>", "note": "<img src=x>"}
    client = desk.app.test_client()
    client.post("/alarms/acknowledge", data=form)
    html = client.get("/alarms").text
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize(
    "query",
    [
        "_external=1&_scheme=javascript",
        "endpoint=x&_anchor=y",
        "_method=POST",
        "level=%22%3E%3Cscript%3E",
        "recorded=-1",
        "recorded=%C2%B2",
        "lang=xx&theme=zz",
        "subsystem=%3Cb%3E",
    ],
)
def test_a_strangers_query_changes_no_link_and_breaks_no_page(tmp_path, query):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    html = desk.html(f"/alarms?{query}")
    assert "javascript:" not in html
    assert "<script>" not in html
    assert "<b>" not in html.split("<main")[1].split("<form")[0]


@pytest.mark.parametrize(
    "address", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/points/../../etc/passwd"]
)
def test_no_way_out_of_the_static_folder(tmp_path, address):
    desk = make_desk(tmp_path)
    assert desk.app.test_client().get(address).status_code == 404


def test_only_the_two_acts_take_a_post(tmp_path):
    desk = make_desk(tmp_path)
    client = desk.app.test_client()
    taking = {rule.rule for rule in desk.app.url_map.iter_rules() if rule.methods & {"POST", "PUT", "DELETE", "PATCH"}}
    assert taking == {"/alarms/acknowledge", "/alarms/reset"}
    assert client.get("/alarms/acknowledge").status_code == 405


def test_making_the_app_twice_shares_nothing(tmp_path):
    one, two = make_desk(tmp_path / "a"), make_desk(tmp_path / "b")
    one.show(one.builder)
    assert one.json("/overview.json")["head"]["alive"] is True
    assert two.json("/overview.json")["head"]["alive"] is False


def tokens(theme: str) -> dict[str, str]:
    text = (STATIC / "tokens.css").read_text(encoding="utf-8")
    block = text.split(":root {" if theme == "desk" else 'html[data-theme="wall"] {')[1].split("}")[0]
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9A-F]{6});", block))


def contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["desk", "wall"])
def test_every_text_colour_can_be_read_on_ground_and_card(theme):
    """WCAG AA: 4.5 (pages §1.5)."""
    found = tokens(theme)
    for name in ("text", "muted", "l1", "l2", "l3", "l4", "data"):
        for ground in ("ground", "card"):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)
    for name in ("l1", "l2", "l3", "l4", "data"):
        assert contrast(found[f"{name}-ink"], found[f"{name}-chip"]) >= 4.5, name


def test_palette_is_the_one_that_was_decided():
    desk, wall = tokens("desk"), tokens("wall")
    assert [desk[n] for n in ("ground", "card", "text", "muted")] == ["#E4E6E8", "#F4F5F6", "#1B1F23", "#565D64"]
    assert [desk[n] for n in ("l1", "l2", "l3", "l4", "data")] == [
        "#B00020",
        "#A84300",
        "#7A5B00",
        "#0B57A4",
        "#8A1C7C",
    ]
    assert [wall[n] for n in ("ground", "card", "text", "muted")] == ["#1E2226", "#2A2F34", "#E6E8EA", "#A7AEB5"]
    assert [wall[n] for n in ("l1", "l2", "l3", "l4", "data")] == [
        "#FF6B6B",
        "#FFA24D",
        "#F2D14B",
        "#6FB7FF",
        "#E58BDD",
    ]


def test_wall_theme_stands_by_itself_on_a_wide_screen():
    text = (STATIC / "tokens.css").read_text(encoding="utf-8")
    wide = text.split("@media (min-width: 2560px) {")[1]
    assert dict(re.findall(r"--([a-z0-9-]+): (#[0-9A-F]{6});", wide)) == tokens("wall")
