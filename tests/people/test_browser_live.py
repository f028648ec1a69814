"""In a real browser: live is live, and everything else is seen to be not (pages §3d, failure ladder)."""

from __future__ import annotations

import time

import pytest
from web_browser import DESK_REFRESH_MS, LiveMine, ask_again, chromium, see
from web_snapshots import alarm, row

from mines.process_image import Freshness

pytestmark = pytest.mark.browser

CH4 = "gas.f1602.t1.ch4"
VALUE = f'a[title="{CH4}"] >> xpath=ancestor::tr >> .v'


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def mine(tmp_path):
    made = LiveMine(tmp_path)
    made.publish()
    yield made
    made.stop()


@pytest.fixture
def page(browser):
    """A page whose timers a test may run ahead: scripts see the time that the test gives them."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    opened = context.new_page()
    opened.errors = []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("console", lambda line: opened.errors.append(line.text) if "Content Security" in line.text else None)
    yield opened
    assert opened.errors == []
    context.close()


def faked(page, address: str):
    page.clock.install()
    page.goto(address)
    return page


def refresh_in_vain(page) -> None:
    page.clock.run_for(DESK_REFRESH_MS)
    page.wait_for_timeout(30)


def shown(page) -> str:
    """What a person reads as the methane value; "" where the page hides it."""
    return page.locator(f'tr:has(a[title="{CH4}"]) .v .v-in').inner_text() if not blanked(page) else ""


def blanked(page) -> bool:
    return not page.locator(f'tr:has(a[title="{CH4}"]) .v .v-in').is_visible()


def covered(page) -> bool:
    return page.locator("#deadman-reveal").is_visible()


def test_values_change_in_real_time_without_a_reload(mine, page):
    page.goto(f"{mine.url}/systems/gas")
    page.evaluate("window.mark = 'same page'")
    mine.beat()
    mine.publish(values={CH4: row(0.77)})
    page.locator(f'tr:has(a[title="{CH4}"]):has-text("0.77")').wait_for(timeout=4_000)
    assert page.evaluate("window.mark") == "same page"
    assert not covered(page)
    assert page.locator("#watchdog").is_hidden()


def test_cover_waits_while_snapshots_come_and_shows_itself_once_the_server_is_gone(mine, page):
    """The browser plays all animations four times as fast, so the handle's 14 s take 3.5 s; the page is untouched."""
    page.goto(f"{mine.url}/systems/gas")
    for layer in ("reveal", "cover"):
        style = page.evaluate(f"getComputedStyle(document.getElementById('deadman-{layer}')).animation")
        assert "14s" in style
    devtools = page.context.new_cdp_session(page)
    devtools.send("Animation.enable")
    devtools.send("Animation.setPlaybackRate", {"playbackRate": 4})
    mine.beat()
    page.wait_for_timeout(4_500)
    assert not covered(page)
    mine.stop()
    begun = time.monotonic()
    page.locator("#deadman-reveal").wait_for(state="visible", timeout=6_000)
    assert time.monotonic() - begun < 4.5
    assert page.evaluate("Number(getComputedStyle(document.getElementById('deadman-cover')).opacity)") > 0.9


def test_cover_shows_itself_where_the_scripts_are_dead(mine, browser):
    context = browser.new_context()
    page = context.new_page()
    page.route(
        "**/static/*.js", lambda route: route.fulfill(body="throw new Error('dead');", content_type="text/javascript")
    )
    page.goto(f"{mine.url}/")
    devtools = context.new_cdp_session(page)
    devtools.send("Animation.enable")
    devtools.send("Animation.setPlaybackRate", {"playbackRate": 20})
    page.locator("#deadman-reveal").wait_for(state="visible", timeout=3_000)
    context.close()


@pytest.mark.long
def test_cover_shows_itself_within_15_s_while_the_main_thread_is_stuck(mine, browser):
    """Seen in the frames that the compositor sends, since the page itself cannot answer."""
    context = browser.new_context(viewport={"width": 600, "height": 400})
    page = context.new_page()
    page.goto(f"{mine.url}/systems/gas")
    mine.beat()
    devtools = context.new_cdp_session(page)
    frames = []

    def take(frame):
        frames.append((time.monotonic(), frame["data"]))
        devtools.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    devtools.on("Page.screencastFrame", take)
    devtools.send("Page.startScreencast", {"format": "png"})
    page.wait_for_timeout(500)
    stuck = time.monotonic()
    page.evaluate("setTimeout(() => { const t = performance.now(); while (performance.now() - t < 18000); }, 0)")
    while time.monotonic() - stuck < 15.5:
        page.wait_for_timeout(200)
    late = [when - stuck for when, _ in frames if when - stuck > 1]
    assert late
    assert late[0] < 15
    page.wait_for_timeout(3_500)
    context.close()


def test_poller_silent_is_a_banner_and_dashes_and_no_cover_while_the_server_says_so(mine, page):
    faked(page, f"{mine.url}/systems/gas")
    mine.publish(more={"stopped": True})
    see(page, mine)
    assert "采集已停止" in page.locator("#live .banner.dead").inner_text()
    assert shown(page) == "—"
    page.clock.run_for(600)
    assert page.title().startswith("✖失联")
    assert "lost" in page.locator("#favicon").get_attribute("href")
    mine.publish(more={})
    see(page, mine)
    assert shown(page) == "0.40"
    page.clock.run_for(600)
    assert not page.title().startswith("✖")


def test_server_gone_is_said_within_three_refreshes_and_every_value_is_blank(mine, page):
    faked(page, f"{mine.url}/systems/gas")
    mine.publish()
    see(page, mine)
    mine.stop()
    for _ in range(3):
        refresh_in_vain(page)
    assert "与矿哨失去联系" in page.locator("#watchdog").inner_text()
    assert blanked(page)
    assert page.title().startswith("✖失联")


def test_seq_that_stands_still_is_said_and_blanked(mine, page):
    faked(page, f"{mine.url}/systems/gas")
    for _ in range(3):
        mine.publish(seq=101)
        ask_again(page)
    assert "数据不再更新" in page.locator("#watchdog").inner_text()
    assert blanked(page)
    mine.publish()
    see(page, mine)
    assert page.locator("#watchdog").is_hidden()
    assert shown(page) == "0.40"


def test_seq_that_goes_back_is_dead_and_paints_nothing(mine, page):
    faked(page, f"{mine.url}/systems/gas")
    mine.publish(seq=90, values={CH4: row(0.11)})
    ask_again(page)
    assert "序号倒退" in page.locator("#watchdog").inner_text()
    assert blanked(page)
    assert "0.11" not in page.locator("#live").inner_html()


def test_new_boot_is_a_new_page(mine, page):
    faked(page, f"{mine.url}/systems/gas")
    page.evaluate("window.mark = 'before'")
    mine.publish(boot_id="boot-2", seq=1)
    with page.expect_navigation():
        page.clock.run_for(DESK_REFRESH_MS)
    assert page.evaluate("window.mark") is None
    assert page.locator("#live").get_attribute("data-boot") == "boot-2"


def test_hidden_tab_blanks_until_a_new_snapshot(mine, page):
    faked(page, f"{mine.url}/systems/gas")

    def hide(hidden: str) -> None:
        page.evaluate(f"Object.defineProperty(document, 'hidden', {{get: () => {hidden}, configurable: true}})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    hide("true")
    assert blanked(page)
    hide("false")
    ask_again(page)
    assert blanked(page)  # the same seq: not yet fresh
    mine.publish()
    see(page, mine)
    assert not blanked(page)


def test_gas_value_that_outlives_its_bound_between_two_answers_is_hidden(mine, page):
    page.route("**/systems/gas?part=1", lambda route: route.abort())
    mine.publish(values={CH4: row(0.42, age_ms=7_000, state=Freshness.LATE)})
    faked(page, f"{mine.url}/systems/gas")
    cell = page.locator(f'tr:has(a[title="{CH4}"]) .v')
    assert "late" in cell.get_attribute("class")
    page.clock.run_for(4_000)
    assert "overdue" in cell.get_attribute("class")
    assert blanked(page)


def test_wrong_clock_of_the_pc_changes_nothing(mine, page):
    page.clock.install(time="2020-01-01T00:00:00Z")
    page.goto(f"{mine.url}/systems/gas")
    ask_again(page)
    assert page.locator("#clock").inner_text().startswith("20")
    assert not page.locator("#clock").inner_text().startswith("2020")
    assert page.locator(f'tr:has(a[title="{CH4}"]) .age').inner_text().endswith(" s")
    assert page.locator("#watchdog").is_hidden()


def test_without_scripts_the_page_is_a_table_that_reloads_itself(mine, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    mine.publish(alarms=[alarm(CH4)])
    page.goto(f"{mine.url}/alarms")
    assert page.locator("#alarm-table tbody tr").count() == 1
    assert page.locator('td.do button:has-text("确认")').is_visible()
    with page.expect_navigation(timeout=7_000):
        pass
    assert [path for path in mine.requests if path.startswith("/alarms")] == ["/alarms?", "/alarms?"]
    context.close()


def test_reduced_motion_stills_the_symbols_and_never_the_handle(mine, browser):
    mine.publish(alarms=[alarm(CH4)])
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{mine.url}/alarms")

    def name(selector: str) -> str:
        return page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).animationName")

    assert name("tbody .blink") == "none"
    assert (name("#deadman-reveal"), name("#deadman-cover")) == ("reveal", "cover")
    context.close()
