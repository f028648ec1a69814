"""The hash chain of the event log and of the ledger: each link holds everything before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

GENESIS = bytes(32)
"""What the first link is chained to."""


def link(previous: bytes, canonical: bytes) -> bytes:
    """SHA-256 over the previous link and the canonical bytes of this row, 32 bytes."""
    return hashlib.sha256(previous + canonical).digest()


def holds(previous: bytes, canonical: object, stored: object) -> bool:
    """Whether a row as stored is the link after `previous`. What is not even bytes any more is not."""
    return isinstance(canonical, bytes) and isinstance(stored, bytes) and link(previous, canonical) == stored


def first_broken(rows: Iterable[tuple[int, bytes, bytes]]) -> int | None:
    """The number of the first row that is missing, moved or altered; None where the chain holds.

    Args:
        rows: (number, canonical bytes, link as stored) in the order of numbers, from 1 on.
    """
    expected, head = 1, GENESIS
    for number, canonical, stored in rows:
        if number != expected or not holds(head, canonical, stored):
            return expected
        expected, head = expected + 1, stored
    return None
