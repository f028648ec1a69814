"""Stored statistics: equal to a recomputation from raw; late rows make a revision, and the old one stays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from store_box import Life
from store_frames import START_MS
from store_hours import HOUR, POINTS, life_of_hours, odd_poll
from store_sites import site_of

from mines.model import RowKind
from mines.store.disk import SystemDisk
from mines.store.layout import DataFolder
from mines.store.packing import pack_sealed
from mines.store.query import bucket_rows, longest_voucher_ms, stretch_rows
from mines.store.reader import Reader
from mines.store.stats_file import read_five_minutes
from mines.store.summing import sum_packed


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 4, "t": 2})


def keep(site):
    folder, disk = DataFolder(site.data), SystemDisk()
    pack_sealed(folder, disk)
    return [(head.hour_ms - START_MS) // 3_600_000 for head in sum_packed(folder, disk)]


def recomputed(site, point, hour, *, every_ms=3_600_000):
    """From the stored rows."""
    span = (START_MS + 3_600_000 * hour, START_MS + 3_600_000 * (hour + 1))
    period_s = next(p.period_s for p in site.points if p.id == point)
    reader, before = Reader(site.data), span[0] - longest_voucher_ms(period_s)
    rows, confirmed = reader.samples(point, before, span[1]), reader.confirmations(point, before, span[1])
    return bucket_rows(rows, confirmed, span=span, every_ms=every_ms, period_s=period_s)


def test_every_packed_hour_is_summed_once_a_later_hour_is_packed_and_only_once(site):
    life_of_hours(site, hours=5)
    assert keep(site) == [-1, 0, 1, 2]  # history reaches into the hour before the box began
    assert keep(site) == []


def test_stored_statistics_are_those_of_the_stored_rows(site):
    life_of_hours(site, hours=5)
    keep(site)
    reader = Reader(site.data)
    for point in POINTS:
        stored = stretch_rows(reader.hourly(point, START_MS, START_MS + 3 * 3_600_000))
        assert stored == [row for hour in range(3) for row in recomputed(site, point, hour)]
        assert len(stored) == 3


def test_five_minute_statistics_are_those_of_the_stored_rows(site):
    life_of_hours(site, hours=3)
    keep(site)
    folder = DataFolder(site.data)
    (year,) = folder.stats_years()
    database = SystemDisk().connect(year)
    keys, found = read_five_minutes(database, year, START_MS, 1)
    database.close()
    assert len(keys) == len(POINTS)
    for slot, point in enumerate(POINTS):  # keys were given in the order of the file
        mine = found.taken(found.slot == slot)
        assert stretch_rows(mine) == recomputed(site, point, 0, every_ms=300_000)


def test_rows_that_come_late_make_a_new_revision_and_the_old_one_stays(site):
    life_of_hours(site, hours=4)
    assert keep(site) == [-1, 0, 1]
    before = recomputed(site, "s.0", 0)
    again = Life(site, boot="b2")
    late = [(0, odd_poll(4, 1800, kind=RowKind.BACKFILL))]
    for hour in (5, 6, 7):
        tick_ms = START_MS + 3_600_000 * hour
        batches = [(0, odd_poll(4, hour * HOUR)), *(late if hour == 5 else [])]
        frame = again.frame(batches, events=[])
        tick = dataclasses.replace(frame.ticks[0], time_ms=tick_ms)
        again.commit(dataclasses.replace(frame, ticks=(tick,)))
    again.store.close()
    assert 0 in keep(site)
    stored = stretch_rows(Reader(site.data).hourly("s.0", START_MS, START_MS + 1))
    assert stored == recomputed(site, "s.0", 0) != before
    (year,) = DataFolder(site.data).stats_years()
    database = SystemDisk().connect(year)
    revisions = database.execute("SELECT count(*) FROM hours WHERE hour_ms = ?", (START_MS,)).fetchone()[0]
    old = read_five_minutes(database, year, START_MS, 1)[1]
    database.close()
    assert revisions == 2
    assert np.nansum(old.rows) > 0
