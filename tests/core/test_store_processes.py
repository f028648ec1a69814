"""Real processes on one folder: killed at any moment; read while written; only one writer. (F01, F11)"""

from __future__ import annotations

import os
import sqlite3
import time

import pytest
from store_box import open_box
from store_processes import COUNTS, append, committing
from store_sites import site_of

from mines.errors import StoreError
from mines.store.ledger import Ledger
from mines.store.reader import Reader

ROWS = sum(COUNTS.values())


def integrity(data) -> set[str]:
    """What SQLite says of every database of a folder."""
    said = set()
    for path in sorted(data.rglob("*.db")):
        database = sqlite3.connect(path)
        said |= {row[0] for row in database.execute("PRAGMA integrity_check")}
        database.close()
    return said


def assert_whole(site) -> tuple[int, int]:
    """Frames 1 … n with all rows, and exactly their events in the log. Returns n and the number of events."""
    reader = Reader(site.data)
    frames = list(reader.frames())
    events = reader.events()
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events == [event for frame in frames for event in frame.events]
    assert reader.broken_event() is None
    assert len(reader.samples("s.0")) == len(frames)
    return len(frames), len(events)


def test_nothing_that_was_acknowledged_is_lost_by_a_kill_at_any_moment(tmp_path):
    site = site_of(tmp_path / "site", COUNTS)
    for round_no, wait in enumerate((0, 3, 30)):
        with committing(site.folder, f"killed{round_no}") as box:
            box.wait(wait)
            time.sleep(0.004 * round_no)  # anywhere within a commit
            box.kill()
            frame, rows, event_seq, ledger_id = box.look()
        store = open_box(site, boot=f"after{round_no}")
        durable = store.watermark
        store.close()
        assert durable.frame >= frame
        assert durable.rows >= rows
        assert durable.event_seq >= event_seq
        assert assert_whole(site) == (durable.frame, durable.event_seq)
        assert durable.rows == durable.frame * ROWS
        with Ledger(site.data / "ledger.db") as ledger:
            numbers = [act.ledger_id for act in ledger.acts_after(0)]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) >= ledger_id
            assert ledger.verify() is None
        assert integrity(site.data) == {"ok"}


def test_a_reader_beside_the_writer_sees_everything_acknowledged_and_nothing_torn(tmp_path):
    site = site_of(tmp_path / "site", COUNTS)
    reader = Reader(site.data)
    with committing(site.folder, "live", segment_bytes=2_000) as box:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            last = box.look()
            columns = reader.samples("t.2")
            assert len(columns) >= last[0]
            assert columns.batch_no.tolist() == list(range(1, len(columns) + 1))
            events = reader.events()
            assert len(events) >= last[2]
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(list((site.data / "journal").glob("*.db"))) > 3  # segments came and were sealed meanwhile


def test_a_writer_of_another_process_is_named(tmp_path):
    site = site_of(tmp_path / "site", COUNTS)
    with committing(site.folder, "first"):
        pid = int((site.data / "run.lock").read_text(encoding="ascii"))
        assert pid != os.getpid()
        with pytest.raises(StoreError, match=f"another run writes this data folder \\(pid {pid}\\)"):
            open_box(site, boot="second")
    open_box(site, boot="second").close()  # a killed writer's lock went with it


def test_a_backup_that_holds_the_ledger_delays_an_act_and_loses_none(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        append(ledger)
        backup = sqlite3.connect(tmp_path / "ledger.db")
        copy = sqlite3.connect(tmp_path / "copy.db")
        backup.backup(copy, pages=1, progress=lambda *_: append(ledger) if len(ledger.acts_after(0)) < 3 else None)
        for database in (backup, copy):
            database.close()
        assert [act.ledger_id for act in ledger.acts_after(0)] == [1, 2, 3]
        assert ledger.verify() is None
