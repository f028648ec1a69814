"""What the bench reads: lines, units, points and their registers, and the law by which a value tells where it was read.

A float32 of the Modbus server is `(tick % 1024) * 16384 + identity`, a double of the OPC UA server `tick * 16384 + i`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TICKS, IDENTITIES = 1024, 16_384
MAX_REGISTERS = 125
OPCUA_NAMESPACE = "urn:minewatch:bench"
OPCUA_FIRST_NODE = 1000


@dataclass(frozen=True, slots=True)
class Layout:
    """Lines × units × points of float32 in holding registers; `pairs` are the register pairs of a unit's points."""

    lines: int
    units: int
    pairs: tuple[int, ...]
    tick_ms: int  # how often the server's values change
    period_s: float
    max_gap: int = 0

    @property
    def span(self) -> int:
        """Register pairs of a unit, holes included."""
        return self.pairs[-1] + 1

    @property
    def points(self) -> int:
        """Of all lines."""
        return self.lines * self.points_of_line

    @property
    def points_of_line(self) -> int:
        return self.units * len(self.pairs)

    def identities(self, line: int) -> npt.NDArray[np.int64]:
        """What the points of a line say of themselves, in order of unit and register. Shape (points_of_line,)."""
        units = np.arange(line * self.units, (line + 1) * self.units, dtype=np.int64)
        return ((units[:, None] * self.span + np.array(self.pairs)) % IDENTITIES).ravel()

    def blocks(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Requests of one unit as a coalescing client makes them: first register, count, the pairs in it."""
        blocks: list[list[int]] = []
        for pair in self.pairs:
            last = blocks[-1] if blocks else None
            if last and 2 * (pair - last[-1] - 1) <= self.max_gap and 2 * (pair - last[0] + 1) <= MAX_REGISTERS:
                last.append(pair)
            else:
                blocks.append([pair])
        return [(2 * block[0], 2 * (block[-1] - block[0] + 1), tuple(block)) for block in blocks]


def contiguous(lines: int, units: int, points: int, *, tick_ms: int, period_s: float) -> Layout:
    """Points side by side, without a hole."""
    return Layout(lines, units, tuple(range(points)), tick_ms, period_s)


def with_holes(lines: int, points: int, *, tick_ms: int, period_s: float, max_gap: int) -> Layout:
    """One unit a line; runs of one to four points, holes of 2 to 20 registers between them, the same in every run."""
    random = np.random.default_rng(20)
    pairs: list[int] = []
    at = 0
    while len(pairs) < points:
        run = int(random.integers(1, 5))
        pairs += range(at, at + run)
        at += run + int(random.integers(1, 11))
    return Layout(lines, 1, tuple(pairs[:points]), tick_ms, period_s, max_gap)


def wrong_values(
    value: npt.NDArray[np.float64],
    identity: npt.NDArray[np.int64],
    monotonic_ns: npt.NDArray[np.int64],
    *,
    tick_ms: int,
    oldest_s: float,
) -> int:
    """Rows whose value is another point's, or older or newer than their own time allows.

    Args:
        value: As read, no NaN, shape (n,).
        identity: What each should say of itself, shape (n,).
        monotonic_ns: When each was received, on the server's clock, shape (n,).
        tick_ms: Of the server.
        oldest_s: Between reading and receiving.
    """
    if not len(value):
        return 0
    whole = value.astype(np.int64)
    return int(
        ((whole % IDENTITIES != identity) | (whole != value) | (ages_s(whole, monotonic_ns, tick_ms) > oldest_s)).sum()
    )


def ages_s(whole: npt.NDArray[np.int64], monotonic_ns: npt.NDArray[np.int64], tick_ms: int) -> npt.NDArray[np.float64]:
    """How long before its receipt each value was read [s]; a value from the future is nearly `TICKS` ticks old."""
    now = monotonic_ns // 1_000_000 // tick_ms
    return ((now - whole // IDENTITIES) % TICKS) * tick_ms / 1000
