"""events.db: every event with its canonical bytes, gap-free and chained, and how far the journal is applied to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, overload

from mines.errors import StoreError
from mines.events import Event, event_from_json
from mines.store.chain import GENESIS, first_broken, holds, link
from mines.store.disk import Database, Disk, open_writer, reading, store_errors, transaction

_CHUNK: Final = 1000
TABLES: Final = (
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, canonical BLOB NOT NULL, hash BLOB NOT NULL) STRICT""",
    "CREATE INDEX events_by_time ON events (time_ms)",
    """CREATE TABLE applied (
        one INTEGER PRIMARY KEY CHECK (one = 1), frame INTEGER NOT NULL, rows INTEGER NOT NULL) STRICT""",
    "INSERT INTO applied VALUES (1, 0, 0)",
)


@dataclass(frozen=True, slots=True)
class LogHead:
    """How far the log goes: its last event, the last journal frame known to be in it, rows stored by then."""

    event_seq: int
    hash: bytes
    frame: int
    rows: int


@dataclass(frozen=True, slots=True)
class Chained:
    """Events ready to be added: rows of (seq, time_ms, canonical, hash), and the end of the chain with them."""

    rows: tuple[tuple[int, int, bytes, bytes], ...]
    event_seq: int
    hash: bytes


class EventsLog:
    """The writing end of the event log."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Opens the log and checks its last link.

        Raises:
            StoreError: it cannot be opened, or its last event is not what was written.
        """
        self._path = path
        self._database = open_writer(disk, path, TABLES)
        try:
            with store_errors(path):
                self.head = self._read_head()
        except BaseException:
            self._database.close()
            raise

    def chained(self, events: Sequence[Event]) -> Chained:
        """Events as they would stand in the log; nothing is written.

        Raises:
            StoreError: a number is missing or there twice, or an event has no canonical bytes.
        """
        seq, digest = self.head.event_seq, self.head.hash
        rows: list[tuple[int, int, bytes, bytes]] = []
        for event in events:
            if event.seq != seq + 1:
                raise StoreError(f"{self._path}: event {event.seq} cannot follow event {seq}")
            try:
                canonical = event.canonical()
            except (ValueError, TypeError) as err:
                raise StoreError(f"{self._path}: event {event.seq} cannot be written: {err}") from err
            seq, digest = event.seq, link(digest, canonical)
            rows.append((seq, event.time_ms, canonical, digest))
        return Chained(tuple(rows), seq, digest)

    def append(self, events: Chained, *, frame: int, rows: int) -> None:
        """Adds a frame's events and says that this frame is applied, in one durable change.

        Args:
            events: From `chained`, with nothing added since; may be none.
            frame: Number of the frame.
            rows: Rows stored over the folder's life, this frame's included.
        Raises:
            StoreError: the disk refused; nothing stands.
        """
        with transaction(self._database, self._path):
            for row in events.rows:
                self._database.execute("INSERT INTO events VALUES (?, ?, ?, ?)", row)
            self._database.execute("UPDATE applied SET frame = ?, rows = ?", (frame, rows))
        self.head = LogHead(events.event_seq, events.hash, frame, rows)

    @property
    def events(self) -> Sequence[Event]:
        """The whole log, read as it is gone through and never held: it is years long."""
        return _Logged(self._path, self._database, self.head.event_seq)

    def close(self) -> None:
        """Closes the file."""
        with store_errors(self._path):
            self._database.close()

    def _read_head(self) -> LogHead:
        frame, rows = self._database.execute("SELECT frame, rows FROM applied").fetchone()
        last = self._database.execute(
            "SELECT seq, canonical, hash FROM events ORDER BY seq DESC LIMIT 2",
        ).fetchall()
        if not last:
            return LogHead(0, GENESIS, frame, rows)
        seq, canonical, digest = last[0]
        # With one row only, everything before it is unknown unless it is the first.
        before = last[1][2] if len(last) == 2 else GENESIS
        if (len(last) == 2 or seq == 1) and not holds(before, canonical, digest):
            raise StoreError(f"{self._path}: event {seq} is not what was written: its hash does not fit")
        return LogHead(seq, digest, frame, rows)


class _Logged(Sequence[Event]):
    """Events 1 … last. Whoever goes through it does so where the log's writer does."""

    def __init__(self, path: Path, database: Database, last: int) -> None:
        self._path = path
        self._database = database
        self._last = last

    def __len__(self) -> int:
        return self._last

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Event]: ...
    def __getitem__(self, at: int | slice) -> Event | Sequence[Event]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(self._last))]
        seq = range(1, self._last + 1)[at]
        return self._chunk(seq, seq)[0]

    def __iter__(self) -> Iterator[Event]:
        for first in range(1, self._last + 1, _CHUNK):
            yield from self._chunk(first, min(first + _CHUNK - 1, self._last))

    def _chunk(self, first: int, last: int) -> list[Event]:
        with store_errors(self._path):
            rows = self._database.execute(
                "SELECT seq, canonical FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last)
            ).fetchall()
        if len(rows) != last - first + 1:
            raise StoreError(f"{self._path}: of events {first} to {last} only {len(rows)} are there")
        return [_event(seq, canonical) for seq, canonical in rows]


def read_events(database: Database, from_ms: int | None, to_ms: int | None) -> list[Event]:
    """Events with from_ms ≤ time_ms < to_ms, in seq order. StoreError where one cannot be read."""
    rows = database.execute(
        "SELECT seq, canonical FROM events WHERE (?1 IS NULL OR time_ms >= ?1) AND (?2 IS NULL OR time_ms < ?2)"
        " ORDER BY seq",
        (from_ms, to_ms),
    )
    return [_event(seq, canonical) for seq, canonical in rows]


def first_broken_event(database: Database) -> int | None:
    """Number of the first event that is missing or altered; None where the chain holds."""
    return first_broken(database.execute("SELECT seq, canonical, hash FROM events ORDER BY seq"))


def _event(seq: int, canonical: bytes) -> Event:
    try:
        return event_from_json(json.loads(canonical))
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"event {seq} cannot be read: {err}") from err


def read_applied_frame(path: Path) -> int:
    """Number of the last journal frame whose events are known to be in the log; 0 where there is no log yet."""
    with reading(path) as database:
        return 0 if database is None else int(database.execute("SELECT frame FROM applied").fetchone()[0])
