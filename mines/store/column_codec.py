"""Columns of numbers ↔ bytes, bit for bit, made small before a general compressor sees them.

Whole numbers: one value where all are equal, else differences in the narrowest width, byte plane by byte plane.
Floats: each row in the first class that gives back its very bits: NaN, a decimal (i / 10^k, or i × 10^-k as a
register times its scale gives), a float32, else the eight bytes themselves. Nothing is rounded: bits are compared.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mines.model import TimeArray, ValueArray

Ints = npt.NDArray[np.int64]

_CONSTANT: Final = 0  # else the width in bytes: 1, 2, 4, 8
NAN_BITS: Final = int(np.array(np.nan).view(np.int64))
_EXACT_WHOLE: Final = 2.0**53  # beyond it not every whole number is a float64


@dataclass(frozen=True, slots=True)
class Decimal:
    """A value is `whole / factor` (divide), or `whole * factor`."""

    factor: float
    divide: bool

    def wholes(self, values: ValueArray) -> Ints:
        scaled = np.rint(values * self.factor if self.divide else values / self.factor)
        return np.where(np.abs(scaled) < _EXACT_WHOLE, scaled, 0.0).astype(np.int64)

    def values(self, wholes: Ints) -> ValueArray:
        floats = wholes.astype(np.float64)
        return floats / self.factor if self.divide else floats * self.factor


# On disk: a row's class is its place here, counted from 1. Never reorder; a new one needs a new codec version.
DECIMALS: Final = (
    Decimal(1.0, divide=True),
    Decimal(10.0, divide=True),
    Decimal(0.1, divide=False),
    Decimal(100.0, divide=True),
    Decimal(0.01, divide=False),
    Decimal(1000.0, divide=True),
    Decimal(0.001, divide=False),
    Decimal(10000.0, divide=True),
    Decimal(0.0001, divide=False),
)
_NAN: Final = 0
_FLOAT32: Final = len(DECIMALS) + 1
_FLOAT64: Final = len(DECIMALS) + 2


class ColumnWriter:
    """Puts columns one after the other; `ColumnReader` takes them in the same order."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def ints(self, column: Ints) -> None:
        """Numbers near their neighbours: times, counters, indices. Shape (n,)."""
        if self._constant(column):
            return
        steps = np.diff(column)  # wraps around like the sum that undoes it
        self._parts.append(struct.pack("<Bq", width_of(steps), int(column[0])))
        self._parts.append(_planes(steps, width_of(steps)))

    def scattered(self, column: Ints) -> None:
        """Numbers that say nothing about their neighbours. Shape (n,)."""
        if self._constant(column):
            return
        self._parts.append(struct.pack("<B", width_of(column)))
        self._parts.append(_planes(column, width_of(column)))

    def floats(self, column: ValueArray) -> None:
        """Engineering values, any bits. Shape (n,)."""
        classes = _classes(column)
        self.scattered(classes.astype(np.int64))
        for code in np.flatnonzero(np.bincount(classes)):
            rows = column[classes == code]
            if code == _FLOAT64:
                self._parts.append(_planes(rows.view(np.int64), 8))
            elif code == _FLOAT32:
                self._parts.append(_planes(rows.astype(np.float32).view(np.int32), 4))
            elif code != _NAN:
                self.scattered(DECIMALS[code - 1].wholes(rows))

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._parts.append(data)

    def getvalue(self) -> bytes:
        """Everything put so far."""
        return b"".join(self._parts)

    def _constant(self, column: Ints) -> bool:
        if not len(column):
            return True  # a reader that knows the length needs nothing
        if len(column) > 1 and not (column == column[0]).all():
            return False
        self._parts.append(struct.pack("<Bq", _CONSTANT, int(column[0])))
        return True


class ColumnReader:
    """Takes columns in the order they were put. ValueError or struct.error where the bytes do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def ints(self, n: int) -> Ints:
        """What `ColumnWriter.ints` put. Shape (n,)."""
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        width, first = self._unpack("<Bq")
        if width == _CONSTANT:
            return np.full(n, first, dtype=np.int64)
        column = np.empty(n, dtype=np.int64)
        column[0] = first
        column[1:] = self._planes(n - 1, width)
        return np.cumsum(column, dtype=np.int64)

    def scattered(self, n: int) -> Ints:
        """What `ColumnWriter.scattered` put. Shape (n,)."""
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        (width,) = self._unpack("<B")
        if width == _CONSTANT:
            return np.full(n, self._unpack("<q")[0], dtype=np.int64)
        return self._planes(n, width)

    def floats(self, n: int) -> ValueArray:
        """What `ColumnWriter.floats` put. Shape (n,)."""
        classes = self.scattered(n)
        column = np.full(n, np.nan)
        counts = np.bincount(classes, minlength=1)
        for code in np.flatnonzero(counts):
            if code != _NAN:
                column[classes == code] = self._of_class(int(code), int(counts[code]))
        return column

    def raw(self, n: int) -> bytes:
        """The next n bytes."""
        if n < 0 or self._at + n > len(self._data):
            raise ValueError("the data end inside a column")
        self._at += n
        return self._data[self._at - n : self._at]

    def _of_class(self, code: int, n: int) -> ValueArray:
        if code == _FLOAT64:
            return self._planes(n, 8).view(np.float64)
        if code == _FLOAT32:
            return self._planes(n, 4).astype(np.int32).view(np.float32).astype(np.float64)
        return DECIMALS[code - 1].values(self.scattered(n))

    def _unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.raw(struct.calcsize(form)))

    def _planes(self, n: int, width: int) -> Ints:
        planes = np.frombuffer(self.raw(n * width), dtype=np.uint8).reshape(width, n)
        return np.ascontiguousarray(planes.T).view(f"<i{width}")[:, 0].astype(np.int64)


def width_of(column: npt.NDArray[np.int64]) -> int:
    """Bytes that hold every value of the column, signed."""
    low, high = int(column.min()), int(column.max())
    for width in (1, 2, 4):
        if -(1 << (8 * width - 1)) <= low and high < 1 << (8 * width - 1):
            return width
    return 8


def _planes(column: npt.NDArray[np.int64] | npt.NDArray[np.int32], width: int) -> bytes:
    """First every row's lowest byte, then every row's next: what is alike stands together."""
    return column.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T.tobytes()


def _classes(column: ValueArray) -> npt.NDArray[np.uint8]:
    """The class of each row, as on disk. Shape (n,)."""
    bits = column.view(np.int64)
    classes = np.where(bits == NAN_BITS, np.uint8(_NAN), np.uint8(_FLOAT64))
    with np.errstate(all="ignore"):  # overflow and NaN only mean that the class does not fit
        for code, decimal in enumerate(DECIMALS, start=1):
            rows = np.flatnonzero(classes == _FLOAT64)
            if not len(rows):
                return classes
            values = column[rows]
            exact = decimal.values(decimal.wholes(values)).view(np.int64) == bits[rows]
            classes[rows[exact]] = code
        rows = np.flatnonzero(classes == _FLOAT64)
        exact = column[rows].astype(np.float32).astype(np.float64).view(np.int64) == bits[rows]
    classes[rows[exact]] = _FLOAT32
    return classes


def put_times(writer: ColumnWriter, column: TimeArray, starts: Ints, row_batch: Ints) -> None:
    """A time column: one time a batch where all rows of each batch share it, else row by row.

    Args:
        writer: Where to put it.
        column: Times, shape (n,).
        starts: First row of each batch that has rows, shape (batches with rows,).
        row_batch: For each row the place of its batch in `starts`, shape (n,).
    """
    shared = column[starts]
    per_batch = bool((shared[row_batch] == column).all())
    writer.raw(b"\x01" if per_batch else b"\x00")
    writer.ints(shared if per_batch else column)


def take_times(reader: ColumnReader, batches: int, row_batch: Ints) -> TimeArray:
    """What `put_times` put. Shape (n,)."""
    if reader.raw(1) == b"\x01":
        return reader.ints(batches)[row_batch]
    return reader.ints(len(row_batch))
