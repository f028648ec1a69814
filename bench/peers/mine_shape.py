"""Shape C: 10,000 points on 200 units (40 lines × 5 units) at 1 s: the connectors alone, then the whole box.

The server's log says when each request came, on the monotonic clock; the store says what was kept and when.
"""

from __future__ import annotations

import itertools
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers.children import BENCH, Child, Core, PeerFailed
from peers.layout import IDENTITIES, contiguous
from peers.modbus_shapes import ours, peers_at_1_s
from peers.rig import Bench, Measured, served
from peers.sites import write_modbus_site
from peers.times import grid_deviation_ms, spread

LAYOUT = contiguous(40, 5, 50, tick_ms=100, period_s=1.0)
_WARM_S = 10.0
_PARTS = 6
_RECORD = np.dtype([("monotonic_ns", "<i8"), ("line", "<i4"), ("unit", "<i4")])

Window = tuple[float, float]


def shape_c(bench: Bench) -> None:
    """Ours, then the peers; a quick look leaves the peers out."""
    with served(bench, LAYOUT, core=Core.SERVER) as (_, ports):
        window_s = bench.pace.mine_window_s
        bench.measure("C connectors", lambda: ours(bench, LAYOUT, ports, window_s, warm_s=_WARM_S))
    found: dict[str, Measured] = {}

    def before() -> Measured:
        found.update(whole_run(bench))
        return found["before"]

    bench.measure("C run", before)
    if "after" in found:
        bench.measure("C run, 20 units dead", lambda: found["after"])
    if not bench.quick:
        peers_at_1_s(bench, LAYOUT)


def whole_run(bench: Bench) -> dict[str, Measured]:
    """One `minewatch run`: a window with all units alive, and one with every tenth dead and its back-off settled.

    Raises:
        PeerFailed: it ends by itself.
    """
    log = bench.new("requests")
    with served(bench, LAYOUT, log) as (server, ports):
        site = write_modbus_site(bench.new("mine"), LAYOUT, ports)
        command = [sys.executable, "-P", "-m", "minewatch", "run", str(site)]
        with Child(command, bench.new("run.log"), cwd=BENCH.parent) as run:
            time.sleep(_WARM_S)
            before = _window(run, bench.pace.mine_window_s)
            server.signal(signal.SIGUSR1)
            time.sleep(bench.pace.settle_s)
            after = _window(run, bench.pace.mine_window_s)
            time.sleep(1.5)  # what belongs to the window is on disk
    requests = np.fromfile(log, dtype=_RECORD)
    alive = [(line, unit) for line in range(LAYOUT.lines) for unit in range(1, 1 + LAYOUT.units)]
    some = [(line, unit) for line, unit in alive if line % 2 or unit != 3]  # as in modbus_server.c
    return {
        "before": _judged(before, site / "data", requests, alive),
        "after": _judged(after, site / "data", requests, some),
    }


def _window(run: Child, window_s: float) -> dict[str, Any]:
    """CPU of the process over the window and over its parts; where the window lies on both clocks."""
    wall_ms, begun, used = time.time_ns() // 1_000_000, time.monotonic_ns(), run.cpu_s()
    marks = [(begun, used)]
    for _ in range(_PARTS):
        time.sleep(window_s / _PARTS)
        if run.process.poll() is not None:
            raise PeerFailed(f"minewatch run ended: {run.tail()}")
        marks.append((time.monotonic_ns(), run.cpu_s()))
    end = marks[-1][0]
    return {
        "wall_ms": (wall_ms, wall_ms + (end - begun) // 1_000_000),
        "monotonic_ns": (begun, end),
        "cpu_s": marks[-1][1] - used,
        "wall_s": (end - begun) / 1e9,
        "parts_pct": [100e9 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(marks)],
    }


def _judged(window: dict[str, Any], data: Path, requests: np.ndarray, alive: Sequence[tuple[int, int]]) -> Measured:
    """What was kept of the living units within a window, what is missing of it, and how even it came."""
    from_ms, to_ms = window["wall_ms"]
    point, value, quality, times_ms = _kept(data, from_ms, to_ms)
    units = np.array([line * LAYOUT.units + unit - 1 for line, unit in alive])
    living = np.isin(point // len(LAYOUT.pairs), units)
    point, value, quality, times_ms = point[living], value[living], quality[living], times_ms[living]
    fine = quality == 0
    identity = np.concatenate([LAYOUT.identities(line) for line in range(LAYOUT.lines)])
    wrong = int((value[fine].astype(np.int64) % IDENTITIES != identity[point[fine]]).sum())
    order = np.argsort(point, kind="stable")  # frames come in order of time
    firsts = np.flatnonzero(np.diff(point[order], prepend=-1))
    series = {
        int(point[order][first]): part
        for first, part in zip(firsts, np.split(times_ms[order], firsts[1:]), strict=True)
    }
    due = [int(unit) * len(LAYOUT.pairs) + pair for unit in units for pair in range(len(LAYOUT.pairs))]
    missing = sum(_missing(series.get(each, np.empty(0)), from_ms, to_ms) for each in due)
    # The points of a unit come in one reply: one of them tells the times of all.
    of_units = [part for unit in units if len(part := series.get(int(unit) * len(LAYOUT.pairs), np.empty(0))) > 1]
    deviation = [grid_deviation_ms(part * 1_000_000, LAYOUT.period_s) for part in of_units]
    return {
        "points": int(fine.sum()),
        "lost": missing + int((~fine).sum()),
        "wrong": wrong,
        "bad": int((~fine).sum()),
        "interval_ms": spread(np.concatenate([np.diff(part) for part in of_units])) if of_units else {},
        "stored_grid_ms": spread(np.concatenate(deviation)) if deviation else {},
        "grid_ms": _asked_off_grid_ms(requests, window["monotonic_ns"], alive),
    } | {key: window[key] for key in ("cpu_s", "wall_s", "parts_pct")}


def _kept(data: Path, from_ms: int, to_ms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Samples that the journal has of a time: point in process order, value, quality, receive time [ms]; shape (n,)."""
    from mines.model import RowKind
    from mines.store.reader import Reader

    columns: list[tuple[np.ndarray, ...]] = []
    for frame in Reader(data).frames():
        for item in (each for tick in frame.ticks for each in tick.batches if each.batch.kind is RowKind.SAMPLE):
            batch = item.batch
            point = item.source * LAYOUT.points_of_line + batch.index
            columns.append((point, batch.value, batch.quality, batch.receive_time_ms))
    point, value, quality, times_ms = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    inside = (times_ms >= from_ms) & (times_ms < to_ms)
    return point[inside], value[inside], quality[inside], times_ms[inside]


def _missing(times_ms: np.ndarray, from_ms: int, to_ms: int) -> int:
    """Samples that the period would have brought within the window and that are not there."""
    period_ms = 1000 * LAYOUT.period_s
    if not len(times_ms):
        return int((to_ms - from_ms) // period_ms)
    steps = np.diff(times_ms.astype(np.float64), prepend=from_ms, append=to_ms) / period_ms
    inner = np.maximum(np.round(steps[1:-1]) - 1, 0).sum()
    outer = np.floor(steps[[0, -1]] - 0.25)  # before the first and behind the last, a little late is not missing
    return int(inner + np.maximum(outer, 0).sum())


def _asked_off_grid_ms(requests: np.ndarray, window: Window, alive: Sequence[tuple[int, int]]) -> dict[str, float]:
    """How far each request to a living unit came from its unit's own grid, as the server saw it."""
    inside = requests[(requests["monotonic_ns"] >= window[0]) & (requests["monotonic_ns"] < window[1])]
    key = inside["line"] * 1000 + inside["unit"]
    found = [inside["monotonic_ns"][key == line * 1000 + unit] for line, unit in alive]
    off = [grid_deviation_ms(times, LAYOUT.period_s) for times in found if len(times)]
    return spread(np.concatenate(off)) if off else {}
