"""Copies of a data folder: made beside the running box, restored elsewhere, compared by what they hold.

The order of copying makes every cut of time consistent: the chain before what it names, the event log before the
journal that it is caught up from, segments before the packed parts that take their place, the registry last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mines.errors import StoreError
from mines.events import event_log_sha256
from mines.store.disk import reading, store_errors
from mines.store.layout import SIDE_FILES, DataFolder
from mines.store.proof import canonical
from mines.store.reader import Reader

MANIFEST: Final = "backup.json"
_FIRST: Final = ("schema.json", "proof.db", "events.db", "ledger.db", "jobs.db", "users.db", "evidence.db")
_FOLDERS: Final = ("journal", "raw", "stats", "keys", "outbox", "set_aside")
_LAST: Final = ("points.db",)
_AT_ONCE: Final = 50  # points read in one pass

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


def back_up(data: Path, out: Path, *, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Copies a data folder, of a box that runs or does not; the copy is whole or not there.

    Args:
        data: The data folder.
        out: A new folder.
        progress: See `Progress`.
    Returns:
        The manifest: every file with size and hash, and the logical hashes.
    Raises:
        StoreError: `out` is there already, something cannot be read or written, or what was copied cannot be read.
    """
    DataFolder(data).check()
    if not data.is_dir():
        raise StoreError(f"{data}: there is no data folder")
    part = _new_part(out)
    total, done = sum(path.stat().st_size for path in data.rglob("*") if path.is_file()), 0
    for name in _files(data):
        done += _copy(data / name, part / name)
        progress(min(done, total), total)
    manifest = {
        "files": [_described(path, part) for path in sorted(part.rglob("*")) if path.is_file()],
        "logical": logical_hashes(part),
    }
    with store_errors(out):
        (part / MANIFEST).write_bytes(canonical(manifest) + b"\n")
        part.rename(out)
    return manifest


def restore(backup: Path, data: Path, *, progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Puts a copy into a new data folder, after every file of it was checked.

    Args:
        backup: What `back_up` made.
        data: A folder that is not there yet.
        progress: See `Progress`.
    Returns:
        The manifest.
    Raises:
        StoreError: the copy is damaged or not whole, or does not hold what it held when it was made; nothing is left.
    """
    manifest = _manifest(backup)
    part = _new_part(data)
    try:
        total, done = sum(file["size"] for file in manifest["files"]), 0
        for file in manifest["files"]:
            source = backup / file["name"]
            if not source.is_file() or _described(source, backup) != file:
                raise StoreError(f"{source}: is not as it was copied")
            with store_errors(source):
                (part / file["name"]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, part / file["name"])
            done += file["size"]
            progress(done, total)
        if logical_hashes(part) != manifest["logical"]:
            raise StoreError(f"{backup}: does not hold what it held when it was made")
        with store_errors(data):
            part.rename(data)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def logical_hashes(data: Path) -> dict[str, Any]:
    """What a folder holds, whatever its files look like: rows of every point, events, acts, and how many rows."""
    reader, folder = Reader(data), DataFolder(data)
    digest, rows = hashlib.sha256(), 0
    known = sorted(reader.known_points())
    for first in range(0, len(known), _AT_ONCE):
        some = known[first : first + _AT_ONCE]
        samples_of, confirmed_of = reader.samples_of(some), reader.confirmations_of(some)
        for point in some:
            samples = samples_of[point]
            rows += len(samples)
            digest.update(f"{point}\n{len(samples)}\n".encode())
            columns = (samples.receive_time_ms, samples.source_time_ms, samples.value, samples.quality)
            for column in (*columns, samples.batch_no, samples.kind, confirmed_of[point]):
                digest.update(column.tobytes())
    events = reader.events()
    return {
        "rows": rows,
        "samples_sha256": digest.hexdigest(),
        "events": len(events),
        "events_sha256": event_log_sha256(events),
        "acts_sha256": _acts_sha256(folder.ledger_db),
    }


def _acts_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with reading(path) as database:
        for row in () if database is None else database.execute("SELECT canonical FROM ledger ORDER BY id"):
            digest.update(row[0] + b"\n")
    return digest.hexdigest()


def _files(data: Path) -> Iterator[str]:
    """Names of what is copied, in order; a folder is listed when its turn comes."""
    yield from (name for name in _FIRST if (data / name).is_file())
    for folder in _FOLDERS:
        for path in sorted((data / folder).rglob("*")):
            side = any(path.name.endswith(end) for end in SIDE_FILES)
            if path.is_file() and not side and not path.name.endswith(".part"):
                yield str(path.relative_to(data))
    yield from (name for name in _LAST if (data / name).is_file())


def _copy(source: Path, target: Path) -> int:
    """Copies one file, a database as of one moment. A segment that was packed meanwhile is none any more: 0 bytes."""
    with store_errors(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".db" or _is_sealed_segment(source):
            if not source.exists():
                return 0
            shutil.copy2(source, target)
            return target.stat().st_size
        try:
            reading = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
        except sqlite3.OperationalError:
            if source.exists():
                raise
            return 0
        writing = sqlite3.connect(target)
        try:
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError:
            if source.exists():
                raise
            return 0
        finally:
            writing.close()
            reading.close()
        return target.stat().st_size


def _is_sealed_segment(path: Path) -> bool:
    """It never changes again and is proved byte for byte: SQLite's own copy would alter its header."""
    return path.parent.name == "journal" and not any(path.with_name(path.name + end).exists() for end in SIDE_FILES)


def _described(path: Path, root: Path) -> dict[str, Any]:
    with store_errors(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": str(path.relative_to(root)), "size": path.stat().st_size, "sha256": digest}


def _manifest(backup: Path) -> dict[str, Any]:
    path = backup / MANIFEST
    with store_errors(path):
        text = path.read_bytes()
    try:
        manifest: dict[str, Any] = json.loads(text)
        names = [file["name"] for file in manifest["files"]]
        inside = all((backup / name).resolve().is_relative_to(backup.resolve()) for name in names)
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"{path}: is no manifest of a copy: {err}") from err
    if not inside:
        raise StoreError(f"{path}: names a file outside the copy")
    return manifest


def _new_part(out: Path) -> Path:
    if out.exists():
        raise StoreError(f"{out}: is there already")
    part = out.with_name(out.name + ".part")
    with store_errors(part):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    return part
