"""ledger.db: what people did, chained, durable before it is said to be recorded. Many threads, many processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mines.errors import StoreError
from mines.model import Actor, OperatorAct
from mines.store.chain import GENESIS, first_broken, link
from mines.store.disk import BUSY_TIMEOUT_S, Commit, Disk, Locked, SystemDisk, open_writer, store_errors, transaction

# AUTOINCREMENT keeps the highest number ever given: a row cut off at the end is missed.
TABLES: Final = (
    "CREATE TABLE ledger (id INTEGER PRIMARY KEY AUTOINCREMENT, canonical BLOB NOT NULL, hash BLOB NOT NULL) STRICT",
)
_LAST_GIVEN: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'ledger'), 0)"


class Ledger:
    """The ledger, for writing and for reading; one object may serve many threads.

    Raises:
        StoreError: from every method, where the file cannot be read or written, or is held by others for over 5 s.
    """

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()  # one connection: a second thread's BEGIN would land inside the first's
        self._database = open_writer(disk or SystemDisk(), path, TABLES, Commit.ROLLBACK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(
        self, actor: Actor, action: str, alarms: Sequence[tuple[str, int]], *, time_ms: int, note: str = ""
    ) -> int:
        """Records what a person did; durable on return.

        Args:
            actor: Who.
            action: acknowledge, reset.
            alarms: (alarm id, version as the person saw it).
            time_ms: Box time [ms].
            note: Any text. A lone surrogate, which is no Unicode, is kept as U+FFFD.
        Returns:
            The ledger id: 1, 2, 3 … without a gap.
        """
        with self._held(), transaction(self._database, self._path):
            number = int(self._database.execute(_LAST_GIVEN).fetchone()[0]) + 1
            last = self._database.execute("SELECT hash FROM ledger ORDER BY id DESC LIMIT 1").fetchone()
            canonical = _canonical(OperatorAct(number, time_ms, actor, action, tuple(alarms), note))
            digest = link(last[0] if last else GENESIS, canonical)
            self._database.execute("INSERT INTO ledger VALUES (?, ?, ?)", (number, canonical, digest))
        return number

    def acts_after(self, ledger_id: int) -> list[OperatorAct]:
        """Everything recorded after this id, in order."""
        with self._held(), store_errors(self._path):
            rows = self._database.execute(
                "SELECT id, canonical FROM ledger WHERE id > ? ORDER BY id", (ledger_id,)
            ).fetchall()
        return [_act(number, canonical) for number, canonical in rows]

    def verify(self) -> int | None:
        """Id of the first row that is missing, moved or altered; None where the whole chain holds."""
        with self._held(), store_errors(self._path):
            broken = first_broken(self._database.execute("SELECT id, canonical, hash FROM ledger ORDER BY id"))
            given = int(self._database.execute(_LAST_GIVEN).fetchone()[0])
            there = int(self._database.execute("SELECT coalesce(max(id), 0) FROM ledger").fetchone()[0])
        return there + 1 if broken is None and there < given else broken

    def close(self) -> None:
        """Closes the file."""
        with self._held(), store_errors(self._path):
            self._database.close()

    @contextmanager
    def _held(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=BUSY_TIMEOUT_S):
            raise Locked(f"{self._path}: held by other threads for over {BUSY_TIMEOUT_S:g} s")
        try:
            yield
        finally:
            self._lock.release()


def _canonical(act: OperatorAct) -> bytes:
    document = {
        "ledger_id": act.ledger_id,
        "time_ms": act.time_ms,
        "actor": {
            "id": act.actor.id,
            "name": act.actor.name,
            "role": act.actor.role,
            "station": act.actor.station,
            "authenticated": act.actor.authenticated,
        },
        "action": act.action,
        "alarms": [list(alarm) for alarm in act.alarms],
        "note": act.note,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Through UTF-16: a surrogate pair that came as two halves is one character; a half alone is none.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.encode("utf-8")


def _act(number: int, canonical: bytes) -> OperatorAct:
    try:
        row: dict[str, Any] = json.loads(canonical)
        alarms = tuple((str(alarm), int(version)) for alarm, version in row["alarms"])
        return OperatorAct(number, row["time_ms"], Actor(**row["actor"]), row["action"], alarms, row["note"])
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"ledger row {number} cannot be read: {err}") from err
