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


@dataclass(frozen=True, slots=True, eq=False)
class _Numbers:
    """Fields of one type: where their bytes lie, already in big-endian order."""

    rows: npt.NDArray[np.intp]
    bytes: npt.NDArray[np.intp]  # (fields, size)
    dtype: np.dtype[np.generic]

    def read(self, block: npt.NDArray[np.uint8]) -> ValueArray:
        raw: ValueArray = block[self.bytes].view(self.dtype)[:, 0].astype(np.float64)
        return raw


@dataclass(frozen=True, slots=True, eq=False)
class _Bits:
    """Fields that are one bit: the byte it lies in and how far up."""

    rows: npt.NDArray[np.intp]
    bytes: npt.NDArray[np.intp]
    shifts: npt.NDArray[np.uint8]

    def read(self, block: npt.NDArray[np.uint8]) -> ValueArray:
        return ((block[self.bytes] >> self.shifts) & 1).astype(np.float64)


class BlockDecoder:
    """Decodes every reply to one read request.

    Args:
        fields: The request's points in the order of its rows.
        count: Registers, or bits, that the request asks for.
        of_bits: True where the request reads coils or discrete inputs.
    Raises:
        ValueError: a field lies outside the block or has no such type or order: a defect of the plan.
    """

    def __init__(self, fields: Sequence[Field], count: int, *, of_bits: bool = False) -> None:
        self.size = (count + 7) // 8 if of_bits else 2 * count
        self._n = len(fields)
        self._groups = _groups(fields, of_bits)
        self._sentinels = _sentinel_matrix(fields)
        self._factor, self._divisor = _scales([field.scale for field in fields])
        # -0.0 is the number that changes nothing when it is added, -0.0 included.
        offset = np.array([field.offset or -0.0 for field in fields], dtype=np.float64)
        self._offset = offset if offset.any() else None
        for group in self._groups:
            if group.bytes.size and not 0 <= group.bytes.min() <= group.bytes.max() < self.size:
                raise ValueError(f"a field lies outside its block of {self.size} bytes")

    def decode(self, payload: bytes) -> tuple[ValueArray, QualityArray]:
        """Values and quality of the block's points.

        Args:
            payload: The data bytes of a fitting reply, `size` of them.
        Returns:
            value (fields,) in engineering units, NaN where bad; quality (fields,). ±Inf is a value.
        Raises:
            ValueError: the reply is shorter or longer than the block.
        """
        if len(payload) != self.size:
            raise ValueError(f"{len(payload)} bytes for a block of {self.size}")
        block = np.frombuffer(payload, dtype=np.uint8)
        with np.errstate(all="ignore"):  # a signalling NaN or an overflow is data here, not an error
            raw = self._raw(block)
            value = self._scaled(raw)
        quality = np.full(self._n, GOOD, dtype=np.uint16)
        not_a_number = np.isnan(raw)
        if not_a_number.any():
            quality[not_a_number] = _NOT_A_NUMBER
        if self._sentinels is not None:
            failed = (raw == self._sentinels).any(axis=0)
            value[failed] = np.nan
            quality[failed] = _SENSOR_FAILURE
        return value, quality

    def _raw(self, block: npt.NDArray[np.uint8]) -> ValueArray:
        if len(self._groups) == 1:
            return self._groups[0].read(block)
        raw = np.empty(self._n, dtype=np.float64)
        for group in self._groups:
            raw[group.rows] = group.read(block)
        return raw

    def _scaled(self, raw: ValueArray) -> ValueArray:
        value = raw.copy() if self._factor is None else raw * self._factor
        if self._divisor is not None:
            value /= self._divisor
        if self._offset is not None:
            value += self._offset
        return value


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


def _groups(fields: Sequence[Field], of_bits: bool) -> list[_Numbers | _Bits]:
    kinds: dict[str, list[int]] = {}
    for row, field in enumerate(fields):
        kinds.setdefault(field.data_type, []).append(row)
    return [_group(kind, rows, fields, of_bits) for kind, rows in kinds.items()]


def _group(kind: str, rows: list[int], fields: Sequence[Field], of_bits: bool) -> _Numbers | _Bits:
    at = np.array(rows, dtype=np.intp)
    if kind == BOOL:
        places = [_bit_place(fields[row], of_bits) for row in rows]
        byte, shift = zip(*places, strict=True)
        return _Bits(at, np.array(byte, dtype=np.intp), np.array(shift, dtype=np.uint8))
    size = 2 * REGISTERS[kind]
    orders = [byte_places(fields[row].byte_order, size) for row in rows]
    starts = np.array([2 * fields[row].position for row in rows], dtype=np.intp)
    return _Numbers(at, starts[:, None] + np.array(orders, dtype=np.intp), _DTYPES[kind])


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


def _unless_ones(column: Sequence[float]) -> ValueArray | None:
    values = np.array(column, dtype=np.float64)
    return None if (values == 1).all() else values
