"""Between the tasks of a source and its stream: order kept, batches bounded, a defect handed on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from connectors.modbus.cycle import CycleRows
from mines.model import LinkReport

MAX_WAITING: Final = 16
"""Cycles that wait for a slow consumer before polling itself waits; nothing is dropped."""
MAX_ITEMS: Final = 10_000
"""Reports are not waited for: should nobody ever take them, the oldest go."""


class Outbox:
    """What is ready to be yielded."""

    def __init__(self) -> None:
        self._items: deque[CycleRows | LinkReport] = deque(maxlen=MAX_ITEMS)
        self._waiting = 0  # cycles among them
        self._taker: asyncio.Future[None] | None = None  # whoever waits for an item
        self._until_s = 0.0  # how long he waits, loop time
        self._timer: asyncio.TimerHandle | None = None  # one for many items: to make and end it costs more than to wait
        self._taken = asyncio.Event()
        self._defect: BaseException | None = None

    def offer(self, rows: CycleRows) -> bool:
        """Adds a cycle; False where too many wait already."""
        if self._waiting >= MAX_WAITING:
            return False
        self._waiting += 1
        self._add(rows)
        return True

    async def put(self, rows: CycleRows) -> None:
        """Adds a cycle; waits while too many wait already."""
        while not self.offer(rows):
            self._taken.clear()
            await self._taken.wait()

    def put_report(self, report: LinkReport) -> None:
        """Adds a report, at once."""
        self._add(report)

    def fail(self, task: asyncio.Task[None]) -> None:
        """Called when a task of the source has ended: unless it was cancelled, its exception ends the stream."""
        if not task.cancelled():
            self._defect = task.exception() or RuntimeError(f"task {task.get_name()} of a source has ended")
            self._wake()

    async def get(self, timeout_s: float) -> CycleRows | LinkReport | None:
        """The next item; None where none came in time.

        Raises:
            Exception: what a task of the source raised: a defect.
        """
        if not self._items and self._defect is None:
            loop = asyncio.get_running_loop()
            self._taker, self._until_s = loop.create_future(), loop.time() + timeout_s
            if self._timer is None:
                self._timer = loop.call_at(self._until_s, self._time_is_up)
            try:
                await self._taker
            finally:
                self._taker = None
        if self._items:
            return self._take()
        if self._defect is not None:
            raise self._defect
        return None

    def _take(self) -> CycleRows | LinkReport:
        item = self._items.popleft()
        if isinstance(item, CycleRows):
            self._waiting -= 1
            self._taken.set()
        return item

    def _add(self, item: CycleRows | LinkReport) -> None:
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """Nobody will ask any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        """The timer has run out: of this wait, or of one that has ended long ago."""
        self._timer, loop = None, asyncio.get_running_loop()
        if self._taker is not None and self._until_s > loop.time():
            self._timer = loop.call_at(self._until_s, self._time_is_up)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)
