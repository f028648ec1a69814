"""`/`: the wall. What is abnormal now, is this live, where to look (pages §3a)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mines.model import Point, Subsystem
from mines.process_image import Freshness
from mines.quality import Reason, Severity, reason_of
from web.pages.events import event_document
from web.pages.masthead import RETURNED, UNACKED, masthead
from web.pages.points import badness, point_document, worst_first
from web.readers import Picture

_WORST_POINTS: Final = 8
_LAST_EVENTS: Final = 6
_TILE_POINTS: Final = 2
_ITS_OWN_FAULT: Final = frozenset(
    {
        Reason.SENSOR_FAILURE,
        Reason.NOT_A_NUMBER,
        Reason.OUT_OF_RANGE,
        Reason.OUT_OF_SERVICE,
        Reason.CONFIGURATION_ERROR,
        Reason.NODE_UNKNOWN,
        Reason.TYPE_MISMATCH,
        Reason.ILLEGAL_ADDRESS,
        Reason.UNKNOWN_UNIT_STATE,
    }
)
"""Reasons that are the sensor's or the point's, whatever its link does."""


def overview(picture: Picture) -> dict[str, Any]:
    """Head, a tile a subsystem, the worst eight points, the last six events."""
    score = badness(picture)
    events = picture.document.get("events", [])[::-1][:_LAST_EVENTS]
    return {
        "page": "overview",
        "head": masthead(picture),
        "subsystems": [_tile(picture, subsystem, score) for subsystem in picture.index.subsystems],
        "worst": _worst(picture, score),
        "events": [event_document(picture, event) for event in events],
    }


def _worst(picture: Picture, score: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
    """The worst points; those that one dead link took along stand behind the first of them (`alike` more).

    Source: pages §3d: a dead link is one thing to see, not as many as it has points.
    """
    ids = list(picture.index.points)
    alarmed = frozenset(alarm["point"] for alarm in picture.document.get("alarms", []))
    chosen: dict[tuple[str, ...], Point] = {}
    alike: Counter[tuple[str, ...]] = Counter()
    for point in worst_first(picture, score, ids, len(ids)):
        key = (point.id,) if point.id in alarmed else _cause(picture, point)
        if key in chosen:
            alike[key] += 1
        elif len(chosen) < _WORST_POINTS:
            chosen[key] = point
        elif picture.row(point.id)[3] < Freshness.STALE:  # all that is lost has been counted
            break
    return [point_document(picture, point) | {"alike": alike[key]} for key, point in chosen.items()]


def _cause(picture: Picture, point: Point) -> tuple[str, ...]:
    """(source, state, reason) of a point that its link took along; else the point's own id."""
    row = picture.row(point.id)
    if row[3] < Freshness.STALE or reason_of(row[1]) in _ITS_OWN_FAULT:
        return (point.id,)
    return point.source, str(row[3]), str(reason_of(row[1]))


def _tile(picture: Picture, subsystem: Subsystem, score: npt.NDArray[np.float64]) -> dict[str, Any]:
    ids = picture.index.subsystems[subsystem]
    rows = [picture.row(point_id) for point_id in ids]
    unknown = sum(row[3] >= Freshness.STALE for row in rows)
    uncertain = sum(row[1] >> 14 == Severity.UNCERTAIN for row in rows)
    members = frozenset(ids)
    alarms = [alarm for alarm in picture.document.get("alarms", []) if alarm["point"] in members]
    levels = Counter(alarm["level"] for alarm in alarms if alarm["state"] != RETURNED)
    returned = sum(alarm["state"] == RETURNED for alarm in alarms)
    level = min(levels, default=0)
    return {
        "id": subsystem.value,
        "state": _worst_state(
            {"alarm": level, "unknown": unknown, "returned": returned, "uncertain": uncertain, "normal": len(ids)}
        ),
        "level": level,
        "alarms": {str(number): levels[number] for number in (1, 2, 3, 4)},
        "returned": returned,
        "unacked": sum(alarm["state"] in UNACKED for alarm in alarms),
        "points": len(ids),
        "known": len(ids) - unknown,
        "unknown": unknown,
        "uncertain": uncertain,
        "worst": [point_document(picture, point) for point in worst_first(picture, score, ids, _TILE_POINTS)],
    }


def _worst_state(counts: Mapping[str, int]) -> str:
    """The first state that occurs, worst first: unknown ranks above normal and below alarm (pages §3a)."""
    return next((state for state, count in counts.items() if count), "none")
