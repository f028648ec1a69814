"""raw/YYYY-MM.db: packed parts of closed journal segments. Written by the worker, a part a transaction; read by all.

A part is named by the number of its segment's first frame, so packing a segment twice cannot make two of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from mines.store.disk import Commit, Damaged, Database, Disk, decoding, open_writer, transaction
from mines.store.raw_part import Chunk, Content, Packed, Times, confirmation_rows, decode_rows, decode_times, unpack
from mines.store.row_gather import Gathered
from mines.times import SHANGHAI

TABLES: Final = (
    """CREATE TABLE parts (
        first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, frames INTEGER NOT NULL, hour_ms INTEGER NOT NULL,
        part INTEGER NOT NULL, rows INTEGER NOT NULL, confirmations INTEGER NOT NULL, first_row_ms INTEGER,
        last_row_ms INTEGER, clock_unsure INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 BLOB NOT NULL,
        UNIQUE (hour_ms, part)) STRICT""",
    # Rows in order of arrival fill their pages; a table in order of its key would leave two fifths of each empty.
    "CREATE TABLE times (first_seq INTEGER NOT NULL, no INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE UNIQUE INDEX times_by_part ON times (first_seq, no)",
    """CREATE TABLE chunks (
        point_key INTEGER NOT NULL, first_seq INTEGER NOT NULL, confirmations INTEGER NOT NULL,
        times_no INTEGER NOT NULL, rows INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
        body BLOB NOT NULL) STRICT""",
    "CREATE INDEX chunks_by_point ON chunks (point_key, confirmations, first_ms, last_ms)",
    "CREATE INDEX chunks_by_part ON chunks (first_seq)",
)
Span = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class PartHeader:
    """What a part says of itself. `part` counts the parts of its hour from 1, in order of packing."""

    first_seq: int
    last_seq: int
    frames: int
    hour_ms: int
    part: int
    rows: int
    confirmations: int
    first_row_ms: int | None
    last_row_ms: int | None
    clock_unsure: bool
    size: int  # of the packed columns [bytes]
    sha256: bytes


def month_of(hour_ms: int) -> str:
    """The name of the month that an hour belongs to, as mines count days: Shanghai time."""
    return datetime.fromtimestamp(hour_ms / 1000, SHANGHAI).strftime("%Y-%m")


def open_raw(path: Path, disk: Disk) -> Database:
    """A month's file for writing. Errors as `open_writer`."""
    return open_writer(disk, path, TABLES, Commit.ROLLBACK)


def write_part(database: Database, path: Path, header: PartHeader, packed: Packed) -> None:
    """Adds a part, whole or not at all; one that is there already is replaced. Durable on return.

    Raises:
        StoreError: nothing of the part stands.
    """
    seq = header.first_seq
    with transaction(database, path):
        for table in ("times", "chunks", "parts"):
            database.execute(f"DELETE FROM {table} WHERE first_seq = ?", (seq,))
        for no, body in enumerate(packed.times):
            database.execute("INSERT INTO times VALUES (?, ?, ?)", (seq, no, body))
        for confirmations, chunks in ((0, packed.samples), (1, packed.confirmations)):
            for chunk in chunks:
                database.execute(
                    "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _chunk_row(seq, confirmations, chunk)
                )
        row = (
            seq, header.last_seq, header.frames, header.hour_ms, header.part, header.rows, header.confirmations,
            header.first_row_ms, header.last_row_ms, int(header.clock_unsure), header.size, header.sha256,
        )  # fmt: skip
        database.execute(f"INSERT INTO parts VALUES ({','.join('?' * len(row))})", row)


def next_part(database: Database, hour_ms: int, first_seq: int) -> int:
    """The number that a segment's part of an hour gets: its old one where it is there already."""
    row = database.execute("SELECT part FROM parts WHERE first_seq = ?", (first_seq,)).fetchone()
    if row is not None:
        return int(row[0])
    return int(
        database.execute("SELECT coalesce(max(part), 0) + 1 FROM parts WHERE hour_ms = ?", (hour_ms,)).fetchone()[0]
    )


def read_headers(database: Database) -> list[PartHeader]:
    """Every part of a month, in order of frames."""
    rows = database.execute("SELECT * FROM parts ORDER BY first_seq").fetchall()
    return [replace(header, clock_unsure=bool(header.clock_unsure)) for header in (PartHeader(*row) for row in rows)]


def has_rows_in(database: Database, span: Span) -> bool:
    """False where no part of a month has a row in the span."""
    found = database.execute(
        "SELECT 1 FROM parts WHERE (?1 IS NULL OR last_row_ms >= ?1) AND (?2 IS NULL OR first_row_ms < ?2) LIMIT 1",
        span,
    ).fetchone()
    return found is not None


def packed_among(database: Database, segments: Sequence[int]) -> set[int]:
    """Which of these segments, by the number of their first frame, a month holds a part of."""
    return {seq for seq in segments if database.execute("SELECT 1 FROM parts WHERE first_seq = ?", (seq,)).fetchone()}


def read_part(database: Database, path: Path, first_seq: int) -> Content:
    """All rows of a part.

    Raises:
        Damaged: its bytes make no rows.
    """
    with decoding(path, f"part of frame {first_seq}"):
        times = database.execute("SELECT body FROM times WHERE first_seq = ? ORDER BY no", (first_seq,)).fetchall()
        rows = database.execute(
            "SELECT confirmations, point_key, times_no, rows, first_ms, last_ms, body FROM chunks WHERE first_seq = ?"
            " ORDER BY point_key, confirmations",
            (first_seq,),
        ).fetchall()
        chunks = [(bool(row[0]), Chunk(*row[1:])) for row in rows]
        samples = tuple(chunk for confirmations, chunk in chunks if not confirmations)
        return unpack(Packed(tuple(body for (body,) in times), samples, tuple(c for is_one, c in chunks if is_one)))


def check_chunks(database: Database, path: Path, first_seq: int, content: Content) -> None:
    """What queries choose chunks by must be what the rows say. Damaged where it is not."""
    rows = database.execute(
        "SELECT confirmations, point_key, rows, first_ms, last_ms FROM chunks WHERE first_seq = ?", (first_seq,)
    ).fetchall()
    for confirmations, key, count, first_ms, last_ms in rows:
        found = (content.confirmations if confirmations else content.samples)[key]
        axis = found.axis_time_ms()
        if (count, first_ms, last_ms) != (len(found), int(axis.min()), int(axis.max())):
            raise Damaged(f"{path}: part of frame {first_seq}: the times of point {key} are not those of its rows")


def read_points(
    database: Database, path: Path, keys: Sequence[int], span: Span, *, confirmations: bool
) -> Iterator[tuple[int, int, Gathered]]:
    """(first frame of the part, point key, rows) of every chunk that may have rows in the span.

    Args:
        database: A month.
        path: Its file, for errors.
        keys: Wanted points.
        span: [from, to) on the axis of history [ms], None = open. Rows outside it are left out.
        confirmations: Only confirmations; else only stored rows.
    Raises:
        Damaged: a chunk's bytes make no rows.
    """
    known: dict[tuple[int, int], Times] = {}
    for key in keys:
        chunks = database.execute(
            "SELECT first_seq, times_no, body FROM chunks WHERE point_key = ?1 AND confirmations = ?2"
            " AND (?3 IS NULL OR last_ms >= ?3) AND (?4 IS NULL OR first_ms < ?4) ORDER BY first_seq",
            (key, int(confirmations), *span),
        ).fetchall()
        for first_seq, times_no, body in chunks:
            with decoding(path, f"part of frame {first_seq}"):
                if (first_seq, times_no) not in known:
                    known[(first_seq, times_no)] = _times(database, first_seq, times_no)
                times = known[(first_seq, times_no)]
                rows = confirmation_rows(times) if confirmations else decode_rows(body, times)
            yield first_seq, key, rows.within(span)


def _times(database: Database, first_seq: int, times_no: int) -> Times:
    row = database.execute("SELECT body FROM times WHERE first_seq = ? AND no = ?", (first_seq, times_no)).fetchone()
    if row is None:
        raise ValueError(f"its time column {times_no} is missing")
    return decode_times(row[0])


def _chunk_row(first_seq: int, confirmations: int, chunk: Chunk) -> tuple[object, ...]:
    return (
        chunk.key, first_seq, confirmations, chunk.times_no, chunk.rows, chunk.first_ms, chunk.last_ms, chunk.body,
    )  # fmt: skip
