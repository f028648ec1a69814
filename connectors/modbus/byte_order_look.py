"""Types and byte orders that registers may be read by, also one register beside where a manual says. Pure.

A wrong order mostly gives a number that is far too large or next to nothing: what lies between the bounds that the
engineer gives, and is not next to nothing, is plausible. What the device shows at this moment decides among those; else
what does not leap from one reading to the next: read in a wrong order, the last digits of a value stand where its
exponent or its sign should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from connectors.modbus.address import Address
from connectors.modbus.codec import BYTE_ORDERS, REGISTERS, SHORT_ORDERS, BlockDecoder, Field

_SHIFTS: Final = (0, -1, 1)  # a manual that counts from 1 is off by one, either way
_NEXT_TO_NOTHING: Final = 1e-6  # of the span between the bounds; project default
_LEAP: Final = 0.2  # of the larger of two readings, moments apart; project default
_SHOWN: Final = 12
_TYPES: Final = ("float32", "uint16", "int16", "int32", "uint32", "float64", "int64", "uint64")
"""The commoner first; of two that give the same value only the first is named."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to read the registers."""

    address: str
    data_type: str
    byte_order: str
    value: float  # when it was last read
    shift: int  # registers beside the address that was asked for
    leaps: bool  # from one reading to the next, as no measured value does

    def to_json(self) -> dict[str, Any]:
        """As it stands in the document."""
        return {name: getattr(self, name) for name in Candidate.__slots__}


def candidates(
    moments: Sequence[Mapping[int, int]], address: Address, *, low: float, high: float, expect: float | None = None
) -> dict[str, Any]:
    """What the registers at an address, and at its two neighbours, may be, the likeliest first.

    Args:
        moments: Register → value, as far as they could be read, at one moment or at several after each other.
        address: Where the value should lie.
        low: The least that the raw value can be.
        high: The most.
        expect: What the device shows now; the nearer to it, the likelier.
    """
    span = high - low
    found: dict[tuple[int, tuple[float, ...], str], Candidate] = {}
    for candidate, values in _readings(moments, address):
        if all(math.isfinite(value) and low <= value <= high for value in values):
            found.setdefault((candidate.shift, values, candidate.byte_order), candidate)

    def rank(candidate: Candidate) -> tuple[float, bool, bool, int, int, int]:
        distance = 0.0 if expect is None else abs(candidate.value - expect)
        nothing = 0 < abs(candidate.value) < _NEXT_TO_NOTHING * span
        place = _SHIFTS.index(candidate.shift), _TYPES.index(candidate.data_type), _order(candidate.byte_order)
        return distance, nothing, candidate.leaps, *place

    ranked = sorted(found.values(), key=rank)[:_SHOWN]
    return {
        "address": f"{address.unit}/{address.table}/{address.register}",
        "expect": expect,
        "ranked": [candidate.to_json() for candidate in ranked],
    }


def _readings(moments: Sequence[Mapping[int, int]], address: Address) -> Iterator[tuple[Candidate, tuple[float, ...]]]:
    for shift in _SHIFTS:
        first = address.register + shift
        place = f"{address.unit}/{address.table}/{first}"
        for data_type in _TYPES:
            width = REGISTERS[data_type]
            payloads = [payload for words in moments if (payload := _bytes(words, first, width))]
            for order in SHORT_ORDERS if width == 1 else BYTE_ORDERS:
                decoder = BlockDecoder([Field(0, data_type, order)], width)
                values = tuple(float(decoder.decode(payload)[0][0]) for payload in payloads)
                if values:
                    yield Candidate(place, data_type, order, values[-1], shift, _leaps(values)), values


def _bytes(words: Mapping[int, int], first: int, width: int) -> bytes:
    """Of registers, big-endian; none where one of them is not known."""
    numbers = [words.get(first + at) for at in range(width)]
    return (
        b"".join(number.to_bytes(2, "big") for number in numbers if number is not None) if None not in numbers else b""
    )


def _leaps(values: Sequence[float]) -> bool:
    return any(abs(after - before) > _LEAP * max(abs(after), abs(before)) for before, after in pairwise(values))


def _order(byte_order: str) -> int:
    return BYTE_ORDERS.index(SHORT_ORDERS.get(byte_order, byte_order))
