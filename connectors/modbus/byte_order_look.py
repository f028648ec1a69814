"""Types and byte orders that registers may be read by, also one register beside where a manual says. Pure.

A wrong order mostly gives a number that is far too large or next to nothing: what lies between the bounds that the
engineer gives, and is not next to nothing, is plausible; what the device shows at this moment decides among those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.modbus.address import Address
from connectors.modbus.codec import BYTE_ORDERS, REGISTERS, SHORT_ORDERS, BlockDecoder, Field

_SHIFTS: Final = (0, -1, 1)  # a manual that counts from 1 is off by one, either way
_NEXT_TO_NOTHING: Final = 1e-6  # of the span between the bounds; project default
_SHOWN: Final = 12
_TYPES: Final = ("float32", "uint16", "int16", "int32", "uint32", "float64", "int64", "uint64")
"""The commoner first; of two that give the same value only the first is named."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to read the registers."""

    address: str
    data_type: str
    byte_order: str
    value: float
    shift: int  # registers beside the address that was asked for

    def to_json(self) -> dict[str, Any]:
        """As it stands in the document."""
        return {name: getattr(self, name) for name in Candidate.__slots__}


def candidates(
    words: Mapping[int, int], address: Address, *, low: float, high: float, expect: float | None = None
) -> dict[str, Any]:
    """What the registers at an address, and at its two neighbours, may be, the likeliest first.

    Args:
        words: Register → value, as far as they could be read.
        address: Where the value should lie.
        low: The least that the raw value can be.
        high: The most.
        expect: What the device shows now; the nearer to it, the likelier.
    """
    span = high - low
    found: dict[tuple[int, float, str], Candidate] = {}
    for candidate in _readings(words, address):
        if math.isfinite(candidate.value) and low <= candidate.value <= high:
            found.setdefault((candidate.shift, candidate.value, candidate.byte_order), candidate)

    def rank(candidate: Candidate) -> tuple[float, bool, int, int, int]:
        distance = 0.0 if expect is None else abs(candidate.value - expect)
        nothing = 0 < abs(candidate.value) < _NEXT_TO_NOTHING * span
        order = _order(candidate.byte_order)
        return distance, nothing, _SHIFTS.index(candidate.shift), _TYPES.index(candidate.data_type), order

    ranked = sorted(found.values(), key=rank)[:_SHOWN]
    return {
        "address": f"{address.unit}/{address.table}/{address.register}",
        "expect": expect,
        "ranked": [candidate.to_json() for candidate in ranked],
    }


def _readings(words: Mapping[int, int], address: Address) -> Iterator[Candidate]:
    for shift in _SHIFTS:
        first = address.register + shift
        for data_type in _TYPES:
            width = REGISTERS[data_type]
            numbers = [words.get(first + at) for at in range(width)]
            payload = b"".join(number.to_bytes(2, "big") for number in numbers if number is not None)
            if len(payload) < 2 * width:
                continue
            for order in SHORT_ORDERS if width == 1 else BYTE_ORDERS:
                value, _ = BlockDecoder([Field(0, data_type, order)], width).decode(payload)
                yield Candidate(f"{address.unit}/{address.table}/{first}", data_type, order, float(value[0]), shift)


def _order(byte_order: str) -> int:
    return BYTE_ORDERS.index(SHORT_ORDERS.get(byte_order, byte_order))
