"""Geometry of the drawings: where a value stands in its range, and the waterfall of a score. Per cent of the width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_MARKS: Final = ("high_alarm", "high_cut", "low_alarm", "low_cut")
_HEADROOM: Final = 1.25
"""Without a range the drawing ends a quarter beyond the farthest limit."""


def bar(point: Mapping[str, Any]) -> dict[str, Any] | None:
    """A point's value on its range with limit marks; None where there is neither range nor limit to draw on.

    Args:
        point: A point's document; its `value` may be None.
    Returns:
        {at: 0 … 100 or None, marks: [{at, limit}], low, high: ends of the scale in the point's unit}. Only the
        drawing ends at the scale's ends, never the value.
    """
    if point["kind"] not in ("analog", "total"):
        return None
    low, high = _scale(point)
    if low is None or high is None or high <= low:
        return None
    limits = point["limits"]
    marks = [{"at": _place(limits[name], low, high), "limit": name} for name in _MARKS if name in limits]
    at = None if point["value"] is None else _place(point["value"], low, high)
    return {"at": at, "marks": marks, "low": low, "high": high}


def _scale(point: Mapping[str, Any]) -> tuple[float | None, float | None]:
    low, high = point["range"]
    limits = [value for name, value in point["limits"].items() if name in _MARKS]
    if low is None and limits:
        low = min(0.0, *limits)
    if high is None and limits:
        high = max(0.0, *limits) * _HEADROOM
    return low, high


def _place(value: float, low: float, high: float) -> float:
    return round(min(max((value - low) / (high - low), 0.0), 1.0) * 100, 2)


def waterfall(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bars from 100 down to the score: every item that lost something, the largest first; then the interval.

    Args:
        result: The score document: `score{low, high}`, `items[{id, lost, unknown}]`.
    Returns:
        Bars {kind: full | lost | result, id, x, width, unknown, value}; x and widths in points of 100. What is not
        known is no bar: it is the width `unknown` = high − low of the result (pages §3e).
    """
    lost = sorted((item for item in result["items"] if item["lost"] > 0), key=lambda item: -item["lost"])
    bars = [_bar("full", "", x=0.0, width=100.0, value=100.0)]
    level = 100.0
    for item in lost:
        level -= item["lost"]
        bars.append(_bar("lost", item["id"], x=max(level, 0.0), width=item["lost"], value=-item["lost"]))
    low, high = result["score"]["low"], result["score"]["high"]
    return [*bars, _bar("result", "", x=0.0, width=low, value=high) | {"unknown": round(high - low, 4)}]


def _bar(kind: str, item: str, *, x: float, width: float, value: float) -> dict[str, Any]:
    return {"kind": kind, "id": item, "x": round(x, 4), "width": round(width, 4), "unknown": 0.0, "value": value}
