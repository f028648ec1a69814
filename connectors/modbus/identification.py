"""Replies to read device identification (43/14), joined where a device tells its objects in several. Pure.

Source: MODBUS Application Protocol V1.1b3, 6.21.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = 5  # code, conformity level, more follows, next object, number of objects
MORE_FOLLOWS = 0xFF
MOST_PARTS = 16
"""Replies of one identification: a device that never comes to an end is asked no further (project default)."""


@dataclass(frozen=True, slots=True)
class IdentificationPart:
    """One reply, behind the MEI type."""

    head: bytes
    objects: bytes
    count: int
    next_object: int | None  # to ask for; None = that was all


def parse_part(payload: bytes) -> IdentificationPart | None:
    """The reply whose bytes behind the MEI type these are; None where they are no whole list of objects."""
    if len(payload) < _HEAD or objects_end(payload, _HEAD, payload[4]) != len(payload):
        return None
    more, next_object = payload[2], payload[3]
    return IdentificationPart(
        payload[:_HEAD], payload[_HEAD:], payload[4], next_object if more == MORE_FOLLOWS else None
    )


def objects_end(data: bytes, at: int, count: int) -> int | None:
    """Where `count` objects (id, length, bytes) that begin at `at` end; None where the data end before."""
    for _ in range(count):
        if at + 2 > len(data):
            return None
        at += 2 + data[at + 1]
    return at if at <= len(data) else None


def joined(parts: Sequence[IdentificationPart]) -> bytes:
    """Several replies as one, as if nothing had followed the first; at least one part, at most 255 objects."""
    first = parts[0].head
    count = min(sum(part.count for part in parts), 255)
    return first[:2] + bytes([0, 0, count]) + b"".join(part.objects for part in parts)
