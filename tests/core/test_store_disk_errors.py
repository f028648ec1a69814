"""Errors of the disk: what failed is never tried again, what did not fit may be; earlier data stay. (F05, F07, F11)"""

from __future__ import annotations

import sqlite3

import pytest
from store_box import Life, events_of, frames_read, killed, open_box
from store_frames import bits
from store_sites import site_of

from mines.errors import StoreError
from mines.store import disk as disk_module
from mines.store import journal
from mines.store.disk import DiskFull, Locked, SystemDisk
from mines.store.frame import Watermark
from mines.store.layout import DataFolder
from mines.store.reader import Reader


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 5, "t": 3})


def test_after_an_error_of_the_disk_nothing_more_is_written(site, monkeypatch):
    life = Life(site)
    life.run(2)
    with monkeypatch.context() as patch:
        error = sqlite3.OperationalError("disk I/O error")
        patch.setattr(journal, "transaction", lambda *args: (_ for _ in ()).throw(StoreError(str(error))))
        with pytest.raises(StoreError, match="disk I/O error"):
            life.store.commit(life.frame())
    with pytest.raises(StoreError, match="nothing is written after an error: disk I/O error"):
        life.store.commit(life.frame())
    life.store.close()
    store = open_box(site, boot="b2")
    assert store.watermark == Watermark(2, 16, 2)
    store.close()


class FailingSync(SystemDisk):
    """Every database says on COMMIT what SQLite says when fsync fails."""

    def __init__(self) -> None:
        self.failing = False

    def connect(self, path):
        return FailingCommit(super().connect(path), self)


class FailingCommit:
    def __init__(self, database, disk):
        self._database, self._disk = database, disk

    def execute(self, sql, parameters=(), /):
        if self._disk.failing and sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._database.execute(sql, parameters)

    def close(self):
        self._database.close()


def test_a_failed_sync_is_never_tried_again_and_a_restart_goes_on_from_what_is_durable(site):
    disk = FailingSync()
    life = Life(site, disk=disk)
    life.run(3)
    disk.failing = True
    frame = life.frame()
    with pytest.raises(StoreError, match="disk I/O error"):
        life.store.commit(frame)
    disk.failing = False
    with pytest.raises(StoreError, match="nothing is written"):
        life.store.commit(frame)
    life.store.close()
    store = open_box(site, boot="b2")
    assert store.watermark == Watermark(3, 24, 2)
    store.close()
    assert bits(frames_read(site)) == bits(life.frames)


class SmallDisk(SystemDisk):
    """Databases of a name may only grow to so many pages."""

    def __init__(self, name: str) -> None:
        self.name, self.pages, self.opened = name, None, []

    def connect(self, path):
        database = super().connect(path)
        if self.name in path.name:
            self.opened.append(database)
            self.limit(self.pages)
        return database

    def limit(self, pages):
        self.pages = pages
        for database in self.opened if pages is not None else []:
            database.execute(f"PRAGMA max_page_count={pages}")


def fill(life: Life) -> None:
    for _ in range(1000):
        life.commit()


@pytest.mark.parametrize("name", ["000000000001.db", "events.db"], ids=["journal", "events"])
def test_a_full_disk_is_an_error_that_harms_nothing_and_passes(site, name):
    disk = SmallDisk(name)
    life = Life(site, disk=disk, event_every=1)
    disk.limit(11)
    with pytest.raises(DiskFull, match=name):
        fill(life)
    durable = life.store.watermark
    stuck = life.store._journalled or life.frame()
    with pytest.raises(DiskFull):
        life.store.commit(stuck)
    after = killed(life)
    disk.limit(1_000_000)
    assert life.commit(stuck).frame == durable.frame + 1
    assert life.commit().frame == durable.frame + 2
    life.store.close()
    assert bits(frames_read(site)) == bits(life.frames)
    assert Reader(site.data).events() == events_of(life.frames)
    recovered = open_box(after, boot="b2")
    assert recovered.watermark.frame >= durable.frame
    assert bits(frames_read(after)[: durable.frame]) == bits(life.frames[: durable.frame])
    recovered.close()


def test_a_frame_that_stands_in_the_journal_alone_must_be_committed_again_first(site):
    disk = SmallDisk("events.db")
    life = Life(site, disk=disk, event_every=1)
    disk.limit(11)
    with pytest.raises(DiskFull):
        fill(life)
    with pytest.raises(StoreError, match="commit it again"):
        life.store.commit(life.frame())
    life.store.close()
    store = open_box(site, boot="b2")  # with room again: the next start does the same
    assert len(store.log_tail) == 2 * (len(life.frames) + 1)
    store.close()


@pytest.mark.parametrize("name", ["events_db", "segment"], ids=str)
def test_a_file_that_another_holds_is_waited_for_only_so_long_and_loses_nothing(site, monkeypatch, name):
    monkeypatch.setattr(disk_module, "BUSY_TIMEOUT_S", 0.05)
    life = Life(site, event_every=1)
    life.run(2)
    path = DataFolder(site.data).events_db if name == "events_db" else DataFolder(site.data).segment(1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    frame = life.frame()
    with pytest.raises(Locked, match="locked"):
        life.store.commit(frame)
    assert life.store.watermark == Watermark(2, 16, 4)
    holder.execute("ROLLBACK")
    holder.close()
    assert life.commit(frame) == Watermark(3, 24, 6)
    life.store.close()
    assert bits(frames_read(site)) == bits(life.frames)
