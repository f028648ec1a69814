"""Retention: by age from the newest sure hour, by size above the floor, never on the word of a clock that leapt."""

from __future__ import annotations

import dataclasses

import pytest
from store_frames import START_MS
from store_hours import POINTS, life_of_hours
from store_sites import site_of

from mines.errors import StoreError
from mines.events import Event, EventKind
from mines.store.disk import SystemDisk
from mines.store.layout import DataFolder
from mines.store.packing import pack_sealed, packed_headers
from mines.store.proof import extend
from mines.store.reader import Reader
from mines.store.retention import (
    DAY_MS,
    RAW_FLOOR_DAYS,
    Month,
    month_to_remove,
    months_of,
    newest_sure_ms,
    remove_month,
    stepped_lately,
)
from mines.store.verify import verify
from mines.worker import remove_old_history

NOW = START_MS
MONTHS = [Month(f"m{age}", NOW - age * DAY_MS, 100, (age,)) for age in (10, 60, 91, 100, 200, 731)]


@pytest.mark.parametrize(
    ("months", "keep_days", "most_bytes", "goes"),
    [
        (MONTHS, 730, None, "m731"),
        (MONTHS[:5], 730, None, None),
        (MONTHS[:5], 150, None, "m200"),
        (MONTHS[:3], 1, None, None),
        (MONTHS[:4], 1, None, "m100"),
        (MONTHS[:5], 730, 499, "m200"),
        (MONTHS[:5], 730, 500, None),
        (MONTHS[:3], 730, 1, None),
        ([], 1, 1, None),
    ],
    ids=["too old", "none old", "a shorter keep", "below the floor", "floor over keep", "too big", "just fits",
         "too big but within the floor", "nothing there"],
)  # fmt: skip
def test_the_oldest_month_goes_where_age_or_size_allow_it(months, keep_days, most_bytes, goes):
    found = month_to_remove(months, NOW, keep_days=keep_days, most_bytes=most_bytes)
    assert (found and found.name) == goes


def test_the_floor_is_three_months():
    assert RAW_FLOOR_DAYS >= 31 + 31 + 30


@pytest.mark.parametrize(("ago", "lately"), [(0, True), (DAY_MS, True), (DAY_MS + 1, False), (-DAY_MS, True)])
def test_nothing_goes_within_a_day_of_a_step_of_the_clock(ago, lately):
    assert stepped_lately([Event(1, NOW - ago, EventKind.CLOCK_STEP)], NOW) is lately


@pytest.fixture
def site(tmp_path):
    site = site_of(tmp_path / "site", {"s": 4, "t": 2})
    life_of_hours(site)
    pack_sealed(DataFolder(site.data), SystemDisk())
    return site


def test_an_hour_with_an_unsure_clock_makes_nothing_old(site):
    headers = list(packed_headers(DataFolder(site.data)).values())
    leapt = dataclasses.replace(headers[0], last_row_ms=NOW + 3650 * DAY_MS, clock_unsure=True)
    sure = [dataclasses.replace(header, clock_unsure=False) for header in headers]
    assert newest_sure_ms([leapt, *sure]) == max(header.last_row_ms for header in headers)
    assert newest_sure_ms([leapt]) is None


def test_a_month_that_went_is_in_the_chain_and_the_rest_still_verifies(site):
    folder = DataFolder(site.data)
    (month,) = months_of(folder)
    with pytest.raises(StoreError, match="chain"):
        remove_month(folder, SystemDisk(), month, time_ms=NOW)
    extend(folder, SystemDisk(), time_ms=NOW)
    remove_month(folder, SystemDisk(), month, time_ms=NOW)
    assert folder.raw_months() == []
    assert verify(folder).problem == ""
    remove_month(folder, SystemDisk(), month, time_ms=NOW)
    assert verify(folder).problem == ""
    assert len(Reader(site.data).samples(POINTS[0])) > 0, "the last two hours are in the journal still"


def test_a_month_that_is_missing_and_in_no_link_is_named(site):
    folder = DataFolder(site.data)
    extend(folder, SystemDisk(), time_ms=NOW)
    folder.raw_months()[0].unlink()
    assert "is missing" in verify(folder).problem


def test_the_worker_removes_what_is_old_and_nothing_else(site):
    folder = DataFolder(site.data)
    extend(folder, SystemDisk(), time_ms=NOW)
    assert remove_old_history(site, keep_days=RAW_FLOOR_DAYS) is None
    assert len(folder.raw_months()) == 1
