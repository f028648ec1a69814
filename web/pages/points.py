"""A point as pages show it: value, quality, age and limits together, never one alone; and the worst points first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mines.model import Point
from mines.process_image import Freshness
from mines.quality import Flag, Severity, flags_of, reason_of, severity_of
from web.pages.masthead import RETURNED
from web.readers import Picture

LIMITS: Final = (
    "high_alarm",
    "high_clear",
    "high_cut",
    "high_restore",
    "low_alarm",
    "low_clear",
    "low_cut",
    "low_restore",
)
_ALARM, _UNKNOWN, _RETURNED, _UNCERTAIN = 400.0, 300.0, 200.0, 100.0


def point_names(point: Point) -> dict[str, Any]:
    """What names a point and says how its value is printed."""
    return {
        "id": point.id,
        "name_zh": point.name_zh,
        "name_en": point.name_en,
        "subsystem": point.subsystem.value,
        "area": point.area,
        "kind": point.kind.value,
        "unit": point.unit,
        "decimals": point.decimals,
        "states": {str(value): text for value, text in point.states.items()},
        "range": [point.range_low, point.range_high],
        "limits": {name: getattr(point, name) for name in LIMITS if getattr(point, name) is not None},
    }


def point_document(picture: Picture, point: Point) -> dict[str, Any]:
    """One point as of now. `value` is None where none may be shown; `last` is the last usable one with its time."""
    row = picture.row(point.id)
    return {
        **point_names(point),
        "value": row[0],
        "state": Freshness(row[3]).name.lower(),
        "quality": quality_document(row[1]),
        "age_ms": row[2],
        "late_ms": picture.index.late_ms[point.id],
        "receive_ms": row[4],
        "source_ms": row[5],
        "last": {"value": row[6], "time_ms": row[7]},
        "alarms": [
            {key: alarm[key] for key in ("id", "level", "state", "limit", "unknown")}
            for alarm in picture.document.get("alarms", [])
            if alarm["point"] == point.id
        ],
    }


def quality_document(word: int) -> dict[str, Any]:
    """A quality word with its parts as codes of words.csv, and the raw code."""
    return {
        "code": word,
        "severity": severity_of(word).name.lower(),
        "reason": reason_of(word).name.lower(),
        "flags": [str(flag.name).lower() for flag in Flag if flag in flags_of(word)],
    }


def badness(picture: Picture) -> npt.NDArray[np.float64]:
    """How much each point asks to be looked at: alarms by level, unknown, returned, uncertain, then near a limit.

    Returns:
        Shape (points,) in file order, larger = worse. Unknown ranks above normal and below alarm (pages §3a).
    """
    index = picture.index
    rows = [picture.row(point_id) for point_id in index.points]
    state = np.array([row[3] for row in rows], dtype=np.int64)
    severity = np.array([row[1] for row in rows], dtype=np.int64) >> 14
    value = np.array([np.nan if row[0] is None else row[0] for row in rows], dtype=np.float64)
    score = np.nan_to_num(closeness(picture, value), nan=-1.0)
    score[severity == Severity.UNCERTAIN] = _UNCERTAIN
    for freshness, extra in ((Freshness.NEVER, 0.0), (Freshness.STALE, 1.0), (Freshness.LOST, 2.0)):
        score[state == freshness] = _UNKNOWN + extra
    for alarm in picture.document.get("alarms", []):
        at = index.position.get(alarm["point"])
        if at is not None:
            step = _RETURNED if alarm["state"] == RETURNED else _ALARM
            score[at] = max(score[at], step - alarm["level"])
    return score


def closeness(picture: Picture, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How near each value is to the limit it would meet first: 1 = at it, 0 = as far as can be, NaN = no limit.

    With limits on both sides the quiet place is the middle between them, else the far end of the range.
    Only ranks what is shown; it judges nothing.
    """
    index = picture.index
    floor = np.where(np.isnan(index.range_low), 0.0, index.range_low)
    middle = (index.low + index.high) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = (value - np.fmax(floor, middle)) / (index.high - np.fmax(floor, middle))
        falling = (np.fmin(index.range_high, middle) - value) / (np.fmin(index.range_high, middle) - index.low)
    nearest = np.fmax(rising, falling)
    return np.where(np.isfinite(nearest), np.clip(nearest, 0.0, 2.0), np.nan)


def worst_first(picture: Picture, score: npt.NDArray[np.float64], ids: Sequence[str], count: int) -> list[Point]:
    """The `count` worst of the points named, worst first; equal ones in file order."""
    positions = np.array([picture.index.position[point_id] for point_id in ids], dtype=np.int64)
    order = np.argsort(-score[positions], kind="stable")[:count]
    return [picture.index.points[ids[i]] for i in order]
