"""The Modbus source: polls on a grid of the monotonic clock, one batch per cycle, whatever the line does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from zlib import crc32

from connectors.grid import LATE_START_FRACTION, phase_fraction
from connectors.modbus.connection import Link
from connectors.modbus.cycle import CycleRows
from connectors.modbus.line_claim import LineClaim
from connectors.modbus.outbox import Outbox
from connectors.modbus.plan import PeriodGroup, plan_reads
from connectors.modbus.points import read_points
from connectors.modbus.polling import Parts, Polling, stop
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.transport import SERIAL_KIND, TCP_KIND, SerialTransport
from mines.clock import Clock
from mines.errors import ConfigError
from mines.model import Batch, LinkReport, Point
from mines.source import FrameTap


class ModbusSource:
    """One Modbus line with its units. Meets `mines.source.Source`.

    Args:
        id: The `[source.ID]`.
        points: Its points; `Batch.index` counts in this order.
        settings: From `read_settings`.
        clock: Stamps; waiting is done on the loop's own monotonic time.
        tap: Sees every frame on the wire.
        place: Its number among the site's sources, so that they spread evenly over a period; None = by its id.
    Raises:
        ConfigError: a point's address, type or sentinel is wrong: `read_settings` names the same problems.
    """

    def __init__(
        self,
        id: str,
        points: Sequence[Point],
        settings: ModbusSettings,
        clock: Clock,
        tap: FrameTap | None = None,
        *,
        place: int | None = None,
    ) -> None:
        read, problems = read_points(points, settings.limits)
        if problems:
            raise ConfigError(problems)
        self._points = tuple(points)
        self._tap = tap
        self._batch_no = 0
        self.claim: LineClaim | None = None
        """Keeps other programs of this machine off the line, and this source off theirs; None = nobody is asked."""
        self._parts = Parts(
            source_id=id,
            endpoint=settings.transport.endpoint,
            settings=settings,
            clock=clock,
            plan=plan_reads([item.need for item in read], settings.limits),
            read={item.need.point: item for item in read},
            phase_fraction=phase_fraction(crc32(id.encode()) if place is None else place),
        )

    @property
    def kind(self) -> str:
        """The kind of `[source.ID]`."""
        return SERIAL_KIND if isinstance(self._parts.settings.transport, SerialTransport) else TCP_KIND

    @property
    def id(self) -> str:
        """The `[source.ID]` of the site file."""
        return self._parts.source_id

    @property
    def points(self) -> Sequence[Point]:
        """What it reads, in the order that `Batch.index` counts in."""
        return self._points

    @property
    def endpoint(self) -> str:
        """Where it connects to: `host:port` or a serial port."""
        return self._parts.endpoint

    @property
    def plan(self) -> tuple[PeriodGroup, ...]:
        """What it asks for, one group for each period."""
        return self._parts.plan

    async def stream(self) -> AsyncGenerator[Batch | LinkReport]:
        """Batches and link reports, until it is closed. A second call continues the batch numbers of the first."""
        outbox = Outbox()
        polling = Polling(self._parts, self._open_link, outbox)
        longest_wait_s = self._parts.shortest_period_s * (1 + LATE_START_FRACTION)
        if self.claim is not None:
            await self.claim.prepare()
        tasks = polling.start()
        try:
            while True:
                item = await outbox.get(longest_wait_s)
                if isinstance(item, CycleRows):
                    self._batch_no += 1
                    yield item.batch(self._batch_no)
                elif (report := item or polling.sign_of_life()) is not None:
                    yield report
        finally:
            outbox.close()
            await stop(tasks)
            if self.claim is not None:
                self.claim.release()

    def _open_link(self) -> Link:
        return self._make_link() if self.claim is None else self.claim.open(self._make_link)

    def _make_link(self) -> Link:
        from connectors.modbus.links import open_link  # pymodbus is loaded by whoever polls, not by `check`

        tap, source_id = self._tap, self.id
        return open_link(
            self._parts.settings.transport,
            clock=self._parts.clock,
            tap=None if tap is None else lambda sending, ns, frame: tap(source_id, sending, ns, frame),
        )
