"""Sites for store tests: real Site objects around a few points, with the two files that the store keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mines.model import Mine, Point, PointKind, Subsystem
from mines.site.site_file import RunSettings, ShiftSettings, Site, SourceTable, WebSettings


def make_point(point_id: str, source: str = "s", unit: str = "%CH4", **more: object) -> Point:
    """A gas point; `more` are further fields."""
    fields = {
        "name_zh": "测点",
        "name_en": "",
        "subsystem": Subsystem.GAS,
        "area": "",
        "kind": PointKind.ANALOG,
        "address": "1/holding/0",
        "period_s": 1.0,
    }
    return Point(id=point_id, source=source, unit=unit, **(fields | more))


def make_points(count: int, source: str = "s") -> list[Point]:
    """Points s.0, s.1 …"""
    return [make_point(f"{source}.{i}", source) for i in range(count)]


def make_site(folder: Path, points: Sequence[Point], sources: Sequence[str] = ("s",)) -> Site:
    """A site whose hash is over its points, so that any change of a point is another site; its files are written."""
    folder.mkdir(parents=True, exist_ok=True)
    text = repr((list(points), list(sources))).encode("utf-8")
    (folder / "site.toml").write_bytes(b"# " + text)
    (folder / "points.csv").write_bytes(text)
    return Site(
        folder=folder,
        mine=Mine("m", "测试矿", "Test mine"),
        simulated=True,
        subsystems={},
        data=folder / "data",
        runtime=folder / "runtime",
        run=RunSettings(),
        shift=ShiftSettings(),
        web=WebSettings(),
        certificates=(),
        sources=tuple(SourceTable(source, "modbus_tcp", {}) for source in sources),
        points=tuple(points),
        sha256=hashlib.sha256(text).hexdigest(),
    )


def site_of(folder: Path, counts: Mapping[str, int]) -> Site:
    """A site of so many points a source."""
    points = [point for source, count in counts.items() for point in make_points(count, source)]
    return make_site(folder, points, tuple(counts))
