"""`/links`: one line a device: is it heard of, since when, what was its last word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from web.pages.link_finding import finding
from web.pages.masthead import masthead
from web.readers import Picture

_WORST_FIRST: Final = ("lost", "none", "unknown", "degraded", "connecting", "good")


def links(picture: Picture) -> dict[str, Any]:
    """Every link that reported, and every source of the site that did not; the worst first.

    `state` is `unknown` where `run` is silent (`was` keeps what it last said) and `none` where a source never reported.
    """
    reported = picture.document.get("links", [])
    rows = [_row(picture, link) for link in reported]
    heard = {link["source"] for link in reported}
    rows += [
        _silent(picture, source.id, source.kind) for source in picture.readers.site.sources if source.id not in heard
    ]
    rows.sort(key=lambda row: _WORST_FIRST.index(row["state"]) if row["state"] in _WORST_FIRST else -1)
    return {"page": "links", "head": masthead(picture), "links": rows}


def _row(picture: Picture, link: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {source.id: source.kind for source in picture.readers.site.sources}
    answer_ms, source = link["last_answer_ms"], link["source"]
    periods = (picture.index.periods_ms[point.id] for point in picture.index.points.values() if point.source == source)
    return {
        **link,
        "kind": kinds.get(link["source"], ""),
        "was": link["state"],
        "state": link["state"] if picture.alive else "unknown",
        "finding": finding(link, min(periods, default=None)) if picture.alive else "none",
        "answer_age_ms": None if answer_ms is None else max(picture.now_ms - answer_ms, 0),
        "points": _points_of(picture, source, link["unit"]),
    }


def _silent(picture: Picture, source: str, kind: str) -> dict[str, Any]:
    empty = dict.fromkeys(("unit", "since_ms", "last_answer_ms", "answer_age_ms", "duration_ms"))
    counts = dict.fromkeys(("polls", "good", "bad", "reconnects"), 0)
    words = {"source": source, "kind": kind, "endpoint": "", "last_error": "", "was": "none", "state": "none"}
    words |= {"finding": "none"}
    empty |= {"clock": None, "skew_ms": None}
    return {**words, **empty, **counts, "counters": {}, "points": _points_of(picture, source)}


def _points_of(picture: Picture, source: str, unit: int | None = None) -> int:
    """How many points a source has; those of one unit are the ones whose address begins with it: `UNIT/…`."""
    begins = "" if unit is None else f"{unit}/"
    return sum(point.source == source and point.address.startswith(begins) for point in picture.index.points.values())
