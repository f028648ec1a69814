"""The ledger: nothing recorded is lost, altered or reordered unseen; many may write at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_processes import append_to_ledger

from mines.errors import StoreError
from mines.model import Actor, OperatorAct
from mines.store import disk, ledger
from mines.store.ledger import Ledger

DISPATCHER = Actor("", "张三", "dispatcher", "1号台")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def record(book: Ledger, count: int = 1, note: str = "") -> list[int]:
    return [book.append(DISPATCHER, "acknowledge", [("g0/high_alarm", 1)], time_ms=5, note=note) for _ in range(count)]


def alter(path, *statements: str) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            assert database.execute(statement).rowcount != 0
    database.close()


def test_acts_come_back_as_they_were_recorded(path):
    alarms = (("g0/high_alarm", 3), ("g0/high_cut", 1))
    with Ledger(path) as book:
        number = book.append(DISPATCHER, "acknowledge", alarms, time_ms=77, note="已派人查看")
        record(book)
    with Ledger(path) as book:
        acts = book.acts_after(0)
        assert acts[0] == OperatorAct(number, 77, DISPATCHER, "acknowledge", alarms, "已派人查看")
        assert [act.ledger_id for act in acts] == [1, 2]
        assert [act.ledger_id for act in book.acts_after(1)] == [2]
        assert book.acts_after(2) == []
        assert book.verify() is None


def test_a_new_ledger_is_whole_and_empty(path):
    with Ledger(path) as book:
        assert book.acts_after(0) == []
        assert book.verify() is None


any_text = st.text(st.characters(), max_size=40)  # with lone surrogates, NUL, right-to-left marks, 生僻字


@settings(max_examples=20, deadline=None)
@given(any_text, any_text, any_text)
def test_any_text_can_be_recorded(tmp_path_factory, name, note, alarm):
    with Ledger(tmp_path_factory.mktemp("l") / "ledger.db") as book:
        book.append(Actor(name, name, "r", "s"), "reset", [(alarm, 1)], time_ms=1, note=note)
        (act,) = book.acts_after(0)
        assert book.verify() is None
    for said, kept in ((name, act.actor.name), (note, act.note), (alarm, act.alarms[0][0])):
        assert kept == said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        kept.encode("utf-8")  # whatever came in, what is kept is Unicode: an event can carry it


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "'; DROP TABLE ledger; --", "\x00\u202e𠮷🏭", "x" * 10_000]
)
def test_texts_that_break_others_are_kept_to_the_letter(path, text):
    with Ledger(path) as book:
        record(book, note=text)
        assert book.acts_after(0)[0].note == text


@pytest.mark.parametrize(
    ("statements", "broken"),
    [
        (
            ["UPDATE ledger SET canonical = CAST(replace(CAST(canonical AS TEXT), '张', '李') AS BLOB) WHERE id = 3"],
            3,
        ),
        (["UPDATE ledger SET hash = zeroblob(32) WHERE id = 2"], 2),
        (["DELETE FROM ledger WHERE id = 4"], 4),
        (["DELETE FROM ledger WHERE id = 1"], 1),
        (["DELETE FROM ledger WHERE id >= 5"], 5),
        (["DELETE FROM ledger"], 1),
        (
            [
                "UPDATE ledger SET id = -1 WHERE id = 2",
                "UPDATE ledger SET id = 2 WHERE id = 3",
                "UPDATE ledger SET id = 3 WHERE id = -1",
            ],
            2,
        ),
        (["INSERT INTO ledger SELECT 7, canonical, hash FROM ledger WHERE id = 6"], 7),
    ],
    ids=["altered", "hash", "deleted", "first deleted", "end cut off", "emptied", "reordered", "added"],
)
def test_tampering_is_found_at_the_first_row_that_is_wrong(path, statements, broken):
    with Ledger(path) as book:
        record(book, 6)
    alter(path, *statements)
    with Ledger(path) as book:
        assert book.verify() == broken


@settings(max_examples=12, deadline=None)
@given(row=st.integers(1, 4), column=st.sampled_from(["canonical", "hash"]), data=st.data())
def test_any_altered_byte_is_found(tmp_path_factory, row, column, data):
    path = tmp_path_factory.mktemp("l") / "ledger.db"
    with Ledger(path) as book:
        record(book, 4)
    with sqlite3.connect(path) as database:
        old = bytearray(database.execute(f"SELECT {column} FROM ledger WHERE id = ?", (row,)).fetchone()[0])
        old[data.draw(st.integers(0, len(old) - 1))] ^= data.draw(st.integers(1, 255))
        database.execute(f"UPDATE ledger SET {column} = ? WHERE id = ?", (bytes(old), row))
    database.close()
    with Ledger(path) as book:
        assert book.verify() == row


def test_a_cut_off_end_is_not_hidden_by_what_comes_after(path):
    with Ledger(path) as book:
        record(book, 3)
    alter(path, "DELETE FROM ledger WHERE id = 3")
    with Ledger(path) as book:
        assert record(book) == [4]
        assert book.verify() == 3


def test_a_row_that_cannot_be_read_is_said(path):
    with Ledger(path) as book:
        record(book)
    alter(path, "UPDATE ledger SET canonical = x'7b7d'")
    with Ledger(path) as book, pytest.raises(StoreError, match="ledger row 1"):
        book.acts_after(0)


def test_threads_of_one_process_may_append_together(path):
    with Ledger(path) as book:
        given: list[list[int]] = []
        threads = [threading.Thread(target=lambda: given.append(record(book, 10))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(number for part in given for number in part) == list(range(1, 61))
        assert book.verify() is None


def test_processes_may_append_together_also_to_a_ledger_that_none_has_made_yet(path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_to_ledger, args=(path, 12)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 3
    with Ledger(path) as book:
        assert [act.ledger_id for act in book.acts_after(0)] == list(range(1, 37))
        assert book.verify() is None


def test_a_ledger_that_others_hold_is_an_error_after_a_bounded_wait(path, monkeypatch):
    monkeypatch.setattr(disk, "BUSY_TIMEOUT_S", 0.1)
    with Ledger(path) as book:
        record(book)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            record(book)
        assert len(book.acts_after(0)) == 1  # reading goes on meanwhile
        holder.execute("ROLLBACK")
        holder.close()
        assert record(book) == [2]


def test_threads_wait_for_each_other_only_so_long(path, monkeypatch):
    monkeypatch.setattr(ledger, "BUSY_TIMEOUT_S", 0.05)
    with Ledger(path) as book:
        book._lock.acquire()
        with pytest.raises(StoreError, match="other threads"):
            record(book)
        book._lock.release()
        assert record(book) == [1]


def test_a_file_that_is_no_ledger_is_refused(path):
    path.write_bytes(b"this is no database, and never was one" * 100)
    with pytest.raises(StoreError, match=r"ledger\.db"):
        Ledger(path)
