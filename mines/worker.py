"""`minewatch worker`: calendar work at low priority: it packs sealed journal segments and keeps the score fresh.

APScheduler for calendar work only, never for polling; `misfire_grace_time=None`, so that a stall skips nothing.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from mines.clock import SystemClock
from mines.errors import StoreError
from mines.notify import notify
from mines.site.site_file import Site
from mines.store.disk import SystemDisk
from mines.store.layout import DataFolder
from mines.store.packing import pack_sealed, packed_headers
from mines.store.proof import extend
from mines.store.reader import Reader
from mines.store.retention import (
    DAY_MS,
    RAW_DEFAULT_DAYS,
    month_to_remove,
    months_of,
    newest_sure_ms,
    remove_month,
    stepped_lately,
)
from mines.store.summing import sum_packed
from mines.times import print_time

_LOG = logging.getLogger("minewatch.worker")
_SCORE_EVERY_S = 60
_PACK_EVERY_S = 60
_NICENESS = 10

Score = Callable[[Site, Reader, int], dict[str, Any]]


def score_path(site: Site) -> Path:
    """Where the worker leaves the score for the pages."""
    return site.runtime / "score.json"


def write_score(site: Site, score: Score, now_ms: int) -> None:
    """Computes the score and replaces the file in one step."""
    document = score(site, Reader(site.data), now_ms)
    site.runtime.mkdir(parents=True, exist_ok=True)
    part = score_path(site).with_suffix(".part")
    part.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    os.replace(part, score_path(site))


def pack_history(site: Site) -> None:
    """Packs, sums and links what `run` has sealed. An error is told, and tried again: nothing goes before it stands."""
    try:
        for packed in pack_sealed(DataFolder(site.data), SystemDisk()):
            header = packed.header
            _LOG.info("packed %s: %d rows in %d bytes", packed.path.name, header.rows, header.size)
        for head in sum_packed(DataFolder(site.data), SystemDisk()):
            _LOG.info("summed the hour of %s, revision %d", print_time(head.hour_ms), head.revision)
        newest_ms = Reader(site.data).newest_tick_ms()
        if newest_ms is not None:
            extend(DataFolder(site.data), SystemDisk(), time_ms=newest_ms)
    except StoreError:
        _LOG.exception("packing failed; the journal keeps everything")


def remove_old_history(site: Site, *, keep_days: int = RAW_DEFAULT_DAYS) -> str | None:
    """Removes the oldest month of packed history where its time is over; at most one a call. Returns its name."""
    folder, reader = DataFolder(site.data), Reader(site.data)
    now_ms, sure_ms = reader.newest_tick_ms(), newest_sure_ms(list(packed_headers(folder).values()))
    if now_ms is None or sure_ms is None or stepped_lately(reader.events(now_ms - 2 * DAY_MS), now_ms):
        return None
    month = month_to_remove(months_of(folder), sure_ms, keep_days=keep_days)
    if month is None:
        return None
    remove_month(folder, SystemDisk(), month, time_ms=now_ms)
    _LOG.info("removed the history of %s: older than %d days", month.name, keep_days)
    return month.name


def _tried(work: Callable[[], object]) -> None:
    """Calendar work whose error is told, and which comes again."""
    try:
        work()
    except StoreError:
        _LOG.exception("calendar work failed")


def run_worker(site: Site, score: Score) -> None:
    """Until SIGTERM or SIGINT."""
    from apscheduler.schedulers.blocking import BlockingScheduler

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    os.nice(_NICENESS)
    clock = SystemClock()
    scheduler = BlockingScheduler(timezone="Asia/Shanghai")
    scheduler.add_job(
        lambda: write_score(site, score, clock.wall_ms()),
        "interval",
        seconds=_SCORE_EVERY_S,
        misfire_grace_time=None,
        coalesce=True,
        next_run_time=datetime.now(UTC),
        id="score",
    )

    scheduler.add_job(
        lambda: pack_history(site),
        "interval",
        seconds=_PACK_EVERY_S,
        misfire_grace_time=None,
        coalesce=True,
        next_run_time=datetime.now(UTC),
        id="pack",
    )
    scheduler.add_job(
        lambda: _tried(lambda: remove_old_history(site)),
        "cron",
        hour=3,
        minute=40,
        misfire_grace_time=None,
        coalesce=True,
        id="retention",
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        notify("STOPPING=1")
        scheduler.shutdown(wait=False)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    notify("READY=1")
    _LOG.info("worker runs for %s", site.mine.id)
    scheduler.start()
