"""The reading side of the data folder: beside the live writer, from any process; each call opens read-only connections.

Rows are found by permanent key: a point that was renamed or moved in the file is the same point, one whose unit
changed is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mines.errors import StoreError
from mines.events import Event
from mines.model import TimeArray, ValueArray
from mines.quality import QualityArray
from mines.store.disk import Database, reading
from mines.store.events_log import first_broken_event, read_events
from mines.store.frame import Frame, decode_columns, decode_frame
from mines.store.frame_columns import axis_time_ms
from mines.store.journal import Boot, read_boots, read_span
from mines.store.layout import DataFolder, first_seq_of
from mines.store.points_registry import AcceptedSite, read_key, read_known, read_site_files, read_sites
from mines.store.raw_file import has_rows_in, packed_among, read_points
from mines.store.row_gather import Gathered, KeyLookup, gather
from mines.store.statistics import Statistics, nothing
from mines.store.stats_file import read_hourly


@dataclass(frozen=True, slots=True, eq=False)
class SampleColumns:
    """Stored rows of one point (sample, backfill) in journal order; all arrays of shape (n,)."""

    receive_time_ms: TimeArray
    source_time_ms: TimeArray  # NO_TIME_MS = the device gave none
    value: ValueArray
    quality: QualityArray
    batch_no: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]  # RowKind

    def __len__(self) -> int:
        return len(self.value)

    @property
    def time_ms(self) -> TimeArray:
        """Place of each row on the axis of history: box time, for a back-filled row its source time. (n,) [ms]"""
        return axis_time_ms(self.kind, self.source_time_ms, self.receive_time_ms)


class Reader:
    """What a data folder holds. A folder that is not there yet holds nothing.

    Times are on the axis of history (`SampleColumns.time_ms`), `from_ms` inclusive, `to_ms` exclusive, None = open.

    Raises:
        StoreError: from every method; the folder is of another schema, or a file is damaged: the message names it.
    """

    def __init__(self, data: Path) -> None:
        self._folder = DataFolder(data)
        self._folder.check()

    def samples(self, point_id: str, from_ms: int | None = None, to_ms: int | None = None) -> SampleColumns:
        """Stored rows of one point, under whatever id it had. Empty where the id was never known."""
        return self.samples_of((point_id,), from_ms, to_ms)[point_id]

    def samples_of(
        self, point_ids: Sequence[str], from_ms: int | None = None, to_ms: int | None = None
    ) -> dict[str, SampleColumns]:
        """Stored rows of each of the points, in one pass over the journal."""
        found = self._gather(point_ids, (from_ms, to_ms), confirmations=False)
        return {point_id: _samples(rows) for point_id, rows in found.items()}

    def confirmations(self, point_id: str, from_ms: int | None = None, to_ms: int | None = None) -> TimeArray:
        """When a point was confirmed unchanged: receive times in journal order, (n,) [ms]."""
        return self.confirmations_of((point_id,), from_ms, to_ms)[point_id]

    def confirmations_of(
        self, point_ids: Sequence[str], from_ms: int | None = None, to_ms: int | None = None
    ) -> dict[str, TimeArray]:
        """Likewise for each of the points, in one pass over the journal."""
        found = self._gather(point_ids, (from_ms, to_ms), confirmations=True)
        return {point_id: rows.receive_time_ms for point_id, rows in found.items()}

    def hourly(self, point_id: str, from_ms: int, to_ms: int) -> Statistics:
        """Stored hourly rollups of a point, newest revision of each hour. Hours not summed yet have none.

        Args:
            point_id: The point.
            from_ms: First hour, inclusive.
            to_ms: End, exclusive.
        """
        key = self._keys_of((point_id,))[point_id]
        found = [nothing()]
        for path in self._folder.stats_years() if key is not None else []:
            with reading(path) as database:
                if database is not None and key is not None:
                    found.append(read_hourly(database, key, from_ms, to_ms))
        return Statistics.joined(found)

    def events(self, from_ms: int | None = None, to_ms: int | None = None) -> list[Event]:
        """Events of a time range, in seq order."""
        with reading(self._folder.events_db) as database:
            return [] if database is None else read_events(database, from_ms, to_ms)

    def broken_event(self) -> int | None:
        """Number of the first event that is missing or altered; None where the whole chain holds."""
        with reading(self._folder.events_db) as database:
            return None if database is None else first_broken_event(database)

    def frames(self, after_seq: int = 0, *, skipped: list[str] | None = None) -> Iterator[Frame]:
        """Every frame after this number, in order, across segments.

        Args:
            after_seq: 0 = from the first.
            skipped: Where given, a damaged frame is passed over and told here; else it is an error.
        """
        for path in self._folder.segments(after_seq):
            yield from self._frames_of(path, after_seq, skipped)

    def newest_tick_ms(self) -> int | None:
        """Box time of the newest tick that is durable; None where there is none."""
        for path in reversed(self._folder.segments()):
            with reading(path) as database:
                row = None if database is None else database.execute("SELECT max(last_tick_ms) FROM frames").fetchone()
                if row is not None and row[0] is not None:
                    return int(row[0])
        return None

    def source_ids(self, boot_id: str) -> tuple[str, ...]:
        """Ids of the sources of a boot, in the order that its frames count in."""
        for path in reversed(self._folder.segments()):
            with reading(path) as database:
                for boot in [] if database is None else read_boots(database):
                    if boot.id == boot_id:
                        return tuple(source.id for source in boot.sources)
        raise StoreError(f"{self._folder.journal}: no frame is of boot {boot_id}")

    def known_points(self) -> frozenset[str]:
        """Ids that the registry knows, each as it was last called."""
        with reading(self._folder.points_db) as database:
            return frozenset() if database is None else frozenset(entry.id for entry in read_known(database))

    def accepted_sites(self) -> list[AcceptedSite]:
        """Sites that were taken into use, oldest first."""
        with reading(self._folder.points_db) as database:
            return [] if database is None else read_sites(database)

    def site_files(self, sha256: str) -> dict[str, bytes]:
        """The files of an accepted site by name, byte for byte: enough to run it again."""
        with reading(self._folder.points_db) as database:
            return {} if database is None else read_site_files(database, sha256)

    def _gather(
        self, point_ids: Sequence[str], span: tuple[int | None, int | None], *, confirmations: bool
    ) -> dict[str, Gathered]:
        key_of = self._keys_of(point_ids)
        wanted = sorted({key for key in key_of.values() if key is not None})
        # Segments are listed before the packed parts: what is packed and removed meanwhile is found there.
        segments = {first_seq_of(path): path for path in self._folder.segments()} if wanted else {}
        parts, packed = self._packed_rows(wanted, span, segments, confirmations=confirmations)
        for first_seq, path in segments.items():
            if first_seq not in packed:
                with reading(path) as database:
                    if database is not None:
                        parts[first_seq] = _segment_rows(database, path, wanted, span=span, confirmations=confirmations)
                    elif not path.exists():  # packed and removed while we read: look again
                        return self._gather(point_ids, span, confirmations=confirmations)
        in_order = [rows for first_seq in sorted(parts) for rows in parts[first_seq]]
        by_slot = Gathered.joined(in_order).split(len(wanted))
        slot_of = {key: slot for slot, key in enumerate(wanted)}
        nothing = Gathered.joined([])
        return {point: nothing if key is None else by_slot[slot_of[key]] for point, key in key_of.items()}

    def _packed_rows(
        self,
        wanted: Sequence[int],
        span: tuple[int | None, int | None],
        segments: Iterable[int],
        *,
        confirmations: bool,
    ) -> tuple[dict[int, list[Gathered]], set[int]]:
        """Packed rows by the first frame of their part, and which of the journal's segments are packed."""
        parts: dict[int, list[Gathered]] = {}
        packed: set[int] = set()
        slot_of = {key: slot for slot, key in enumerate(wanted)}
        for path in self._folder.raw_months() if wanted else []:
            with reading(path) as database:
                if database is None:
                    continue
                packed |= packed_among(database, list(segments))
                if has_rows_in(database, span):
                    for first_seq, key, rows in read_points(database, path, wanted, span, confirmations=confirmations):
                        parts.setdefault(first_seq, []).append(rows.in_slot(slot_of[key]))
        return parts, packed

    def _keys_of(self, point_ids: Sequence[str]) -> dict[str, int | None]:
        with reading(self._folder.points_db) as database:
            return {point: None if database is None else read_key(database, point) for point in point_ids}

    def _frames_of(self, path: Path, after_seq: int, skipped: list[str] | None) -> Iterator[Frame]:
        with reading(path) as database:
            if database is None:
                return
            for seq, body in database.execute("SELECT seq, body FROM frames WHERE seq > ? ORDER BY seq", (after_seq,)):
                try:
                    frame = decode_frame(body)
                    if frame.seq != seq:
                        raise StoreError(f"frame {seq} says that it is frame {frame.seq}")
                except StoreError as err:
                    if skipped is None:
                        raise StoreError(f"{path}: {err}") from err
                    skipped.append(f"{path}: {err}")
                    continue
                yield frame


def _segment_rows(
    database: Database,
    path: Path,
    wanted: Sequence[int],
    *,
    span: tuple[int | None, int | None],
    confirmations: bool,
) -> list[Gathered]:
    """The wanted rows of one segment, one part a frame that has any."""
    lookups = _lookups(read_boots(database), wanted)
    if not lookups or _outside(read_span(database), span):
        return []
    frames = database.execute(
        "SELECT seq, boot_id, body FROM frames WHERE last_row_ms IS NOT NULL"
        " AND (?1 IS NULL OR last_row_ms >= ?1) AND (?2 IS NULL OR first_row_ms < ?2) ORDER BY seq",
        span,
    )
    parts = []
    for seq, boot_id, body in frames:
        if boot_id in lookups:
            try:
                parts.append(gather(decode_columns(body), lookups[boot_id], span, confirmations=confirmations))
            except StoreError as err:
                raise StoreError(f"{path}: frame {seq}: {err}") from err
    return [part for part in parts if len(part)]


def _lookups(boots: Sequence[Boot], wanted: Sequence[int]) -> Mapping[str, KeyLookup]:
    """For each boot that has any of the wanted keys, where they stand."""
    return {boot.id: lookup for boot in boots if (lookup := KeyLookup.of(boot.sources, wanted)) is not None}


def _outside(rows: tuple[int | None, int | None] | None, span: tuple[int | None, int | None]) -> bool:
    """True where a sealed segment has no row in the span; an open one (None) may always have one."""
    if rows is None:
        return False
    first, last = rows
    if first is None or last is None:
        return True
    return (span[0] is not None and last < span[0]) or (span[1] is not None and first >= span[1])


def _samples(rows: Gathered) -> SampleColumns:
    return SampleColumns(rows.receive_time_ms, rows.source_time_ms, rows.value, rows.quality, rows.batch_no, rows.kind)
