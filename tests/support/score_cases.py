"""Mines for scoring tests: points, rows and papers in a few words, and the golden folders of fixtures/scores/.

A case folder holds site.toml and points.csv (the site as read now), samples.csv, expected.json, worked.md (the same by
hand), and perhaps earlier/points.csv (a site accepted before). samples.csv says stretches: rows of `point` every period
from `from_s` up to `to_s` inclusive, in seconds from the start of the window; `quality` good, uncertain or bad.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compliance.window import Window
from mines.clock import NO_TIME_MS
from mines.model import Point, PointKind, RowKind, Subsystem
from mines.quality import GOOD, Reason, bad, uncertain
from mines.site.site_file import Site, load_site
from mines.store.points_registry import AcceptedSite
from mines.store.reader import SampleColumns

SCORES = Path(__file__).resolve().parents[2] / "fixtures" / "scores"
WINDOW = Window(1_787_587_200_000, 1_795_536_000_000)
"""2026-08-25 00:00 to 2026-11-25 00:00 at the mine: 92 days."""

COLUMN_NAMES = ("receive_time_ms", "source_time_ms", "value", "quality", "batch_no", "kind")
QUALITIES = {
    "good": GOOD,
    "uncertain": uncertain(Reason.OUT_OF_RANGE),
    "bad": bad(Reason.TIMEOUT),
}


def make_point(point_id: str, subsystem: Subsystem, role: str, **more: Any) -> Point:
    """A point with period 60 s in area `face`, unless said otherwise."""
    values: dict[str, Any] = {
        "id": point_id,
        "name_zh": point_id,
        "name_en": point_id,
        "subsystem": subsystem,
        "area": "face",
        "kind": PointKind.ANALOG,
        "unit": "",
        "source": "plc",
        "address": "1/holding/0",
        "period_s": 60.0,
        "role": role,
    }
    return Point(**(values | more))


def columns(rows: Sequence[tuple[int, float, int]], kind: RowKind = RowKind.SAMPLE) -> SampleColumns:
    """Rows (receive time [ms], value, quality word) as the reader gives them."""
    n = len(rows)
    return SampleColumns(
        receive_time_ms=np.array([row[0] for row in rows], dtype=np.int64),
        source_time_ms=np.full(n, NO_TIME_MS, dtype=np.int64),
        value=np.array([row[1] for row in rows], dtype=np.float64),
        quality=np.array([row[2] for row in rows], dtype=np.uint16),
        batch_no=np.arange(n, dtype=np.int64),
        kind=np.full(n, kind, dtype=np.uint8),
    )


def joined(parts: Sequence[SampleColumns]) -> SampleColumns:
    """Several stretches of one point as one."""
    return SampleColumns(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMN_NAMES})


def stretch(from_ms: int, to_ms: int, period_ms: int, value: float, quality: int = GOOD) -> SampleColumns:
    """Rows of one value every period from one moment to another, both inclusive."""
    times = np.append(np.arange(from_ms, to_ms, period_ms, dtype=np.int64), to_ms)
    n = len(times)
    return SampleColumns(
        receive_time_ms=times,
        source_time_ms=np.full(n, NO_TIME_MS, dtype=np.int64),
        value=np.full(n, value),
        quality=np.full(n, quality, dtype=np.uint16),
        batch_no=np.arange(n, dtype=np.int64),
        kind=np.zeros(n, dtype=np.uint8),
    )


@dataclass
class MemoryReader:
    """A data folder in memory: what `score_site` asks of the store's reader."""

    samples: Mapping[str, SampleColumns] = field(default_factory=dict)
    confirmed: Mapping[str, np.ndarray] = field(default_factory=dict)
    sites: Sequence[AcceptedSite] = ()
    files: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)

    def samples_of(self, point_ids: Sequence[str], from_ms: int, to_ms: int) -> dict[str, SampleColumns]:
        return {point: _within(self.samples.get(point, columns([])), from_ms, to_ms) for point in point_ids}

    def confirmations_of(self, point_ids: Sequence[str], from_ms: int, to_ms: int) -> dict[str, np.ndarray]:
        never = np.zeros(0, dtype=np.int64)
        found = {point: self.confirmed.get(point, never) for point in point_ids}
        return {point: times[(times >= from_ms) & (times < to_ms)] for point, times in found.items()}

    def accepted_sites(self) -> Sequence[AcceptedSite]:
        return self.sites

    def site_files(self, sha256: str) -> Mapping[str, bytes]:
        return self.files.get(sha256, {})

    def without(self, from_ms: int, to_ms: int) -> MemoryReader:
        """The same with every row and confirmation of that time gone."""
        samples = {point: _masked(rows, ~_inside(rows.time_ms, from_ms, to_ms)) for point, rows in self.samples.items()}
        confirmed = {point: times[~_inside(times, from_ms, to_ms)] for point, times in self.confirmed.items()}
        return MemoryReader(samples, confirmed, self.sites, self.files)


@dataclass(frozen=True)
class Case:
    """One golden folder."""

    site: Site
    reader: MemoryReader
    expected: Mapping[str, Any]


def read_case(folder: Path) -> Case:
    """A golden folder, its stretches made into rows."""
    site = load_site(folder)
    periods = {point.id: round(point.period_s * 1000) for point in site.points}
    parts: dict[str, list[SampleColumns]] = {}
    with (folder / "samples.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            start, end = (WINDOW.from_ms + round(1000 * float(row[key])) for key in ("from_s", "to_s"))
            quality = QUALITIES[row["quality"]]
            period_ms = periods.get(row["point"], 60_000)
            parts.setdefault(row["point"], []).append(stretch(start, end, period_ms, float(row["value"]), quality))
    earlier = folder / "earlier" / "points.csv"
    sites, files = (), {}
    if earlier.exists():
        sites = (AcceptedSite("0" * 64, WINDOW.from_ms), AcceptedSite(site.sha256, WINDOW.from_ms + 86_400_000))
        files = {"0" * 64: {"points.csv": earlier.read_bytes()}}
    reader = MemoryReader({point: joined(found) for point, found in parts.items()}, {}, sites, files)
    return Case(site, reader, json.loads((folder / "expected.json").read_text(encoding="utf-8")))


def _inside(times: np.ndarray, from_ms: int, to_ms: int) -> np.ndarray:
    return (times >= from_ms) & (times < to_ms)


def _within(rows: SampleColumns, from_ms: int, to_ms: int) -> SampleColumns:
    return _masked(rows, _inside(rows.time_ms, from_ms, to_ms))


def _masked(rows: SampleColumns, mask: np.ndarray) -> SampleColumns:
    return SampleColumns(**{name: getattr(rows, name)[mask] for name in COLUMN_NAMES})
