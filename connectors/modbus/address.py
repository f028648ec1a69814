"""Where a point lies in a Modbus device: `UNIT/TABLE/REGISTER`, one bit of it `.BIT`, some bits `.LOW-HIGH`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_UNIT: Final = 255
MAX_REGISTER: Final = 65_535
MAX_BIT: Final = 15
SHAPE: Final = (
    "UNIT/TABLE/REGISTER, UNIT/TABLE/REGISTER.BIT or UNIT/TABLE/REGISTER.LOW-HIGH, counted from 0, e.g. 1/holding/100,"
    " 1/input/7.3 or 1/holding/8.4-7"
)

_ADDRESS = re.compile(r"(?P<unit>[^/]*)/(?P<table>[^/]*)/(?P<register>[^/.]*)(\.(?P<bit>[^/.-]*)(-(?P<high>[^/.]*))?)?")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Table(StrEnum):
    """The four tables of a Modbus unit, each with the one function that reads it."""

    HOLDING = "holding"  # 4xxxx in a manual
    INPUT = "input"  # 3xxxx
    COIL = "coil"  # 0xxxx
    DISCRETE = "discrete"  # 1xxxx

    @property
    def function(self) -> int:
        """The function code that reads the table, 1 … 4."""
        return _FUNCTIONS[self]

    @property
    def of_bits(self) -> bool:
        """True where the table holds single bits, not registers."""
        return self in (Table.COIL, Table.DISCRETE)


_FUNCTIONS = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a device; `register` counts registers, or bits in a table of bits, from 0."""

    unit: int
    table: Table
    register: int
    bit: int | None = None  # of a register, the lowest of some
    high_bit: int | None = None  # the highest of some


class AddressError(ValueError):
    """An address that names no place; `what` is wrong and `expected` would be right."""

    def __init__(self, what: str, expected: str) -> None:
        super().__init__(f"{what}; expected {expected}")
        self.what = what
        self.expected = expected


def parse_address(text: str) -> Address:
    """The place that an address text names.

    Args:
        text: As it stands in column `address`; spaces are not allowed.
    Returns:
        Unit 0 … 255, table, register 0 … 65535, bit 0 … 15 or None.
    Raises:
        AddressError: the text has another shape, or a part is out of its bounds.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise AddressError(f"{text!r} is no Modbus address", SHAPE)
    if match["table"] not in tuple(Table):
        raise AddressError(f"table {match['table']!r} is unknown", "holding, input, coil or discrete")
    table = Table(match["table"])
    unit = _bounded(match["unit"], "unit", MAX_UNIT)
    register = _bounded(match["register"], "register", MAX_REGISTER)
    if match["bit"] is None:
        return Address(unit, table, register)
    if table.of_bits:
        raise AddressError(f"a bit of a {table} is no place: it is one bit", f"{unit}/{table}/{register}")
    bit = _bounded(match["bit"], "bit", MAX_BIT)
    if match["high"] is None:
        return Address(unit, table, register, bit)
    high = _bounded(match["high"], "bit", MAX_BIT)
    if high <= bit:
        raise AddressError(f"bits {bit}-{high} are none", "the lower bit first, e.g. 4-7")
    return Address(unit, table, register, bit, high)


def _bounded(text: str, part: str, largest: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > largest:
        raise AddressError(f"{part} {text!r} is out of bounds", f"a {part} from 0 to {largest}")
    return int(text)
