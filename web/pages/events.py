"""`/events`: what happened between two times, newest first, from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mines.errors import StoreError
from mines.times import parse_time_ms
from web.pages.masthead import masthead
from web.pages.points import point_names
from web.readers import Picture

_ROWS: Final = 500
_DAY_MS: Final = 86_400_000


def event_document(picture: Picture, event: Mapping[str, Any]) -> dict[str, Any]:
    """One event as recorded, with the names of its point, its actor, and whether it is durable already."""
    point = picture.index.points.get(event["point"] or "")
    durable = picture.document.get("durable") or {"event_seq": 0}
    return {
        **event,
        "names": None if point is None else point_names(point),
        "actor": event["detail"].get("actor"),
        "durable": event["seq"] <= durable["event_seq"],
    }


def events(picture: Picture, from_text: str, to_text: str) -> dict[str, Any]:
    """Events of [from, to); without a beginning the last 24 h. Times as people type them.

    Raises:
        ValueError: a time that is none; the message says what is expected.
    """
    to_ms = parse_time_ms(to_text) if to_text else None
    from_ms = parse_time_ms(from_text) if from_text else (to_ms or picture.now_ms) - _DAY_MS
    found, error = _stored(picture, from_ms, to_ms)
    return {
        "page": "events",
        "head": masthead(picture),
        "asked": {"from": from_text, "to": to_text},
        "from_ms": from_ms,
        "to_ms": to_ms,
        "error": error,
        "count": len(found),
        "left_out": max(len(found) - _ROWS, 0),
        "events": [event_document(picture, event) | {"durable": True} for event in found[::-1][:_ROWS]],
    }


def _stored(picture: Picture, from_ms: int, to_ms: int | None) -> tuple[list[dict[str, Any]], str]:
    """Events that the store holds, oldest first: all of them are durable."""
    try:
        return [event.to_json() for event in picture.readers.open_reader().events(from_ms, to_ms)], ""
    except StoreError as problem:
        return [], str(problem)
