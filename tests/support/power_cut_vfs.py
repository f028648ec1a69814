"""A disk on which the power can be cut: it writes down all that is done to it, and says what would have survived.

The store runs once on a `RecordingDisk` (SQLite through apsw, on a VFS of ours over the system's). Afterwards
`Tape.cuts` gives, for every single operation, the files that would be found if the power had gone just before it:

* what was written to a file and not synced since is lost; in the unkind mode any part of it is there, torn in sectors;
* a file that was made, renamed or removed is so only after its folder was synced (as SQLite does by itself for logs).

Folders themselves are taken for durable. Reads and locks go to the real files, so the store notices nothing.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from mines.store.disk import SystemDisk

SECTOR = 512
_VFS_NUMBERS = itertools.count()
# A log's first sync also syncs its folder (SQLite, os_unix.c, UNIXFILE_DIRSYNC).
_SYNCS_ITS_FOLDER = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


@dataclass(frozen=True)
class Operation:
    """One thing done to the disk: create, write, truncate, sync, remove, rename, sync_folder."""

    kind: str
    path: Path
    offset: int = 0  # write; the new size of truncate
    data: bytes = b""  # write
    target: Path | None = None  # rename


@dataclass
class _File:
    """A file's bytes as synced, and what was done to it since."""

    synced: bytes = b""
    since: list[Operation] = field(default_factory=list)

    def after(self, kept: Sequence[Operation]) -> bytes:
        content = bytearray(self.synced)
        for operation in kept:
            if operation.kind == "truncate":
                del content[operation.offset :]
                continue
            content.extend(bytes(max(operation.offset - len(content), 0)))
            content[operation.offset : operation.offset + len(operation.data)] = operation.data
        return bytes(content)

    def sync(self) -> None:
        self.synced, self.since = self.after(self.since), []


class _Machine:
    """Files and names as they are, and as they would be found after a cut."""

    def __init__(self, files: dict[Path, bytes]) -> None:
        self._names = {path: _File(content) for path, content in files.items()}
        self._durable = dict(self._names)

    def do(self, operation: Operation) -> None:
        match operation.kind:
            case "create":
                self._names[operation.path] = _File()
            case "write" | "truncate":
                self._names[operation.path].since.append(operation)
            case "sync":
                self._names[operation.path].sync()
            case "remove":
                self._names.pop(operation.path)
            case "rename":
                self._names[operation.target] = self._names.pop(operation.path)
            case "sync_folder":
                self._sync_folder(operation.path)

    def _sync_folder(self, folder: Path) -> None:
        for names in (self._durable, self._names):
            for path in [path for path in names if path.parent == folder]:
                if path in self._names:
                    self._durable[path] = self._names[path]
                else:
                    del self._durable[path]

    def found(self, unkind: random.Random | None) -> dict[Path, bytes]:
        """What is there after a cut. With `unkind` un-synced writes survive in any part, and names in either state."""
        if unkind is None:
            return {path: file.synced for path, file in self._durable.items()}
        names = self._names if unkind.random() < 0.5 else self._durable
        return {path: file.after(_some(file.since, unkind)) for path, file in names.items()}


def _some(operations: Sequence[Operation], unkind: random.Random) -> list[Operation]:
    """Any of the operations, in order; writes also torn at any sector."""
    kept = [operation for operation in operations if unkind.random() < 0.5]
    return [
        part
        for operation in kept
        for part in ([operation] if operation.kind == "truncate" else _torn(operation, unkind))
    ]


def _torn(write: Operation, unkind: random.Random) -> list[Operation]:
    if unkind.random() < 0.7:
        return [write]
    sectors = range(0, len(write.data), SECTOR)
    return [
        Operation("write", write.path, write.offset + at, write.data[at : at + SECTOR])
        for at in sectors
        if unkind.random() < 0.5
    ]


@dataclass
class Tape:
    """Everything that was done to a disk, and what had been said by then."""

    before: dict[Path, bytes]
    operations: list[Operation] = field(default_factory=list)
    said: list[tuple[int, Any]] = field(default_factory=list)  # (operations done by then, what was acknowledged)

    def say(self, what: object) -> None:
        """Something was acknowledged: from now on it must survive."""
        self.said.append((len(self.operations), what))

    def said_before(self, cut: int) -> list[Any]:
        """What had been acknowledged when the power went just before operation `cut`."""
        return [what for done, what in self.said if done <= cut]

    def cuts(self, seed: int | None = None) -> Iterator[tuple[int, Callable[[], dict[Path, bytes]]]]:
        """For every operation, and the end: its number, and the files found if the power goes just before it.

        `seed` = None drops everything un-synced; a number keeps any part of it.
        """
        machine = _Machine(self.before)
        for number, operation in enumerate([*self.operations, None]):
            unkind = None if seed is None else random.Random(seed * 1_000_003 + number)
            yield number, lambda unkind=unkind: machine.found(unkind)
            if operation is not None:
                machine.do(operation)


class RecordingDisk(SystemDisk):
    """A `Disk` that writes down on a tape what is done to it. Close what was opened before looking at the tape."""

    def __init__(self, files: dict[Path, bytes] | None = None) -> None:
        self.tape = Tape(dict(files or {}))
        self.there = set(self.tape.before)
        self._vfs = _RecordingVfs(self)

    def connect(self, path):
        return _Database(path, self._vfs.vfs_name)

    def sync_folder(self, folder):
        self.record("sync_folder", folder)

    def write_file(self, path, data):
        part = path.with_name(path.name + ".part")
        self.record("create", part)
        self.record("write", part, data=data)
        self.record("sync", part)
        self.record("rename", part, target=path)
        self.record("sync_folder", path.parent)
        path.write_bytes(data)

    def rename(self, old, new):
        super().rename(old, new)
        self.record("rename", old, target=new)

    def remove(self, path):
        if path in self.there:
            self.record("remove", path)
        super().remove(path)

    def record(self, kind: str, path: Path, **more: Any) -> None:
        """Writes down one operation."""
        operation = Operation(kind, path, **more)
        self.tape.operations.append(operation)
        if kind in ("remove", "rename"):
            self.there.discard(path)
        if kind == "create":
            self.there.add(path)
        if operation.target is not None:
            self.there.add(operation.target)

    def unregister(self) -> None:
        """Takes the VFS away again."""
        self._vfs.unregister()


class _RecordingVfs(apsw.VFS):
    """The system's VFS, with every change written down. Nothing is really synced: that is what the tape is for."""

    def __init__(self, disk: RecordingDisk) -> None:
        self.vfs_name = f"recording{next(_VFS_NUMBERS)}"
        self._disk = disk
        super().__init__(self.vfs_name, "")

    def xOpen(self, name, flags):
        return _RecordingFile(self._disk, name, flags)

    def xDelete(self, filename, syncdir):
        super().xDelete(filename, syncdir)
        self._disk.record("remove", Path(filename))
        if syncdir:
            self._disk.record("sync_folder", Path(filename).parent)


class _RecordingFile(apsw.VFSFile):
    def __init__(self, disk: RecordingDisk, name, flags) -> None:
        self._disk = disk
        self._path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        self._syncs_folder = bool(flags[0] & _SYNCS_ITS_FOLDER)
        super().__init__("", name, flags)
        if self._path not in disk.there:
            disk.record("create", self._path)

    def xWrite(self, data, offset):
        super().xWrite(data, offset)
        self._disk.record("write", self._path, offset=offset, data=bytes(data))

    def xTruncate(self, newsize):
        super().xTruncate(newsize)
        self._disk.record("truncate", self._path, offset=newsize)

    def xSync(self, flags):
        self._disk.record("sync", self._path)
        if self._syncs_folder:
            self._syncs_folder = False
            self._disk.record("sync_folder", self._path.parent)


class _Database:
    """apsw's connection as the store sees sqlite3's."""

    def __init__(self, path: Path, vfs: str) -> None:
        self._connection = apsw.Connection(str(path), vfs=vfs)
        self._connection.set_busy_timeout(5000)

    def execute(self, sql, parameters=(), /):
        try:
            return _Rows(list(self._connection.execute(sql, parameters)))
        except apsw.Error as err:
            error = sqlite3.OperationalError(str(err))
            error.sqlite_errorcode = err.extendedresult
            raise error from err

    def close(self):
        self._connection.close()


class _Rows:
    def __init__(self, rows: list) -> None:
        self._rows = iter(rows)

    def fetchone(self):
        return next(self._rows, None)

    def fetchall(self):
        return list(self._rows)

    def __iter__(self):
        return self._rows


def put(files: dict[Path, bytes], old: Path, new: Path) -> None:
    """Lays the files of folder `old` as they were found into folder `new`."""
    for path, content in files.items():
        place = new / path.relative_to(old)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
