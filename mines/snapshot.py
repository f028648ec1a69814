"""The snapshot: what `run` publishes once a second, and at once on an event; what every page is made of.

One JSON document, written as ready bytes and renamed into place (`<runtime>/snapshot.json`), so a reader never sees
half of it. Schema 1:

    schema, boot_id, seq, time_ms (box time), mono_ms (CLOCK_MONOTONIC, shared by the processes of one machine)
    software, site_sha256, origin: live | simulated | replay, clock_unsure
    mine     {id, name_zh, name_en}
    run      {pid, started_ms}
    durable  {frame, rows, event_seq}                what survives a power cut
    counters {read, stored, rejected{reason: n}, ticks, late_ticks, alarms_raised, alarms_cleared}   since start
    poller   {lag_ms, queued_rows}                    lag = how late the last tick was
    sources  [{id, kind, endpoint, state, points, period_ms, polls, samples, good, bad}]
    links    [{source, unit, endpoint, state, since_ms, last_answer_ms, last_error, duration_ms, polls, good, bad,
               reconnects, time_ms (of the report), counters{}, clock (a `ClockState`, null = it told no time),
               skew_ms (device minus box)}]
    subsystems {id: {points, good, bad, alarms, level}}     level = worst standing alarm level, 0 = none
    points   {id: [value, quality, age_ms, freshness, receive_ms, source_ms, usable_value, usable_ms]}
             value null = NaN; age_ms null = never; freshness = a `Freshness` number; times null = none
    alarms   [StandingAlarm.to_json()]                 in the order of the alarm list
    events   [the latest 20, newest last]
    acts     {ledger_id: applied | refused}             the latest 200 that the supervisor answered

`read()` adds what only the reader can know: how long ago the snapshot was written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mines.clock import Clock
from mines.process_image import Freshness, freshness

SCHEMA = 1
DEAD_AFTER_MS = 10_000
"""A poller silent this long is dead: every value is LOST (pages §3d, failure 3)."""


def publish(path: Path, document: Mapping[str, Any], points: Iterable[str] | None = None) -> None:
    """Replaces the snapshot in one step. No fsync: display never waits for the disk, and a restart makes it anew.

    Args:
        path: Where.
        document: All of it, or all but `points`.
        points: The members of `points` as JSON, from `snapshot_points.points_text`; None = `document` has them.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if points is not None:
        text = "".join((text[:-1], ',"points":{', ",".join(points), "}}"))
    part = path.with_suffix(".part")
    part.write_bytes(text.encode("utf-8"))
    os.replace(part, path)


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """A snapshot as of now: ages grown by the time since it was written, states judged anew.

    `alive` is False where there is no snapshot, it is of another schema, or `run` has been silent for more than 10 s;
    then every point is LOST (NEVER where it never had a value). `silent_ms` is None where there is no snapshot.
    """

    document: Mapping[str, Any]
    alive: bool
    silent_ms: int | None

    @property
    def points(self) -> Mapping[str, list[Any]]:
        """Rows as in the schema, with age_ms and freshness as of now."""
        points: Mapping[str, list[Any]] = self.document.get("points", {})
        return points


def read(path: Path, clock: Clock, periods_ms: Mapping[str, int], gas: frozenset[str]) -> SnapshotView:
    """The snapshot as of now.

    Args:
        path: `<runtime>/snapshot.json`.
        clock: The reader's clock; only its monotonic side is used.
        periods_ms: Period of each point id [ms]; a point that the snapshot has and the site has not counts as 1 s.
        gas: Ids of gas points.
    """
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return SnapshotView({}, alive=False, silent_ms=None)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return SnapshotView({}, alive=False, silent_ms=None)
    silent_ms = clock.monotonic_ns() // 1_000_000 - int(document["mono_ms"])
    if silent_ms < 0:  # the machine was started anew since: the snapshot is of another life
        silent_ms = DEAD_AFTER_MS + 1
    alive = silent_ms <= DEAD_AFTER_MS and not document.get("stopped", False)
    document["points"] = _aged(document["points"], silent_ms, periods_ms, gas, alive)
    return SnapshotView(document, alive=alive, silent_ms=silent_ms)


def _aged(
    points: Mapping[str, list[Any]], silent_ms: int, periods_ms: Mapping[str, int], gas: frozenset[str], alive: bool
) -> dict[str, list[Any]]:
    ids = list(points)
    rows = list(points.values())
    ages = np.array([-1 if row[2] is None else row[2] + silent_ms for row in rows], dtype=np.int64)
    states = freshness(
        ages,
        np.array([periods_ms.get(name, 1000) for name in ids], dtype=np.int64),
        np.array([name in gas for name in ids], dtype=np.bool_),
        np.array([row[1] for row in rows], dtype=np.uint16),
    )
    if not alive:
        states[states != Freshness.NEVER] = Freshness.LOST
    return {
        name: [*row[:2], None if age < 0 else age, state, *row[4:]]
        for name, row, age, state in zip(ids, rows, ages.tolist(), states.tolist(), strict=True)
    }
