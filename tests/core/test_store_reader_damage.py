"""Reading what is damaged or half made: an error that names the file, or passed over and told; never a wrong value."""

from __future__ import annotations

import pytest
from store_box import Life, damage
from store_frames import START_MS
from store_sites import site_of

from mines.errors import StoreError
from mines.store import journal
from mines.store.disk import SystemDisk
from mines.store.reader import Reader


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 5, "t": 3})


def test_a_damaged_frame_is_an_error_that_names_its_file_and_never_a_wrong_value(site):
    life = Life(site)
    life.run(5)
    life.store.close()
    damage(site, 3)
    reader = Reader(site.data)
    for read in (lambda: list(reader.frames()), lambda: reader.samples("s.0")):
        with pytest.raises(StoreError, match=r"000000000001\.db.*frame 3"):
            read()
    with pytest.raises(StoreError, match=r"000000000001\.db"):
        reader.samples_of(["s.0"], START_MS + 3000)
    assert len(reader.samples("s.0", START_MS + 4000)) == 2


def test_damaged_frames_can_be_passed_over_and_counted(site):
    life = Life(site)
    life.run(5)
    life.store.close()
    damage(site, 2)
    damage(site, 4)
    skipped: list[str] = []
    assert [frame.seq for frame in Reader(site.data).frames(skipped=skipped)] == [1, 3, 5]
    assert [("frame 2" in skipped[0]), ("frame 4" in skipped[1]), len(skipped)] == [True, True, 2]


def test_a_frame_under_another_number_is_damaged(site):
    life = Life(site)
    life.run(3)
    life.store.close()
    database = journal.open_segment(site.data / "journal" / "000000000001.db", SystemDisk())
    database.execute("UPDATE frames SET seq = 9 WHERE seq = 3")
    database.close()
    with pytest.raises(StoreError, match="frame 9 says that it is frame 3"):
        list(Reader(site.data).frames())


def test_segments_outside_the_range_are_passed_over(site, monkeypatch):
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 1)
    life = Life(site)
    life.run(6)
    life.store.close()
    damage(site, 2, segment=2)  # would be an error if its frames were looked at
    assert len(Reader(site.data).samples("s.0", START_MS + 3000)) == 4
    assert len(Reader(site.data).samples("s.0", None, START_MS + 2000)) == 1
    with pytest.raises(StoreError, match="frame 2"):
        Reader(site.data).samples("s.0", START_MS + 2000, START_MS + 2001)


@pytest.mark.parametrize("content", [b"", None], ids=["empty file", "tables only"])
def test_a_segment_that_is_just_being_made_is_tolerated(site, content):
    life = Life(site)
    life.run(2)
    path = site.data / "journal" / "000000000003.db"
    if content is None:
        made = journal.open_segment(path, SystemDisk())
        made.close()
    else:
        path.write_bytes(content)
    reader = Reader(site.data)
    assert len(reader.samples("s.0")) == 2
    assert [frame.seq for frame in reader.frames()] == [1, 2]
    assert reader.source_ids("b1") == ("s", "t")
    life.store.close()
