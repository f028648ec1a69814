"""Fills gaps from a server's own history, beside the live values and never before them: bounded, each row once.

What history cannot give stays a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from connectors.opcua.decode import Heard, Values, columns
from connectors.opcua.gaps import Gap, Gaps
from connectors.opcua.history import VALUES_A_NODE, HistoryRefused, Page
from connectors.opcua.link import LinkBook
from connectors.opcua.session import Node, Session
from connectors.opcua.teller import Recalled
from mines.clock import Clock
from mines.errors import LinkLost

_VALUES_A_SECOND: Final = 2000  # project default: history must not take the server from the living values
_REST_S: Final = 0.02  # between two requests at least, project default
_LOOK_S: Final = 0.25  # how often is looked whether there is something to fill
_TRIES: Final = 3  # project default


class Backfill:
    """One stream's. `tell` takes what came, in order with the live values."""

    def __init__(self, gaps: Gaps, book: LinkBook, clock: Clock, tell: Callable[[Recalled], None]) -> None:
        self._gaps, self._book, self._clock, self._tell = gaps, book, clock, tell
        self._offered: dict[int, bool] = {}

    async def run(self, session: Session, nodes: Mapping[int, Node], retry_s: float) -> None:
        """Fills what there is to fill as long as the session stands; raises nothing but a cancellation.

        Args:
            session: Stands.
            nodes: Point index → node of today; may change meanwhile.
            retry_s: How long to rest after a history that could not be read.
        """
        self._offered = {}  # a user's rights may have changed
        while True:
            left = {gap.point: gap for gap in self._gaps.take(session.history.at_once)}
            rest_s = _LOOK_S
            try:
                if left:
                    await self._fill(session, nodes, left)
                    rest_s = 0.0
            except HistoryRefused:
                self._book.counts["history refused"] += 1
                left.clear()
            except LinkLost:  # perhaps of this request only: whether the link is lost, others find out
                self._book.counts["history failed"] += 1
                tried = {point: replace(gap, tries=gap.tries + 1) for point, gap in left.items()}
                left = {point: gap for point, gap in tried.items() if gap.tries < _TRIES}
                rest_s = retry_s
            finally:
                self._gaps.put_back(list(left.values()))
            await asyncio.sleep(rest_s)

    async def _fill(self, session: Session, nodes: Mapping[int, Node], left: dict[int, Gap]) -> None:
        """Empties `left`, which always holds what is still to be filled."""
        gone = [point for point in left if point not in nodes]
        await self._ask_offered(session, nodes, [point for point in left if point in nodes])
        without = [*gone, *(point for point in left if point in nodes and not self._offered[point])]
        for point in without:
            del left[point]
        self._book.counts["gaps without history"] += len(without)
        await self._page_through(session, nodes, left)
        while left:  # full pages without a continuation point: some servers need to be asked again, each from its place
            point, gap = next(iter(left.items()))
            alone = {point: gap}
            await self._page_through(session, nodes, alone)
            if alone.get(point, gap) == gap:
                del left[point]
            else:
                left[point] = alone[point]

    async def _page_through(self, session: Session, nodes: Mapping[int, Node], left: dict[int, Gap]) -> None:
        """Pages of all of `left` until no node has a continuation point; those that may have more stay in `left`."""
        points, more = list(left), dict.fromkeys(left, b"")
        from_ms = min((gap.after_ms for gap in left.values()), default=0)
        to_ms = max((gap.before_ms for gap in left.values()), default=0)
        while points:
            pages = await session.history.page([(session.node_id(nodes[p]), more[p]) for p in points], from_ms, to_ms)
            self._take(dict(zip(points, pages, strict=True)), left)
            more = {point: page.more for point, page in zip(points, pages, strict=True)}
            points = [point for point in points if more[point]]
            await asyncio.sleep(max(sum(len(page.values) for page in pages) / _VALUES_A_SECOND, _REST_S))

    async def _ask_offered(self, session: Session, nodes: Mapping[int, Node], points: Sequence[int]) -> None:
        unknown = [point for point in points if point not in self._offered]
        if unknown:
            offered = await session.history.offered([session.node_id(nodes[point]) for point in unknown])
            self._offered.update(zip(unknown, offered, strict=True))

    def _take(self, pages: Mapping[int, Page], left: dict[int, Gap]) -> None:
        """Tells the rows that lie in their gaps, and notes how far each is filled."""
        items = [(point, value) for point, page in pages.items() for value in page.values]
        heard = Heard(self._clock.wall_ms(), self._clock.monotonic_ns())
        all_rows = columns(items, heard)
        rows = [
            row
            for row, (point, at_ms) in enumerate(zip(all_rows.index, all_rows.source_time_ms, strict=True))
            if left[point].after_ms < at_ms < left[point].before_ms
        ]
        newest = {point: gap.after_ms for point, gap in left.items()}
        for row in rows:
            point = all_rows.index[row]
            newest[point] = max(newest[point], all_rows.source_time_ms[row])
        for point, page in pages.items():
            if page.more or (len(page.values) >= VALUES_A_NODE and not page.refused):
                left[point] = replace(left[point], after_ms=newest[point])
            else:
                del left[point]
        if rows:
            self._book.counts["backfilled"] += len(rows)
            self._tell(Recalled(_chosen(all_rows, rows)))


def _chosen(values: Values, rows: Sequence[int]) -> Values:
    return Values(
        index=[values.index[row] for row in rows],
        value=[values.value[row] for row in rows],
        status=[values.status[row] for row in rows],
        source_time_ms=[values.source_time_ms[row] for row in rows],
        heard=values.heard,
    )
