"""`/alarms`: the alarm desk. The list that the supervisor keeps, with what people have asked and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mines.errors import StoreError
from mines.model import OperatorAct
from web.pages.acts import ActLedger
from web.pages.masthead import UNACKED, masthead
from web.pages.points import point_document
from web.readers import Picture

FILTERS: Final = ("level", "state", "subsystem")


def alarms(picture: Picture, ledger: ActLedger, asked: Mapping[str, str], recorded: str = "") -> dict[str, Any]:
    """The standing alarms in the supervisor's order (alarm-logic §9), those only that the filters let through.

    Args:
        picture: As of now.
        ledger: Ledger rows; a ledger that cannot be read is said (`acts_error`) and hides no alarm.
        asked: Filters by name, "" = all; `state` is a state of an alarm or `open` (all that want a person).
        recorded: Ledger id of the act that was just recorded from this page, "" = none.
    """
    acts, error = _acts(ledger)
    rows = [_row(picture, alarm, acts) for alarm in picture.document.get("alarms", [])]
    return {
        "page": "alarms",
        "head": masthead(picture),
        "filters": {name: asked.get(name, "") for name in FILTERS},
        "total": len(rows),
        "alarms": [row for row in rows if _wanted(row, asked)],
        "recorded": _recorded(picture, recorded),
        "acts_error": error,
    }


def _acts(ledger: ActLedger) -> tuple[Mapping[tuple[str, int], OperatorAct], str]:
    try:
        return ledger.by_alarm(), ""
    except StoreError as problem:
        return {}, str(problem)


def _recorded(picture: Picture, text: str) -> dict[str, Any] | None:
    if not (text.isascii() and text.isdecimal()):
        return None
    return {"ledger_id": int(text), **_answer(picture, int(text))}


def _wanted(row: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    level, state, subsystem = (asked.get(name, "") for name in FILTERS)
    in_state = not state or row["state"] == state or (state == "open" and row["state"] in UNACKED)
    return in_state and level in ("", str(row["level"])) and subsystem in ("", row["subsystem"])


def _row(picture: Picture, alarm: Mapping[str, Any], acts: Mapping[tuple[str, int], OperatorAct]) -> dict[str, Any]:
    point = picture.index.points.get(alarm["point"])
    shown = None if point is None else point_document(picture, point)
    lost = shown is None or shown["value"] is None
    end_ms = alarm["cleared_ms"] or (picture.now_ms if picture.alive else picture.document["time_ms"])
    act = acts.get((alarm["id"], alarm["version"]))
    state, in_force = _acknowledged_state(picture, alarm)
    return {
        **alarm,
        "value": None if lost else alarm["value"],
        "state": state,
        "in_force": in_force,
        "subsystem": "" if shown is None else shown["subsystem"],
        "point_now": shown,
        "duration_ms": max(end_ms - alarm["raised_ms"], 0),
        "act": None if act is None else _act(picture, act),
        "may": _may(state, in_force=in_force),
    }


def _acknowledged_state(picture: Picture, alarm: Mapping[str, Any]) -> tuple[str, bool]:
    """State to show, and whether its acknowledgement is durable: only then may a page say 已确认 (design §4)."""
    state = str(alarm["state"])
    if state not in ("acked", "latched_acked"):
        return state, True
    durable_seq = (picture.document.get("durable") or {"event_seq": 0})["event_seq"]
    newest = max((e["seq"] for e in picture.document.get("events", []) if _acknowledges(e, alarm)), default=0)
    if newest <= durable_seq:
        return state, True
    return {"acked": "unacked", "latched_acked": "latched_unacked"}[state], False


def _acknowledges(event: Mapping[str, Any], alarm: Mapping[str, Any]) -> bool:
    same: bool = event["point"] == alarm["point"] and event["cause"] == alarm["limit"]
    return same and event["kind"] == "alarm_acknowledged"


def _may(state: str, *, in_force: bool) -> str:
    """What a person may ask for: acknowledge, reset or nothing."""
    if not in_force:
        return ""
    return "acknowledge" if state in UNACKED else "reset" if state == "latched_acked" else ""


def _act(picture: Picture, act: OperatorAct) -> dict[str, Any]:
    return {
        "ledger_id": act.ledger_id,
        "action": act.action,
        "time_ms": act.time_ms,
        "name": act.actor.name,
        "station": act.actor.station,
        "authenticated": act.actor.authenticated,
        **_answer(picture, act.ledger_id),
    }


def _answer(picture: Picture, ledger_id: int) -> dict[str, str]:
    """What the supervisor said to a ledger row: recorded (nothing yet), applied, refused, partly, old; and why not.

    It answers in the order of the ledger and the snapshot holds the latest answers: what is older was answered.
    """
    answers = picture.document.get("acts", {})
    newest = max(map(int, answers), default=0)
    state = answers.get(str(ledger_id), "recorded" if ledger_id > newest else "old")
    refusals = [e["detail"] for e in picture.document.get("events", []) if e["kind"] == "act_refused"]
    reasons = [detail["refused"] for detail in refusals if detail["ledger_id"] == ledger_id]
    return {"state": state, "reason": reasons[0] if reasons else ""}
