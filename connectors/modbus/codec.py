"""Whole reply blocks into values: bytes of one reply → value and quality of all its points at once. Pure.

Everything about types, byte orders, scales and sentinels is turned into index arrays when a block is compiled;
nothing is decided while polling.
Source of the byte layout: MODBUS Application Protocol V1.1b3, 4.2 (big-endian registers), 6.1-6.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mines.model import ValueArray
from mines.quality import GOOD, QualityArray, Reason, bad

BOOL: Final = "bool"
BITS_TYPE: Final = "uint16"
"""What some bits of a register are: a number without a sign."""
REGISTERS: Final = {
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "int64": 4,
    "uint64": 4,
    "float32": 2,
    "float64": 4,
}
"""Registers that a value of each data type takes."""
BYTE_ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
"""Big-endian, words swapped, bytes of each word swapped, both."""
SHORT_ORDERS: Final = {"AB": "ABCD", "BA": "BADC"}
"""How the order of a value of one register may also be written."""

_DTYPES = {
    name: np.dtype(f">{kind}")
    for name, kind in {
        "int16": "i2",
        "uint16": "u2",
        "int32": "i4",
        "uint32": "u4",
        "int64": "i8",
        "uint64": "u8",
        "float32": "f4",
        "float64": "f8",
    }.items()
}
_SOME_BITS: Final = "some bits"
_LARGEST_DIVISOR = 1e9
_SENSOR_FAILURE = np.uint16(bad(Reason.SENSOR_FAILURE))
_NOT_A_NUMBER = np.uint16(bad(Reason.NOT_A_NUMBER))


@dataclass(frozen=True, slots=True)
class Field:
    """One value in a reply. `position` counts registers, in a block of bits bits, from the block's first.

    `sentinels` are compared with the raw value, before value = raw × scale + offset.
    """

    position: int
    data_type: str  # a key of REGISTERS, or BOOL
    byte_order: str = "ABCD"
    bit: int | None = None  # of a register, 0 = lowest
    scale: float = 1.0
    offset: float = 0.0
    sentinels: tuple[float, ...] = ()
    high_bit: int | None = None  # the highest of some bits, `bit` the lowest


@dataclass(frozen=True, slots=True, eq=False)
class _Numbers:
    """Values of one type and order: a view over the reply, with one stride where they stand in equal steps."""

    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]  # first byte of each, even
    dtype: np.dtype[np.generic]  # in the order of their bytes …
    swapped: bool  # … after the two bytes of every register have changed places
    step: int | None  # bytes from each to the next; None = no one step

    def read(self, payload: bytes) -> ValueArray:
        data = np.frombuffer(payload, np.uint16).byteswap() if self.swapped else payload
        if self.step is not None:
            n, first = len(self.starts), int(self.starts[0])
            raw: np.ndarray = np.ndarray((n,), self.dtype, data, first, (self.step,))
        else:
            windows = (len(payload) - self.dtype.itemsize) // 2 + 1
            raw = np.ndarray((windows,), self.dtype, data, 0, (2,))[self.starts >> 1]
        return raw.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Bits:
    """Fields that are one bit: the byte it lies in and how far up."""

    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    shifts: npt.NDArray[np.uint8]

    def read(self, payload: bytes) -> ValueArray:
        return ((np.frombuffer(payload, np.uint8)[self.starts] >> self.shifts) & 1).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _SomeBits:
    """Fields that are some bits of a register: how far up they stand, and their mask."""

    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]  # first byte of each register, even
    shifts: npt.NDArray[np.uint16]
    masks: npt.NDArray[np.uint16]
    dtype: np.dtype[np.generic]

    def read(self, payload: bytes) -> ValueArray:
        words = np.frombuffer(payload, self.dtype)[self.starts >> 1].astype(np.uint16)
        values: ValueArray = ((words >> self.shifts) & self.masks).astype(np.float64)
        return values


class BlockDecoder:
    """Decodes every reply to one read request, or at once the replies to several.

    Args:
        fields: The request's points in the order of its rows.
        count: Registers, or bits, that the request asks for.
        of_bits: True where the request reads coils or discrete inputs.
    Raises:
        ValueError: a field lies outside the block or has no such type or order: a defect of the plan.
    """

    def __init__(self, fields: Sequence[Field], count: int, *, of_bits: bool = False) -> None:
        size = (count + 7) // 8 if of_bits else 2 * count
        self._compile([_Part(tuple(fields), size, of_bits)])

    @classmethod
    def joined(cls, decoders: Sequence[BlockDecoder]) -> BlockDecoder:
        """Decodes what the decoders would, each its own reply; rows in the same order."""
        out = cls.__new__(cls)
        out._compile([part for decoder in decoders for part in decoder._parts])
        return out

    def _compile(self, parts: Sequence[_Part]) -> None:
        self._parts = tuple(parts)
        self.sizes = [part.size for part in parts]
        """Bytes of each reply."""
        self._odd = any(size % 2 for size in self.sizes)
        fields = [field for part in parts for field in part.fields]
        self._good = np.full(len(fields), GOOD, dtype=np.uint16)
        self._groups = _groups(parts)
        self._sentinels = _sentinel_matrix(fields)
        self._factor, self._divisor = _scales([field.scale for field in fields])
        # -0.0 is the number that changes nothing when it is added, -0.0 included.
        offset = np.array([field.offset or -0.0 for field in fields], dtype=np.float64)
        self._offset = offset if offset.any() else None

    def decode(self, *replies: bytes) -> tuple[ValueArray, QualityArray]:
        """Values and quality of the points of a block, or of all blocks that are joined.

        Args:
            replies: The data bytes of a fitting reply to each request, `sizes` of them.
        Returns:
            value (fields,) in engineering units, NaN where bad; quality (fields,). ±Inf is a value.
        Raises:
            ValueError: a reply is shorter or longer than its block.
        """
        sizes = [len(reply) for reply in replies]
        if sizes != self.sizes:
            raise ValueError(f"{_listed(sizes)} bytes for a block of {_listed(self.sizes)}")
        payload = b"".join([reply + b"\0" * (len(reply) % 2) for reply in replies] if self._odd else replies)
        quality = self._good.copy()
        with np.errstate(all="ignore"):  # a signalling NaN or an overflow is data here, not an error
            value = self._raw(payload)
            not_a_number = np.isnan(value)
            if np.count_nonzero(not_a_number):
                quality[not_a_number] = _NOT_A_NUMBER
            failed = None if self._sentinels is None else (value == self._sentinels).any(axis=0)
            self._scale(value)
        if failed is not None:
            value[failed] = np.nan
            quality[failed] = _SENSOR_FAILURE
        return value, quality

    def _raw(self, payload: bytes) -> ValueArray:
        if len(self._groups) == 1:
            return self._groups[0].read(payload)
        raw = np.empty(len(self._good), dtype=np.float64)
        for group in self._groups:
            raw[group.rows] = group.read(payload)
        return raw

    def _scale(self, value: ValueArray) -> None:
        """Raw values become engineering values in their place."""
        if self._factor is not None:
            value *= self._factor
        if self._divisor is not None:
            value /= self._divisor
        if self._offset is not None:
            value += self._offset


def raw_sentinel(sentinel: float, data_type: str) -> float | None:
    """A sentinel as the raw value that it stands for; None where the type can never hold it.

    A manual's 0xFFFF on an int16 is written 65535 or -1: what exceeds a 16- or 32-bit type but fits its width is the
    bit pattern. A 64-bit one is compared as float64: near 2^63 it stands for the thousand values that round to it.

    Args:
        sentinel: As written, before scale and offset.
        data_type: A key of REGISTERS.
    """
    dtype = _DTYPES[data_type]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            stored: ValueArray = np.array([sentinel]).astype(dtype).astype(np.float64)
        return float(stored[0])
    if not float(sentinel).is_integer():
        return None
    patterns = 2.0 ** (8 * dtype.itemsize)
    low, high = (-patterns / 2, patterns / 2 - 1) if dtype.kind == "i" else (0.0, patterns - 1)
    if low <= sentinel <= high:
        return sentinel
    if dtype.itemsize == 8 or not -patterns / 2 <= sentinel < patterns:
        return None
    return sentinel + patterns if sentinel < low else sentinel - patterns


def byte_places(byte_order: str, size: int) -> list[int]:
    """For each byte of the big-endian value, which byte of its registers holds it.

    Args:
        byte_order: One of BYTE_ORDERS; for a value of one register also AB or BA.
        size: Bytes of the value: 2, 4 or 8.
    Raises:
        ValueError: no such order.
    """
    order = SHORT_ORDERS.get(byte_order, byte_order) if size == 2 else byte_order
    if order not in BYTE_ORDERS:
        raise ValueError(f"no byte order {byte_order!r} for {size} bytes")
    words = range(0, size, 2) if order in ("ABCD", "BADC") else range(size - 2, -1, -2)
    swap = order in ("BADC", "DCBA")
    return [at for word in words for at in ((word + 1, word) if swap else (word, word + 1))]


@dataclass(frozen=True, slots=True)
class _Part:
    """One block among those that are decoded at once."""

    fields: tuple[Field, ...]
    size: int  # bytes
    of_bits: bool


def _groups(parts: Sequence[_Part]) -> list[_Numbers | _Bits | _SomeBits]:
    kinds: dict[tuple[str, str], list[tuple[int, int, int]]] = {}  # row, first byte, shift of a bit
    row = block_at = 0
    for part in parts:
        for field in part.fields:
            byte, shift = _place(field, part.of_bits)
            size = 1 if field.data_type == BOOL else 2 * REGISTERS[field.data_type]
            if not 0 <= byte <= part.size - size:
                raise ValueError(f"a field lies outside its block of {part.size} bytes")
            kind = _kind(field)
            kinds.setdefault(kind, []).append((row, block_at + byte, shift))
            row += 1
        block_at += part.size + part.size % 2  # every register at an even byte
    return [_group(*kind, places) for kind, places in kinds.items()]


def _kind(field: Field) -> tuple[str, str]:
    if field.data_type == BOOL:
        return BOOL, ""
    return (_SOME_BITS if field.high_bit is not None else field.data_type), field.byte_order


def _group(kind: str, byte_order: str, places: Sequence[tuple[int, int, int]]) -> _Numbers | _Bits | _SomeBits:
    rows, starts, shifts = (np.array(column, dtype=np.intp) for column in zip(*places, strict=True))
    if kind == BOOL:
        return _Bits(rows, starts, shifts.astype(np.uint8))
    if kind == _SOME_BITS:
        low, width = shifts % 16, shifts // 16
        dtype = np.dtype(">u2" if byte_places(byte_order, 2) == [0, 1] else "<u2")
        return _SomeBits(rows, starts, low.astype(np.uint16), ((1 << width) - 1).astype(np.uint16), dtype)
    dtype = _DTYPES[kind]
    order = byte_places(byte_order, dtype.itemsize)
    little = order[0] > order[-1]
    # CDAB is DCBA, and BADC is ABCD, with the bytes of every register exchanged.
    swapped = order not in (list(range(dtype.itemsize)), list(reversed(range(dtype.itemsize))))
    steps = np.unique(np.diff(starts)) if len(starts) > 1 else np.array([dtype.itemsize])
    step = int(steps[0]) if len(steps) == 1 else None
    return _Numbers(rows, starts, dtype.newbyteorder("<") if little else dtype, swapped, step)


def _place(field: Field, of_bits: bool) -> tuple[int, int]:
    """The first byte of a field in its block; of a bit the byte that holds it, and how far up it stands."""
    if field.data_type == BOOL:
        return _bit_place(field, of_bits)
    if field.high_bit is None or field.bit is None:
        return 2 * field.position, 0
    return 2 * field.position, field.bit + 16 * (field.high_bit - field.bit + 1)


def _bit_place(field: Field, of_bits: bool) -> tuple[int, int]:
    if of_bits:
        return divmod(field.position, 8)
    if field.bit is None:
        raise ValueError("a bool of a register needs its bit")
    high, low = byte_places(field.byte_order, 2)
    byte = high if field.bit >= 8 else low
    return 2 * field.position + byte, field.bit % 8


def _sentinel_matrix(fields: Sequence[Field]) -> ValueArray | None:
    """Sentinels as (k, fields), NaN where a field has fewer: NaN equals nothing. None where there are none."""
    most = max((len(field.sentinels) for field in fields), default=0)
    if not most:
        return None
    matrix = np.full((most, len(fields)), np.nan)
    for row, field in enumerate(fields):
        for k, sentinel in enumerate(field.sentinels):
            raw = sentinel if field.data_type == BOOL else raw_sentinel(sentinel, field.data_type)
            matrix[k, row] = np.nan if raw is None else raw
    return matrix


def _scales(scales: Sequence[float]) -> tuple[ValueArray | None, ValueArray | None]:
    """Factors and divisors, None where all are 1. A scale such as 0.01 becomes a division by 100.

    So raw 57 with scale 0.01 is 0.57 and not 0.5700000000000001: the double next to the decimal that the device meant,
    which then equals a limit written as 0.57.
    """
    divisors = [_divisor(scale) for scale in scales]
    factors = [1.0 if divisor != 1 else scale for scale, divisor in zip(scales, divisors, strict=True)]
    return _unless_ones(factors), _unless_ones(divisors)


def _divisor(scale: float) -> float:
    """The whole number whose reciprocal a scale is; 1.0 where there is none."""
    if not 1.0 / _LARGEST_DIVISOR <= abs(scale) < 1.0:
        return 1.0
    whole = float(round(1.0 / scale))
    return whole if 1.0 / whole == scale else 1.0


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) for size in sizes)


def _unless_ones(column: Sequence[float]) -> ValueArray | None:
    values = np.array(column, dtype=np.float64)
    return None if (values == 1).all() else values
