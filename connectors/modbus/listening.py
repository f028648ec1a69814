"""A Modbus source that never says a word: another system polls its serial line, and it has what that one reads.

Each answer that is overheard is a batch of the points that lie wholly in it, decoded as a polled one. Points that
nobody polls are bad each period, and say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final
from zlib import crc32

import numpy as np

from connectors.grid import Grid
from connectors.modbus.codec import BlockDecoder
from connectors.modbus.health import Inquiry, UnitHealth
from connectors.modbus.line_claim import LineClaim
from connectors.modbus.overheard import Heard
from connectors.modbus.plan import ReadRequest
from connectors.modbus.plausibility import Plausibility
from connectors.modbus.points import ReadPoint, read_points
from connectors.modbus.polling import stop
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.tapped_port import TappedPort
from connectors.modbus.transport import SERIAL_KIND, SerialTransport
from mines.clock import Clock
from mines.errors import ConfigError
from mines.model import Batch, IndexArray, LinkReport, LinkState, Point, ValueArray, make_batch
from mines.quality import QualityArray, Reason, bad
from mines.source import FrameTap

REPORT_EVERY_S: Final = 10.0
MISSED_AFTER: Final = 1.5
"""Periods after which a point that nobody polled is bad; a master's own period jitters (project default)."""
_UNIT_MISSED_AFTER: Final = 3.0  # of its longest period
_MOST_BLOCKS: Final = 4096


class _Block:
    """The points that lie wholly in one request of the other system."""

    def __init__(self, points: Sequence[ReadPoint], request: ReadRequest, unit: UnitHealth) -> None:
        self.index: IndexArray = np.array([point.need.point for point in points], dtype=np.int32)
        self.inquiry = Inquiry(request, unit, measures=any(point.measures for point in points))
        unit.adopt(self.inquiry)
        fields = [point.field(request) for point in points]
        self._decoder = BlockDecoder(fields, request.count, of_bits=request.table.of_bits)

    def decode(self, payload: bytes) -> tuple[ValueArray, QualityArray]:
        return self._decoder.decode(payload)


class ListeningSource:
    """One serial line that is only listened to. Meets `mines.source.Source`.

    Args:
        id: The `[source.ID]`.
        points: Its points; `Batch.index` counts in this order.
        settings: From `read_settings`, of a passive serial line.
        clock: Stamps; waiting is done on the loop's own monotonic time.
        tap: Sees every byte that was heard, as it came.
    Raises:
        ConfigError: a point's address, type or sentinel is wrong: `read_settings` names the same problems.
    """

    kind = SERIAL_KIND

    def __init__(
        self,
        id: str,
        points: Sequence[Point],
        settings: ModbusSettings,
        clock: Clock,
        tap: FrameTap | None = None,
    ) -> None:
        read, problems = read_points(points, settings.limits)
        if problems:
            raise ConfigError(problems)
        if not isinstance(settings.transport, SerialTransport):
            raise TypeError("only a serial line can be listened to")
        self.id = id
        self._points = tuple(points)
        self._read = read
        self._settings = settings
        self._transport = settings.transport
        self._backoff_s = (settings.backoff_s, settings.backoff_max_s)
        self._clock = clock
        self._tap = tap
        self._batch_no = 0
        self.claim: LineClaim | None = None
        """Keeps other programs of this machine from polling a line that has a master; None = nobody is told."""

    @property
    def points(self) -> Sequence[Point]:
        """What it may hear, in the order that `Batch.index` counts in."""
        return self._points

    @property
    def endpoint(self) -> str:
        """Where it listens: a serial port."""
        return self._transport.endpoint

    async def stream(self) -> AsyncGenerator[Batch | LinkReport]:
        """Batches and link reports, until it is closed. A second call continues the batch numbers of the first."""
        tap, source_id = self._tap, self.id
        told = None if tap is None else lambda ns, data: tap(source_id, False, ns, data)
        port = TappedPort(self._transport, self._clock, backoff_s=self._backoff_s, tap=told)
        odd = {point.need.address.unit: self._odd(point.need.address.unit) for point in self._read}
        run = _Run(self._read, port, self._clock, id=self.id, odd=odd)
        if self.claim is not None:
            await self.claim.hold()
        task = asyncio.create_task(port.keep_open(), name=f"{self.id}: listening")
        try:
            while True:
                await port.wait(run.next_s)
                if task.done():
                    task.result()
                    raise RuntimeError("nobody listens any more")
                for item in run.items():
                    if isinstance(item, LinkReport):
                        yield item
                    else:
                        self._batch_no += 1
                        yield self._batch(item)
        finally:
            await stop([task])
            if self.claim is not None:
                self.claim.release()

    def _odd(self, number: int) -> Plausibility | None:
        settings = self._settings.unit(number)
        return Plausibility(settings.frozen_s) if settings.plausibility else None

    def _batch(self, rows: _Rows) -> Batch:
        index, value, quality, stamp = rows
        return make_batch(
            index, value, quality, receive_time_ms=stamp[0], monotonic_ns=stamp[1], batch_no=self._batch_no
        )


_Rows = tuple[IndexArray, ValueArray, QualityArray, tuple[int, int]]


class _Run:
    """One stream: what was heard of which point, and when."""

    def __init__(
        self,
        read: Sequence[ReadPoint],
        port: TappedPort,
        clock: Clock,
        *,
        id: str,
        odd: Mapping[int, Plausibility | None],
    ) -> None:
        self._read, self._port, self._clock, self._id = read, port, clock, id
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        numbers = sorted({point.need.address.unit for point in read})
        self._units = {number: UnitHealth(number, clock.wall_ms(), odd=odd[number]) for number in numbers}
        self._heard_s = {number: now_s for number in numbers}  # by unit
        self._longest_s = {
            number: max(point.need.period_s for point in read if point.need.address.unit == number)
            for number in numbers
        }
        most = max((point.need.point for point in read), default=-1) + 1
        self._told_s = np.full(most, -np.inf)  # by point: its newest row
        self._ever = np.zeros(most, dtype=bool)
        self._blocks: dict[ReadRequest, _Block | None] = {}
        self._periods = self._by_period()
        self._slots = {period_s: now_s for period_s in self._periods}
        self._report_s = now_s
        self._phase_fraction = crc32(id.encode()) / 2**32

    @property
    def next_s(self) -> float:
        """When there is something to do at the latest, loop time."""
        return min([self._report_s, *self._slots.values()])

    def items(self) -> list[_Rows | LinkReport]:
        """What has become of the line since the last call."""
        out: list[_Rows | LinkReport] = list(self._opened_or_lost())
        for heard in self._port.taken():
            out += self._take(heard)
        now_s = self._loop.time()
        for period_s, slot_s in self._slots.items():
            if slot_s <= now_s:
                out += self._slot(period_s, now_s)
                self._slots[period_s] = Grid(period_s, self._phase_fraction).next_slot(slot_s, now_s)[0]
                out += [] if out or not self._units else [self._report(next(iter(self._units.values())))]
        if self._report_s <= now_s:
            self._report_s = now_s + REPORT_EVERY_S
            out += [self._report(unit) for unit in self._units.values()]
        return out

    def _by_period(self) -> dict[float, IndexArray]:
        periods = sorted({point.need.period_s for point in self._read})
        return {
            period_s: np.array(
                [point.need.point for point in self._read if point.need.period_s == period_s], dtype=np.int32
            )
            for period_s in periods
        }

    def _opened_or_lost(self) -> list[LinkReport]:
        """Tells once that the port has gone; that it is back the units tell when they are heard."""
        if self._port.is_open or not self._port.tried:
            return []
        return self._lost(list(self._units.values()), self._port.error)

    def _lost(self, units: Sequence[UnitHealth], word: str) -> list[LinkReport]:
        now_ms = self._clock.wall_ms()
        return [self._report(unit) for unit in units if unit.line_lost(word, now_ms)]

    def _take(self, heard: Heard) -> list[_Rows | LinkReport]:
        request, answer = heard
        unit = self._units.get(request.unit)
        block = None if unit is None else self._block(request, unit)
        if unit is None or block is None:
            return []
        now_s = self._loop.time()
        if answer.heard:
            self._heard_s[request.unit] = now_s
        self._told_s[block.index], self._ever[block.index] = now_s, True
        n = len(block.index)
        value, quality = np.full(n, np.nan), np.full(n, bad(answer.reason), dtype=np.uint16)
        if answer.payload is not None:
            value, quality = block.decode(answer.payload)
        rows: _Rows = (block.index, value, quality, (answer.receive_time_ms, answer.monotonic_ns))
        changed = unit.take(block.inquiry, answer, now_s, backoff_s=(0.0, 0.0))
        return [rows, self._report(unit)] if changed else [rows]

    def _block(self, request: ReadRequest, unit: UnitHealth) -> _Block | None:
        if request not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                return None
            inside = [point for point in self._read if _lies_in(point, request)]
            self._blocks[request] = _Block(inside, request, unit) if inside else None
        return self._blocks[request]

    def _slot(self, period_s: float, now_s: float) -> list[_Rows | LinkReport]:
        """The points of a period that nobody has polled for too long, and the units that nobody polls at all."""
        index = self._periods[period_s]
        if self._port.is_open:
            index = index[now_s - self._told_s[index] > MISSED_AFTER * period_s]
        elif not self._port.tried:
            index = index[:0]
        idle = [
            unit
            for number, unit in self._units.items()
            if unit.state is not LinkState.CONNECTING
            and now_s - self._heard_s[number] > _UNIT_MISSED_AFTER * self._longest_s[number]
        ]
        reports = self._lost(idle, "nobody polls it") if self._port.is_open else []
        if not len(index):
            return list(reports)
        never = self._port.is_open & ~self._ever[index]
        words = np.where(never, bad(Reason.WAITING_FOR_INITIAL_DATA), bad(Reason.NO_COMMUNICATION)).astype(np.uint16)
        stamp = (self._clock.wall_ms(), self._clock.monotonic_ns())
        return [(index, np.full(len(index), np.nan), words, stamp), *reports]

    def _report(self, unit: UnitHealth) -> LinkReport:
        return unit.report(self._id, self._port.endpoint, self._clock.wall_ms(), self._port.counted())


def _lies_in(point: ReadPoint, request: ReadRequest) -> bool:
    need, at = point.need, point.need.address
    if (at.unit, at.table) != (request.unit, request.table):
        return False
    return request.first <= at.register and need.end <= request.first + request.count
