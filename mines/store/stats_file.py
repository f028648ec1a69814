"""stats/YYYY.db: five-minute statistics and hourly rollups of packed hours, by revision. Written by the worker.

A revision is never altered: rows that come late to an hour make a new one, and the old one stays. Reading takes the
newest revision of each hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from mines.store.disk import Commit, Database, Disk, decoding, open_writer, transaction
from mines.store.raw_codec import Pieces, decode_ints, decode_values, encode_ints, encode_values
from mines.store.statistics import Statistics, nothing
from mines.times import SHANGHAI

FIVE_MINUTES_MS: Final = 300_000
HOUR_MS: Final = 3_600_000
TABLES: Final = (
    """CREATE TABLE hours (
        hour_ms INTEGER NOT NULL, revision INTEGER NOT NULL, last_seq INTEGER NOT NULL, rows INTEGER NOT NULL,
        PRIMARY KEY (hour_ms, revision)) STRICT, WITHOUT ROWID""",
    # An hour of a point is a row of its own: a year of one point is read without decoding anything.
    """CREATE TABLE hourly (
        point_key INTEGER NOT NULL, hour_ms INTEGER NOT NULL, revision INTEGER NOT NULL, low REAL, high REAL, mean REAL,
        good_ms INTEGER NOT NULL, rows INTEGER NOT NULL, good_rows INTEGER NOT NULL,
        PRIMARY KEY (point_key, hour_ms, revision)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX hourly_by_hour ON hourly (hour_ms, revision)",
    "CREATE TABLE five_minutes (hour_ms INTEGER NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE UNIQUE INDEX five_minutes_by_hour ON five_minutes (hour_ms, revision)",
)
_INT_COLUMNS: Final = ("slot", "start_ms", "good_ms", "rows", "good_rows")
_VALUE_COLUMNS: Final = ("low", "high", "mean")


@dataclass(frozen=True, slots=True)
class HourHead:
    """The newest revision of an hour and the newest frame that it has seen."""

    hour_ms: int
    revision: int
    last_seq: int


def year_of(hour_ms: int) -> str:
    """The name of the year that an hour belongs to: Shanghai time."""
    return datetime.fromtimestamp(hour_ms / 1000, SHANGHAI).strftime("%Y")


def open_stats(path: Path, disk: Disk) -> Database:
    """A year's file for writing. Errors as `open_writer`."""
    return open_writer(disk, path, TABLES, Commit.ROLLBACK)


def read_heads(database: Database) -> dict[int, HourHead]:
    """Every hour of a year that has statistics."""
    rows = database.execute("SELECT hour_ms, max(revision), max(last_seq) FROM hours GROUP BY hour_ms").fetchall()
    return {row[0]: HourHead(*row) for row in rows}


def write_hour(
    database: Database, path: Path, head: HourHead, keys: Sequence[int], five: Statistics, hourly: Statistics
) -> None:
    """Adds a revision of an hour, whole or not at all.

    Args:
        database: The year's.
        path: Its file, for errors.
        head: Which hour and revision.
        keys: Permanent key of each slot of the statistics, ascending.
        five: Of every five minutes.
        hourly: Of the hour: at most one row a slot.
    """
    rows = int(hourly.rows.sum())
    with transaction(database, path):
        database.execute("INSERT INTO hours VALUES (?, ?, ?, ?)", (head.hour_ms, head.revision, head.last_seq, rows))
        body = encode_statistics(keys, five)
        database.execute("INSERT INTO five_minutes VALUES (?, ?, ?)", (head.hour_ms, head.revision, body))
        for row in zip(*(getattr(hourly, name).tolist() for name in _STORED), strict=True):
            slot, numbers = row[0], [None if value != value else value for value in row[1:]]
            database.execute(
                "INSERT INTO hourly VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (keys[slot], head.hour_ms, head.revision, *numbers),
            )


_STORED: Final = ("slot", "low", "high", "mean", "good_ms", "rows", "good_rows")


def mark_seen(database: Database, path: Path, head: HourHead) -> None:
    """The newest revision of an hour holds with what came since."""
    with transaction(database, path):
        sql = "UPDATE hours SET last_seq = ? WHERE hour_ms = ? AND revision = ?"
        database.execute(sql, (head.last_seq, head.hour_ms, head.revision))


def read_hourly(database: Database, key: int, from_ms: int, to_ms: int) -> Statistics:
    """Hourly rollups of a point, newest revision of each hour; slot is 0."""
    rows = database.execute(
        "SELECT hour_ms, revision, low, high, mean, good_ms, rows, good_rows FROM hourly"
        " WHERE point_key = ? AND hour_ms >= ? AND hour_ms < ? ORDER BY hour_ms, revision",
        (key, from_ms, to_ms),
    ).fetchall()
    if not rows:
        return nothing()
    hour, _, *columns = zip(*rows, strict=True)
    newest = np.append(np.diff(np.array(hour)) != 0, True)
    low, high, mean = (np.array(column, dtype=np.float64) for column in columns[:3])
    good_ms, received, good = (np.array(column, dtype=np.int64) for column in columns[3:])
    slot = np.zeros(len(rows), dtype=np.int32)
    found = Statistics(slot, np.array(hour, dtype=np.int64), low, high, mean, good_ms, received, good)
    return found.taken(newest)


def read_five_minutes(database: Database, path: Path, hour_ms: int, revision: int) -> tuple[list[int], Statistics]:
    """Five-minute statistics of all points of an hour: the key of each slot, and the statistics."""
    row = database.execute(
        "SELECT body FROM five_minutes WHERE hour_ms = ? AND revision = ?", (hour_ms, revision)
    ).fetchone()
    if row is None:
        return [], nothing()
    with decoding(path, f"statistics of hour {hour_ms}"):
        return decode_statistics(row[0])


def read_hour_sha256(database: Database | None, path: Path, hour_ms: int, revision: int) -> str:
    """Over the decoded statistics of one revision of an hour, as hex; "" where it is not there."""
    if database is None:
        return ""
    head = database.execute(
        "SELECT hour_ms, revision, rows FROM hours WHERE hour_ms = ? AND revision = ?", (hour_ms, revision)
    ).fetchone()
    if head is None:
        return ""
    keys, five = read_five_minutes(database, path, hour_ms, revision)
    digest = hashlib.sha256(repr((head, keys)).encode("ascii"))
    for field in fields(five):
        digest.update(np.ascontiguousarray(getattr(five, field.name)).tobytes())
    hourly = "SELECT * FROM hourly WHERE hour_ms = ? AND revision = ? ORDER BY point_key"
    for row in database.execute(hourly, (hour_ms, revision)):
        digest.update(repr(row).encode("ascii"))
    return digest.hexdigest()


def encode_statistics(keys: Sequence[int], found: Statistics) -> bytes:
    """Statistics as bytes, column by column."""
    out = Pieces()
    out.put(encode_ints(np.array(keys, dtype=np.int64)))
    for name in _INT_COLUMNS:
        out.put(encode_ints(getattr(found, name).astype(np.int64)))
    for name in _VALUE_COLUMNS:
        out.put(encode_values(getattr(found, name)))
    return out.getvalue()


def decode_statistics(data: bytes) -> tuple[list[int], Statistics]:
    """What `encode_statistics` made. ValueError where the bytes are no statistics."""
    pieces = Pieces(data)
    keys = decode_ints(pieces.take()).tolist()
    columns = {name: decode_ints(pieces.take()) for name in _INT_COLUMNS}
    values = {name: decode_values(pieces.take()) for name in _VALUE_COLUMNS}
    pieces.end()
    found = Statistics(
        slot=columns["slot"].astype(np.int32),
        start_ms=columns["start_ms"],
        low=values["low"],
        high=values["high"],
        mean=values["mean"],
        good_ms=columns["good_ms"],
        rows=columns["rows"],
        good_rows=columns["good_rows"],
    )
    if len({len(getattr(found, field.name)) for field in fields(found)}) != 1:
        raise ValueError("columns of different lengths")
    return keys, found
