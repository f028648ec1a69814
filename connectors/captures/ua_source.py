"""One OPC UA source of a site, fed from what a capture read in place of a session: the live codec. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from connectors.captures.ua_files import UaReading
from connectors.opcua.decode import Heard, ValueDecoder, Values
from connectors.opcua.link import LinkBook
from connectors.opcua.nodes import NodeAddress, parse_address
from connectors.opcua.settings import read_settings
from mines.errors import ConfigError
from mines.model import Batch, LinkReport, Point, make_batch
from mines.rows import RangeJudge
from mines.site.source_table import SourceTable

_NS_PER_MS = 1_000_000


class UaWireSource:
    """One source: its points by their nodes, its batch numbers, its link.

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
        self.server = urlsplit(settings.url).netloc
        self.points = points
        self._first_ns = first_ns
        self._by_node: dict[NodeAddress, list[int]] = {}
        for index, point in enumerate(points):
            node = parse_address(point.address)
            if isinstance(node, NodeAddress):
                self._by_node.setdefault(node, []).append(index)
        self._decoder = ValueDecoder(points)
        self._judge = RangeJudge(points)
        self._book = LinkBook(table.id, settings.url, first_ns // _NS_PER_MS)
        self._book.waiting.clear()
        self._batch_no = 0

    def index(self, reading: UaReading) -> list[tuple[int, int]]:
        """Of each of the source's points that the reading has: its index and the row."""
        places: list[tuple[int, int]] = []
        for row, (address, _) in enumerate(reading.rows):
            node = parse_address(address)
            if isinstance(node, NodeAddress):
                places += [(index, row) for index in self._by_node.get(node, ())]
        return places

    def take(self, reading: UaReading, places: Sequence[tuple[int, int]]) -> tuple[Batch, LinkReport | None]:
        """The batch of a reading, and a report where it is the first one."""
        heard = Heard(reading.time_ns // _NS_PER_MS, reading.time_ns - self._first_ns)
        data = [reading.rows[row][1] for _, row in places]
        values = Values(
            index=[index for index, _ in places],
            value=[each.value for each in data],
            status=[each.status for each in data],
            source_time_ms=[each.source_time_ms for each in data],
            heard=heard,
        )
        value, quality = self._decoder.decode(values)
        self._batch_no += 1
        batch = make_batch(
            values.index,
            value,
            quality,
            receive_time_ms=heard.wall_ms,
            monotonic_ns=heard.monotonic_ns,
            batch_no=self._batch_no,
            source_time_ms=np.array(values.source_time_ms, dtype=np.int64),
        )
        return self._judge.judged(batch), self._report(heard)

    def _report(self, heard: Heard) -> LinkReport | None:
        self._book.heard = heard
        self._book.begun(whole=True, time_ms=heard.wall_ms)
        return self._book.waiting.popleft() if self._book.waiting else None
