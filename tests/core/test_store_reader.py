"""Reading back: by point, whatever the point was called and wherever it stood; beside a live writer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from store_box import Life
from store_frames import START_MS
from store_sites import make_point, make_site, site_of

from mines.clock import NO_TIME_MS
from mines.errors import StoreError
from mines.model import Batch, RowKind, make_batch
from mines.quality import Reason, bad
from mines.store.reader import Reader


@pytest.fixture
def site(tmp_path):
    return site_of(tmp_path / "site", {"s": 5, "t": 3})


def expected_values(frames, source: int, index: int) -> list[float]:
    """By hand, row after row, what the reader finds with whole columns."""
    return [
        float(value)
        for frame in frames
        for tick in frame.ticks
        for item in tick.batches
        if item.source == source and item.batch.kind != RowKind.CONFIRM
        for at, value in zip(item.batch.index.tolist(), item.batch.value.tolist(), strict=True)
        if at == index
    ]


def values_at(second: int, values: list[float], kind: RowKind = RowKind.SAMPLE, **more: object) -> Batch:
    batch = make_batch(
        range(len(values)),
        values,
        0,
        receive_time_ms=START_MS + 1000 * second,
        monotonic_ns=1,
        batch_no=second,
        kind=kind,
    )
    return dataclasses.replace(batch, **more)


def test_every_point_has_its_own_rows_in_journal_order(site):
    life = Life(site)
    life.run(6)
    life.store.close()
    found = Reader(site.data).samples_of([point.id for point in site.points])
    for source, count in enumerate((5, 3)):
        for index in range(count):
            columns = found[f"{'st'[source]}.{index}"]
            assert columns.value.tolist() == expected_values(life.frames, source, index)
            assert columns.receive_time_ms.tolist() == [START_MS + 1000 * second for second in range(1, 7)]
            assert columns.batch_no.tolist() == list(range(1, 7))
            assert set(columns.kind.tolist()) == {RowKind.SAMPLE}
            assert set(columns.source_time_ms.tolist()) == {NO_TIME_MS}


def test_one_point_reads_as_it_does_among_many(site):
    life = Life(site)
    life.run(4)
    life.store.close()
    reader = Reader(site.data)
    alone, among = reader.samples("t.1"), reader.samples_of(["s.0", "t.1", "s.4"])["t.1"]
    for field in dataclasses.fields(alone):
        assert getattr(alone, field.name).tolist() == getattr(among, field.name).tolist()
        assert getattr(alone, field.name).dtype == getattr(among, field.name).dtype


def test_columns_have_their_types_also_without_rows(site):
    with_rows, without = Life(site), Reader(site.data).samples("s.0")
    with_rows.run(1)
    with_rows.store.close()
    full = Reader(site.data).samples("s.0")
    assert (len(without), len(full)) == (0, 1)
    for field in dataclasses.fields(full):
        assert getattr(without, field.name).dtype == getattr(full, field.name).dtype


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    reader = Reader(tmp_path / "nowhere")
    assert len(reader.samples("p")) == len(reader.confirmations("p")) == 0
    assert reader.events() == list(reader.frames()) == reader.accepted_sites() == []
    assert reader.known_points() == frozenset()
    assert reader.broken_event() is None
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(StoreError, match="no frame is of boot b1"):
        reader.source_ids("b1")


def test_confirmations_are_no_samples_and_are_found_by_themselves(site):
    life = Life(site)
    life.commit(life.frame(batches=[(0, values_at(1, [1.0, 2.0]))]))
    life.commit(life.frame(batches=[(0, values_at(2, [np.nan, np.nan], RowKind.CONFIRM)), (1, values_at(2, [7.0]))]))
    life.commit(life.frame(batches=[(0, values_at(3, [np.nan], RowKind.CONFIRM))]))
    life.store.close()
    reader = Reader(site.data)
    assert reader.samples("s.0").value.tolist() == [1.0]
    assert reader.confirmations("s.0").tolist() == [START_MS + 2000, START_MS + 3000]
    assert reader.confirmations("s.0", START_MS + 2000, START_MS + 3000).tolist() == [START_MS + 2000]
    by_point = reader.confirmations_of(["s.1", "s.4", "nobody"])
    assert {point: times.tolist() for point, times in by_point.items()} == {
        "s.1": [START_MS + 2000], "s.4": [], "nobody": []
    }  # fmt: skip


@pytest.mark.parametrize(
    ("from_s", "to_s", "seconds"),
    [(None, None, [1, 2, 3, 4, 5]), (2, 4, [2, 3]), (4, None, [4, 5]), (None, 2, [1]), (9, None, []), (3, 3, [])],
    ids=str,
)
def test_a_range_includes_its_beginning_and_not_its_end(site, from_s, to_s, seconds):
    life = Life(site)
    life.run(5)
    life.store.close()
    span = [None if second is None else START_MS + 1000 * second for second in (from_s, to_s)]
    assert Reader(site.data).samples("s.2", *span).batch_no.tolist() == seconds


def test_a_back_filled_row_stands_where_its_source_time_is(site):
    life = Life(site)
    times = np.array([START_MS - 60_000, NO_TIME_MS])
    filled = values_at(8, [1.5, 2.5], RowKind.BACKFILL, source_time_ms=times)
    life.commit(life.frame(batches=[(0, filled), (0, values_at(8, [3.5, 4.5]))]))
    life.store.close()
    reader = Reader(site.data)
    columns = reader.samples("s.0")
    assert columns.time_ms.tolist() == [START_MS - 60_000, START_MS + 8000]
    assert columns.kind.tolist() == [RowKind.BACKFILL, RowKind.SAMPLE]
    assert reader.samples("s.0", None, START_MS).value.tolist() == [1.5]
    assert reader.samples("s.0", START_MS).value.tolist() == [3.5]
    assert reader.samples("s.1").time_ms.tolist() == [START_MS + 8000, START_MS + 8000]


def test_a_bad_row_comes_back_as_bad_row(site):
    life = Life(site)
    lost = bad(Reason.TIMEOUT)
    batch = make_batch([0], [np.nan], lost, receive_time_ms=5, monotonic_ns=6, batch_no=7)
    life.commit(life.frame(batches=[(0, batch)]))
    life.store.close()
    columns = Reader(site.data).samples("s.0")
    assert np.isnan(columns.value).tolist() == [True]
    assert columns.quality.tolist() == [lost]


def test_several_rows_of_a_point_in_one_frame_all_come_back_in_order(site):
    life = Life(site)
    batch = make_batch([3, 1, 3, 3], [1.0, 2.0, 3.0, 4.0], 0, receive_time_ms=START_MS, monotonic_ns=1, batch_no=1)
    life.commit(life.frame(batches=[(0, batch), (0, values_at(1, [0.0, 0.0, 0.0, 5.0]))]))
    life.store.close()
    assert Reader(site.data).samples("s.3").value.tolist() == [1.0, 3.0, 4.0, 5.0]


def write_one(site, boot: str, second: int, value: float) -> None:
    """One boot of the site: every point reads `value` plus its place."""
    life = Life(site, boot=boot)
    batches = [
        (at, values_at(second, [value + 0.125 * i for i in range(len(site.points_of(source.id)))]))
        for at, source in enumerate(site.sources)
    ]
    life.commit(life.frame(batches=batches, events=[]))
    life.store.close()


def test_a_points_history_follows_it_through_reorder_rename_and_another_source(tmp_path):
    folder = tmp_path / "site"
    write_one(make_site(folder, [make_point("a"), make_point("b")]), "b1", 1, 10.0)
    write_one(make_site(folder, [make_point("b"), make_point("a")]), "b2", 2, 20.0)
    write_one(make_site(folder, [make_point("b"), make_point("a2", formerly="a")]), "b3", 3, 30.0)
    last = make_site(folder, [make_point("a2", "t", formerly="a"), make_point("b", "s")], ("s", "t"))
    write_one(last, "b4", 4, 40.0)
    reader = Reader(last.data)
    assert reader.samples("a2").value.tolist() == [10.0, 20.125, 30.125, 40.0]
    assert reader.samples("b").value.tolist() == [10.125, 20.0, 30.0, 40.0]
    assert reader.samples("a").value.tolist() == reader.samples("a2").value.tolist()
    assert set(reader.samples_of(["a", "a2"])) == {"a", "a2"}
    assert reader.known_points() == {"a2", "b"}
    assert reader.source_ids("b1") == ("s",)
    assert reader.source_ids("b4") == ("s", "t")


def test_rows_of_another_unit_are_another_history(tmp_path):
    folder = tmp_path / "site"
    write_one(make_site(folder, [make_point("a", unit="%CH4")]), "b1", 1, 1.0)
    write_one(make_site(folder, [make_point("a", unit="ppm")]), "b2", 2, 10_000.0)
    last = make_site(folder, [make_point("a", unit="ppm"), make_point("b")])
    write_one(last, "b3", 3, 10_001.0)
    assert Reader(last.data).samples("a").value.tolist() == [10_000.0, 10_001.0]


def test_a_point_that_the_site_has_no_more_still_reads(tmp_path):
    folder = tmp_path / "site"
    write_one(make_site(folder, [make_point("a"), make_point("b")]), "b1", 1, 1.0)
    last = make_site(folder, [make_point("b")])
    write_one(last, "b2", 2, 2.0)
    assert Reader(last.data).samples("a").value.tolist() == [1.0]
    assert Reader(last.data).known_points() == {"a", "b"}


def test_events_are_read_by_time(site):
    life = Life(site)
    life.run(6)
    life.store.close()
    reader = Reader(site.data)
    assert [found.seq for found in reader.events()] == [1, 2, 3, 4, 5, 6]
    assert reader.events() == [e for frame in life.frames for e in frame.events]
    assert [found.seq for found in reader.events(START_MS + 4000, START_MS + 6000)] == [3, 4]
    assert reader.broken_event() is None


def test_the_live_writer_is_read_beside(site):
    life = Life(site)
    reader = Reader(site.data)
    for count in range(1, 5):
        life.run(1)
        assert len(reader.samples("s.0")) == count
        assert len(reader.events()) == life.store.watermark.event_seq
    life.store.close()


@pytest.fixture(scope="module")
def three_minutes(tmp_path_factory):
    """3 minutes of 340 points of 17 devices, polled once a second."""
    site = site_of(tmp_path_factory.mktemp("mine") / "site", {f"d{i:02d}": 20 for i in range(17)})
    life = Life(site, event_every=20)
    life.run(180)
    yield site, life.frames
    life.store.close()


def test_one_point_and_all_points_of_three_minutes_of_a_mine_read_the_same(three_minutes):
    site, frames = three_minutes
    reader, ids = Reader(site.data), [point.id for point in site.points]
    found = reader.samples_of(ids)
    assert all(len(found[point]) == 180 for point in ids)
    assert found["d00.0"].value.tolist() == expected_values(frames, 0, 0)
    assert reader.samples("d16.19").value.tolist() == expected_values(frames, 16, 19)
