"""`/points/ID`: one point with everything that is known of it, and its latest rows as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mines.clock import NO_TIME_MS
from mines.errors import StoreError
from mines.model import Point, RowKind
from web.pages.masthead import masthead
from web.pages.points import point_document, quality_document
from web.readers import NotHere, Picture

if TYPE_CHECKING:
    from mines.store.reader import SampleColumns

_ROWS: Final = 30
_LOOK_BACK_MS: Final = 600_000
"""How far back the latest rows are sought: ten minutes keep the page quick whatever the store holds."""


def point(picture: Picture, point_id: str) -> dict[str, Any]:
    """One point.

    Raises:
        NotHere: the site has no such point.
    """
    found = picture.index.points.get(point_id)
    if found is None:
        raise NotHere(point_id)
    rows, error = _latest_rows(picture, found)
    links = [link for link in picture.document.get("links", []) if link["source"] == found.source]
    return {
        "page": "point",
        "head": masthead(picture),
        "point": point_document(picture, found),
        "settings": _settings(found),
        "links": [{key: link[key] for key in ("source", "unit", "state", "last_error")} for link in links],
        "rows": rows,
        "rows_error": error,
        "rows_from_ms": picture.now_ms - _LOOK_BACK_MS,
    }


def _settings(point: Point) -> dict[str, Any]:
    """How the site file says the point is read and judged."""
    names = ("source", "address", "data_type", "byte_order", "scale", "offset", "period_s", "role", "principle")
    more = ("sensor_code", "location_code", "level", "latch", "on_delay_s", "off_delay_s", "rule", "relations")
    return {name: getattr(point, name) for name in names + more} | {"sentinels": list(point.sentinels)}


def _latest_rows(picture: Picture, point: Point) -> tuple[list[dict[str, Any]], str]:
    try:
        reader = picture.readers.open_reader()
        columns = reader.samples(point.id, picture.now_ms - _LOOK_BACK_MS)
    except StoreError as problem:
        return [], str(problem)
    return [_row(columns, i) for i in reversed(range(max(len(columns.value) - _ROWS, 0), len(columns.value)))], ""


def _row(columns: SampleColumns, i: int) -> dict[str, Any]:
    value, source_ms = float(columns.value[i]), int(columns.source_time_ms[i])
    return {
        "receive_ms": int(columns.receive_time_ms[i]),
        "source_ms": None if source_ms == NO_TIME_MS else source_ms,
        "value": value if np.isfinite(value) else None,
        "quality": quality_document(int(columns.quality[i])),
        "batch_no": int(columns.batch_no[i]),
        "kind": RowKind(int(columns.kind[i])).name.lower(),
    }
