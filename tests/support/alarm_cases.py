"""Builders for alarm tests: points from a few words, rows from tuples, and a slow oracle that follows the rules one row
at a time."""

from __future__ import annotations

import csv
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mines.alarms.limits import limit_table
from mines.alarms.state import AlarmState
from mines.alarms.step import step_rows, step_timers
from mines.clock import NO_TIME_MS
from mines.events import Event
from mines.model import Point, PointKind, Subsystem
from mines.quality import GOOD, Flag, Reason, bad, uncertain
from mines.rows import Rows

WORDS = {
    "good": GOOD,
    "uncertain": uncertain(Reason.SENSOR_NOT_ACCURATE),
    "over": uncertain(Reason.OUT_OF_RANGE, Flag.OVER_RANGE),
    "under": uncertain(Reason.OUT_OF_RANGE, Flag.UNDER_RANGE),
    "bad": bad(Reason.SENSOR_FAILURE),
}


def point(id: str, **fields: Any) -> Point:
    defaults: dict[str, Any] = {
        "name_zh": id,
        "name_en": id,
        "subsystem": Subsystem.GAS,
        "area": "1602",
        "kind": PointKind.ANALOG,
        "unit": "%CH4",
        "source": "s",
        "address": "1/holding/0",
        "period_s": 1.0,
    }
    return Point(id=id, **{**defaults, **fields})


@dataclass(frozen=True)
class Row:
    time_ms: int
    point: int
    value: float
    quality: str


def rows_of(rows: list[Row]) -> Rows:
    times = np.array([row.time_ms for row in rows], dtype=np.int64)
    return Rows(
        index=np.array([row.point for row in rows], dtype=np.int32),
        value=np.array([row.value for row in rows], dtype=np.float64),
        quality=np.array([WORDS[row.quality] for row in rows], dtype=np.uint16),
        source_time_ms=np.full(len(rows), NO_TIME_MS, dtype=np.int64),
        receive_time_ms=times,
        monotonic_ns=times * 1_000_000,
    )


def run_ticks(points: list[Point], rows: list[Row], tick_ms: list[int]) -> tuple[AlarmState, list[Event]]:
    """Steps rows in ticks that end at the given times; rows after the last tick are not stepped."""
    state, events, left = AlarmState(limit_table(points)), [], list(rows)
    for end_ms in tick_ms:
        due = [row for row in left if row.time_ms <= end_ms]
        left = [row for row in left if row.time_ms > end_ms]
        events += step_rows(state, rows_of(due))
        events += step_timers(state, end_ms, end_ms)
    return state, events


def load_case(folder: Path) -> tuple[list[Point], list[Row], list[int]]:
    """A golden folder: points.toml, rows.csv (time_ms, point, value, quality); ticks every 250 ms to `until_ms`."""
    data = tomllib.loads((folder / "points.toml").read_text(encoding="utf-8"))
    points = [point(table.pop("id"), **table) for table in data["point"]]
    index = {p.id: i for i, p in enumerate(points)}
    with (folder / "rows.csv").open(encoding="utf-8") as file:
        rows = [
            Row(int(r["time_ms"]), index[r["point"]], float(r["value"]), r["quality"]) for r in csv.DictReader(file)
        ]
    return points, rows, list(range(0, data["until_ms"] + 1, 250))


class Oracle:
    """The rules of alarm-logic §1-§2 for one limit of one point, one row at a time: slow and plain."""

    def __init__(self, p: Point, set_at: float, clear_at: float, *, high: bool) -> None:
        self.set_at, self.clear_at, self.high = set_at, clear_at, high
        self.on_ms, self.off_ms = round(p.on_delay_s * 1000), round(p.off_delay_s * 1000)
        self.active = False
        self.unknown = False
        self.pending: int | None = None
        self.clearing: int | None = None
        self.bad = False
        self.log: list[tuple[int, str]] = []

    def timers(self, now_ms: int) -> None:
        if self.bad:
            return
        if self.pending is not None and self.pending + self.on_ms <= now_ms:
            self._set(self.pending + self.on_ms)
        if self.clearing is not None and self.clearing + self.off_ms <= now_ms:
            self._clear(self.clearing + self.off_ms)

    def row(self, time_ms: int, value: float, quality: str) -> None:
        self.timers(time_ms)
        self.bad = quality == "bad"
        if self.bad:
            if self.active and not self.unknown:
                self.unknown = True
                self.log.append((time_ms, "alarm_unknown"))
            self._stop_clearing(time_ms)
            return
        if self.unknown:
            self.unknown = False
            self.log.append((time_ms, "alarm_known"))
        beyond = quality == ("over" if self.high else "under")
        reaches = beyond or (not math.isnan(value) and (value >= self.set_at if self.high else value <= self.set_at))
        back = quality == "good" and (value < self.clear_at if self.high else value > self.clear_at)
        if self.pending is not None and quality == "good" and not reaches:
            self.pending = None
            self.log.append((time_ms, "alarm_pending_ended"))
        if not back:
            self._stop_clearing(time_ms)
        if reaches and not self.active and self.pending is None:
            if self.on_ms:
                self.pending = time_ms
                self.log.append((time_ms, "alarm_pending"))
            else:
                self._set(time_ms)
        elif back and self.active and self.clearing is None:
            if self.off_ms:
                self.clearing = time_ms
                self.log.append((time_ms, "alarm_clearing"))
            else:
                self._clear(time_ms)

    def _stop_clearing(self, time_ms: int) -> None:
        if self.clearing is not None:
            self.clearing = None
            self.log.append((time_ms, "alarm_clearing_ended"))

    def _set(self, time_ms: int) -> None:
        self.pending, self.active = None, True
        self.log.append((time_ms, "alarm_raised"))

    def _clear(self, time_ms: int) -> None:
        self.clearing, self.active, self.unknown = None, False, False
        self.log.append((time_ms, "alarm_cleared"))
