"""In a real browser: the keys of the alarm desk, a list that never moves under the hand, pages that fit screens."""

from __future__ import annotations

import pytest
from web_browser import LiveMine, chromium, see
from web_site import POINTS, make_site, many_points, renamed
from web_snapshots import actor, alarm, event, link, lost_row

pytestmark = pytest.mark.browser

CH4 = "gas.f1602.t1.ch4"
OTHER = "gas.h1603.t1.ch4"
ALARM = f"{CH4}/high_alarm"
ROWS = "#alarm-table tbody tr"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def mine(tmp_path):
    made = LiveMine(tmp_path)
    made.publish(alarms=[alarm(CH4)])
    yield made
    made.stop()


@pytest.fixture
def page(browser, mine):
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    opened = context.new_page()
    opened.clock.install()
    opened.goto(f"{mine.url}/alarms")
    yield opened
    context.close()


def keys(page) -> list[str]:
    return page.eval_on_selector_all(ROWS, "rows => rows.map(row => row.dataset.key)")


def test_alarm_is_acknowledged_by_keys_alone(mine, page):
    page.keyboard.press("j")
    page.keyboard.press(" ")
    assert page.locator(f"{ROWS} input").is_checked()
    page.keyboard.press("F2")  # the name is missing: the browser leads there
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.type("王调度")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "recorded=1" in page.url
    assert "已记录,待执行" in page.locator(ROWS).inner_text()
    assert "已确认 " not in page.locator(ROWS).inner_text()
    told = event(98, "alarm_acknowledged", CH4, cause="high_alarm", actor=actor(), ledger_id=1, version=2)
    mine.publish(alarms=[alarm(CH4, state="acked", version=2)], acts={"1": "applied"}, events=[told])
    see(page, mine)
    assert "已确认 王调度" in page.locator(ROWS).inner_text()
    assert "已执行" in page.locator(".notice").inner_text()


def test_arrows_move_and_f2_alone_takes_the_row_that_has_the_focus(mine, page):
    mine.publish(alarms=[alarm(CH4), alarm(OTHER, version=7)])
    see(page, mine)
    page.locator("input[name=name]").fill("李调度")
    page.locator("h2").first.click()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    with page.expect_request("**/alarms/acknowledge") as sent, page.expect_navigation():
        page.keyboard.press("F2")
    assert f"alarm={OTHER.replace('/', '%2F')}%2Fhigh_alarm%407" in sent.value.post_data
    assert CH4 not in sent.value.post_data
    assert sent.value.all_headers()["origin"] == mine.url  # what browsers without Sec-Fetch-Site are judged by


def test_keys_of_an_input_method_are_left_alone(page):
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', isComposing: true, bubbles: true}))")
    assert page.evaluate("document.activeElement.tagName") == "BODY"
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}))")
    assert page.evaluate("document.activeElement.tagName") == "TR"


def test_letters_typed_into_a_field_move_nothing(page):
    page.locator("input[name=note]").click()
    page.keyboard.type("jk j")
    assert page.locator("input[name=note]").input_value() == "jk j"
    assert page.evaluate("document.activeElement.name") == "note"


def test_new_rows_wait_behind_a_bar_while_a_person_is_at_the_list(mine, page):
    page.keyboard.press("j")
    mine.publish(alarms=[alarm(OTHER, "high_cut", level=1), alarm(CH4)])
    see(page, mine)
    assert keys(page) == [ALARM]
    assert page.locator("#waiting").inner_text() == "新 1 条,点此显示"
    assert page.locator(".count.l1 b").inner_text() == "1"  # the bar above tells at once
    page.keyboard.press("Escape")
    assert keys(page) == [f"{OTHER}/high_cut", ALARM]
    assert page.locator("#waiting").is_hidden()


def test_row_under_the_pointer_never_moves(mine, page):
    page.locator(ROWS).first.hover()
    before = page.locator(f'{ROWS}[data-key="{ALARM}"]').bounding_box()
    mine.publish(alarms=[alarm(OTHER, "high_cut", level=1), alarm(CH4)])
    see(page, mine)
    assert page.locator("#waiting").is_visible()
    assert page.locator(f'{ROWS}[data-key="{ALARM}"]').bounding_box() == before
    assert keys(page) == [ALARM]


def test_pointer_left_lying_on_the_list_hides_new_alarms_for_half_a_minute_at_most(mine, page):
    page.locator(ROWS).first.hover()
    page.clock.run_for(31_000)
    mine.publish(alarms=[alarm(OTHER, "high_cut", level=1), alarm(CH4)])
    see(page, mine)
    assert keys(page) == [f"{OTHER}/high_cut", ALARM]


def test_ticked_alarm_that_changes_is_unticked_and_says_so(mine, page):
    page.keyboard.press("j")
    page.keyboard.press(" ")
    mine.publish(alarms=[alarm(CH4, state="returned_unacked", version=2)])
    see(page, mine)
    assert not page.locator(f"{ROWS} input").is_checked()
    said = page.evaluate(f"getComputedStyle(document.querySelector('{ROWS} td.state'), '::after').content")
    assert "已变化" in said


def test_alarm_that_leaves_the_list_stays_in_place_while_it_is_held(mine, page):
    page.keyboard.press("j")
    mine.publish(alarms=[])
    see(page, mine)
    assert keys(page) == [ALARM]
    assert "gone" in page.locator(ROWS).get_attribute("class")
    page.keyboard.press("Escape")
    assert keys(page) == []


def test_what_is_typed_survives_refreshes(mine, page):
    page.locator("input[name=note]").fill("通知瓦检员")
    mine.publish(alarms=[alarm(CH4), alarm(OTHER)])
    see(page, mine)
    assert page.locator("input[name=note]").input_value() == "通知瓦检员"


def test_what_appears_above_the_list_leaves_form_focus_and_list_where_they_are(mine, page):
    page.goto(f"{mine.url}/alarms?recorded=5")
    page.evaluate("document.getElementById('desk').mark = 'same'")
    page.locator("input[name=note]").fill("通知")
    mine.publish(more={"clock_unsure": True, "site_sha256": "0" * 64}, alarms=[])
    see(page, mine)
    assert page.locator(".banner.warn").count() == 2
    mine.publish(more={}, alarms=[alarm(CH4, "high_cut", level=1)])
    see(page, mine)
    assert page.locator(".banner.warn").count() == 0
    assert page.evaluate("document.getElementById('desk').mark") == "same"
    assert page.evaluate("document.activeElement.name") == "note"
    assert page.locator("input[name=note]").input_value() == "通知"
    assert page.locator("#live > #main, #live > footer, #live > header").count() == 3


def busy(mine) -> None:
    """Something of everything: what makes the wall fullest."""
    mine.publish(
        alarms=[alarm(p.id, level=1 + i % 4) for i, p in enumerate(POINTS[:7])],
        values={p.id: lost_row() for p in POINTS[7:12]},
        events=[
            event(i, "link_changed", cause="lost", source="pump", unit=1, error="timed out " * 30) for i in range(20)
        ],
        links=[link("kj", unit=None), link("pump", "lost", error="timed out " * 30)],
        more={"origin": "simulated", "site_sha256": "0" * 64, "clock_unsure": True, "stopped": True},
    )


@pytest.mark.parametrize(
    ("size", "language"),
    [((1366, 768), "zh"), ((1366, 768), "en"), ((3840, 2160), "zh"), ((1440, 1080), "zh")],
    ids=["desk", "desk in English", "4K wall", "4:3"],
)
def test_wall_never_scrolls_however_much_is_wrong(mine, browser, size, language):
    busy(mine)
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(f"{mine.url}/?lang={language}")
    root, sheet = "document.documentElement", "document.getElementById('live')"
    assert page.evaluate(f"{root}.scrollWidth <= innerWidth")
    assert page.evaluate(f"{sheet}.scrollHeight <= innerHeight")
    for selector in (".statement.strong", ".provenance", ".worst li:nth-child(8)", ".recent li:nth-child(6)"):
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= size[1] + 1, selector
    page.close()


def test_wall_on_4k_is_dark_and_its_figures_are_as_large_as_four_metres_ask(mine, browser):
    """On a 75-inch 4K screen a pixel is 0.43 mm: 23 mm (20 arc minutes at 4 m, pages §2.5) are 54 pixels."""
    page = browser.new_page(viewport={"width": 3840, "height": 2160})
    page.goto(mine.url)
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(30, 34, 38)"
    for selector in (
        ".count b",
        ".tile h2",
        ".tile-state",
        ".tile-points .v",
        ".worst li",
        ".worst-value",
        ".clock",
        ".statement.strong",
    ):
        size = page.evaluate(f"parseFloat(getComputedStyle(document.querySelector('{selector}')).fontSize)")
        assert size >= 54, selector
    page.close()


def test_very_long_names_break_no_layout(tmp_path, browser):
    points = tuple(renamed(p, "很长的名字" * 2_000) for p in POINTS)
    mine = LiveMine(tmp_path, make_site(tmp_path, points))
    mine.publish(alarms=[alarm(CH4)])
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    for address in ("/", "/alarms", "/systems/gas", f"/points/{CH4}"):
        page.goto(mine.url + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1366, address
        assert page.evaluate("document.documentElement.scrollHeight") < 2_000, address
    page.close()
    mine.stop()


def test_pages_ask_nobody_but_their_own_server(mine, browser):
    page = browser.new_page()
    asked, errors = set(), []
    page.on("request", lambda request: asked.add(request.url.split("/")[2]))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    for address in ("/", "/alarms", "/links", "/events", "/score", "/systems/gas", f"/points/{CH4}"):
        page.goto(mine.url + address)
    assert asked == {mine.url.split("/")[2]}
    assert errors == []
    page.close()


def test_system_page_of_two_thousand_points_is_merged_within_a_second(tmp_path, browser):
    mine = LiveMine(tmp_path, make_site(tmp_path, many_points(2_000)))
    mine.publish()
    page = browser.new_page()
    page.goto(f"{mine.url}/systems/gas")
    mine.publish()
    spent = page.evaluate(
        """async () => {
            const text = await (await fetch('/systems/gas?part=1')).text();
            const next = new DOMParser().parseFromString(text, 'text/html').getElementById('live');
            const begun = performance.now();
            window.minewatch.merge(document.getElementById('live'), next);
            return performance.now() - begun;
        }"""
    )
    assert spent < 1_000
    page.close()
    mine.stop()
