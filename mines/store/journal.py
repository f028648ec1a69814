"""The journal: one compressed frame a commit, in segments of an hour or 256 MB, each a small SQLite file.

A segment that is written to is WAL; a sealed one is a single file that never changes again. Every boot begins a segment
of its own: nothing that an earlier life left is ever written to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mines.errors import StoreError
from mines.store.column_codec import Ints
from mines.store.disk import Database, Disk, Locked, NotNow, open_writer, store_errors, transaction
from mines.store.frame import Frame, pack
from mines.store.frame_columns import FrameColumns, columns_of
from mines.store.layout import SIDE_FILES, DataFolder

SEGMENT_MS: Final = 3_600_000
SEGMENT_BYTES: Final = 256 * 1024 * 1024

_SEAL_WAIT_MS: Final = 250  # a reader inside a segment puts its sealing off; a commit does not wait for it
_TABLES: Final = (
    """CREATE TABLE frames (
        seq INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, first_tick_ms INTEGER NOT NULL, last_tick_ms INTEGER NOT NULL,
        first_row_ms INTEGER, last_row_ms INTEGER, rows INTEGER NOT NULL, events INTEGER NOT NULL,
        site_sha256 TEXT NOT NULL, body BLOB NOT NULL) STRICT""",
    "CREATE TABLE boots (boot_id TEXT PRIMARY KEY, site_sha256 TEXT NOT NULL, sources TEXT NOT NULL) STRICT",
    # Of a sealed segment: a query passes it over without a look at its frames.
    "CREATE TABLE span (one INTEGER PRIMARY KEY CHECK (one = 1), first_row_ms INTEGER, last_row_ms INTEGER) STRICT",
)
_SET_SPAN: Final = "INSERT OR REPLACE INTO span SELECT 1, min(first_row_ms), max(last_row_ms) FROM frames"


@dataclass(frozen=True, slots=True)
class SourceKeys:
    """The permanent keys of one source's points, in the order that `Batch.index` counts in."""

    id: str
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Boot:
    """One life of `run`: what its frames' numbers mean. `sources` stand in site order."""

    id: str
    site_sha256: str
    sources: tuple[SourceKeys, ...]


class Journal:
    """The writing end: appends frames, durably; changes segments when their hour or size is full."""

    def __init__(self, folder: DataFolder, boot: Boot, disk: Disk) -> None:
        self._folder = folder
        self._boot = boot
        self._disk = disk
        self._counts = np.array([len(source.keys) for source in boot.sources], dtype=np.int64)
        self._segment: _OpenSegment | None = None
        self._failed = False
        self._unsealed: list[Path] = []

    def due(self, frame: Frame) -> bool:
        """True where the open segment takes no more: another hour by the frame's time, or full."""
        segment = self._segment
        return segment is not None and (segment.hour != _hour(frame) or segment.bytes >= SEGMENT_BYTES)

    def append(self, frame: Frame) -> int:
        """Makes the frame durable. Returns how many of its rows are samples.

        Raises:
            StoreError: it is not durable, and nothing of it stands.
        """
        columns = columns_of(frame.ticks)
        if not _within(columns, self._counts):
            raise StoreError(f"frame {frame.seq} names a point that its source does not have")
        body = pack(frame, columns)
        try:
            self._write(frame, columns, body)
        except NotNow:
            raise
        except BaseException:
            self._failed = True
            raise
        return columns.stored_rows

    def seal(self) -> None:
        """Makes the open segment a single file; one that a reader holds open is sealed at a later call."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            if not seal(segment.database, segment.path, self._disk):
                self._unsealed.append(segment.path)
        self._unsealed = [path for path in self._unsealed if not self._sealed_now(path)]

    def close(self) -> None:
        """Seals, except after an error of the disk; what is left unsealed the next start seals."""
        if not self._failed:
            self.seal()
        elif self._segment is not None:
            self._segment.database.close()

    def _write(self, frame: Frame, columns: FrameColumns, body: bytes) -> None:
        if self.due(frame):
            self.seal()
        if self._segment is None:
            self._segment = self._begin(frame)
        with transaction(self._segment.database, self._segment.path):
            self._segment.database.execute(
                "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _frame_row(frame, columns, body)
            )
        self._segment.bytes += len(body)

    def _sealed_now(self, path: Path) -> bool:
        return seal(open_segment(path, self._disk), path, self._disk)

    def _begin(self, frame: Frame) -> _OpenSegment:
        path = self._folder.segment(frame.seq)
        database = open_segment(path, self._disk)
        try:
            with transaction(database, path):
                database.execute(
                    "INSERT OR REPLACE INTO boots VALUES (?, ?, ?)",
                    (self._boot.id, self._boot.site_sha256, _sources_to_json(self._boot.sources)),
                )
        except BaseException:
            database.close()
            raise
        return _OpenSegment(path, database, _hour(frame))


@dataclass(slots=True)
class _OpenSegment:
    path: Path
    database: Database
    hour: int
    bytes: int = 0


def open_segment(path: Path, disk: Disk) -> Database:
    """A segment for writing. Errors as `open_writer`."""
    return open_writer(disk, path, _TABLES)


def seal(database: Database, path: Path, disk: Disk) -> bool:
    """Closes a segment as a single file. False where a reader holds it open: then it is closed as it is.

    Raises:
        StoreError: the disk refused.
    """
    mode = "wal"
    try:
        with store_errors(path):
            database.execute(_SET_SPAN)
            database.execute(f"PRAGMA busy_timeout={_SEAL_WAIT_MS}")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            mode = database.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except Locked:
        pass  # the caller tries again later; meanwhile the segment reads as well as a sealed one
    finally:
        database.close()
    with store_errors(path):
        disk.sync_folder(path.parent)
    return mode == "delete"


def remove_segment(path: Path, disk: Disk) -> None:
    """Removes a closed segment and what SQLite kept beside it, durably."""
    with store_errors(path):
        for side in SIDE_FILES:
            disk.remove(path.with_name(path.name + side))
        disk.remove(path)
        disk.sync_folder(path.parent)


def read_span(database: Database) -> tuple[int | None, int | None] | None:
    """First and last time of a sealed segment's rows [ms], (None, None) where it has none; None = it is open."""
    row = database.execute("SELECT first_row_ms, last_row_ms FROM span").fetchone()
    return None if row is None else (row[0], row[1])


def read_boots(database: Database) -> list[Boot]:
    """The boots that a segment holds frames of."""
    rows = database.execute("SELECT boot_id, site_sha256, sources FROM boots").fetchall()
    return [Boot(boot_id, site_sha256, _sources_from_json(sources)) for boot_id, site_sha256, sources in rows]


def _frame_row(frame: Frame, columns: FrameColumns, body: bytes) -> tuple[object, ...]:
    first_ms, last_ms = frame.span_ms
    times = columns.axis_time_ms()
    row_span = (int(times.min()), int(times.max())) if len(times) else (None, None)
    counts = (columns.stored_rows, len(frame.events))
    return (frame.seq, frame.boot_id, first_ms, last_ms, *row_span, *counts, frame.site_sha256, body)


def _within(columns: FrameColumns, counts: Ints) -> bool:
    """Whether every row names a point that its source has: else it would be read back as another's."""
    sources, index = columns.batches.source, columns.rows.index
    if ((sources < 0) | (sources >= len(counts))).any():
        return False
    return bool(((index >= 0) & (index < counts[sources][columns.batch_of_row])).all())


def _hour(frame: Frame) -> int:
    return frame.span_ms[0] // SEGMENT_MS


def _sources_to_json(sources: Sequence[SourceKeys]) -> str:
    return json.dumps([{"id": source.id, "keys": source.keys} for source in sources], ensure_ascii=False)


def _sources_from_json(text: str) -> tuple[SourceKeys, ...]:
    try:
        return tuple(SourceKeys(source["id"], tuple(source["keys"])) for source in json.loads(text))
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"a boot's table of sources cannot be read: {err}") from err
