"""What people do to alarms, and the list they see. An act counts only for the version that the person saw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mines.alarms.limits import LIMIT_OF_WORD
from mines.alarms.state import AlarmState, Standing
from mines.events import Event, EventKind
from mines.model import Actor, OperatorAct, ValueArray


def apply_act(state: AlarmState, act: OperatorAct, time_ms: int) -> list[Event]:
    """One event an alarm named in the act: done, or refused with the reason; the state is changed by them."""
    events = []
    for alarm_id, version in act.alarms:
        event = _answer(state, act, alarm_id, version, time_ms=time_ms)
        state.fold(event)
        events.append(event)
    return events


def _answer(state: AlarmState, act: OperatorAct, alarm_id: str, version: int, *, time_ms: int) -> Event:
    point_id, _, limit_word = alarm_id.rpartition("/")
    cell = state.cell(point_id, limit_word)
    alarm = None if cell is None else state.standing.get(cell)
    refusal = _refusal(state, act.action, cell, version)
    detail: dict[str, Any] = {
        "ledger_id": act.ledger_id,
        "action": act.action,
        "actor": actor_json(act.actor),
        "note": act.note,
        "seen_version": version,
    }
    if refusal or cell is None or alarm is None:
        detail["refused"] = refusal
        return _event(EventKind.ACT_REFUSED, time_ms, point_id, limit_word, detail=detail)
    detail["version"] = int(state.version[cell]) + 1
    kind = EventKind.ALARM_ACKNOWLEDGED if act.action == "acknowledge" else EventKind.ALARM_RESET
    return _event(kind, time_ms, point_id, limit_word, detail=detail)


def _refusal(state: AlarmState, action: str, cell: tuple[int, int] | None, version: int) -> str:
    """Why the act cannot be done; "" where it can."""
    alarm = None if cell is None else state.standing.get(cell)
    if cell is None or alarm is None:
        return "no_such_alarm"
    if int(state.version[cell]) != version:
        return "changed_since"
    if action == "acknowledge":
        return "already_acknowledged" if alarm.acked is not None else ""
    if action == "reset":
        if state.active[cell]:
            return "still_active"
        return "" if alarm.acked is not None else "not_acknowledged"
    return "unknown_action"


def _event(kind: EventKind, time_ms: int, point_id: str, word: str, *, detail: Mapping[str, Any]) -> Event:
    return Event(seq=0, time_ms=time_ms, kind=kind, point=point_id or None, cause=word, detail=detail)


def actor_json(actor: Actor) -> dict[str, Any]:
    """The actor as it stands in events and in the ledger."""
    return {
        "id": actor.id,
        "name": actor.name,
        "role": actor.role,
        "station": actor.station,
        "authenticated": actor.authenticated,
    }


def state_word(state: AlarmState, cell: tuple[int, int], alarm: Standing) -> str:
    """The derived state of pages §1.3, as a word of `alarm_state.*`."""
    if state.active[cell]:
        return "acked" if alarm.acked is not None else "unacked"
    if state.table.latch[cell[1]]:
        return "latched_acked" if alarm.acked is not None else "latched_unacked"
    return "returned_unacked"


def standing_alarms(state: AlarmState, values: ValueArray) -> list[dict[str, Any]]:
    """The alarm list in the order of alarm-logic §9: active level 1, unacknowledged, active acknowledged, returned.

    Args:
        state: As stepped.
        values: Latest value of each point, NaN where there is none, shape (points,).
    """
    rows = [_row(state, cell, alarm, float(values[cell[1]])) for cell, alarm in state.standing.items()]
    rows.sort(key=_order)
    return rows


def _row(state: AlarmState, cell: tuple[int, int], alarm: Standing, value: float) -> dict[str, Any]:
    worst = float(state.worst[cell])
    return {
        "id": state.alarm_id(cell),
        "point": state.table.ids[cell[1]],
        "limit": alarm.limit.word,
        "limit_value": float(state.table.set_at[cell]),
        "level": int(state.table.level[cell]),
        "state": state_word(state, cell, alarm),
        "unknown": bool(state.unknown[cell]),
        "raised_ms": alarm.raised_ms,
        "cleared_ms": alarm.cleared_ms,
        "value_start": alarm.value_start,
        "value_worst": worst if math.isfinite(worst) else alarm.value_start,
        "value": value if math.isfinite(value) else None,
        "version": int(state.version[cell]),
        "count": alarm.count,
        "acked": None if alarm.acked is None else dict(alarm.acked),
    }


_GROUP = {"unacked": 1, "latched_unacked": 1, "acked": 2, "returned_unacked": 3, "latched_acked": 3}


def _order(row: Mapping[str, Any]) -> tuple[int, int, int, str]:
    active = row["state"] in ("unacked", "acked")
    group = 0 if active and row["level"] == 1 else _GROUP[row["state"]]
    return group, row["level"], -row["raised_ms"], row["id"]


def ended_by_site(state: AlarmState, log: Iterable[Event], time_ms: int) -> list[Event]:
    """Alarms that stand in the log and whose point or limit the site no longer has: each is ended, and said to be."""
    open_alarms: dict[tuple[str, str], bool] = {}
    for event in log:
        if event.point is None or event.cause not in LIMIT_OF_WORD:
            continue
        key = (event.point, event.cause)
        if event.kind in (EventKind.ALARM_RAISED, EventKind.ALARM_PENDING):
            open_alarms[key] = True
        elif event.kind in (EventKind.ALARM_ENDED_BY_SITE, EventKind.ALARM_RESET, EventKind.ALARM_PENDING_ENDED):
            open_alarms.pop(key, None)
        elif event.kind == EventKind.ALARM_CLEARED:
            open_alarms[key] = False
    return [
        _event(EventKind.ALARM_ENDED_BY_SITE, time_ms, point_id, word, detail={})
        for (point_id, word), _ in open_alarms.items()
        if state.cell(point_id, word) is None
    ]
