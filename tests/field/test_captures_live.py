"""A stretch of our own record: cut where it can be cut, and its replay gives the very events of the box."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from box_story import T0_MS, MemoryRecord, Story, next_boot
from capture_polls import compare, replayed_states
from capture_sites import point, source, write_site
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.live_capture import write_live_capture
from connectors.captures.stretch import FrameFacts, Span, Stretch, Wanted, choose_stretch
from mines.errors import CaptureError
from mines.events import EventKind, event_log_sha256
from mines.model import RowKind
from mines.site.site_file import load_site
from mines.store.box_store import BoxStore
from mines.store.reader import Reader
from mines.watch import Watch

SOURCES = [source("s1"), source("s2", "192.168.7.21")]
POINTS = [
    point("plain", "1/holding/1", high_alarm=5),
    point("delayed", "1/holding/2", high_alarm=5, on_delay_s=0.7),
    point("quiet", "1/holding/3"),
    point("other", "1/holding/1", "s2", high_alarm=8, on_delay_s=1.5),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return load_site(write_site(tmp_path_factory.mktemp("live") / "site", SOURCES, POINTS))


def replayed(folder, other=None):
    """What `replay` does: fold, picture, step."""
    capture = capture_ticks(folder, other)
    watch = Watch([capture.site.points_of(name) for name in capture.sources], capture.next_event_seq)
    watch.fold(capture.before)
    if capture.picture is not None:
        watch.prime([capture.picture])
    return [event for tick in capture.ticks for event in watch.step(tick)], watch


def captured(tmp_path_factory, site, record, wanted):
    out = tmp_path_factory.mktemp("out") / "capture"
    return out, write_live_capture(out, site_folder=site.folder, record=record, wanted=wanted, software="test")


def facts(seq, end_ms, *, boot="a", alone=True, rows=None, events=None):
    rows, events = (Span() if times is None else Span(*times) for times in (rows, events))
    return FrameFacts(seq, boot, "site", end_ms, rows, events, alone)


def test_an_event_that_no_tick_makes_parts_the_record():
    record = [facts(seq, 1000 * seq, alone=seq != 4) for seq in range(1, 10)]
    assert choose_stretch(record, Wanted()) == Stretch(5, 8, 4001, 8001, "a", "site")
    assert choose_stretch(record, Wanted(0, 3500)) == Stretch(2, 3, 1001, 3001, "a", "site")


def test_a_stretch_does_not_begin_in_another_boot():
    record = [facts(seq, 1000 * seq, boot="a" if seq < 3 else "b") for seq in range(1, 8)]
    assert choose_stretch(record, Wanted()) == Stretch(4, 6, 3001, 6001, "b", "site")


def test_the_first_millisecond_is_where_rows_and_events_part():
    record = [
        facts(1, 1000, rows=(900, 990)),
        facts(2, 2000, rows=(1000, 1900)),  # received in the very millisecond of the tick before
        facts(3, 3000, rows=(2100, 2900)),
        facts(4, 4000, rows=(2900, 3900)),  # a cycle that began before the tick and ended after it
        facts(5, 5000, rows=(4100, 4900)),
        facts(6, 6000),
    ]
    assert choose_stretch(record, Wanted(1500, 2500)) == Stretch(2, 4, 1000, 4001, "a", "site")
    assert choose_stretch(record, Wanted(2200, 2500)) == Stretch(3, 4, 2001, 4001, "a", "site")


def test_clean_rows_are_not_bought_with_what_was_asked_for():
    record = [facts(seq, 1000 * seq, rows=(1000 * seq - 1900, 1000 * seq - 100)) for seq in range(1, 30)]
    record[10] = facts(11, 11_000)
    record[25] = facts(26, 26_000)
    assert choose_stretch(record, Wanted(5000, 20_000)) == Stretch(5, 20, 4001, 20_001, "a", "site")
    assert choose_stretch(record, Wanted(12_000, 20_000)).from_ms == 10_100


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 12), st.integers(1, 15), st.sampled_from([0.0, 0.05, 1.0]))
def test_a_captured_stretch_replays_to_the_events_of_the_box(tmp_path_factory, site, seed, begin_s, length_s, slow):
    story = Story(site, seed, slow=slow).run(30).stop()
    record = MemoryRecord(story)
    wanted = Wanted(T0_MS + 1000 * begin_s, T0_MS + 1000 * (begin_s + length_s))
    out, header = captured(tmp_path_factory, site, record, wanted)
    if slow == 0:  # while a cycle is slow, no tick may part the events
        assert header.from_ms <= wanted.from_ms
        assert header.to_ms >= wanted.to_ms
    found, _ = replayed(out)
    of_box = record.events(header.from_ms, header.to_ms)
    assert [event.to_json() for event in found] == [event.to_json() for event in of_box]
    assert event_log_sha256(found) == event_log_sha256(of_box)


def test_where_ticks_part_the_rows_the_rows_are_those_of_that_time(tmp_path_factory, site):
    story = Story(site, 5).run(20).stop()
    out, header = captured(tmp_path_factory, site, MemoryRecord(story), Wanted(T0_MS + 5000, T0_MS + 9000))
    received = [
        time
        for frame in story.frames
        for tick in frame.ticks
        for item in tick.batches
        for time in item.batch.receive_time_ms.tolist()
    ]
    expected = sum(header.from_ms <= time < header.to_ms for time in received)
    assert header.counts["rows"] == expected > 50
    times = [time for t in capture_ticks(out).ticks for b in t.batches for time in b.batch.receive_time_ms.tolist()]
    assert len(times) == expected
    assert header.from_ms <= min(times) <= max(times) < header.to_ms
    assert header.to_ms - header.from_ms < 4000 + 5000


def test_without_bounds_a_capture_holds_all_that_ticks_made(tmp_path_factory, site):
    story = Story(site, 3).run(15).stop()
    out, header = captured(tmp_path_factory, site, MemoryRecord(story), Wanted())
    found, _ = replayed(out)
    made = {EventKind.BOX_STARTED, EventKind.BOX_STOPPED}
    assert header.counts["events"] == len(found) >= len([e for e in story.log if e.kind not in made]) - 5
    assert not made & {event.kind for event in found}


def test_a_capture_lies_within_one_boot_the_one_with_most_of_the_time(tmp_path_factory, site):
    first = Story(site, 1).run(20)  # killed: no last event
    second = next_boot(first, 2).run(8).stop()
    record = MemoryRecord(first, second)
    out, header = captured(tmp_path_factory, site, record, Wanted(T0_MS + 4000, second.now_ms))
    assert header.boot_id == "boot-1"
    assert [e.to_json() for e in replayed(out)[0]] == [e.to_json() for e in record.events(header.from_ms, header.to_ms)]
    out, header = captured(tmp_path_factory, site, record, Wanted(first.now_ms, second.now_ms))
    assert header.boot_id == "boot-2"
    found, _ = replayed(out)
    assert [e.to_json() for e in found] == [e.to_json() for e in record.events(header.from_ms, header.to_ms)]


def test_a_time_that_the_record_has_not_is_refused(tmp_path_factory, site):
    story = Story(site, 1).run(5).stop()
    with pytest.raises(CaptureError, match="holds no stretch"):
        captured(tmp_path_factory, site, MemoryRecord(story), Wanted(T0_MS + 60_000, T0_MS + 70_000))


def test_another_site_than_the_records_is_refused(tmp_path_factory, tmp_path, site):
    story = Story(site, 1).run(5).stop()
    other = load_site(write_site(tmp_path / "other", SOURCES, POINTS[:2]))
    with pytest.raises(CaptureError, match="is not the one that the record is of"):
        captured(tmp_path_factory, other, MemoryRecord(story), Wanted())


def test_the_picture_at_the_beginning_is_what_the_box_showed(tmp_path_factory, site):
    story = Story(site, 9).run(16).stop()
    record = MemoryRecord(story)
    out, header = captured(tmp_path_factory, site, record, Wanted(T0_MS + 6000, T0_MS + 11_000))
    capture = capture_ticks(out)
    box, primed = (Watch([site.points_of(name) for name in capture.sources], 1) for _ in range(2))
    for tick in (tick for frame in record.frames() for tick in frame.ticks):
        if tick.number < header.first_tick:
            box.step(tick)
    primed.prime([capture.picture])
    for name in ("value", "quality", "receive_time_ms", "usable_value", "usable_time_ms", "vouched_ns"):
        np.testing.assert_array_equal(getattr(primed.image, name), getattr(box.image, name))
    assert {(report.source, report.unit): report for report in capture.picture.links} == box.links


def test_the_picture_looks_back_as_far_as_a_point_was_silent(tmp_path_factory, site):
    story = Story(site, 9).run(16).stop()
    for i, frame in enumerate(story.frames[10:], start=10):  # s2 falls silent: a value that does not change
        ticks = (replace(t, batches=tuple(b for b in t.batches if b.source == 0)) for t in frame.ticks)
        story.frames[i] = replace(frame, ticks=tuple(ticks))
    after_seq = story.frames[-20].seq
    begin_ms = story.frames[-15].ticks[-1].time_ms
    out, _ = captured(tmp_path_factory, site, MemoryRecord(story), Wanted(begin_ms, None, after_seq))
    batches = [item for item in capture_ticks(out).picture.batches if item.source == 1]
    assert len(batches) >= 1


def test_the_record_on_disk_gives_the_same_capture(tmp_path_factory, tmp_path, site):
    story = Story(site, 21).run(8).stop()
    store = BoxStore.open(tmp_path / "data", site, boot_id=story.boot_id, time_ms=T0_MS)
    for frame in story.frames:
        store.commit(frame)
    reader = Reader(tmp_path / "data")
    wanted = Wanted(T0_MS + 2000, T0_MS + 6000)
    out, header = captured(tmp_path_factory, site, reader, wanted)
    in_memory, memory_header = captured(tmp_path_factory, site, MemoryRecord(story), wanted)
    assert header == memory_header
    assert (out / "samples.frames").read_bytes() == (in_memory / "samples.frames").read_bytes()
    found, _ = replayed(out)
    assert event_log_sha256(found) == event_log_sha256(reader.events(header.from_ms, header.to_ms))
    store.close()


def test_on_another_site_rows_go_by_point_id_and_the_rest_is_never(tmp_path_factory, tmp_path, site):
    story = Story(site, 4).run(10).stop()
    out, _ = captured(tmp_path_factory, site, MemoryRecord(story), Wanted())
    points = [
        point("new", "1/holding/9", "s9"),
        point("other", "1/holding/1", "s9"),
        point("renamed", "1/holding/1", "s1", formerly="plain"),
    ]
    other = load_site(write_site(tmp_path / "other", [source("s9", "10.0.0.9"), source("s1")], points))
    capture = capture_ticks(out, other)
    assert capture.sources == ("s9", "s1")
    assert [line.split()[2] for line in capture.warnings] == ["new"]
    found = {}
    for tick in capture.ticks:
        for item in tick.batches:
            ids = [p.id for p in other.points_of(capture.sources[item.source])]
            for index, value in zip(item.batch.index.tolist(), item.batch.value.tolist(), strict=True):
                found.setdefault(ids[index], []).append(value)
    assert found.keys() == {"other", "renamed"}
    own = {"plain": [], "other": []}
    for tick in capture_ticks(out).ticks:
        for item in tick.batches:
            ids = [p.id for p in site.points_of(site.sources[item.source].id)]
            for index, value in zip(item.batch.index.tolist(), item.batch.value.tolist(), strict=True):
                own.setdefault(ids[index], []).append(value)
    np.testing.assert_array_equal(found["renamed"], own["plain"])
    np.testing.assert_array_equal(found["other"], own["other"])


@pytest.mark.parametrize("name", ["samples.frames", "state.jsonl", "state.frames", "capture.toml", "site/points.csv"])
def test_a_live_capture_that_was_damaged_says_which_file(tmp_path_factory, site, name):
    story = Story(site, 4).run(6).stop()
    out, _ = captured(tmp_path_factory, site, MemoryRecord(story), Wanted())
    data = (out / name).read_bytes()
    (out / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(CaptureError, match=name.split("/")[0]):
        replayed(out)


def test_counts_in_the_header_are_those_of_the_ticks(tmp_path_factory, site):
    story = Story(site, 11).run(12).stop()
    out, header = captured(tmp_path_factory, site, MemoryRecord(story), Wanted())
    ticks = list(capture_ticks(out).ticks)
    batches = [item.batch for tick in ticks for item in tick.batches]
    assert header.first_tick == ticks[0].number
    assert header.counts["ticks"] == len(ticks)
    assert header.counts["rows"] == sum(len(batch) for batch in batches if batch.kind != RowKind.CONFIRM)
    assert header.counts["links"] == sum(len(tick.links) for tick in ticks)
    assert header.counts["acts"] == sum(len(tick.acts) for tick in ticks) > 0


def test_a_live_capture_is_served_and_our_own_sources_read_what_its_replay_says(tmp_path_factory, tmp_path, site):
    story = Story(site, 9).run(16).stop()
    out, _ = captured(tmp_path_factory, site, MemoryRecord(story), Wanted(T0_MS + 6000, T0_MS + 11_000))
    moments = len(replayed_states(out))
    picked = [moments // 2, moments - 1]
    assert asyncio.run(compare(out, tmp_path / "site", picked)) == len(POINTS) * len(picked)
