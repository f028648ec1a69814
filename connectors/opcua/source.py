"""The OPC UA source: a subscription whose values, silence and loss all come out as batches (`mines.source`)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from connectors.opcua.decode import Heard
from connectors.opcua.keeper import Keeper
from connectors.opcua.link import LinkBook
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.teller import Teller
from mines.clock import Clock
from mines.model import Batch, LinkReport, Point
from mines.source import FrameTap

_STOP_S: Final = 3.0  # longer than a session takes to close


class OpcUaSource:
    """One OPC UA server as a `Source`."""

    def __init__(
        self, id: str, points: Sequence[Point], settings: OpcUaSettings, clock: Clock, tap: FrameTap | None = None
    ) -> None:
        """Touches no network.

        Args:
            id: The `[source.ID]` of the site file.
            points: What to read; `Batch.index` counts in their order.
            settings: From `read_settings`.
            clock: Stamps every row; pacing is the event loop's.
            tap: Sees every chunk, as sent and received.
        """
        self._id, self._points, self._settings, self._clock, self._tap = id, tuple(points), settings, clock, tap
        self._numbers = itertools.count(1)

    @property
    def id(self) -> str:
        return self._id

    @property
    def kind(self) -> str:
        return "opcua"

    @property
    def endpoint(self) -> str:
        return self._settings.url

    @property
    def points(self) -> Sequence[Point]:
        return self._points

    async def stream(self) -> AsyncGenerator[Batch | LinkReport]:
        """Batches and link reports until `aclose()`; the network is another task's, so none of it delays a word."""
        loop = asyncio.get_running_loop()
        book = LinkBook(self._id, self._settings.url, self._clock.wall_ms())
        polled = self._settings.read == "poll"
        teller = Teller(self._points, book, self._numbers, loop.time(), polled=polled)
        tap = self._seen if self._tap is not None else None
        keeper = Keeper(self._settings, book, teller.standing, teller.gaps, clock=self._clock, tap=tap)
        keeping = asyncio.create_task(keeper.run(), name=f"opcua {self._id}")
        keeping.add_done_callback(lambda _: keeper.wake())
        try:
            while not keeping.done():
                for item in teller.tell(keeper.happened(), self._now(), loop.time()):
                    yield item
                await keeper.woken(teller.wake_at_s)
            keeping.result()  # it never ends by itself: what comes out here is a defect, and is raised as one
        finally:
            while not keeping.done():  # Python 3.11 may swallow a cancel that meets the end of a connect
                keeping.cancel()
                await asyncio.wait({keeping}, timeout=_STOP_S)

    def _now(self) -> Heard:
        return Heard(self._clock.wall_ms(), self._clock.monotonic_ns())

    def _seen(self, sending: bool, chunk: bytes) -> None:
        if self._tap is not None:
            self._tap(self._id, sending, self._clock.monotonic_ns(), chunk)
