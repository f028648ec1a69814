"""Picks the rows of wanted points out of a frame's columns. Pure numpy: no object a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from mines.model import TimeArray, ValueArray
from mines.quality import QualityArray
from mines.store.frame_columns import FrameColumns, axis_time_ms
from mines.store.journal import SourceKeys


@dataclass(frozen=True, slots=True, eq=False)
class KeyLookup:
    """Where the wanted keys stand in one boot: slot of (source, local index) is `slots[starts[source] + index]`."""

    starts: npt.NDArray[np.int64]  # first point of each source, (sources,)
    slots: npt.NDArray[np.int32]  # place among the wanted keys, -1 = not wanted, (points,)

    @classmethod
    def of(cls, sources: Sequence[SourceKeys], wanted: Sequence[int]) -> Self | None:
        """None where the boot has none of the wanted keys. `wanted` is sorted."""
        keys = np.array([key for source in sources for key in source.keys], dtype=np.int64)
        at = np.searchsorted(np.asarray(wanted), keys)
        slots = np.where(np.isin(keys, wanted), at, -1).astype(np.int32)
        if not (slots >= 0).any():
            return None
        lengths = np.array([len(source.keys) for source in sources], dtype=np.int64)
        return cls(np.cumsum(lengths) - lengths, slots)


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """Rows of wanted points in journal order; all arrays of shape (n,). `slot` says whose each row is."""

    slot: npt.NDArray[np.int32]
    receive_time_ms: TimeArray
    source_time_ms: TimeArray
    value: ValueArray
    quality: QualityArray
    batch_no: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.slot)

    @classmethod
    def joined(cls, parts: Sequence[Gathered]) -> Self:
        """All parts one after the other."""
        all_parts = [_nothing(), *parts]
        return cls(*(np.concatenate([getattr(part, field.name) for part in all_parts]) for field in fields(cls)))

    def split(self, slots: int) -> list[Gathered]:
        """The rows of each slot by themselves, in journal order."""
        order = np.argsort(self.slot, kind="stable")
        ends = np.searchsorted(self.slot[order], np.arange(slots), side="right")
        return [self.taken(rows) for rows in np.split(order, ends[:-1])]

    def axis_time_ms(self) -> TimeArray:
        """Where each row stands on the axis of history: box time, for a back-filled row its source time. (n,) [ms]"""
        return axis_time_ms(self.kind, self.source_time_ms, self.receive_time_ms)

    def within(self, span: tuple[int | None, int | None]) -> Gathered:
        """The rows in [from, to) of the axis of history [ms], None = open."""
        if span == (None, None):
            return self
        times = self.axis_time_ms()
        inside = np.ones(len(times), dtype=np.bool_)
        if span[0] is not None:
            inside &= times >= span[0]
        if span[1] is not None:
            inside &= times < span[1]
        return self if inside.all() else self.taken(np.flatnonzero(inside))

    def in_slot(self, slot: int) -> Gathered:
        """The same rows as those of another slot."""
        return replace(self, slot=np.full(len(self), slot, dtype=np.int32))

    def taken(self, rows: npt.NDArray[np.intp]) -> Gathered:
        """Only these rows."""
        return Gathered(*(getattr(self, field.name)[rows] for field in fields(self)))


def _nothing() -> Gathered:
    return Gathered(
        slot=np.zeros(0, dtype=np.int32),
        receive_time_ms=np.zeros(0, dtype=np.int64),
        source_time_ms=np.zeros(0, dtype=np.int64),
        value=np.zeros(0, dtype=np.float64),
        quality=np.zeros(0, dtype=np.uint16),
        batch_no=np.zeros(0, dtype=np.int64),
        kind=np.zeros(0, dtype=np.uint8),
    )


def gather(
    columns: FrameColumns, lookup: KeyLookup, span: tuple[int | None, int | None], *, confirmations: bool
) -> Gathered:
    """The rows of wanted points in the span.

    Args:
        columns: Of one frame.
        lookup: Of its boot.
        span: [from, to) on the axis of history [ms], None = open.
        confirmations: Only confirmations; else only stored rows.
    """
    of_kind = ~columns.stored if confirmations else columns.stored
    batch_of_row = columns.batch_of_row
    place = lookup.starts[columns.batches.source][batch_of_row] + columns.rows.index
    slot = lookup.slots[place]
    rows = np.flatnonzero((slot >= 0) & of_kind[batch_of_row])
    times = columns.axis_time_ms()[rows]
    if span[0] is not None:
        rows, times = rows[times >= span[0]], times[times >= span[0]]
    if span[1] is not None:
        rows = rows[times < span[1]]
    batch = batch_of_row[rows]
    return Gathered(
        slot=slot[rows],
        receive_time_ms=columns.rows.receive_time_ms[rows],
        source_time_ms=columns.rows.source_time_ms[rows],
        value=columns.rows.value[rows],
        quality=columns.rows.quality[rows],
        batch_no=columns.batches.batch_no[batch],
        kind=columns.batches.kind[batch].astype(np.uint8),
    )
