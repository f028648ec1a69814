"""One Modbus source of a site, fed from wire frames in place of a line: the live codec, the live health of its units.

Pure: times are the capture's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from connectors.captures.modbus_wire import EXCEPTION_BIT, Access, reply_data
from connectors.captures.wire_frames import WireFrame
from connectors.modbus.address import Table
from connectors.modbus.codec import BlockDecoder
from connectors.modbus.health import Inquiry, UnitHealth
from connectors.modbus.mbap import Answer, reason_of_exception
from connectors.modbus.plan import ReadRequest
from connectors.modbus.points import ReadPoint, read_points
from connectors.modbus.settings import read_settings
from connectors.modbus.transport import TcpTransport, Transport
from mines.errors import ConfigError
from mines.model import Batch, IndexArray, LinkReport, Point, ValueArray, make_batch
from mines.quality import QualityArray, Reason, bad
from mines.rows import RangeJudge
from mines.site.source_table import SourceTable

NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class WireBlock:
    """The points of one source that lie wholly in one request."""

    def __init__(self, points: Sequence[ReadPoint], request: ReadRequest, unit: UnitHealth) -> None:
        fields = [point.field(request) for point in points]
        self.index: IndexArray = np.array([point.need.point for point in points], dtype=np.int32)
        self.inquiry = Inquiry(request, unit)
        unit.adopt(self.inquiry)
        self._decoder = BlockDecoder(fields, request.count, of_bits=request.table.of_bits)

    def decoded(self, answer: Answer) -> tuple[ValueArray, QualityArray]:
        """Values and quality of its points; NaN and one reason for all where there is no data."""
        if answer.payload is not None:
            return self._decoder.decode(answer.payload)
        n = len(self.index)
        return np.full(n, np.nan), np.full(n, bad(answer.reason), dtype=np.uint16)


class WireSource:
    """One source: its points as blocks of requests, its batch numbers, its units.

    Args:
        position: Among the site's sources.
        table: Its `[source.ID]`.
        points: Its points, in the order that `Batch.index` counts in.
        first_ns: Where the monotonic clock of the replay begins [ns since 1970 UTC].
    Raises:
        ConfigError: settings or an address cannot be understood.
    """

    def __init__(self, position: int, table: SourceTable, points: Sequence[Point], *, first_ns: int) -> None:
        settings, problems = read_settings(table, points)
        if settings is None:
            raise ConfigError(problems)
        self.position = position
        self.id = table.id
        self.server = _server_of(settings.transport)
        self.timeout_ns = round(settings.timeout_s * _NS_PER_S)
        self.points = points
        self._first_ns = first_ns
        self._backoff_s = (settings.backoff_s, settings.backoff_max_s)
        self._read_points = read_points(points, settings.limits)[0]
        numbers = {each.need.address.unit for each in self._read_points}
        self.units = {number: UnitHealth(number, first_ns // NS_PER_MS) for number in sorted(numbers)}
        self._judge = RangeJudge(points)
        self._blocks: dict[tuple[int, Access], WireBlock | None] = {}
        self._batch_no = 0

    def block(self, unit: int, access: Access) -> WireBlock | None:
        """The block of a request; None where it covers no point."""
        key = (unit, access)
        if key not in self._blocks:
            self._blocks[key] = self._make_block(unit, access)
        return self._blocks[key]

    def take(self, block: WireBlock, frame: WireFrame, time_ns: int) -> tuple[Batch, LinkReport | None]:
        """The batch that a reply, or the end of waiting for one, gives, and a report where its unit's state changed."""
        answer = _answer(frame, time_ns, time_ns - self._first_ns)
        value, quality = block.decoded(answer)
        self._batch_no += 1
        batch = make_batch(
            block.index,
            value,
            quality,
            receive_time_ms=answer.receive_time_ms,
            monotonic_ns=answer.monotonic_ns,
            batch_no=self._batch_no,
        )
        unit = block.inquiry.unit
        changed = unit.take(block.inquiry, answer, answer.monotonic_ns / _NS_PER_S, backoff_s=self._backoff_s)
        report = unit.report(self.id, self.server, answer.receive_time_ms, Counter()) if changed else None
        return self._judge.judged(batch), report

    def _make_block(self, unit: int, access: Access) -> WireBlock | None:
        request = ReadRequest(unit, Table(access.table), access.first, access.count, ())
        inside = [each for each in self._read_points if _lies_in(each, request)]
        return WireBlock(inside, request, self.units[unit]) if inside else None


def _server_of(transport: Transport) -> str:
    """As captures name a server; a serial line, which no capture of a network has, by its port."""
    if isinstance(transport, TcpTransport) and ":" in transport.host:
        return f"[{transport.host}]:{transport.port}"
    return transport.endpoint


def _lies_in(point: ReadPoint, request: ReadRequest) -> bool:
    need = point.need
    at = need.address
    of_request = (at.unit, at.table) == (request.unit, request.table)
    return of_request and at.register >= request.first and need.end <= request.first + request.count


def _answer(frame: WireFrame, time_ns: int, monotonic_ns: int) -> Answer:
    """What became of a read, judged as strictly as the live link judges: only a fitting reply is data."""
    payload, reason, word = _judged(frame)
    heard = frame.reply is not None
    return Answer(
        payload=payload,
        reason=reason,
        word=word,
        receive_time_ms=time_ns // NS_PER_MS,
        monotonic_ns=monotonic_ns,
        heard=heard,
        duration_ms=(time_ns - frame.time_ns) / NS_PER_MS if heard else None,
    )


def _judged(frame: WireFrame) -> tuple[bytes | None, Reason, str]:
    request, reply = frame.request, frame.reply
    if request is None or reply is None:
        return None, Reason.TIMEOUT, "timeout"
    if not frame.sure or frame.reply_unit != frame.unit:
        return None, Reason.WRONG_REPLY, "wrong reply"
    if reply[0] == request[0] | EXCEPTION_BIT and len(reply) == 2:
        return None, reason_of_exception(reply[1]), f"exception {reply[1]}"
    data = reply_data(request, reply)
    return (None, Reason.WRONG_REPLY, "wrong reply") if data is None else (data, Reason.NONE, "")
