"""What pages read: the site, the snapshot as of now, the store's read side. Nothing here starts a poll or writes."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mines.clock import Clock
from mines.errors import MineError
from mines.model import Point, Subsystem, TimeArray, ValueArray
from mines.process_image import Freshness, freshness
from mines.quality import GOOD, Reason, bad
from mines.snapshot import SnapshotView, read

if TYPE_CHECKING:
    from mines.site.site_file import Site
    from mines.store.reader import Reader

AGES_HOLD_NS: Final = 100_000_000
"""Ages of one parsed snapshot are reckoned anew at most ten times a second: well under the 250 ms of a tick."""

_NEVER_ROW: Final = [None, bad(Reason.WAITING_FOR_INITIAL_DATA), None, int(Freshness.NEVER), None, None, None, None]
_NO_SNAPSHOT_ROW: Final = [None, bad(Reason.NO_COMMUNICATION), None, int(Freshness.LOST), None, None, None, None]
_FileIdentity = tuple[int, int, int]


class NotHere(MineError):
    """The site has no such point or subsystem."""


@dataclass(frozen=True, slots=True)
class MineReaders:
    """Everything `create_app` needs of one mine's box. `score_path` and `snapshot_path` may not exist (yet)."""

    site: Site
    clock: Clock
    snapshot_path: Path
    score_path: Path
    open_reader: Callable[[], Reader]
    ledger_path: Path
    software: str


class SiteIndex:
    """The site's points as pages look them up; made once. Arrays are in file order, shape (points,), NaN = not set.

    `high` and `low` are the limits a rising or falling value meets first; `late_ms` is the age beyond which a value
    is STALE whatever else is known, found by asking `freshness()`, the one function that judges.
    """

    def __init__(self, site: Site) -> None:
        self.points: dict[str, Point] = {point.id: point for point in site.points}
        self.position: dict[str, int] = {point_id: i for i, point_id in enumerate(self.points)}
        points = tuple(self.points.values())
        self.periods_ms: dict[str, int] = {point.id: round(point.period_s * 1000) for point in points}
        self.gas: frozenset[str] = frozenset(point.id for point in points if point.subsystem == Subsystem.GAS)
        self.subsystems: dict[Subsystem, tuple[str, ...]] = {
            subsystem: tuple(point.id for point in points if point.subsystem == subsystem)
            for subsystem in Subsystem
            if subsystem in site.subsystems or any(point.subsystem == subsystem for point in points)
        }
        self.high = _nearest(points, ("high_alarm", "high_cut"), np.fmin)
        self.low = _nearest(points, ("low_alarm", "low_cut"), np.fmax)
        self.range_low = _nearest(points, ("range_low",), np.fmin)
        self.range_high = _nearest(points, ("range_high",), np.fmax)
        self.late_ms = _late_bounds(points)


def _nearest(points: tuple[Point, ...], columns: tuple[str, ...], choose: np.ufunc) -> ValueArray:
    given = [
        np.array([np.nan if getattr(p, c) is None else getattr(p, c) for p in points], dtype=np.float64)
        for c in columns
    ]
    nearest: ValueArray = choose.reduce(given)
    return nearest


def _late_bounds(points: tuple[Point, ...]) -> dict[str, int]:
    """The largest age [ms] at which each point is not yet STALE, by bisection over `freshness()`."""
    n = len(points)
    period = np.array([round(p.period_s * 1000) for p in points], dtype=np.int64)
    gas = np.array([p.subsystem == Subsystem.GAS for p in points], dtype=np.bool_)
    good = np.full(n, GOOD, dtype=np.uint16)
    below: TimeArray = np.zeros(n, dtype=np.int64)
    above: TimeArray = np.full(n, 2**40, dtype=np.int64)
    while n and int((above - below).max()) > 1:
        middle = (below + above) // 2
        late = freshness(middle, period, gas, good) <= Freshness.LATE
        below, above = np.where(late, middle, below), np.where(late, above, middle)
    return {point.id: bound for point, bound in zip(points, below.tolist(), strict=True)}


@dataclass(frozen=True, slots=True)
class Picture:
    """What one request sees: one snapshot, one moment. `row` gives a point's snapshot row even where there is none."""

    readers: MineReaders
    index: SiteIndex
    view: SnapshotView
    now_ms: int

    @property
    def document(self) -> Mapping[str, Any]:
        """The snapshot document, {} where there is none."""
        return self.view.document

    @property
    def alive(self) -> bool:
        """True while `run` is heard of."""
        return self.view.alive

    def row(self, point_id: str) -> list[Any]:
        """[value, quality, age_ms, freshness, receive_ms, source_ms, usable_value, usable_ms] as of now.

        No value is in it unless it may be shown: where `run` is silent, or the row is LOST, value is None.
        """
        row = self.view.points.get(point_id)
        if row is None:
            return _NEVER_ROW if self.document else _NO_SNAPSHOT_ROW
        return [None, *row[1:]] if row[3] >= Freshness.LOST else row

    def states(self) -> list[int]:
        """`Freshness` of every point of the site, in file order."""
        points = self.view.points
        absent = int(Freshness.NEVER if self.document else Freshness.LOST)
        return [points[p][3] if p in points else absent for p in self.index.points]


@dataclass(frozen=True, slots=True)
class EncodedSnapshot:
    """Ready bytes of `/api/v1/snapshot`."""

    tag: str
    plain: bytes
    zipped: bytes


class LatestSnapshot:
    """The snapshot file, parsed once per file; its bytes for `/api/v1/snapshot`, made once per file and second."""

    def __init__(self, readers: MineReaders) -> None:
        self.index = SiteIndex(readers.site)
        self._readers = readers
        self._lock = threading.Lock()
        self._view: SnapshotView | None = None
        self._identity: _FileIdentity | None = None
        self._judged_ns = 0
        self._encoded: EncodedSnapshot | None = None

    def picture(self) -> Picture:
        """The snapshot as of now."""
        return Picture(self._readers, self.index, self.view(), self._readers.clock.wall_ms())

    def view(self) -> SnapshotView:
        """Parsed and judged not more than `AGES_HOLD_NS` ago."""
        with self._lock:
            identity = _identity(self._readers.snapshot_path)
            now_ns = self._readers.clock.monotonic_ns()
            if self._view is None or identity != self._identity or not 0 <= now_ns - self._judged_ns < AGES_HOLD_NS:
                path, clock = self._readers.snapshot_path, self._readers.clock
                self._view = read(path, clock, self.index.periods_ms, self.index.gas)
                self._identity, self._judged_ns = identity, now_ns
            return self._view

    def encoded(self) -> EncodedSnapshot:
        """JSON and gzip bytes; while a snapshot is fresh they are made once for everybody who asks."""
        view = self.view()
        tag = snapshot_tag(view)
        with self._lock:
            if self._encoded is None or self._encoded.tag != tag:
                body = {**view.document, "alive": view.alive, "silent_ms": view.silent_ms}
                plain = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
                self._encoded = EncodedSnapshot(tag, plain, gzip.compress(plain, compresslevel=5, mtime=0))
            return self._encoded


def snapshot_tag(view: SnapshotView) -> str:
    """Names what is seen: boot, seq, whole seconds of silence, alive or not."""
    silent = "none" if view.silent_ms is None else str(view.silent_ms // 1000)
    document = view.document
    return f"{document.get('boot_id', '')}.{document.get('seq', 0)}.{silent}.{int(view.alive)}"


def _identity(path: Path) -> _FileIdentity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
