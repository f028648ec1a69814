"""Snapshot documents made by hand, in the schema of mines.snapshot, and the readers that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from jinja2 import FileSystemBytecodeCache
from web_site import make_site

from mines.clock import ManualClock
from mines.model import Point
from mines.process_image import Freshness
from mines.quality import GOOD, Reason, bad
from mines.site.site_file import Site
from mines.snapshot import SCHEMA, publish
from mines.store.reader import Reader
from web.app import create_app
from web.readers import MineReaders

WALL_MS = 1_795_419_667_000  # 2026-11-23 15:41:07 Asia/Shanghai
MONO_MS = 5_000_000
BOOT = "boot-1"


def row(
    value: float | None,
    *,
    quality: int = GOOD,
    age_ms: int | None = 400,
    state: Freshness = Freshness.LIVE,
    last: float | None = None,
) -> list[Any]:
    """One row of `points`: [value, quality, age_ms, freshness, receive_ms, source_ms, usable_value, usable_ms]."""
    usable = value if last is None else last
    seen = None if age_ms is None else WALL_MS - age_ms
    return [value, quality, age_ms, int(state), seen, None, usable, None if usable is None else seen]


def lost_row(last: float | None = 0.5, *, reason: Reason = Reason.TIMEOUT, age_ms: int = 60_000) -> list[Any]:
    """A row of a point that cannot be read: NaN with a reason."""
    return row(None, quality=bad(reason), age_ms=age_ms, state=Freshness.LOST, last=last)


def never_row() -> list[Any]:
    """A row of a point that never had a value."""
    return row(None, quality=bad(Reason.WAITING_FOR_INITIAL_DATA), age_ms=None, state=Freshness.NEVER)


def alarm(
    point: str, limit: str = "high_alarm", *, level: int = 2, state: str = "unacked", version: int = 1, **more: Any
) -> dict[str, Any]:
    """A standing alarm as `alarms` of the snapshot has it."""
    acked = None
    if state in ("acked", "latched_acked"):
        acked = {"actor": actor(), "time_ms": WALL_MS - 5_000}
    return {
        "id": f"{point}/{limit}",
        "point": point,
        "limit": limit,
        "limit_value": 1.0,
        "level": level,
        "state": state,
        "unknown": False,
        "raised_ms": WALL_MS - 95_000,
        "cleared_ms": WALL_MS - 10_000 if state in ("returned_unacked", "latched_unacked", "latched_acked") else None,
        "value_start": 1.02,
        "value_worst": 1.21,
        "value": 1.06,
        "version": version,
        "count": 1,
        "acked": acked,
    } | more


def actor(name: str = "王调度") -> dict[str, Any]:
    """An actor as in events."""
    return {"id": "not_logged_in", "name": name, "role": "not_logged_in", "station": "主调", "authenticated": False}


def event(
    seq: int, kind: str, point: str | None = None, *, cause: str = "", value: float | None = None, **detail: Any
) -> dict[str, Any]:
    """An event as `events` of the snapshot has it."""
    return {
        "seq": seq,
        "time_ms": WALL_MS - 1_000 * (100 - seq),
        "kind": kind,
        "point": point,
        "value": value,
        "cause": cause,
        "detail": detail,
    }


def link(source: str, state: str = "good", *, unit: int | None = 1, error: str = "", **more: Any) -> dict[str, Any]:
    """A link report."""
    return {
        "source": source,
        "unit": unit,
        "endpoint": f"192.0.2.10:502 {source}",
        "state": state,
        "since_ms": WALL_MS - 3_600_000,
        "last_answer_ms": WALL_MS - (200 if state == "good" else 120_000),
        "last_error": error,
        "duration_ms": 4.2,
        "polls": 3600,
        "good": 3599 if state == "good" else 0,
        "bad": 1,
        "reconnects": 2,
        "counters": {},
        "clock": None,
        "skew_ms": None,
    } | more


@dataclass
class SnapshotBuilder:
    """A snapshot document; change what a test is about, then `document()` or `publish`."""

    site: Site
    seq: int = 100
    boot_id: str = BOOT
    values: dict[str, list[Any]] = field(default_factory=dict)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    acts: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The document, all points LIVE at a quiet value where nothing else is said."""
        return {
            "schema": SCHEMA,
            "boot_id": self.boot_id,
            "seq": self.seq,
            "time_ms": WALL_MS,
            "mono_ms": MONO_MS,
            "software": "0.1.0",
            "site_sha256": self.site.sha256,
            "origin": "simulated" if self.site.simulated else "live",
            "clock_unsure": False,
            "stopped": False,
            "mine": {"id": self.site.mine.id, "name_zh": self.site.mine.name_zh, "name_en": self.site.mine.name_en},
            "run": {"pid": 1, "started_ms": WALL_MS - 3_600_000},
            "durable": {"frame": 4_210, "rows": 1_234_567, "event_seq": 99},
            "counters": {
                "read": 10,
                "stored": 10,
                "rejected": {},
                "ticks": 4,
                "late_ticks": 0,
                "alarms_raised": 0,
                "alarms_cleared": 0,
            },
            "poller": {"lag_ms": 1, "queued_rows": 0},
            "sources": [],
            "links": self.links or [link(source.id) for source in self.site.sources],
            "subsystems": {},
            "points": {point.id: self.values.get(point.id, row(quiet(point))) for point in self.site.points},
            "alarms": self.alarms,
            "events": self.events,
            "acts": self.acts,
        } | self.more


def quiet(point: Point) -> float:
    """A value that is no alarm and far from one."""
    if point.states:
        return 1.0
    low, high = point.range_low or 0.0, point.range_high or 100.0
    if point.low_alarm is not None:
        return low + (high - low) * 0.9
    return low + ((point.high_alarm or high) - low) * 0.4


@dataclass
class Desk:
    """A mine's pages over a folder: a clock, a snapshot file, a Flask app."""

    folder: Path
    site: Site
    clock: ManualClock
    readers: MineReaders
    app: Flask

    @property
    def builder(self) -> SnapshotBuilder:
        """A fresh, quiet snapshot of this mine."""
        return SnapshotBuilder(self.site)

    def show(self, builder: SnapshotBuilder | Mapping[str, Any]) -> None:
        """Publishes a snapshot, as `run` would."""
        document = builder.document() if isinstance(builder, SnapshotBuilder) else builder
        publish(self.readers.snapshot_path, document)

    def html(self, address: str, status: int = 200) -> str:
        """A page as text."""
        answer = self.app.test_client().get(address)
        assert answer.status_code == status, answer.text
        return answer.text

    def json(self, address: str) -> dict[str, Any]:
        """A page's JSON twin."""
        answer = self.app.test_client().get(address)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()
        return found


def make_desk(folder: Path, site: Site | None = None, **site_settings: Any) -> Desk:
    """The pages of a made-up mine, half a second after its snapshot was written. No snapshot is there yet."""
    site = site or make_site(folder, **site_settings)
    site.runtime.mkdir(parents=True, exist_ok=True)
    clock = ManualClock(WALL_MS + 500, (MONO_MS + 500) * 1_000_000)
    readers = MineReaders(
        site=site,
        clock=clock,
        snapshot_path=site.runtime / "snapshot.json",
        score_path=site.runtime / "score.json",
        open_reader=lambda: Reader(site.data),
        ledger_path=folder / "ledger.db",
        software="0.1.0",
    )
    return Desk(folder, site, clock, readers, quick_app(readers))


def quick_app(readers: MineReaders) -> Flask:
    """The app with its templates compiled once for all tests of this machine instead of once for each."""
    app = create_app(readers)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache()
    return app
