"""The alarm desk: order, what a row says, and the way of an acknowledgement from a click to 已确认."""

from __future__ import annotations

import pytest
from web_site import make_site
from web_snapshots import WALL_MS, actor, alarm, event, make_desk, row

from mines.alarms.desk import standing_alarms
from mines.alarms.limits import limit_table
from mines.alarms.state import AlarmState
from mines.events import Event, EventKind
from mines.store.ledger import Ledger
from mines.words import word

CH4 = "gas.f1602.t1.ch4"
ALARM = f"{CH4}/high_alarm"
FORM = {"alarm": f"{ALARM}@1", "name": "王调度", "station": "主调", "note": "通知瓦检员"}
SAME_SITE = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def desk(tmp_path):
    made = make_desk(tmp_path)
    builder = made.builder
    builder.alarms = [alarm(CH4)]
    made.show(builder)
    return made


def post(desk, form, *, action="acknowledge", headers=SAME_SITE, **more):
    return desk.app.test_client().post(f"/alarms/{action}", data=form, headers=headers, **more)


def ledger_rows(desk):
    if not desk.readers.ledger_path.exists():
        return []
    with Ledger(desk.readers.ledger_path) as ledger:
        return ledger.acts_after(0)


def test_list_keeps_the_order_of_alarm_logic_9(tmp_path):
    """Active level 1 (acknowledged or not) → unacknowledged by level → active acknowledged → returned."""
    site = make_site(tmp_path)
    state = AlarmState(limit_table(site.points))
    seq = iter(range(1, 99))

    def happens(kind: EventKind, point: str, limit: str = "high_alarm", version: int = 1) -> None:
        detail = {"version": version, "actor": actor()}
        state.fold(Event(next(seq), WALL_MS, kind, point, 1.0, limit, detail))

    for point, limit in ((CH4, "high_alarm"), ("gas.h1603.t1.ch4", "high_cut"), ("gas.h1603.co", "high_alarm")):
        happens(EventKind.ALARM_RAISED, point, limit)
    for point in ("dewatering.sump.level", "transport.belt.co"):
        happens(EventKind.ALARM_RAISED, point)
    happens(EventKind.ALARM_ACKNOWLEDGED, "gas.h1603.t1.ch4", "high_cut", 2)
    happens(EventKind.ALARM_ACKNOWLEDGED, "gas.h1603.co", version=2)
    happens(EventKind.ALARM_CLEARED, "transport.belt.co", version=2)

    desk = make_desk(tmp_path, site)
    builder = desk.builder
    import numpy as np

    builder.alarms = standing_alarms(state, np.full(len(site.points), 1.0))
    desk.show(builder)
    shown = [(a["point"], a["state"]) for a in desk.json("/alarms.json")["alarms"]]
    assert shown == [
        ("gas.h1603.t1.ch4", "acked"),
        (CH4, "unacked"),
        ("dewatering.sump.level", "unacked"),
        ("gas.h1603.co", "acked"),
        ("transport.belt.co", "returned_unacked"),
    ]


def test_row_says_level_state_start_duration_place_values_and_limit(desk):
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    builder.values = {CH4: row(1.06)}
    desk.show(builder)
    html = desk.html("/alarms")
    for text in (
        "二级",
        "未确认报警",
        "2026-11-23 15:39:32",
        "0:01:35",
        "1.02",
        "1.21",
        "1.06",
        "%CH4",
        "上限报警 ≥1.00",
    ):
        assert text in html


def test_lost_alarm_holds_and_says_how_long_its_data_are_gone(desk):
    from web_snapshots import lost_row

    builder = desk.builder
    builder.alarms = [alarm(CH4, unknown=True, value=None)]
    builder.values = {CH4: lost_row(1.02, age_ms=60_000)}
    desk.show(builder)
    html = desk.html("/alarms")
    assert "未确认报警" in html
    assert "数据中断 0:01:00" in html


def test_alarm_list_outlives_a_silent_run_without_values(desk):
    desk.clock.advance_ms(20_000)
    found = desk.json("/alarms.json")["alarms"]
    assert [(a["id"], a["value"]) for a in found] == [(ALARM, None)]


def test_cut_off_shows_what_the_dispatcher_may_do_and_its_return_that_nobody_may_switch_on(desk):
    builder = desk.builder
    builder.alarms = [alarm(CH4, "high_cut", level=1)]
    desk.show(builder)
    html = desk.html("/alarms")
    assert word("statement.cut_off_card") in html
    assert word("statement.below_restore") not in html
    builder.alarms = [alarm(CH4, "high_cut", level=1, state="returned_unacked")]
    builder.seq += 1
    desk.show(builder)
    html = desk.html("/alarms")
    assert word("statement.cut_off_card") not in html
    assert word("statement.below_restore") in html
    assert "可以送电" not in html


def test_empty_list_of_a_silent_run_does_not_claim_that_there_is_no_alarm(tmp_path):
    desk = make_desk(tmp_path)
    assert "不能说没有报警" in desk.html("/alarms")
    desk.show(desk.builder)
    assert "没有报警。无报警不等于井下无危险。" in desk.html("/alarms")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [ALARM, "hoisting.aux.speed/high_alarm"]),
        ("?level=1", ["hoisting.aux.speed/high_alarm"]),
        ("?state=open", [ALARM]),
        ("?state=acked", ["hoisting.aux.speed/high_alarm"]),
        ("?subsystem=hoisting", ["hoisting.aux.speed/high_alarm"]),
    ],
    ids=["all", "level", "open", "state", "subsystem"],
)
def test_filters(desk, query, ids):
    builder = desk.builder
    builder.alarms = [alarm(CH4), alarm("hoisting.aux.speed", level=1, state="acked")]
    desk.show(builder)
    assert [a["id"] for a in desk.json(f"/alarms.json{query}")["alarms"]] == ids


def test_acknowledgement_is_a_ledger_row_and_says_recorded(desk):
    answer = post(desk, FORM)
    assert answer.status_code == 303
    assert answer.location == "/alarms?recorded=1"
    (act,) = ledger_rows(desk)
    assert act.alarms == ((ALARM, 1),)
    assert (act.action, act.note, act.time_ms) == ("acknowledge", "通知瓦检员", desk.clock.wall_ms())
    assert (act.actor.name, act.actor.station, act.actor.authenticated) == ("王调度", "主调", False)
    html = desk.html(answer.location)
    assert "台账 #1: 已记录,待执行" in html
    assert "确认: 已记录,待执行 #1" in html
    assert "已确认 <bdi>" not in html


def test_json_gets_the_ledger_id(desk):
    body = {"alarms": [{"id": ALARM, "version": 1}], "name": "王调度"}
    answer = desk.app.test_client().post("/alarms/acknowledge", json=body)
    assert answer.status_code == 200
    assert answer.get_json() == {"ledger_id": 1, "state": "recorded"}
    assert ledger_rows(desk)[0].alarms == ((ALARM, 1),)


def test_row_says_acknowledged_only_once_applied_and_durable(desk):
    post(desk, FORM)
    builder = desk.builder
    builder.acts = {"1": "applied"}
    builder.alarms = [alarm(CH4, state="acked", version=2)]
    builder.events = [event(100, "alarm_acknowledged", CH4, cause="high_alarm", actor=actor(), ledger_id=1, version=2)]
    desk.show(builder)  # durable up to event 99
    html = desk.html("/alarms?recorded=1")
    assert "已执行, 等待落盘" in html
    assert "已确认" not in html
    assert desk.json("/alarms.json")["alarms"][0]["state"] == "unacked"
    builder.seq += 1
    builder.more["durable"] = {"frame": 1, "rows": 1, "event_seq": 100}
    desk.show(builder)
    html = desk.html("/alarms?recorded=1")
    assert "已确认报警" in html
    assert "未登录操作" in html


def test_refused_act_is_shown_with_its_reason(desk):
    post(desk, FORM, action="reset")
    builder = desk.builder
    builder.alarms = [alarm(CH4)]
    builder.acts = {"1": "refused"}
    builder.events = [
        event(98, "act_refused", CH4, cause="high_alarm", actor=actor(), ledger_id=1, refused="still_active")
    ]
    desk.show(builder)
    html = desk.html("/alarms?recorded=1")
    assert "被拒绝" in html
    assert word("refusal.still_active") in html


def test_answer_older_than_the_snapshot_remembers_is_not_called_pending(desk):
    builder = desk.builder
    builder.acts = {"900": "applied"}
    desk.show(builder)
    assert desk.json("/alarms.json?recorded=7")["recorded"]["state"] == "old"
    assert desk.json("/alarms.json?recorded=901")["recorded"]["state"] == "recorded"


def test_reset_is_offered_for_latched_alarms_only(desk):
    builder = desk.builder
    builder.alarms = [alarm("dewatering.sump.level", state="latched_acked", version=4), alarm(CH4, state="acked")]
    desk.show(builder)
    assert [a["may"] for a in desk.json("/alarms.json")["alarms"]] == ["reset", ""]
    answer = post(desk, {"only": "dewatering.sump.level/high_alarm@4", "name": "王"}, action="reset")
    assert answer.status_code == 303
    assert ledger_rows(desk)[0].action == "reset"


def test_button_of_a_row_acts_on_that_row_alone(desk):
    post(desk, FORM | {"only": "hoisting.aux.speed/high_alarm@3"})
    assert ledger_rows(desk)[0].alarms == (("hoisting.aux.speed/high_alarm", 3),)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"alarm": []}, "nothing_chosen"),
        ({"name": "  "}, "name_missing"),
        ({"alarm": "nothing/high_alarm@1"}, "no_such_alarm"),
        ({"alarm": f"{CH4}/middle@1"}, "no_such_alarm"),
        ({"alarm": ALARM}, "no_such_alarm"),
        ({"alarm": f"{ALARM}@-1"}, "no_such_alarm"),
        ({"alarm": f"{ALARM}@" + "9" * 30}, "no_such_alarm"),
        ({"name": "王" * 65}, "text_too_long"),
        ({"note": "注" * 501}, "text_too_long"),
    ],
    ids=["empty", "nobody", "no point", "no limit", "no version", "negative", "huge", "long name", "long note"],
)
def test_request_without_meaning_is_refused_and_not_recorded(desk, change, code):
    answer = post(desk, FORM | change)
    assert answer.status_code == 400
    assert word(f"request.{code}") in answer.text
    assert ledger_rows(desk) == []


@pytest.mark.parametrize(
    "body", ["[]", "not json", '{"alarm": [1, null, {"id": 1}], "name": "x"}', '{"name": 5, "alarm": ["a@1"]}']
)
def test_json_without_meaning_is_refused(desk, body):
    answer = desk.app.test_client().post("/alarms/acknowledge", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["error"] in ("not_readable", "no_such_alarm")
    assert ledger_rows(desk) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=["origin", "cross-site", "sibling host", "null origin", "fetch metadata outranks origin"],
)
def test_post_from_another_site_is_refused(desk, headers):
    assert post(desk, FORM, headers=headers).status_code == 403
    assert ledger_rows(desk) == []


def test_body_over_64_kib_is_refused(desk):
    assert post(desk, FORM | {"note": "x" * 70_000}).status_code == 413
    assert ledger_rows(desk) == []


def test_ledger_that_cannot_be_written_is_said_and_nothing_counts_as_recorded(desk):
    desk.readers.ledger_path.mkdir()
    answer = post(desk, FORM)
    assert answer.status_code == 503
    assert word("request.not_recorded") in answer.text


def test_ledger_that_cannot_be_read_hides_no_alarm(desk):
    desk.readers.ledger_path.mkdir()
    html = desk.html("/alarms")
    assert "台账不可读" in html
    assert "未确认报警" in html


def test_reading_never_makes_a_ledger(desk):
    desk.html("/alarms")
    assert not desk.readers.ledger_path.exists()


def test_acts_of_another_desk_are_seen(desk):
    desk.html("/alarms")
    with Ledger(desk.readers.ledger_path) as other:
        from web.access import acting_person

        other.append(acting_person("李调度", "副调"), "acknowledge", [(ALARM, 1)], time_ms=WALL_MS)
    assert "李调度" in desk.html("/alarms")


def test_name_and_station_are_remembered_at_this_browser(desk):
    client = desk.app.test_client()
    client.post("/alarms/acknowledge", data=FORM, headers=SAME_SITE)
    html = client.get("/alarms").text
    assert 'name="name" required maxlength="64" value="王调度"' in html
    assert 'value="主调"' in html
