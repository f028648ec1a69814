"""After any end: nothing below the watermark is missing; what is damaged is set aside; no number is used twice.

A copy of the folder while its store is open is what a killed process leaves.
"""

from __future__ import annotations

import shutil

import pytest
from store_box import Life, damage, events_of, frames_read, killed, open_box, segments
from store_frames import bits
from store_sites import site_of

from mines.errors import StoreError
from mines.events import EventKind
from mines.store import journal
from mines.store.disk import SystemDisk
from mines.store.events_log import EventsLog
from mines.store.frame import Watermark
from mines.store.layout import DataFolder
from mines.store.reader import Reader


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 5, "t": 3})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_killed_life_left_everything_it_said_was_durable(site, count):
    life = Life(site)
    watermark = life.run(count)
    after = killed(life)
    life.store.close()
    store = open_box(after, boot="b2")
    assert store.watermark == watermark
    assert store.recovered == []
    assert list(store.log_tail) == events_of(life.frames)
    assert segments(after.data) == ["000000000001.db"]  # sealed
    store.close()
    assert bits(frames_read(after)) == bits(life.frames)


class PowerWent(BaseException):
    """Ends a life at a chosen place."""


def test_events_that_only_the_journal_has_are_appended_at_the_next_start(site, monkeypatch):
    life = Life(site)
    life.run(3)
    frame = life.frame()
    with monkeypatch.context() as patch:
        patch.setattr(EventsLog, "append", lambda *args, **more: (_ for _ in ()).throw(PowerWent))
        with pytest.raises(PowerWent):
            life.store.commit(frame)
    after = killed(life)
    life.store.close()
    assert len(Reader(after.data).events()) == 2
    store = open_box(after, boot="b2")
    assert list(store.log_tail) == events_of([*life.frames, frame])
    assert store.watermark == Watermark(4, 32, 4)
    store.close()
    assert Reader(after.data).broken_event() is None


def test_a_site_change_that_only_the_journal_has_told_is_not_told_again(site, monkeypatch):
    life = Life(site)
    frame = life.frame(events=life.site_accepted())
    with monkeypatch.context() as patch:
        patch.setattr(EventsLog, "append", lambda *args, **more: (_ for _ in ()).throw(PowerWent))
        with pytest.raises(PowerWent):
            life.store.commit(frame)
    after = killed(life)
    life.store.close()
    store = open_box(after, boot="b2")
    assert [event.kind for event in store.log_tail] == [EventKind.SITE_ACCEPTED]
    assert store.site_changed is None
    store.close()


@pytest.mark.parametrize("life_goes_on", [False, True], ids=["killed", "ended well"])
def test_a_damaged_newest_frame_is_set_aside_and_its_number_never_used_again(site, life_goes_on):
    life = Life(site)
    life.run(3)
    after = site if life_goes_on else killed(life)
    life.store.close()
    damage(after, 3)
    store = open_box(after, boot="b2")
    (note,) = store.recovered
    assert "frame 3" in note
    assert "8 rows" in note
    assert store.watermark == Watermark(3, 16, 2)
    store.close()
    assert [frame.seq for frame in frames_read(after)] == [1, 2]
    assert (after.data / "set_aside" / "000000000003.frame").stat().st_size > 0
    third = Life(after, boot="b3")
    assert third.store.recovered == []
    assert third.commit() == Watermark(4, 24, 4)
    third.store.close()
    assert [frame.seq for frame in frames_read(after)] == [1, 2, 4]


def test_several_damaged_frames_at_the_end_are_set_aside_and_a_segment_left_empty_goes(site):
    life = Life(site)
    life.run(2)
    after = killed(life)
    life.store.close()
    for seq in (1, 2):
        damage(after, seq)
    store = open_box(after, boot="b2")
    assert len(store.recovered) == 2
    assert store.watermark.rows == 0
    assert store.next_frame_seq == 3
    store.close()
    assert segments(after.data) == []


def test_an_older_damaged_frame_does_not_stop_a_start(site):
    life = Life(site)
    watermark = life.run(5)
    after = killed(life)
    life.store.close()
    damage(after, 2)
    store = open_box(after, boot="b2")
    assert store.watermark == watermark
    assert store.recovered == []
    store.close()
    with pytest.raises(StoreError, match="frame 2"):
        frames_read(after)


def overwrite(path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize(
    ("at", "data"),
    [(0, b"no database"), (4096, b"\xff" * 4096), (60, b"\x00\x00\x00\x00"), (60, b"\x00\x00\x00\x07")],
    ids=["header", "page", "version lost", "version altered"],
)
def test_a_damaged_segment_is_set_aside_whole_and_the_box_starts(site, at, data):
    life = Life(site)
    watermark = life.run(40)
    life.store.close()
    overwrite(DataFolder(site.data).segment(1), at, data)
    for boot in ("b2", "b3"):  # also a start that commits nothing must not forget the numbers
        store = open_box(site, boot=boot)
        assert (len(store.recovered) == 1) == (boot == "b2")
        assert store.next_frame_seq > 1_000_000
        assert store.watermark.event_seq == watermark.event_seq
        store.close()
    assert (site.data / "set_aside" / "000000000001.db").exists()
    last = Life(site, boot="b4")
    last.run(2)
    last.store.close()
    assert bits(frames_read(site)) == bits(last.frames)


def test_a_torn_log_of_the_newest_segment_loses_its_end_only(site):
    life = Life(site)
    life.run(6)
    wal = DataFolder(site.data).segment(1).with_name("000000000001.db-wal")
    size = wal.stat().st_size
    counts = []
    for part in range(1, 9):
        after = killed(life, f"torn{part}")
        torn = DataFolder(after.data).segment(1).with_name(wal.name)
        with torn.open("r+b") as file:
            file.truncate(size * part // 8 - 100)
        store = open_box(after, boot="b2")
        store.close()
        found = frames_read(after)
        assert bits(found) == bits(life.frames[: len(found)])
        assert store.next_frame_seq > max((frame.seq for frame in life.frames if frame.events), default=0)
        counts.append(len(found))
    life.store.close()
    assert counts == sorted(counts)
    assert counts[-1] == 5


@pytest.mark.parametrize("content", [b"", None], ids=["empty file", "tables only"])
def test_a_segment_without_a_frame_is_removed(site, content):
    life = Life(site)
    life.run(2)
    life.store.close()
    path = DataFolder(site.data).segment(3)
    if content is None:
        journal.open_segment(path, SystemDisk()).close()
    else:
        path.write_bytes(content)
    again = Life(site, boot="b2")
    assert again.run(1).frame == 3
    again.store.close()
    assert segments(site.data) == ["000000000001.db", "000000000003.db"]


def test_a_segment_that_a_reader_kept_open_is_sealed_at_the_next_start(site):
    life = Life(site)
    life.run(2)
    reading = Reader(site.data).frames()
    next(reading)
    life.store.close()
    assert "000000000001.db-wal" in segments(site.data)
    assert [frame.seq for frame in reading] == [2]
    open_box(site, boot="b2").close()
    assert segments(site.data) == ["000000000001.db"]


def test_a_sealed_segment_is_not_written_to_again(site):
    life = Life(site)
    life.run(2)
    life.store.close()
    path = DataFolder(site.data).segment(1)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    Life(site, boot="b2").run(1)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_lost_journal_does_not_bring_numbers_back(site):
    life = Life(site)
    watermark = life.run(4)
    life.store.close()
    shutil.rmtree(site.data / "journal")
    store = open_box(site, boot="b2")
    assert (store.next_frame_seq, store.next_event_seq) == (5, 5)
    assert store.watermark.event_seq == watermark.event_seq
    store.close()
