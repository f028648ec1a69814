"""What an import saw becomes ticks of a site, decoded by the live codecs. Pure: frames in, ticks out.

Every read request that was answered gives one batch of the points that lie wholly in it; a Modbus request that nobody
answered gives bad rows when its time is over. So a replay of other people's traffic shows what our box would have read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from connectors.captures.modbus_wire import read_access
from connectors.captures.ua_files import UaReading
from connectors.captures.ua_source import UaWireSource
from connectors.captures.wire_frames import WireFrame
from connectors.captures.wire_source import NS_PER_MS, WireSource
from connectors.modbus.transport import TCP_KIND
from mines.model import Batch, LinkReport, SourcedBatch, Tick
from mines.site.site_file import Site

TICK_NS = 250_000_000
_OPCUA_KIND = "opcua"


@dataclass(frozen=True, slots=True)
class _Happening:
    """A reply, or the end of waiting for one, as one source sees it; `take` gives what it means, once, in order."""

    time_ns: int
    position: int
    take: Callable[[], tuple[Batch, LinkReport | None]]


class WireDecoder:
    """All sources of a site against what one import saw.

    Raises:
        ConfigError: a source's settings or a point's address cannot be understood.
    """

    def __init__(self, site: Site, frames: Iterable[WireFrame], readings: Iterable[UaReading] = ()) -> None:
        held, read = list(frames), list(readings)
        self._site = site
        self._first_ns = min([*(each.time_ns for each in held), *(each.time_ns for each in read)], default=0)
        self._by_unit: dict[tuple[str, int], list[WireSource]] = {}
        self._by_server: dict[str, list[UaWireSource]] = {}
        self._build()
        known = {server for server, _ in self._by_unit} | set(self._by_server)
        self._unknown = ({each.server for each in held} | {each.server for each in read}) - known
        self._covered: set[str] = set()
        happenings = [each for frame in held for each in self._seen(frame)]
        happenings += [each for reading in read for each in self._read(reading)]
        self._happenings = sorted(happenings, key=lambda each: each.time_ns)

    def _build(self) -> None:
        for position, table in enumerate(self._site.sources):
            points = self._site.points_of(table.id)
            if table.kind == TCP_KIND:
                source = WireSource(position, table, points, first_ns=self._first_ns)
                for unit in source.units:
                    self._by_unit.setdefault((source.server, unit), []).append(source)
            elif table.kind == _OPCUA_KIND:
                other = UaWireSource(position, table, points, first_ns=self._first_ns)
                self._by_server.setdefault(other.server, []).append(other)

    @property
    def span_ms(self) -> tuple[int, int] | None:
        """Times of the first and the last row; None where there is none."""
        if not self._happenings:
            return None
        return self._happenings[0].time_ns // NS_PER_MS, self._happenings[-1].time_ns // NS_PER_MS

    @property
    def warnings(self) -> list[str]:
        """Points that stay NEVER, and servers that the site does not know."""
        lines = [
            f"{point.file}:{point.line}: id: {point.id} is not in the capture; it stays 未接入 (never connected)"
            for point in self._site.process_points
            if point.id not in self._covered
        ]
        return lines + [f"{server} is in the capture and is no source of the site" for server in sorted(self._unknown)]

    def ticks(self) -> Iterator[Tick]:
        """Ticks that are not quiet, on the grid of 250 ms of capture time, and a closing one. A hole of days is jumped:
        nothing stands in it. To be gone through once: batch numbers and links count on."""
        if not self._happenings:
            return
        grid = _Grid(self._first_ns)
        for each in self._happenings:
            batch, report = each.take()
            yield from grid.put(each.time_ns, SourcedBatch(each.position, batch), report)
        yield from grid.close()

    def _seen(self, frame: WireFrame) -> Iterator[_Happening]:
        """What a frame is to the sources that read its registers."""
        access = None if frame.request is None else read_access(frame.request)
        if access is None:
            return
        for source in self._by_unit.get((frame.server, frame.unit), []):
            block = source.block(frame.unit, access)
            if block is not None:
                self._covered.update(source.points[i].id for i in block.index.tolist())
                timeout_ns = frame.time_ns + source.timeout_ns
                time_ns = timeout_ns if frame.reply_time_ns is None else frame.reply_time_ns
                yield _Happening(time_ns, source.position, partial(source.take, block, frame, time_ns))

    def _read(self, reading: UaReading) -> Iterator[_Happening]:
        """What a reading is to the sources of its server."""
        for source in self._by_server.get(reading.server, []):
            places = source.index(reading)
            if places:
                self._covered.update(source.points[index].id for index, _ in places)
                yield _Happening(reading.time_ns, source.position, partial(source.take, reading, places))


class _Grid:
    """Gathers batches and link reports into ticks."""

    def __init__(self, first_ns: int) -> None:
        self._first_ns = first_ns
        self._first_tick = self._tick = _tick_of(first_ns)
        self._batches: list[SourcedBatch] = []
        self._reports: list[LinkReport] = []

    def put(self, time_ns: int, batch: SourcedBatch, report: LinkReport | None) -> Iterator[Tick]:
        """Adds what happened; gives the tick before, where that is over."""
        tick = _tick_of(time_ns)
        if tick > self._tick:
            if self._batches:
                yield self._made()
            self._tick = tick
        self._batches.append(batch)
        if report is not None:
            self._reports.append(report)

    def close(self) -> Iterator[Tick]:
        """The last tick, and the closing one after it."""
        yield self._made()
        self._tick += 1
        yield self._made()

    def _made(self) -> Tick:
        time_ns = self._tick * TICK_NS
        tick = Tick(
            number=self._tick - self._first_tick + 1,
            time_ms=time_ns // NS_PER_MS,
            monotonic_ns=time_ns - self._first_ns,
            batches=tuple(sorted(self._batches, key=lambda item: item.source)),  # as the supervisor drains
            links=tuple(self._reports),
        )
        self._batches, self._reports = [], []
        return tick


def _tick_of(time_ns: int) -> int:
    """The first tick at or after a moment."""
    return -(-time_ns // TICK_NS)
