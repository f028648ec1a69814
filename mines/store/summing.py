"""Keeps statistics of packed hours: what is packed and not summed yet is summed, what came late makes a new revision.

An hour is summed once a part of a later hour is packed: rows lie a tick to either side of their segment's hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from mines.store.disk import Database, Disk, reading, store_errors
from mines.store.layout import DataFolder
from mines.store.packing import packed_headers
from mines.store.points_registry import read_periods
from mines.store.raw_file import PartHeader, Span, has_rows_in, read_points
from mines.store.row_gather import Gathered
from mines.store.statistics import Statistics, statistics
from mines.store.stats_file import (
    FIVE_MINUTES_MS,
    HOUR_MS,
    HourHead,
    mark_seen,
    open_stats,
    read_five_minutes,
    read_heads,
    write_hour,
    year_of,
)


def sum_packed(folder: DataFolder, disk: Disk) -> list[HourHead]:
    """Sums every hour that is due; returns the new revisions.

    Raises:
        StoreError: the disk refused, or a packed part is damaged.
    """
    headers = sorted(packed_headers(folder).values(), key=lambda header: header.first_seq)
    if not headers:
        return []
    due = _due(folder, headers)
    if not due:
        return []
    periods = _periods(folder)
    done = []
    for hour_ms, last_seq in sorted(due.items()):
        head = _sum_hour(folder, disk, periods, hour_ms, last_seq)
        if head is not None:
            done.append(head)
    return done


def _due(folder: DataFolder, headers: Sequence[PartHeader]) -> dict[int, int]:
    """Hours to sum, with the newest frame that has rows of them."""
    newest_ms = max(header.hour_ms for header in headers)
    known = _heads(folder)
    due: dict[int, int] = {}
    for header in headers:
        for hour_ms in _hours_of(header):
            head = known.get(hour_ms)
            if hour_ms < newest_ms and (head is None or head.last_seq < header.last_seq):
                due[hour_ms] = max(due.get(hour_ms, 0), header.last_seq)
    return due


def _hours_of(header: PartHeader) -> list[int]:
    if header.first_row_ms is None or header.last_row_ms is None:
        return []
    first, last = header.first_row_ms // HOUR_MS, header.last_row_ms // HOUR_MS
    return [hour * HOUR_MS for hour in range(first, last + 1)]


def _heads(folder: DataFolder) -> dict[int, HourHead]:
    heads: dict[int, HourHead] = {}
    for path in folder.stats_years():
        with reading(path) as database:
            heads |= {} if database is None else read_heads(database)
    return heads


def _periods(folder: DataFolder) -> dict[int, int]:
    with reading(folder.points_db) as database:
        return {} if database is None else read_periods(database)


def _sum_hour(folder: DataFolder, disk: Disk, periods: dict[int, int], hour_ms: int, last_seq: int) -> HourHead | None:
    keys = sorted(periods)
    period_ms = np.array([periods[key] for key in keys], dtype=np.int64)
    longest_ms = 2 * int(period_ms.max(initial=0)) + 1000
    span = (hour_ms, hour_ms + HOUR_MS)
    samples, confirmations = (
        packed_rows(folder, keys, (hour_ms - longest_ms, hour_ms + HOUR_MS), confirmations=of) for of in (False, True)
    )
    five = statistics(samples, confirmations, period_ms, span, every_ms=FIVE_MINUTES_MS)
    hourly = statistics(samples, confirmations, period_ms, span, every_ms=HOUR_MS)
    path = folder.stats_year(year_of(hour_ms))
    with store_errors(folder.stats):
        folder.stats.mkdir(exist_ok=True)
        disk.sync_folder(folder.path)
    database = open_stats(path, disk)
    try:
        with store_errors(path):
            before = read_heads(database).get(hour_ms)
        head = HourHead(hour_ms, 1 if before is None else before.revision + 1, last_seq)
        if before is not None and _same(database, folder, before, keys, five):
            mark_seen(database, path, replace(before, last_seq=last_seq))
            return None
        write_hour(database, path, head, keys, five, hourly)
        return head
    finally:
        database.close()


def _same(database: Database, folder: DataFolder, before: HourHead, keys: Sequence[int], five: Statistics) -> bool:
    """Whether the newest revision says the same of the same points, whatever their slots."""
    path = folder.stats_year(year_of(before.hour_ms))
    was_keys, was = read_five_minutes(database, path, before.hour_ms, before.revision)
    return _plain(was_keys, was) == _plain(keys, five)


def _plain(keys: Sequence[int], found: Statistics) -> bytes:
    of_key = np.array([keys[slot] for slot in found.slot.tolist()], dtype=np.int64)
    columns = [getattr(found, field.name) for field in fields(found) if field.name != "slot"]
    return b"".join(column.tobytes() for column in (of_key, *columns))


def packed_rows(folder: DataFolder, keys: Sequence[int], span: Span, *, confirmations: bool) -> Gathered:
    """Packed rows of these points in the span, slot by slot, each in the order of the journal."""
    slot_of = {key: slot for slot, key in enumerate(keys)}
    found: list[tuple[int, int, Gathered]] = []
    for path in folder.raw_months():
        with reading(path) as database:
            if database is not None and has_rows_in(database, span):
                found += read_points(database, path, keys, span, confirmations=confirmations)
    found.sort(key=lambda part: (part[1], part[0]))
    return Gathered.joined([rows.in_slot(slot_of[key]) for _, key, rows in found])
