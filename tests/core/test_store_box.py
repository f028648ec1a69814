"""The box's store: what was committed is there, in order, after any restart; there is one writer."""

from __future__ import annotations

import dataclasses
import os
import sqlite3

import pytest
from store_box import Life, frames_read, open_box, segments
from store_frames import START_MS, bits, event, frame_of, poll, tick_of
from store_sites import make_point, make_site, site_of

from mines.errors import StoreError
from mines.events import event_log_sha256
from mines.model import RowKind
from mines.store import journal
from mines.store.frame import Frame, Watermark
from mines.store.layout import DataFolder
from mines.store.reader import Reader


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 5, "t": 3})


@pytest.fixture
def life(site):
    opened = Life(site)
    yield opened
    opened.store.close()


def test_a_watermark_says_how_far_everything_is_durable(life):
    assert life.store.watermark == Watermark(0, 0, 0)
    assert (life.store.next_frame_seq, life.store.next_event_seq) == (1, 1)
    assert life.commit() == Watermark(1, 8, 0)
    assert life.commit() == Watermark(2, 16, 2) == life.store.watermark


def test_a_confirmation_is_kept_but_is_no_stored_row(life, site):
    batches = [(0, poll(5, 1)), (1, poll(3, 1, kind=RowKind.CONFIRM)), (1, poll(3, 1, kind=RowKind.BACKFILL))]
    assert life.commit(life.frame(batches=batches)).rows == 8
    assert bits(frames_read(site)) == bits(life.frames)


def test_frames_come_back_bit_for_bit_across_restarts(site):
    committed = []
    for boot in ("b1", "b2", "b3"):
        life = Life(site, boot=boot)
        life.run(3)
        life.store.close()
        committed += life.frames
    assert bits(frames_read(site)) == bits(committed)
    assert bits(frames_read(site, after_seq=4)) == bits(committed[4:])
    assert bits(frames_read(site, after_seq=9)) == bits([])
    assert [frame.seq for frame in committed] == list(range(1, 10))


def test_numbers_go_on_after_a_restart(site):
    life = Life(site)
    watermark = life.run(5)
    life.store.close()
    again = Life(site, boot="b2")
    assert again.store.watermark == watermark
    assert event_log_sha256(again.store.log_tail) == event_log_sha256(e for f in life.frames for e in f.events)
    assert again.run(1).frame == 6
    again.store.close()


def test_closing_twice_is_no_harm(life):
    life.run(1)
    life.store.close()
    life.store.close()


def test_a_clean_end_leaves_one_file_a_segment(life, site):
    life.run(3)
    life.store.close()
    assert segments(site.data) == ["000000000001.db"]
    assert sorted(path.name for path in site.data.iterdir() if path.is_file()) == [
        "events.db", "points.db", "run.lock", "schema.json"
    ]  # fmt: skip


def test_an_opening_without_a_commit_leaves_no_segment(life, site):
    life.store.close()
    assert segments(site.data) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq": 3}, "frame 3 cannot follow frame 1"),
        ({"seq": 1}, "frame 1 cannot follow frame 1"),
        ({"boot_id": "b9"}, "another boot"),
        ({"site_sha256": "0" * 64}, "another boot or site"),
        ({"ticks": (), "events": ()}, "holds nothing"),
    ],
    ids=["a number is missing", "a number twice", "boot", "site", "empty"],
)
def test_a_frame_that_cannot_follow_is_refused_and_the_next_right_one_taken(life, change, message):
    life.run(1)
    with pytest.raises(StoreError, match=message):
        life.store.commit(dataclasses.replace(life.frame(), **change))
    assert life.commit().frame == 2


@pytest.mark.parametrize(("source", "index"), [(0, 5), (0, -1), (2, 0), (-1, 0)], ids=str)
def test_a_row_of_a_point_that_its_source_does_not_have_is_refused(life, source, index):
    """Else it would be read back as another point's."""
    batch = poll(1, 1)
    batch.index[0] = index
    with pytest.raises(StoreError, match="does not have"):
        life.store.commit(life.frame(batches=[(source, batch)]))


@pytest.mark.parametrize(
    "events", [[event(2, 1)], [event(1, 1), event(1, 1)], [event(1, 1, note="\ud800")]], ids=["gap", "twice", "no text"]
)
def test_events_that_the_log_would_refuse_never_get_into_the_journal(life, site, events):
    """There they would be refused again at every start."""
    with pytest.raises(StoreError, match=r"events\.db"):
        life.store.commit(life.frame(events=events))
    life.store.close()
    store = open_box(site, boot="b2")
    assert store.watermark == Watermark(0, 0, 0)
    store.close()


def test_a_frame_of_events_alone_is_kept(life, site):
    frame = Frame(1, "b1", site.sha256, (), (event(1, START_MS), event(2, START_MS)))
    assert life.commit(frame) == Watermark(1, 0, 2)
    assert bits(frames_read(site)) == bits([frame])


def test_a_second_writer_is_refused_by_the_pid_of_the_first(life, site):
    with pytest.raises(StoreError, match=f"pid {os.getpid()}"):
        open_box(site, boot="b2")
    life.run(1)
    life.store.close()
    open_box(site, boot="b2").close()


def test_what_failed_to_open_holds_no_lock(site):
    Life(site).store.close()
    with sqlite3.connect(DataFolder(site.data).points_db) as database:
        database.execute("PRAGMA user_version=7")
    database.close()
    with pytest.raises(StoreError, match="schema 7"):
        open_box(site)
    with sqlite3.connect(DataFolder(site.data).points_db) as database:
        database.execute("PRAGMA user_version=1")
    database.close()
    open_box(site).close()


@pytest.mark.parametrize("text", ['{"schema": 2}', "", "[]", '{"schema'], ids=["newer", "empty", "other", "half"])
def test_a_folder_of_another_schema_is_refused(site, text):
    Life(site).store.close()
    DataFolder(site.data).schema.write_text(text, encoding="utf-8")
    for attempt in (lambda: open_box(site), lambda: Reader(site.data)):
        with pytest.raises(StoreError, match=r"schema\.json"):
            attempt()


def test_a_folder_that_lost_its_schema_file_is_refused(site):
    Life(site).store.close()
    DataFolder(site.data).schema.unlink()
    with pytest.raises(StoreError, match=r"schema\.json"):
        open_box(site)


def test_a_new_segment_begins_with_the_hour(life, site):
    for second in (10, 3599, 3600, 3601, 7200, 3500):
        seq = life.store.next_frame_seq
        tick = dataclasses.replace(tick_of(second, [(0, poll(5, second))]), number=seq)
        life.commit(Frame(seq, "b1", site.sha256, (tick,)))
    life.store.close()
    # the last one: the clock stepped back, and an hour that was left does not grow again
    assert segments(site.data) == [f"{seq:012d}.db" for seq in (1, 3, 5, 6)]
    assert bits(frames_read(site)) == bits(life.frames)


def test_a_new_segment_begins_when_one_is_full(site, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 700)
    life = Life(site)
    life.run(12)
    life.store.close()
    names = segments(site.data)
    assert 2 < len(names) < 12
    assert bits(frames_read(site)) == bits(life.frames)
    for name in names[:-1]:
        assert sum(len(row[0]) for row in rows_of(site, name, "SELECT body FROM frames")) >= 700


def rows_of(site, name: str, sql: str) -> list[tuple]:
    with sqlite3.connect(site.data / "journal" / name) as database:
        found = database.execute(sql).fetchall()
    database.close()
    return found


def test_every_file_keeps_what_was_committed_through_a_power_cut_by_its_settings(life):
    """WAL and FULL; that they do what they promise is tested in faults/test_power_cut.py."""
    life.run(2)
    parts = life.store._parts
    for database in (parts.journal._segment.database, parts.events._database, parts.registry._database):
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert database.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_change_of_the_site_is_told_until_an_event_has_it(site, tmp_path):
    life = Life(site)
    assert life.store.site_changed.added == tuple(sorted(point.id for point in site.points))
    life.run(1)
    life.store.close()
    again = Life(site, boot="b2")
    assert again.store.site_changed == life.store.site_changed
    again.commit(again.frame(events=again.site_accepted()))
    assert again.store.site_changed is None
    again.store.close()
    third = Life(site, boot="b3")
    assert third.store.site_changed is None
    third.store.close()
    other = make_site(tmp_path / "site", [*site.points, make_point("new")], ("s", "t"))
    fourth = Life(other, boot="b4")
    assert fourth.store.site_changed.added == ("new",)
    assert fourth.store.site_changed.previous_sha256 == site.sha256
    fourth.store.close()


def test_the_files_of_an_accepted_site_are_kept_to_the_byte(life, site):
    (accepted,) = Reader(site.data).accepted_sites()
    files = Reader(site.data).site_files(accepted.sha256)
    assert accepted.sha256 == site.sha256
    assert files == {name: (site.folder / name).read_bytes() for name in ("site.toml", "points.csv")}


def test_frames_without_events_need_no_commit_of_the_event_log(site):
    life = Life(site, event_every=1000)
    before = life.store._parts.events.head
    life.run(3)
    assert life.store._parts.events.head == before
    assert life.store.watermark.rows == 24
    life.store.close()
    again = open_box(site, boot="b2")
    assert again.watermark == Watermark(3, 24, 0)
    again.close()


def test_a_reader_inside_a_segment_puts_its_sealing_off_and_nothing_else(site):
    life = Life(site)
    life.run(2)
    reading = Reader(site.data).frames()
    next(reading)
    life.commit(frame_at(life, hour=1))  # a new segment, while the old one is being read
    assert "000000000001.db-wal" in segments(site.data)
    assert [frame.seq for frame in reading] == [2]
    life.commit(frame_at(life, hour=2))
    assert segments(site.data)[:2] == ["000000000001.db", "000000000003.db"]
    life.store.close()
    assert [frame.seq for frame in frames_read(site)] == [1, 2, 3, 4]


def frame_at(life: Life, *, hour: int) -> Frame:
    second = 3600 * hour
    frame = frame_of(second, boot_id="b1", site_sha256=life.site.sha256, batches=[(0, poll(5, second))])
    return dataclasses.replace(frame, seq=life.store.next_frame_seq)
