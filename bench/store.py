"""What keeping costs: durable commits, bytes a sample and a query, against named peers in the same run.

Workload: a mine of 20 devices × 100 points, every point once a second, values in hundredths, each device's reply a few
milliseconds after the one before: 2,000 samples a frame. Peers: append + fdatasync of the very same bytes (the floor of
any durable write on this disk), and SQLite with a row a sample (WAL, FULL, one transaction a second, key point, time).
Writes bench/results/store.json; ratios are ours ÷ peer, lower is better.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mines.model import SourcedBatch, Tick, make_batch
from mines.site.site_file import Site, load_site
from mines.store.box_store import BoxStore
from mines.store.frame import Frame, encode_frame
from mines.store.reader import Reader

DEVICES, POINTS, SECONDS = 20, 100, 180
START_MS = 1_790_000_000_000
RESULTS = Path(__file__).parent / "results" / "store.json"


def main() -> None:
    """Runs the bench and writes its results."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        site = _site(folder / "site")
        frames = [_frame(site, second) for second in range(1, SECONDS + 1)]
        ours, store_cpu = _commit_all(site, frames)
        floor, _ = _append_all(folder / "append", [encode_frame(frame) for frame in frames])
        rows, rows_cpu = _rows_all(folder / "rows.db", frames)
        figures = {
            "commit_ms": {"ours": _spread(ours), "append_fdatasync": _spread(floor), "sqlite_rows": _spread(rows)},
            "cpu_us_a_sample": {"ours": store_cpu, "sqlite_rows": rows_cpu},
            "bytes_a_sample": _sizes(folder, site, frames),
            "query_one_point_ms": _queries(folder, site),
            "losses": SECONDS * DEVICES * POINTS - _stored(site),
        }
    document = {"machine": _machine(), "workload": __doc__, "figures": figures, "ratios": _ratios(figures)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document["ratios"], indent=2))


def _site(folder: Path) -> Site:
    folder.mkdir()
    sources = "".join(f'[source.d{d:02d}]\nkind = "modbus_tcp"\nhost = "10.0.0.{d + 1}"\n' for d in range(DEVICES))
    text = (
        f'schema = 1\n[mine]\nid = "b"\nname_zh = "基准矿"\n[storage]\ndata = "../data"\n[subsystem.power]\n{sources}'
    )
    (folder / "site.toml").write_text(text, encoding="utf-8")
    head = "id,name_zh,subsystem,kind,unit,source,address,data_type,period_s\n"
    rows = [
        f"d{d:02d}.p{i},测点,power,analog,A,d{d:02d},1/holding/{i},uint16,1\n"
        for d in range(DEVICES)
        for i in range(POINTS)
    ]
    (folder / "points.csv").write_text(head + "".join(rows), encoding="utf-8")
    return load_site(folder)


def _frame(site: Site, second: int) -> Frame:
    random = np.random.default_rng(second)
    batches = []
    for device in range(DEVICES):
        receive_ms = START_MS + 1000 * second + 7 * device + int(random.integers(0, 3))
        batch = make_batch(
            np.arange(POINTS, dtype=np.int32),
            random.integers(0, 4000, POINTS) / 100,
            0,
            receive_time_ms=receive_ms,
            monotonic_ns=receive_ms * 1_000_000,
            batch_no=second,
        )
        batches.append(SourcedBatch(device, batch))
    now_ms = START_MS + 1000 * second + 250
    tick = Tick(second, now_ms, now_ms * 1_000_000, tuple(batches))
    return Frame(second, "bench", site.sha256, (tick,))


def _commit_all(site: Site, frames: list[Frame]) -> tuple[list[float], float]:
    store = BoxStore.open(site.data, site, boot_id="bench", time_ms=START_MS)
    try:
        return _timed(store.commit, frames)
    finally:
        store.close()


def _append_all(path: Path, bodies: list[bytes]) -> tuple[list[float], float]:
    with path.open("ab", buffering=0) as file:

        def append(body: bytes) -> None:
            file.write(body)
            os.fdatasync(file.fileno())

        return _timed(append, bodies)


def _rows_all(path: Path, frames: list[Frame]) -> tuple[list[float], float]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE sample (point INTEGER, time_ms INTEGER, value REAL, quality INTEGER, "
        "PRIMARY KEY (point, time_ms)) WITHOUT ROWID"
    )

    def commit(frame: Frame) -> None:
        rows = [
            (item.source * POINTS + index, time_ms, value, quality)
            for item in frame.ticks[0].batches
            for index, time_ms, value, quality in zip(
                item.batch.index.tolist(),
                item.batch.receive_time_ms.tolist(),
                item.batch.value.tolist(),
                item.batch.quality.tolist(),
                strict=True,
            )
        ]
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO sample VALUES (?, ?, ?, ?)", rows)
        database.execute("COMMIT")

    timed = _timed(commit, frames)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return timed


def _timed(call: Callable[[Any], object], items: list[Any]) -> tuple[list[float], float]:
    """Wall time of each call [ms], and CPU a sample [µs]."""
    took = []
    begun = time.process_time()
    for item in items:
        at = time.perf_counter()
        call(item)
        took.append(1000 * (time.perf_counter() - at))
    cpu_us = 1e6 * (time.process_time() - begun) / (len(items) * DEVICES * POINTS)
    return took, round(cpu_us, 3)


def _spread(took: list[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(took), 3),
        "p99": round(statistics.quantiles(took, n=100)[98], 3),
        "max": round(max(took), 3),
    }


def _sizes(folder: Path, site: Site, frames: list[Frame]) -> dict[str, float]:
    samples = len(frames) * DEVICES * POINTS
    journal = sum(path.stat().st_size for path in (site.data / "journal").iterdir())
    return {
        "encoded": round(sum(len(encode_frame(frame)) for frame in frames) / samples, 2),
        "journal_file": round(journal / samples, 2),
        "sqlite_rows": round((folder / "rows.db").stat().st_size / samples, 2),
    }


def _queries(folder: Path, site: Site) -> dict[str, float]:
    reader, database = Reader(site.data), sqlite3.connect(folder / "rows.db")
    point = DEVICES * POINTS - 1

    def rows(_: object) -> None:
        database.execute("SELECT time_ms, value, quality FROM sample WHERE point = ?", (point,)).fetchall()

    name = f"d{DEVICES - 1:02d}.p{POINTS - 1}"
    ours, _ = _timed(lambda _: reader.samples(name), [None] * 15)
    peer, _ = _timed(rows, [None] * 15)
    return {"ours": round(statistics.median(ours), 3), "sqlite_rows": round(statistics.median(peer), 3)}


def _stored(site: Site) -> int:
    columns = Reader(site.data).samples_of([point.id for point in site.points])
    return sum(len(each.value) for each in columns.values())


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    commit, cpu = figures["commit_ms"], figures["cpu_us_a_sample"]
    size, query = figures["bytes_a_sample"], figures["query_one_point_ms"]
    return {
        "commit_p50_to_append_fdatasync": round(commit["ours"]["p50"] / commit["append_fdatasync"]["p50"], 2),
        "commit_p99_to_append_fdatasync": round(commit["ours"]["p99"] / commit["append_fdatasync"]["p99"], 2),
        "commit_p50_to_sqlite_rows": round(commit["ours"]["p50"] / commit["sqlite_rows"]["p50"], 3),
        "cpu_to_sqlite_rows": round(cpu["ours"] / cpu["sqlite_rows"], 3),
        "bytes_to_sqlite_rows": round(size["journal_file"] / size["sqlite_rows"], 3),
        "query_one_point_to_sqlite_rows": round(query["ours"] / query["sqlite_rows"], 2),
    }


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


if __name__ == "__main__":
    main()
