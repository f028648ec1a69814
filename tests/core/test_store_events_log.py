"""The event log: gap-free, chained, one durable change a frame, read by time in order of numbers."""

from __future__ import annotations

import sqlite3

import pytest
from store_frames import event

from mines.errors import StoreError
from mines.events import event_log_sha256
from mines.store.disk import SystemDisk, open_reader
from mines.store.events_log import EventsLog, first_broken_event, read_events


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.db"


@pytest.fixture
def log(path):
    opened = EventsLog(path, SystemDisk())
    yield opened
    opened.close()


def reopened(path) -> EventsLog:
    return EventsLog(path, SystemDisk())


def add(log: EventsLog, events, *, frame: int = 1, rows: int = 0) -> None:
    log.append(log.chained(events), frame=frame, rows=rows)


def alter(path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        assert database.execute(statement).rowcount == 1
    database.close()


def test_events_come_back_with_their_hash(path, log):
    events = [event(seq, seq * 10, name="甲", half=0.5) for seq in (1, 2, 3)]
    add(log, events[:2], frame=4, rows=100)
    add(log, events[2:], frame=5, rows=120)
    assert list(log.events) == events
    assert event_log_sha256(log.events) == event_log_sha256(events)
    again = reopened(path)
    assert again.head == log.head
    assert (again.head.frame, again.head.rows, again.head.event_seq) == (5, 120, 3)
    again.close()


def test_a_value_that_json_cannot_carry_is_null(log):
    add(log, [event(1, 10)])
    odd = event(2, 20)
    add(log, [type(odd)(2, 20, odd.kind, value=float("nan"))], frame=2, rows=0)
    assert log.events[1].value is None


@pytest.mark.parametrize("seq", [1, 3], ids=["there already", "one is missing"])
def test_a_number_out_of_order_is_refused_and_nothing_of_the_frame_stands(log, seq):
    add(log, [event(1, 10)], frame=1, rows=5)
    with pytest.raises(StoreError, match=f"event {seq} cannot follow event 1"):
        add(log, [event(seq, 20), event(seq + 1, 20)], frame=2, rows=9)
    assert (log.head.frame, log.head.rows, len(log.events)) == (1, 5, 1)
    add(log, [event(2, 20)], frame=2, rows=9)
    assert len(log.events) == 2


@pytest.mark.parametrize(
    "detail", [{"note": "\ud800"}, {"value": float("nan")}, {"thing": object()}], ids=["surrogate", "nan", "no json"]
)
def test_an_event_without_canonical_bytes_is_refused_by_number(log, detail):
    with pytest.raises(StoreError, match="event 1 cannot be written"):
        add(log, [event(1, 10, **detail)])


def test_the_log_is_a_sequence_over_all_of_it(log, monkeypatch):
    monkeypatch.setattr("mines.store.events_log._CHUNK", 4)
    assert not log.events
    events = [event(seq, seq) for seq in range(1, 11)]
    add(log, events)
    assert list(log.events) == events
    assert log.events[-1] == events[-1]
    assert log.events[2:4] == events[2:4]
    with pytest.raises(IndexError):
        log.events[10]


def test_a_range_of_time_is_read_in_order_of_numbers_although_the_clock_stepped_back(path, log):
    times = [100, 200, 150, 300]
    add(log, [event(seq, time_ms) for seq, time_ms in enumerate(times, start=1)])
    database = open_reader(path)
    assert [found.seq for found in read_events(database, 150, 300)] == [2, 3]
    assert [found.seq for found in read_events(database, None, 150)] == [1]
    assert [found.seq for found in read_events(database, 200, None)] == [2, 4]
    assert [found.seq for found in read_events(database, None, None)] == [1, 2, 3, 4]
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET canonical = CAST(replace(CAST(canonical AS TEXT), 'good', 'lost') AS BLOB) WHERE seq = 3",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 3",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 2",
    ],
    ids=["altered", "hash", "hash before"],
)
def test_a_last_event_that_is_not_what_was_written_is_found_at_opening(path, log, statement):
    add(log, [event(seq, seq) for seq in (1, 2, 3)])
    log.close()
    alter(path, statement)
    with pytest.raises(StoreError, match="event 3"):
        reopened(path)


@pytest.mark.parametrize(
    ("statement", "broken"),
    [("DELETE FROM events WHERE seq = 2", 2), ("UPDATE events SET canonical = x'00' WHERE seq = 1", 1)],
    ids=["deleted", "altered"],
)
def test_tampering_anywhere_is_found_by_the_whole_chain(path, log, statement, broken):
    add(log, [event(seq, seq) for seq in (1, 2, 3, 4)])
    alter(path, statement)
    database = open_reader(path)
    assert first_broken_event(database) == broken
    database.close()


def test_a_gap_is_an_error_when_the_log_is_gone_through(path, log):
    add(log, [event(seq, seq) for seq in (1, 2, 3, 4)])
    alter(path, "DELETE FROM events WHERE seq = 2")
    with pytest.raises(StoreError, match="only 3"):
        list(log.events)
