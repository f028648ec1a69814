"""What a life before left in the journal: sealed, checked at its newest end, and what is damaged set aside, never used.

Nothing is repaired by guessing: a frame that does not check is moved to `set_aside/`, and so is a file that is no
sound database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mines.errors import StoreError
from mines.store.disk import Damaged, Database, Disk, open_reader, store_errors, transaction
from mines.store.frame import Frame, decode_frame
from mines.store.journal import open_segment, remove_segment, seal
from mines.store.layout import SIDE_FILES, DataFolder, first_seq_of

_UNREADABLE_JUMP: Final = 1_000_000
"""How many frame numbers are passed over behind a segment whose last number cannot be read: more than any holds."""


@dataclass(slots=True)
class Leftover:
    """What the journal holds beyond what the event log has."""

    last_seq: int  # highest frame number ever seen, damaged ones included
    rows: int = 0  # stored rows of frames beyond the log
    rows_lost: int = 0  # stored rows of set-aside frames that the log had counted
    unlogged: list[Frame] = field(default_factory=list)  # frames beyond the log that carry events, in order
    notes: list[str] = field(default_factory=list)  # what was set aside, for people


def recover_journal(folder: DataFolder, disk: Disk, applied: int) -> Leftover:
    """Seals what was left open and reads what the event log lacks.

    Args:
        folder: Locked by the caller.
        disk: Where it lies.
        applied: Number of the last frame that the event log has.
    Raises:
        StoreError: the disk refused. Damage is no error: it is set aside and told in `notes`.
    """
    recovery = _Recovery(folder, disk, applied)
    left_open = [path for path in folder.segments() if _has_side_files(path)]
    for path in sorted({*left_open, *folder.segments(applied)}, reverse=True):  # the newest is always among them
        recovery.take(path)
    recovery.found.unlogged.sort(key=lambda frame: frame.seq)
    return recovery.found


def _has_side_files(path: Path) -> bool:
    return any(path.with_name(path.name + side).exists() for side in SIDE_FILES)


class _Recovery:
    """Goes through segments from the newest back; `found` is what it learned."""

    def __init__(self, folder: DataFolder, disk: Disk, applied: int) -> None:
        self._folder = folder
        self._disk = disk
        self._applied = applied
        self._end_is_sound = False  # the newest frame that checks has been seen
        self.found = Leftover(last_seq=applied)

    def take(self, path: Path) -> None:
        """Takes one segment's part, and leaves the segment sealed."""
        try:
            if not self._end_is_sound:
                self._drop_damaged_end(path)
            frames, sealed = self._look(path)
        except Damaged as err:
            self._set_file_aside(path, err)
            return
        if frames == 0:
            remove_segment(path, self._disk)  # the power went between its creation and its first commit
        elif not sealed:
            seal(open_segment(path, self._disk), path, self._disk)

    def _drop_damaged_end(self, path: Path) -> None:
        """Moves frames from the newest end to `set_aside/` until one checks."""
        database = self._open(path)
        if database is None:
            return
        try:
            with store_errors(path):
                while (row := _newest(database)) is not None:
                    problem = _problem_of(row[0], row[2])
                    if problem is None:
                        self._end_is_sound = True
                        return
                    self._set_frame_aside(path, row, problem)
        finally:
            database.close()

    def _look(self, path: Path) -> tuple[int, bool]:
        """How many frames the segment has, and whether it is sealed."""
        database = self._open(path)
        if database is None:
            return 0, False
        try:
            with store_errors(path):
                frames, last = database.execute("SELECT count(*), coalesce(max(seq), 0) FROM frames").fetchone()
                beyond = database.execute("SELECT rows, events, body FROM frames WHERE seq > ?", (self._applied,))
                for rows, events, body in beyond:
                    self.found.rows += rows
                    if events:
                        self.found.unlogged.append(decode_frame(body))
                mode = database.execute("PRAGMA journal_mode").fetchone()[0]
        finally:
            database.close()
        self.found.last_seq = max(self.found.last_seq, last)
        return frames, mode != "wal"

    def _open(self, path: Path) -> Database | None:
        # What a crash left open must be recovered by a writer; a sealed segment is only looked at.
        return open_segment(path, self._disk) if _has_side_files(path) else open_reader(path)

    def _set_frame_aside(self, path: Path, row: tuple[int, int, bytes], problem: str) -> None:
        seq, rows, body = row
        self._folder.set_aside.mkdir(exist_ok=True)
        self._disk.write_file(self._folder.set_aside / f"{seq:012d}.frame", body)
        database = open_segment(path, self._disk)
        try:
            with transaction(database, path):
                database.execute("DELETE FROM frames WHERE seq = ?", (seq,))
        finally:
            database.close()
        self.found.last_seq = max(self.found.last_seq, seq)
        self.found.rows_lost += rows if seq <= self._applied else 0
        self.found.notes.append(f"frame {seq} of journal/{path.name} ({rows} rows) was set aside: {problem}")

    def _set_file_aside(self, path: Path, err: Damaged) -> None:
        folder = self._folder
        with store_errors(path):
            folder.set_aside.mkdir(exist_ok=True)
            for name in (path.name, *(path.name + side for side in SIDE_FILES)):
                if path.with_name(name).exists():
                    self._disk.rename(path.with_name(name), folder.set_aside / name)
            self._disk.sync_folder(folder.set_aside)
            self._disk.sync_folder(folder.journal)
        self.found.last_seq = max(self.found.last_seq, first_seq_of(path) + _UNREADABLE_JUMP)
        self.found.notes.append(
            f"journal/{path.name} was set aside whole (its rows stay in the count of stored rows): {err}"
        )


def _newest(database: Database) -> tuple[int, int, bytes] | None:
    row: tuple[int, int, bytes] | None = database.execute(
        "SELECT seq, rows, body FROM frames ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return row


def _problem_of(seq: int, body: bytes) -> str | None:
    try:
        frame = decode_frame(body)
    except StoreError as err:
        return str(err)
    return None if frame.seq == seq else f"it says that it is frame {frame.seq}"
