"""Handover: what the journal held is what the packed history holds, whatever happens between two steps."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_box import Life, damage, segments
from store_frames import START_MS, poll
from store_hours import HOUR, POINTS, life_of_hours
from store_sites import site_of

from mines.errors import StoreError
from mines.store.disk import SystemDisk
from mines.store.layout import DataFolder
from mines.store.packing import FRAMES_KEPT_MS, pack_sealed, packed_headers, sealed_segments
from mines.store.reader import Reader


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 4, "t": 2})


def everything(site, span=(None, None)):
    """All that a reader finds, bit for bit."""
    reader = Reader(site.data)
    samples, confirmed = reader.samples_of(POINTS, *span), reader.confirmations_of(POINTS, *span)
    columns = ("receive_time_ms", "source_time_ms", "value", "quality", "batch_no", "kind")
    rows = {p: [(getattr(samples[p], c).dtype.str, getattr(samples[p], c).tobytes()) for c in columns] for p in POINTS}
    return rows, {p: confirmed[p].tolist() for p in POINTS}


def pack(site, **more):
    return pack_sealed(DataFolder(site.data), SystemDisk(), **more)


def test_packed_history_reads_as_the_journal_did_and_old_segments_are_gone(site):
    life_of_hours(site)
    before = everything(site)
    assert sum(len(rows) for rows in before[1].values()) > 0
    packed = pack(site)
    assert [one.header.hour_ms for one in packed] == [START_MS + h * HOUR * 1000 for h in range(3)]
    assert everything(site) == before
    kept = [START_MS + 1000 * HOUR * h for h in range(4) if (2 - h) * HOUR * 1000 < FRAMES_KEPT_MS]
    assert len(segments(site.data)) == len(kept)
    assert pack(site) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(-HOUR, 5 * HOUR), st.integers(0, 3 * HOUR))
def test_any_stretch_reads_the_same_from_journal_and_pack(tmp_path_factory, begin, length):
    site = shared_site(tmp_path_factory)
    span = (START_MS + 1000 * begin, START_MS + 1000 * (begin + length))
    assert everything(site["packed"], span) == everything(site["journal"], span)


_SHARED: dict[str, object] = {}


def shared_site(factory):
    if not _SHARED:
        folder = factory.mktemp("packing")
        site = site_of(folder / "site", {"s": 4, "t": 2})
        life_of_hours(site)
        data = site.data.with_name("journal")
        shutil.copytree(site.data, data)
        pack(site)
        _SHARED.update(packed=site, journal=dataclasses.replace(site, data=data))
    return _SHARED


class Cut(Exception):
    """The process ends here."""


def test_a_cut_at_any_step_loses_nothing_and_the_next_run_comes_to_the_same_end(site):
    life_of_hours(site)
    before = everything(site)
    steps: list[str] = []
    untouched = site.data.with_name("untouched")
    shutil.copytree(site.data, untouched)
    pack(site, step=steps.append)
    headers = packed_headers(DataFolder(site.data))
    assert len(steps) >= 9
    for at in range(len(steps)):
        again = dataclasses.replace(site, data=site.data.with_name(f"cut{at}"))
        shutil.copytree(untouched, again.data)
        left = iter(range(at + 1))

        def cut(_: str, left=left, at=at) -> None:
            if next(left) == at:
                raise Cut

        with pytest.raises(Cut):
            pack(again, step=cut)
        assert everything(again) == before
        pack(again)
        assert everything(again) == before
        assert packed_headers(DataFolder(again.data)) == headers


def test_the_newest_segment_is_never_packed(site):
    life = Life(site)
    life.run(3)
    assert sealed_segments(DataFolder(site.data)) == []
    life.store.close()
    assert sealed_segments(DataFolder(site.data)) == []


def test_a_damaged_segment_stays_and_stops_nothing(site):
    life_of_hours(site)
    damage(site, 2)
    packed = pack(site)
    assert [one.header.hour_ms for one in packed] == [START_MS + h * HOUR * 1000 for h in (1, 2)]
    assert DataFolder(site.data).segment(1).exists()


def test_a_flipped_byte_of_a_packed_column_is_never_another_value(site):
    life_of_hours(site)
    pack(site)
    (month,) = DataFolder(site.data).raw_months()
    database = SystemDisk().connect(month)
    rowid, body = database.execute("SELECT rowid, body FROM chunks WHERE confirmations = 0 LIMIT 1").fetchone()
    altered = bytearray(body)
    altered[len(body) // 2] ^= 0x04
    database.execute("UPDATE chunks SET body = ? WHERE rowid = ?", (bytes(altered), rowid))
    database.close()
    with pytest.raises(StoreError, match=month.name):
        everything(site)


def test_an_hour_with_an_unsure_clock_says_so(site):
    life_of_hours(site)
    assert {one.header.clock_unsure for one in pack(site)} == {True}


def test_two_parts_of_one_hour_are_numbered_and_both_read(site):
    first = Life(site)
    first.run(3)
    first.store.close()
    second = Life(site, boot="b2")
    second.run(3)
    second.store.close()
    third = Life(site, boot="b3")
    third.run(1)
    third.store.close()
    before = everything(site)
    assert [one.header.part for one in pack(site)] == [1, 2]
    assert everything(site) == before


def test_a_box_starts_again_on_a_packed_folder_and_goes_on_counting(site):
    life = life_of_hours(site)
    pack(site)
    again = Life(site, boot="b2")
    assert again.store.watermark == life.store.watermark
    before = len(Reader(site.data).samples("s.0"))
    again.run(2)
    again.store.close()
    assert len(Reader(site.data).samples("s.0")) == before + 2


def test_points_of_one_reply_share_a_time_column(site):
    life = Life(site)
    for k in range(200):
        batches = [(0, poll(4, k + 1)), (1, poll(2, k + 1))]
        life.commit(life.frame(batches, events=[]))
    life.store.close()
    last = Life(site, boot="b2")
    last.run(1)
    last.store.close()
    (packed,) = pack(site)
    assert packed.header.rows == 1200
    assert packed.header.size < 1200 * 2.5
    assert packed.header.size < packed.journal_bytes / 4
