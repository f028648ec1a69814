"""The data folder: the name of every file in it, and whose schema it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from mines.errors import StoreError
from mines.store.disk import SCHEMA, Disk, store_errors

_SEGMENT = re.compile(r"\d{12}\.db")
_YEAR = re.compile(r"\d{4}\.db")
_MONTH = re.compile(r"\d{4}-\d{2}\.db")
SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database while it is open or after a crash."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Names of the files of one data folder (design §5)."""

    path: Path

    @property
    def schema(self) -> Path:
        """Says of which schema the folder is."""
        return self.path / "schema.json"

    @property
    def lock(self) -> Path:
        """Held by the one `run` of this folder."""
        return self.path / "run.lock"

    @property
    def journal(self) -> Path:
        """Folder of the journal's segments."""
        return self.path / "journal"

    @property
    def raw(self) -> Path:
        """Folder of packed history, a file a month. Writer: worker."""
        return self.path / "raw"

    def raw_month(self, month: str) -> Path:
        """The file of a month, e.g. `2026-11`."""
        return self.raw / f"{month}.db"

    def raw_months(self) -> list[Path]:
        """The files that are there, oldest month first."""
        if not self.raw.is_dir():
            return []
        return sorted(path for path in self.raw.iterdir() if _MONTH.fullmatch(path.name))

    @property
    def stats(self) -> Path:
        """Folder of statistics, a file a year. Writer: worker."""
        return self.path / "stats"

    def stats_year(self, year: str) -> Path:
        """The file of a year, e.g. `2026`."""
        return self.stats / f"{year}.db"

    def stats_years(self) -> list[Path]:
        """The files that are there, oldest year first."""
        if not self.stats.is_dir():
            return []
        return sorted(path for path in self.stats.iterdir() if _YEAR.fullmatch(path.name))

    @property
    def set_aside(self) -> Path:
        """Folder of what was found damaged: kept for a person, read by nobody."""
        return self.path / "set_aside"

    @property
    def events_db(self) -> Path:
        """The event log. Writer: run."""
        return self.path / "events.db"

    @property
    def points_db(self) -> Path:
        """Registry of points, and accepted sites. Writer: run."""
        return self.path / "points.db"

    @property
    def ledger_db(self) -> Path:
        """What people did. Writer: web."""
        return self.path / "ledger.db"

    @property
    def proof_db(self) -> Path:
        """The chain over what is closed, and its signed heads. Writer: worker."""
        return self.path / "proof.db"

    @property
    def keys(self) -> Path:
        """Folder of the box's own key. Writer: worker."""
        return self.path / "keys"

    @property
    def outbox(self) -> Path:
        """Folder of files for others. Writer: worker."""
        return self.path / "outbox"

    def segment(self, first_seq: int) -> Path:
        """The journal segment whose first frame has this number."""
        return self.journal / f"{first_seq:012d}.db"

    def segments(self, after_seq: int = 0) -> list[Path]:
        """Journal segments that may hold frames after this number, by the number of their first frame, ascending."""
        if not self.journal.is_dir():
            return []
        found = sorted(path for path in self.journal.iterdir() if _SEGMENT.fullmatch(path.name))
        over = sum(first_seq_of(path) <= after_seq + 1 for path in found[1:])  # each one's successor begins by then
        return found[over:]

    def check(self) -> None:
        """Refuses a folder of another schema; a folder that is not there yet is none.

        Raises:
            StoreError: the folder is of another schema, or its schema file is unreadable.
        """
        with store_errors(self.schema):
            if not self.schema.exists():
                self._refuse_unmarked()
                return
            text = self.schema.read_bytes()
        try:
            schema = json.loads(text)["schema"]
        except (ValueError, TypeError, KeyError) as err:
            raise StoreError(f"{self.schema}: no schema can be read from it") from err
        if schema != SCHEMA:
            raise StoreError(f"{self.schema}: schema {schema}; this program reads and writes schema {SCHEMA}")

    def _refuse_unmarked(self) -> None:
        # The schema file is the first thing ever written by run, so these can only come from elsewhere.
        for path in (self.events_db, self.points_db, self.journal):
            if path.exists():
                raise StoreError(f"{self.path}: holds {path.name} but no {self.schema.name}")

    def create(self, disk: Disk) -> None:
        """Makes the folder and what is missing in it, durably.

        Raises:
            StoreError: the folder is of another schema, or cannot be made.
        """
        self.check()
        with store_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            disk.sync_folder(self.path.parent)
            if not self.schema.exists():
                disk.write_file(self.schema, json.dumps({"schema": SCHEMA}).encode("ascii"))
            self.journal.mkdir(exist_ok=True)
            disk.sync_folder(self.path)


def first_seq_of(segment: Path) -> int:
    """Number of the first frame of a segment, from its name."""
    return int(segment.stem)
