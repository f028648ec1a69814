"""The memory of a simulated Modbus device: points in, registers and bits out. Pure; encodes as devices do.

Deliberately shares nothing with the client's codec: each is the check of the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from connectors.simulator.scenario import FloatArray, SignalState, StateArray
from mines.model import Point

MAX_ADDRESS = 0xFFFF


class Table(StrEnum):
    """The four tables of a Modbus unit."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def of_bits(self) -> bool:
        """True for coils and discrete inputs."""
        return self in (Table.COIL, Table.DISCRETE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point lies: `UNIT/TABLE/REGISTER` or `UNIT/TABLE/REGISTER.BIT`, counted from 0."""

    unit: int
    table: Table
    register: int
    bit: int | None = None


def read_place(address: str) -> Place:
    """The place that an address text names.

    Raises:
        ValueError: the text is no Modbus address.
    """
    unit, table, register = address.split("/")
    number, _, bit = register.partition(".")
    place = Place(int(unit), Table(table), int(number), int(bit) if bit else None)
    if not 0 <= place.register <= MAX_ADDRESS or not 0 <= (place.bit or 0) <= 15:
        raise ValueError(f"no Modbus address: {address}")
    return place


_NUMPY = {
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}
_ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def byte_positions(order: str, size: int) -> list[int]:
    """Which byte of the big-endian value goes out at each place, for a value of `size` bytes.

    ABCD is big-endian, CDAB swaps the words, BADC the bytes of each word, DCBA both.
    """
    order = {"": "ABCD", "AB": "ABCD", "BA": "DCBA"}.get(order, order)
    if order not in _ORDERS:
        raise ValueError(f"no byte order: {order}")
    words = [[at, at + 1] for at in range(0, size, 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [[low, high] for high, low in words]
    return [at for word in words for at in word]


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Points of one table, type and byte order: encoded together."""

    columns: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]  # byte offsets in the table, (n, size)
    dtype: np.dtype[np.generic]
    order: npt.NDArray[np.int64]
    scale: FloatArray
    offset: FloatArray
    lost: FloatArray  # raw value that says 断线

    def encoded(self, value: FloatArray, state: StateArray) -> npt.NDArray[np.uint8]:
        raw = (value[self.columns] - self.offset) / self.scale
        if self.dtype.kind != "f":
            info = np.iinfo(self.dtype.str)
            # A converter saturates at the ends of its word; float64 cannot hold the last 64-bit numbers exactly.
            raw = np.clip(np.rint(raw), float(info.min), np.nextafter(float(info.max) + 1.0, 0.0))
        raw = np.where(state[self.columns] == SignalState.LOST, self.lost, raw)
        wire = raw.astype(self.dtype)
        return wire.view(np.uint8).reshape(len(wire), -1)[:, self.order]


@dataclass(frozen=True, slots=True, eq=False)
class _Bits:
    """Points that are one bit: of a coil or discrete table, or of a register."""

    columns: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]  # coil number, or register * 16 + bit


class UnitImage:
    """One unit: four tables and which addresses of them exist. Registers are kept as the bytes of the wire."""

    def __init__(self) -> None:
        self.registers = {Table.HOLDING: bytearray(), Table.INPUT: bytearray()}
        self.bits: dict[Table, npt.NDArray[np.uint8]] = {
            Table.COIL: np.zeros(0, dtype=np.uint8),
            Table.DISCRETE: np.zeros(0, dtype=np.uint8),
        }
        self.exists: dict[Table, npt.NDArray[np.bool_]] = {table: np.zeros(0, dtype=np.bool_) for table in Table}
        self._blocks: list[tuple[Table, _Block]] = []
        self._bits: list[tuple[Table, _Bits]] = []

    def lay_out(self, points: Sequence[tuple[int, Point, Place]]) -> None:
        """Gives every point its memory; a point is (column in the device's values, point, place)."""
        groups: dict[tuple[Table, str, str], list[tuple[int, Point, Place]]] = defaultdict(list)
        for column, point, place in points:
            kind = "bool" if place.table.of_bits or place.bit is not None else point.data_type
            order = "" if kind == "bool" else point.byte_order
            groups[place.table, kind, order].append((column, point, place))
            self._claim(place, 1 if kind == "bool" else np.dtype(_NUMPY[kind]).itemsize // 2)
        for (table, kind, order), members in groups.items():
            if kind == "bool":
                self._bits.append((table, _bits_of(members)))
            else:
                self._blocks.append((table, _block_of(members, kind, order)))

    def write(self, value: FloatArray, state: StateArray) -> None:
        """Takes the device's values at once; shapes (points of the device,)."""
        for table, block in self._blocks:
            memory = np.frombuffer(self.registers[table], dtype=np.uint8)
            memory[block.targets] = block.encoded(value, state)
        for table, bits in self._bits:
            on = ((value[bits.columns] != 0) & (state[bits.columns] != SignalState.LOST)).astype(np.uint8)
            if table.of_bits:
                self.bits[table][bits.targets] = on
            else:
                self._write_register_bits(table, bits, on)

    def _write_register_bits(self, table: Table, bits: _Bits, on: npt.NDArray[np.uint8]) -> None:
        words = np.frombuffer(self.registers[table], dtype=">u2")
        register, shift = np.divmod(bits.targets, 16)
        words[np.unique(register)] = 0
        np.bitwise_or.at(words, register, (on.astype(np.uint16) << shift).astype(">u2"))

    def _claim(self, place: Place, count: int) -> None:
        end = place.register + count
        known = self.exists[place.table]
        if len(known) < end:
            self.exists[place.table] = known = np.concatenate([known, np.zeros(end - len(known), dtype=np.bool_)])
            if place.table.of_bits:
                self.bits[place.table] = np.zeros(end, dtype=np.uint8)
            else:
                self.registers[place.table] = bytearray(2 * end)
        known[place.register : end] = True


def unit_images(points: Iterable[Point]) -> dict[int, UnitImage]:
    """The units of one device, laid out for its points in the order given."""
    placed = [(column, point, read_place(point.address)) for column, point in enumerate(points)]
    images: dict[int, UnitImage] = {}
    for unit in sorted({place.unit for _, _, place in placed}):
        images[unit] = UnitImage()
        images[unit].lay_out([item for item in placed if item[2].unit == unit])
    return images


def _block_of(members: Sequence[tuple[int, Point, Place]], kind: str, order: str) -> _Block:
    dtype = np.dtype(_NUMPY[kind])
    starts = np.array([2 * place.register for _, _, place in members])
    # Without a sentinel an integer device cannot say 断线: like a current loop without wire-break detection it reads 0.
    silent = np.nan if dtype.kind == "f" else 0.0
    return _Block(
        columns=np.array([column for column, _, _ in members]),
        targets=starts[:, None] + np.arange(dtype.itemsize)[None, :],
        dtype=dtype,
        order=np.array(byte_positions(order, dtype.itemsize)),
        scale=np.array([point.scale for _, point, _ in members]),
        offset=np.array([point.offset for _, point, _ in members]),
        lost=np.array([point.sentinels[0] if point.sentinels else silent for _, point, _ in members]),
    )


def _bits_of(members: Sequence[tuple[int, Point, Place]]) -> _Bits:
    columns = np.array([column for column, _, _ in members])
    if members[0][2].table.of_bits:
        return _Bits(columns, np.array([place.register for _, _, place in members]))
    return _Bits(columns, np.array([16 * place.register + (place.bit or 0) for _, _, place in members]))
