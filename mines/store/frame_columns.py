"""The rows of a frame as columns over all its ticks: what is on disk, and what a query reads without making batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mines.clock import NO_TIME_MS
from mines.model import Batch, IndexArray, RowKind, SourcedBatch, Tick, TimeArray, ValueArray
from mines.quality import QualityArray
from mines.store.column_codec import ColumnReader, ColumnWriter, Ints, put_times, take_times


@dataclass(frozen=True, slots=True, eq=False)
class TickTable:
    """One row a tick, shape (ticks,)."""

    number: Ints
    time_ms: Ints
    monotonic_ns: Ints
    batches: Ints  # how many batches of the batch table are this tick's
    links: Ints
    acts: Ints
    clock_step_ms: Ints

    @property
    def columns(self) -> tuple[Ints, ...]:
        """In the order on disk."""
        counts = (self.batches, self.links, self.acts)
        return (self.number, self.time_ms, self.monotonic_ns, *counts, self.clock_step_ms)


@dataclass(frozen=True, slots=True, eq=False)
class BatchTable:
    """One row a batch in arrival order, shape (batches,)."""

    source: Ints  # position of the source among the site's sources
    batch_no: Ints
    kind: Ints  # RowKind
    length: Ints  # rows of the row columns

    @property
    def columns(self) -> tuple[Ints, ...]:
        """In the order on disk."""
        return (self.source, self.batch_no, self.kind, self.length)


@dataclass(frozen=True, slots=True, eq=False)
class RowColumns:
    """Every row of every batch in arrival order, shape (n,). `index` is source-local."""

    index: IndexArray
    value: ValueArray
    quality: QualityArray
    source_time_ms: TimeArray
    receive_time_ms: TimeArray
    monotonic_ns: TimeArray

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True, eq=False)
class FrameColumns:
    """All ticks of one frame, without its texts."""

    ticks: TickTable
    batches: BatchTable
    rows: RowColumns

    @property
    def batch_of_row(self) -> Ints:
        """For each row the row of its batch in the batch table, shape (n,)."""
        return np.repeat(np.arange(len(self.batches.length)), self.batches.length)

    @property
    def stored(self) -> npt.NDArray[np.bool_]:
        """Which batches hold samples (sample, backfill): a confirmation is none. Shape (batches,)."""
        stored: npt.NDArray[np.bool_] = self.batches.kind != RowKind.CONFIRM
        return stored

    @property
    def stored_rows(self) -> int:
        """How many rows are samples."""
        return int(self.batches.length[self.stored].sum())

    def axis_time_ms(self) -> TimeArray:
        """Where each row stands on the axis of history: box time, for a back-filled row its source time. Shape (n,)."""
        kind = self.batches.kind[self.batch_of_row]
        return axis_time_ms(kind, self.rows.source_time_ms, self.rows.receive_time_ms)


def axis_time_ms(kind: npt.NDArray[np.integer], source_time_ms: TimeArray, receive_time_ms: TimeArray) -> TimeArray:
    """Where rows stand on the axis of history: box time, for a back-filled row its source time. Shape (n,) [ms]."""
    backfilled = (kind == RowKind.BACKFILL) & (source_time_ms != NO_TIME_MS)
    return np.where(backfilled, source_time_ms, receive_time_ms)


def columns_of(ticks: Sequence[Tick]) -> FrameColumns:
    """The ticks as columns. TypeError where a batch's column is of another type than the model says."""
    sourced = [item for tick in ticks for item in tick.batches]
    batches = [item.batch for item in sourced]
    return FrameColumns(
        ticks=TickTable(
            number=_ints([tick.number for tick in ticks]),
            time_ms=_ints([tick.time_ms for tick in ticks]),
            monotonic_ns=_ints([tick.monotonic_ns for tick in ticks]),
            batches=_ints([len(tick.batches) for tick in ticks]),
            links=_ints([len(tick.links) for tick in ticks]),
            acts=_ints([len(tick.acts) for tick in ticks]),
            clock_step_ms=_ints([tick.clock_step_ms for tick in ticks]),
        ),
        batches=BatchTable(
            source=_ints([item.source for item in sourced]),
            batch_no=_ints([batch.batch_no for batch in batches]),
            kind=_ints([batch.kind for batch in batches]),
            length=_ints([len(batch) for batch in batches]),
        ),
        rows=RowColumns(
            index=_joined([batch.index for batch in batches], np.int32),
            value=_joined([batch.value for batch in batches], np.float64),
            quality=_joined([batch.quality for batch in batches], np.uint16),
            source_time_ms=_joined([batch.source_time_ms for batch in batches], np.int64),
            receive_time_ms=_joined([batch.receive_time_ms for batch in batches], np.int64),
            monotonic_ns=_joined([batch.monotonic_ns for batch in batches], np.int64),
        ),
    )


def batches_of(columns: FrameColumns) -> list[SourcedBatch]:
    """Every batch in arrival order; its arrays are views of the columns."""
    table = columns.batches
    described = (*table.columns, np.cumsum(table.length))
    return [
        SourcedBatch(source, _batch(columns.rows, slice(end - length, end), batch_no, RowKind(kind)))
        for source, batch_no, kind, length, end in zip(*(column.tolist() for column in described), strict=True)
    ]


def put_columns(writer: ColumnWriter, columns: FrameColumns) -> None:
    """The columns as bytes; lengths of the tick and batch tables first."""
    writer.ints(_ints([len(columns.ticks.number), len(columns.batches.length)]))
    for column in columns.ticks.columns + columns.batches.columns:
        writer.ints(column)
    rows, row_batch = columns.rows, _place_among_filled(columns.batches.length)
    filled = columns.batches.length[columns.batches.length > 0]
    starts = np.cumsum(filled) - filled
    writer.ints(rows.index.astype(np.int64))
    writer.floats(rows.value)
    writer.scattered(rows.quality.astype(np.int64))
    for column in (rows.receive_time_ms, rows.monotonic_ns, rows.source_time_ms):
        put_times(writer, column, starts, row_batch)


def take_columns(reader: ColumnReader) -> FrameColumns:
    """What `put_columns` put. ValueError or struct.error where the bytes are no columns."""
    ticks, batches = reader.ints(2).tolist()
    tick_table = TickTable(*(reader.ints(ticks) for _ in range(7)))
    batch_table = BatchTable(*(reader.ints(batches) for _ in range(4)))
    n, row_batch = int(batch_table.length.sum()), _place_among_filled(batch_table.length)
    filled = int((batch_table.length > 0).sum())
    index, value, quality = reader.ints(n), reader.floats(n), reader.scattered(n)
    receive, monotonic, source = (take_times(reader, filled, row_batch) for _ in range(3))
    rows = RowColumns(index.astype(np.int32), value, quality.astype(np.uint16), source, receive, monotonic)
    return FrameColumns(tick_table, batch_table, rows)


def _batch(rows: RowColumns, part: slice, batch_no: int, kind: RowKind) -> Batch:
    return Batch(
        index=rows.index[part],
        value=rows.value[part],
        quality=rows.quality[part],
        source_time_ms=rows.source_time_ms[part],
        receive_time_ms=rows.receive_time_ms[part],
        monotonic_ns=rows.monotonic_ns[part],
        batch_no=batch_no,
        kind=kind,
    )


def _place_among_filled(lengths: Ints) -> Ints:
    """For each row the place of its batch among the batches that have rows. Shape (n,)."""
    filled = lengths[lengths > 0]
    return np.repeat(np.arange(len(filled)), filled)


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _joined(columns: Sequence[npt.NDArray[np.generic]], dtype: type[np.generic]) -> np.ndarray:
    # casting="no": a column of another type would be a silent change of what the source gave
    return np.concatenate(columns, dtype=dtype, casting="no") if columns else np.zeros(0, dtype=dtype)
