"""Acts count only for the version that the person saw; the list stands in the order of the alarm desk."""

import numpy as np
import pytest
from alarm_cases import Row, point, rows_of

from mines.alarms.desk import apply_act, ended_by_site, standing_alarms
from mines.alarms.limits import limit_table
from mines.alarms.state import AlarmState
from mines.alarms.step import step_rows
from mines.model import Actor, OperatorAct

ACTOR = Actor("", "张三", "dispatcher", "调度台1")


def act(alarm, version, action="acknowledge", ledger_id=1):
    return OperatorAct(ledger_id, 0, ACTOR, action, ((alarm, version),))


def raised(**fields):
    state = AlarmState(limit_table([point("t1", high_alarm=1.0, **fields)]))
    step_rows(state, rows_of([Row(1000, 0, 1.2, "good")]))
    return state


def test_acknowledge_of_the_seen_version_is_done_and_carries_its_actor():
    state = raised()
    (event,) = apply_act(state, act("t1/high_alarm", 1), 2000)
    assert event.kind == "alarm_acknowledged"
    assert event.detail["actor"] == {
        "id": "",
        "name": "张三",
        "role": "dispatcher",
        "station": "调度台1",
        "authenticated": False,
    }
    assert standing_alarms(state, np.array([1.2]))[0]["state"] == "acked"


@pytest.mark.parametrize(
    ("alarm", "version", "action", "reason"),
    [
        ("t1/high_alarm", 7, "acknowledge", "changed_since"),
        ("t1/low_alarm", 1, "acknowledge", "no_such_alarm"),
        ("nowhere/high_alarm", 1, "acknowledge", "no_such_alarm"),
        ("nonsense", 1, "acknowledge", "no_such_alarm"),
        ("t1/high_alarm", 1, "reset", "still_active"),
        ("t1/high_alarm", 1, "shelve", "unknown_action"),
    ],
    ids=lambda value: str(value),
)
def test_refused_act_says_why_and_changes_nothing(alarm, version, action, reason):
    state = raised()
    (event,) = apply_act(state, act(alarm, version, action), 2000)
    assert event.kind == "act_refused"
    assert event.detail["refused"] == reason
    assert standing_alarms(state, np.array([1.2]))[0]["state"] == "unacked"


def test_second_acknowledge_of_two_operators_is_refused():
    state = raised()
    first, second = (apply_act(state, act("t1/high_alarm", 1, ledger_id=i), 2000)[0] for i in (1, 2))
    assert (first.kind, second.kind) == ("alarm_acknowledged", "act_refused")
    assert second.detail["refused"] == "changed_since"


def test_return_then_acknowledge_ends_the_alarm_and_re_raise_counts():
    state = raised()
    step_rows(state, rows_of([Row(2000, 0, 0.2, "good")]))
    assert standing_alarms(state, np.array([0.2]))[0]["state"] == "returned_unacked"
    step_rows(state, rows_of([Row(3000, 0, 1.4, "good")]))
    (row,) = standing_alarms(state, np.array([1.4]))
    assert (row["state"], row["count"], row["raised_ms"], row["value_worst"]) == ("unacked", 2, 1000, 1.4)
    step_rows(state, rows_of([Row(4000, 0, 0.2, "good")]))
    apply_act(state, act("t1/high_alarm", row["version"] + 1), 5000)
    assert standing_alarms(state, np.array([0.2])) == []


def test_latched_alarm_stands_until_acknowledged_and_reset():
    state = raised(latch=True)
    step_rows(state, rows_of([Row(2000, 0, 0.2, "good")]))
    assert standing_alarms(state, np.array([0.2]))[0]["state"] == "latched_unacked"
    assert apply_act(state, act("t1/high_alarm", 2, "reset"), 3000)[0].detail["refused"] == "not_acknowledged"
    apply_act(state, act("t1/high_alarm", 2), 3000)
    assert standing_alarms(state, np.array([0.2]))[0]["state"] == "latched_acked"
    apply_act(state, act("t1/high_alarm", 3, "reset"), 3000)
    assert standing_alarms(state, np.array([0.2])) == []


def test_list_puts_active_level_one_first_then_unacknowledged_then_acknowledged_then_returned():
    points = [point(name, high_alarm=1.0, level=level) for name, level in [("a", 3), ("b", 2), ("c", 1), ("d", 1)]]
    state = AlarmState(limit_table(points))
    step_rows(state, rows_of([Row(1000 + i, i, 2.0, "good") for i in range(4)]))
    apply_act(state, act("b/high_alarm", 1), 2000)
    apply_act(state, act("c/high_alarm", 1), 2000)
    step_rows(state, rows_of([Row(3000, 3, 0.0, "good")]))
    order = [(row["point"], row["state"]) for row in standing_alarms(state, np.full(4, 2.0))]
    assert order == [("c", "acked"), ("a", "unacked"), ("b", "acked"), ("d", "returned_unacked")]


def test_alarm_of_a_point_that_left_the_site_is_ended_and_said_so():
    state = AlarmState(limit_table([point("t1", high_alarm=1.0)]))
    log = step_rows(state, rows_of([Row(1000, 0, 1.2, "good")]))
    other = AlarmState(limit_table([point("t2", high_alarm=1.0)]))
    (event,) = ended_by_site(other, log, 5000)
    assert (event.kind, event.point, event.cause) == ("alarm_ended_by_site", "t1", "high_alarm")
    assert ended_by_site(state, log, 5000) == []
    assert ended_by_site(other, [*log, event], 6000) == []
