"""The seam to the disk: whatever must survive a power cut goes through a `Disk`, so that a test can cut the power.

SQLite files are opened here and nowhere else, for writing such that a commit that returned survives a power cut
(faults §2). A database is never opened with open(): closing such a descriptor would drop the process's locks on it
(SQLite, "How To Corrupt An SQLite Database File", 2.2).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol

from mines.errors import StoreError

SCHEMA = 1
"""Version of every file in the data folder; a folder of another one is refused."""

BUSY_TIMEOUT_S = 5.0
"""How long anybody waits for a lock before it is an error. Project default."""

_PRIMARY_CODE = 0xFF  # an extended SQLite result code carries the primary one in its low byte
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(StoreError):
    """The file is no sound database of this schema."""


class NotNow(StoreError):
    """Nothing of the write stands, and nothing is broken: the same write may be tried again."""


class DiskFull(NotNow):
    """There is no room."""


class Locked(NotNow):
    """Somebody else held the file for longer than the wait."""


class Commit(Enum):
    """How a database commits: journal mode and synchronous. Either way a commit that returned is durable."""

    LOG = ("wal", "FULL")  # readers never wait for the one writer
    ROLLBACK = (
        "delete",
        "EXTRA",
    )  # for several writers: SQLite before 3.51.3 may, if rarely, lose a log that two reset


class Cursor(Protocol):
    """What a statement gave."""

    def fetchone(self) -> Any: ...  # noqa: ANN401 -- a row is a tuple of whatever the columns hold
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """An open database in autocommit mode: what the store uses of sqlite3.Connection."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...
    def close(self) -> None: ...


class Disk(Protocol):
    """What the store asks of a disk. Errors are sqlite3.Error or OSError."""

    def connect(self, path: Path) -> Database:
        """Opens a database for writing; makes the file where there is none."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """On return every name in the folder is durable."""
        ...

    def write_file(self, path: Path, data: bytes) -> None:
        """Replaces a file whole, durably: a cut leaves the old one or the new one."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file another name; durable after `sync_folder` of both folders."""
        ...

    def remove(self, path: Path) -> None:
        """Removes a file, if it is there; durable after `sync_folder`."""
        ...


class SystemDisk:
    """The machine's disk and the standard library's SQLite."""

    def connect(self, path: Path) -> Database:
        # One thread at a time uses a writer's connection, but not always the one that opened it.
        return sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_file(self, path: Path, data: bytes) -> None:
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        self.sync_folder(path.parent)

    def rename(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)


_LEFT_IN_THE_MIDDLE: Final = (
    sqlite3.SQLITE_READONLY_ROLLBACK,
    sqlite3.SQLITE_READONLY_RECOVERY,
    sqlite3.SQLITE_READONLY_CANTINIT,
)
"""What SQLite says to a reader of a file whose writer died in the middle of a change."""


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite and the system say into a StoreError that names the file."""
    try:
        yield
    except sqlite3.Error as err:
        raise _kind_of(err)(f"{path}: {err}") from err
    except UnicodeDecodeError as err:  # a text in the file that is none
        raise Damaged(f"{path}: {err}") from err
    except OSError as err:
        raise (DiskFull if err.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError)(f"{path}: {err}") from err


def _kind_of(err: sqlite3.Error) -> type[StoreError]:
    code = getattr(err, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code == sqlite3.SQLITE_FULL:
        return DiskFull
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Locked
    return Damaged if code in _DAMAGED else StoreError


@contextmanager
def transaction(database: Database, path: Path) -> Iterator[None]:
    """One durable change: everything inside, or nothing.

    Raises:
        StoreError: as `store_errors`; nothing of the change stands.
    """
    with store_errors(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            with suppress(
                sqlite3.Error
            ):  # SQLite may have rolled back by itself; the first error is the one that counts
                database.execute("ROLLBACK")
            raise


def open_writer(disk: Disk, path: Path, tables: Sequence[str], commit: Commit = Commit.LOG) -> Database:
    """A database for writing, with its tables made.

    Args:
        disk: Where it lies.
        path: Its file; made where it is not there.
        tables: Statements that make its tables.
        commit: `LOG` where this is its only writer.
    Raises:
        StoreError: it cannot be opened (Damaged: it is no sound database of this schema).
    """
    with store_errors(path):
        new = not path.exists()
        database = disk.connect(path)
        try:
            _prepare(database, path, tables, commit)
            if new:
                disk.sync_folder(path.parent)
        except BaseException:
            database.close()
            raise
    return database


def _prepare(database: Database, path: Path, tables: Sequence[str], commit: Commit) -> None:
    wanted, synchronous = commit.value
    mode = database.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]
    if mode != wanted:
        raise StoreError(f"{path}: this disk cannot keep a {wanted} journal (it keeps {mode})")
    database.execute(f"PRAGMA synchronous={synchronous}")
    if _blank(database):
        with transaction(database, path):
            if _blank(database):  # nobody else made it while we waited
                for table in tables:
                    database.execute(table)
                database.execute(f"PRAGMA user_version={SCHEMA}")
    _check_version(database, path)


def _blank(database: Database) -> bool:
    """True where nothing was ever made in it. The version alone does not say so: a bit of it may have flipped."""
    return int(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]) == 0


def _check_version(database: Database, path: Path) -> None:
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version != SCHEMA:
        raise Damaged(f"{path}: schema {version}; this program reads and writes schema {SCHEMA}")


def open_reader(path: Path) -> Database | None:
    """A database for reading only, beside its live writer. None where it is not there or has no tables yet.

    Raises:
        StoreError: it cannot be read (Damaged: it is no sound database of this schema).
    """
    with store_errors(path):
        try:
            return _read_only(path)
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode not in _LEFT_IN_THE_MIDDLE:
                raise
        return _read_only(path, rolled_back=True)


def _read_only(path: Path, *, rolled_back: bool = False) -> Database | None:
    """A connection that reads; None where there is nothing to read yet.

    A writer that was killed in the middle of a change leaves a journal that the next one to open the file rolls back.
    Where no writer has come since, `rolled_back` lets this reader do it: SQLite takes the file's lock for that, so a
    live writer is never disturbed, and what then stands is what was last committed.
    """
    mode = "rw" if rolled_back else "ro"
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    except sqlite3.OperationalError:
        if path.exists():
            raise
        return None
    try:
        database.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
        blank = _blank(database)
        database.execute("PRAGMA query_only=ON")
        if blank:
            database.close()
            return None
        _check_version(database, path)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def reading(path: Path) -> Iterator[Database | None]:
    """A database for reading, closed afterwards; None where it is not there. Errors as `open_reader`."""
    database = open_reader(path)
    try:
        with store_errors(path):
            yield database
    finally:
        if database is not None:
            database.close()


@contextmanager
def decoding(path: Path, what: str) -> Iterator[None]:
    """Turns bytes that do not decode into Damaged, with the file and what was to be decoded named."""
    try:
        with store_errors(path):
            yield
    except (ValueError, struct.error, IndexError, TypeError, OverflowError) as err:
        raise Damaged(f"{path}: {what}: {err}") from err
