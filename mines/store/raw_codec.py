"""One column of an hour ↔ bytes, bit for bit: pcodec over whole numbers, floats as decimals where these are exact.

What is packed is what came: a value is kept as `whole / 10^k` or `whole × 10^-k` only where that gives back its very
bits; rows that do not fit the column's class stand beside it as exceptions. Each piece begins with its codec and format
version, so that a later codec can be added without touching what is on disk.
Why pcodec: libraries §8 (0.23-0.33 byte a sample on a mine's mix, against 0.35-0.69 of the others measured).
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, standalone

from mines.model import TimeArray, ValueArray
from mines.quality import QualityArray
from mines.store.column_codec import DECIMALS, Ints, width_of

_LEVEL: Final = 8  # pcodec's own default
_CONSTANT: Final = 1
_PCO: Final = 2
_RUNS: Final = 3
_PLAIN: Final = 4
_FEW: Final = 24  # so many numbers are smaller as they are than packed
_MOST: Final = 1 << 26  # rows of one point in one segment; more is damage
_LONG_RUN: Final = 8  # on average; then runs are smaller than what pcodec makes of them
# Classes of float columns; on disk: never renumber. 1 … len(DECIMALS) are the decimals.
_FLOAT32: Final = 100
_FLOAT64: Final = 101
_ENOUGH: Final = 0.9  # so many rows of one class make the column one of that class; the rest are exceptions


class Pieces:
    """Bytes one after the other, each piece with its length, and how to take them again."""

    def __init__(self, data: bytes = b"") -> None:
        self._data, self._at = data, 0
        self._out: list[bytes] = []

    def put(self, piece: bytes) -> None:
        """Adds a piece."""
        self._out += [struct.pack("<I", len(piece)), piece]

    def take(self) -> bytes:
        """The next piece. ValueError where the data end inside it."""
        if self._at + 4 > len(self._data):
            raise ValueError("the data end before a piece")
        (length,) = struct.unpack_from("<I", self._data, self._at)
        begin, self._at = self._at + 4, self._at + 4 + length
        if self._at > len(self._data):
            raise ValueError("the data end inside a piece")
        return self._data[begin : self._at]

    def end(self) -> None:
        """ValueError where anything is left."""
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes behind the last piece")

    def getvalue(self) -> bytes:
        """Everything put."""
        return b"".join(self._out)


def encode_ints(column: Ints) -> bytes:
    """Whole numbers, shape (n,)."""
    n = len(column)
    if n == 0:
        return struct.pack("<BI", _PLAIN, 0)
    starts = np.flatnonzero(column[1:] != column[:-1]) + 1
    if not len(starts):
        return struct.pack("<BIq", _CONSTANT, n, int(column[0]))
    if n <= _FEW:
        width = width_of(column)
        return struct.pack("<BI", _PLAIN, n) + column.astype(f"<i{width}").tobytes()
    if n >= _LONG_RUN * (len(starts) + 1):
        return struct.pack("<BI", _RUNS, n) + _runs(column, np.concatenate(([0], starts)))
    return struct.pack("<BI", _PCO, n) + _pco(np.ascontiguousarray(column))


def _runs(column: Ints, starts: Ints) -> bytes:
    out = Pieces()
    out.put(encode_ints(np.diff(starts)))
    out.put(encode_ints(column[starts]))
    return out.getvalue()


def decode_ints(data: bytes) -> Ints:
    """What `encode_ints` made. ValueError where the bytes are no such column."""
    kind, n = _head(data)
    if kind == _CONSTANT:
        return np.full(n, struct.unpack_from("<q", data, 5)[0], dtype=np.int64)
    if kind == _PLAIN:
        return _plain(data[5:], n)
    if kind == _RUNS:
        return _unrun(data[5:], n)
    if kind != _PCO:
        raise ValueError(f"codec {kind} of a column of whole numbers")
    return _unpco(data[5:], n, np.int64)


def _plain(data: bytes, n: int) -> Ints:
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    width, rest = divmod(len(data), n)
    if rest or width not in (1, 2, 4, 8):
        raise ValueError(f"{len(data)} bytes for {n} numbers")
    return np.frombuffer(data, dtype=f"<i{width}").astype(np.int64)


def _unrun(data: bytes, n: int) -> Ints:
    pieces = Pieces(data)
    lengths, numbers = decode_ints(pieces.take()), decode_ints(pieces.take())
    pieces.end()
    last = n - int(lengths.sum())
    if len(lengths) + 1 != len(numbers) or last <= 0 or (lengths <= 0).any():
        raise ValueError("runs do not make a column")
    return np.repeat(numbers, np.append(lengths, last))


def encode_values(column: ValueArray) -> bytes:
    """Engineering values, any bits, shape (n,)."""
    bits = column.view(np.int64)
    kind, fits, stored = _best_class(column, bits)
    out = Pieces()
    out.put(struct.pack("<BI", kind, len(column)))
    out.put(_stored(stored[fits]))
    rest = np.flatnonzero(~fits)
    if len(rest):
        out.put(encode_ints(np.diff(rest, prepend=0)))
        out.put(encode_ints(bits[rest]))
    return out.getvalue()


def decode_values(data: bytes) -> ValueArray:
    """What `encode_values` made. ValueError where the bytes are no such column."""
    pieces = Pieces(data)
    kind, n = _head(pieces.take())
    fitting = _values_of(kind, pieces.take())
    bits = np.empty(n, dtype=np.int64)
    rest: Ints = np.zeros(0, dtype=np.int64)
    if len(fitting) != n:
        rest = np.cumsum(decode_ints(pieces.take()))
        if len(rest) + len(fitting) != n or (len(rest) and not 0 <= rest[0] <= rest[-1] < n):
            raise ValueError("exceptions of a column do not fit into it")
        bits[rest] = decode_ints(pieces.take())
    pieces.end()
    fits = np.ones(n, dtype=np.bool_)
    fits[rest] = False
    bits[fits] = fitting.view(np.int64)
    return bits.view(np.float64)


def encode_source_times(source_ms: TimeArray, receive_ms: TimeArray) -> bytes:
    """Source times as what they lie before the receive times; runs where there are few different ones. Shape (n,)."""
    with np.errstate(over="ignore"):
        behind = source_ms - receive_ms  # wraps around like the sum that undoes it
    if len(source_ms) and (source_ms == source_ms[0]).all():
        return b"\x01" + encode_ints(source_ms)
    return b"\x02" + encode_ints(behind)


def decode_source_times(data: bytes, receive_ms: TimeArray) -> TimeArray:
    """What `encode_source_times` made. ValueError where the bytes are no such column."""
    column = decode_ints(data[1:])
    if len(column) != len(receive_ms) or data[:1] not in (b"\x01", b"\x02"):
        raise ValueError("source times do not fit the receive times")
    return column if data[:1] == b"\x01" else column + receive_ms


def words(column: Ints) -> QualityArray:
    """Quality words out of a decoded column. ValueError where a number is none."""
    if len(column) and not 0 <= int(column.min()) <= int(column.max()) <= 0xFFFF:
        raise ValueError("a number is no quality word")
    return column.astype(np.uint16)


def _best_class(column: ValueArray, bits: Ints) -> tuple[int, npt.NDArray[np.bool_], npt.NDArray[np.generic]]:
    """The first class that enough rows fit: its number, which rows fit it, and all rows in it."""
    enough = _ENOUGH * len(column)
    some = column[:: max(len(column) // 64, 1)]  # a class that few of some rows fit is not tried on all
    with np.errstate(all="ignore"):  # overflow and NaN only mean that the class does not fit
        usable = ~np.isnan(column)
        wanted = _ENOUGH * int(usable.sum())
        for kind, decimal in enumerate(DECIMALS, start=1):
            kept = some[~np.isnan(some)]
            back = decimal.values(decimal.wholes(kept)).view(np.int64) == kept.view(np.int64)
            if back.sum() < 0.5 * len(kept):
                continue
            wholes = decimal.wholes(np.where(usable, column, 0.0))
            fits = usable & (decimal.values(wholes).view(np.int64) == bits)
            if fits.sum() >= wanted:
                return kind, fits, wholes
        narrow = column.astype(np.float32)
        fits = narrow.astype(np.float64).view(np.int64) == bits
    if fits.sum() >= enough:
        return _FLOAT32, fits, narrow
    return _FLOAT64, np.ones(len(column), dtype=np.bool_), column


def _stored(column: npt.NDArray[np.generic]) -> bytes:
    if column.dtype == np.int64:
        return encode_ints(column.view(np.int64))
    return struct.pack("<BI", _PCO, len(column)) + (_pco(np.ascontiguousarray(column)) if len(column) else b"")


def _values_of(kind: int, data: bytes) -> ValueArray:
    if 1 <= kind <= len(DECIMALS):
        with np.errstate(over="ignore"):  # of damage; what was packed never does
            return DECIMALS[kind - 1].values(decode_ints(data))
    codec, n = _head(data)
    if codec != _PCO or kind not in (_FLOAT32, _FLOAT64):
        raise ValueError(f"class {kind}, codec {codec} of a column of values")
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return _unpco(data[5:], n, np.float32 if kind == _FLOAT32 else np.float64).astype(np.float64)


def _head(data: bytes) -> tuple[int, int]:
    if len(data) < 5:
        raise ValueError("a column without its head")
    kind, n = struct.unpack_from("<BI", data)
    if n > _MOST:
        raise ValueError(f"{n} rows in one column")
    return int(kind), int(n)


def _pco(column: npt.NDArray[np.generic]) -> bytes:
    packed: bytes = standalone.simple_compress(column, ChunkConfig(compression_level=_LEVEL))
    return packed


def _unpco(data: bytes, n: int, dtype: type[np.generic]) -> np.ndarray:
    if n == 0:
        return np.zeros(0, dtype=dtype)
    try:
        column = standalone.simple_decompress(data)
    except RuntimeError as err:  # pcodec's own word for damage
        raise ValueError(str(err)) from err
    if column is None or column.dtype != dtype or len(column) != n:
        raise ValueError("a packed column of another type or length")
    return np.asarray(column)
