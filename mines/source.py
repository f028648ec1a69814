"""The seam to the field: one protocol that a poll, a subscription, a recording and a fake all meet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from mines.model import Batch, LinkReport, Point


class Source(Protocol):
    """Anything that yields samples: a PLC, an OPC UA server, a recording.

    Promises, held by one contract test over every implementation:

    * `stream()` connects on first use and yields a batch per poll or notification, `batch_no` 1, 2, 3 … without a gap.
    * `Batch.index` counts into `points`; every point of `points` is in the first batches, read or not.
    * A point that cannot be read is in the batch with NaN, bad quality and a reason; never left out.
    * While the link is down it yields bad rows with a reason each period, and reconnects by itself.
    * A `LinkReport` on every change and every 10 s.
    * It ends only on `aclose()`, which releases everything; it never waits longer than its period without yielding.
    * It writes nothing to the field. An exception out of it is a defect.

    Clock and an optional frame tap are constructor arguments.
    """

    @property
    def id(self) -> str:
        """The `[source.ID]` of the site file."""
        ...

    @property
    def points(self) -> Sequence[Point]:
        """What it reads, in the order that `Batch.index` counts in."""
        ...

    def stream(self) -> AsyncGenerator[Batch | LinkReport]:
        """Batches and link reports, for ever."""
        ...


class FrameTap(Protocol):
    """Sees every frame on the wire, as sent and received. Must return at once."""

    def __call__(self, source_id: str, sending: bool, monotonic_ns: int, frame: bytes) -> None: ...
