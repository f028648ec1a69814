"""Chinese first, English complete; language and theme stay chosen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from web_snapshots import alarm, event, make_desk

import web
from mines.alarms.limits import Limit
from mines.events import EventKind
from mines.model import LinkState, Subsystem
from mines.process_image import Freshness
from mines.quality import Flag, Reason, Severity
from mines.words import word

ROOM = Path(web.__file__).parent
CATALOGUE = ROOM / "translations" / "en" / "LC_MESSAGES"
CH4 = "gas.f1602.t1.ch4"


def texts_of_pages() -> set[str]:
    """Every text that the room prints through the catalogue."""
    methods = [("**.py", "python"), ("templates/**.html", "jinja2")]
    found = extract_from_dir(ROOM, method_map=methods, keywords={"_": None, "gettext": None})
    return {message for _, _, message, _, _ in found}


def catalogue() -> dict[str, str]:
    with (CATALOGUE / "messages.po").open("rb") as file:
        return {m.id: m.string for m in read_po(file) if m.id}


def test_every_text_has_an_english_one_and_none_is_left_over():
    english = catalogue()
    assert texts_of_pages() == set(english)
    assert len(english) > 100
    assert all(text.strip() for text in english.values())


def test_english_texts_keep_their_places():
    for chinese, english in catalogue().items():
        assert sorted(re.findall(r"%\(\w+\)s|\{\w+\}", chinese)) == sorted(re.findall(r"%\(\w+\)s|\{\w+\}", english))


def test_compiled_catalogue_is_that_of_the_source():
    with (CATALOGUE / "messages.mo").open("rb") as file:
        compiled = {m.id: m.string for m in read_mo(file) if m.id}
    assert compiled == catalogue()


@pytest.mark.parametrize("address", ["/", "/alarms", "/links", "/events", "/score", "/systems/gas", f"/points/{CH4}"])
def test_english_page_has_no_chinese_left_but_names_law_and_terms(tmp_path, address):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    desk.show(builder)
    html = desk.html(f"{address}?lang=en")
    html = re.sub(
        r"<bdi[^>]*>.*?</bdi>|<p class=\"statement.*?</p>|lang=\"zh-CN\">[^<]*<|\([^()]*[\u4e00-\u9fff]+[^()]*\)",
        "",
        html,
        flags=re.DOTALL,
    )
    html = re.sub(r'title="[^"]*"|aria-label="[^"]*"', "", html)
    html = re.sub(r"《[^》]*》|贵州省[^<]*|治本攻坚[^<]*|口径[^<]*", "", html)
    left = [text for text in re.findall(r"[\u4e00-\u9fff]+", html) if text not in ("开", "停", "人", "中文")]
    assert left == []


@pytest.mark.parametrize(
    ("family", "members"),
    [
        ("event", [kind.value for kind in EventKind]),
        ("link", [*(state.value for state in LinkState), "unknown", "none"]),
        ("quality", [reason.name.lower() for reason in Reason]),
        ("severity", [severity.name.lower() for severity in Severity]),
        ("flag", [str(flag.name).lower() for flag in Flag]),
        ("freshness", [state.name.lower() for state in Freshness]),
        ("subsystem", [subsystem.value for subsystem in Subsystem]),
        ("limit", [limit.word for limit in Limit]),
        ("level", ["1", "2", "3", "4"]),
        ("alarm_state", ["unacked", "acked", "returned_unacked", "latched_unacked", "latched_acked"]),
        ("act", ["acknowledge", "reset"]),
        ("act_state", ["recorded", "applied", "refused", "partly", "old"]),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_every_coded_word_of_a_page_has_both_languages(family, members):
    for member in members:
        chinese, english = word(f"{family}.{member}", "zh"), word(f"{family}.{member}", "en")
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert re.search(r"[a-z]", english)


def test_code_without_a_word_breaks_no_page(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    builder.events = [event(90, "brand_new_kind", CH4, cause="brand_new_cause")]
    desk.show(builder)
    assert "brand_new_kind" in desk.html("/")


def test_statements_stand_in_chinese_on_english_pages_too(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    html = desk.html("/?lang=en")
    for code in ("statement.every_page", "statement.overview"):
        assert word(code, "zh") in html
        assert word(code, "en") in html


def test_page_is_chinese_unless_english_is_asked_for(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    assert '<html lang="zh-CN"' in desk.html("/")
    english = desk.html("/?lang=en")
    assert '<html lang="en"' in english
    assert "Yunling Mine" in english


def test_choice_of_language_and_theme_is_remembered(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    client = desk.app.test_client()
    answer = client.get("/?lang=en&theme=wall")
    cookies = answer.headers.getlist("Set-Cookie")
    assert all("HttpOnly" in cookie and "SameSite=Strict" in cookie for cookie in cookies)
    later = client.get("/alarms").text
    assert '<html lang="en" data-theme="wall"' in later


def test_language_asked_for_stays_in_the_links(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    html = desk.html("/alarms?lang=en&level=1")
    assert 'href="/links?lang=en"' in html
    assert 'href="/alarms?level=1&amp;lang=zh"' in html


def test_times_are_printed_in_shanghai(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    assert "截至 2026-11-23 15:41:07" in desk.html("/")


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (None, "—"),
        (0, "0.0 s"),
        (1_249, "1.2 s"),
        (9_999, "10.0 s"),
        (42_900, "42 s"),
        (60_000, "0:01:00"),
        (3_725_000, "1:02:05"),
        (90_061_000, "1 d 1:01:01"),
    ],
)
def test_spans(duration_ms, text):
    from web.render import span

    assert span(duration_ms) == text
