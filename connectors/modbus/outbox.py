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
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._defect: BaseException | None = None

    async def put(self, rows: CycleRows) -> None:
        """Adds a cycle; waits while too many wait already."""
        while self._waiting >= MAX_WAITING:
            self._taken.clear()
            await self._taken.wait()
        self._waiting += 1
        self._add(rows)

    def put_report(self, report: LinkReport) -> None:
        """Adds a report, at once."""
        self._add(report)

    def fail(self, task: asyncio.Task[None]) -> None:
        """Called when a task of the source has ended: unless it was cancelled, its exception ends the stream."""
        if not task.cancelled():
            self._defect = task.exception() or RuntimeError(f"task {task.get_name()} of a source has ended")
            self._filled.set()

    async def get(self, timeout_s: float) -> CycleRows | LinkReport | None:
        """The next item; None where none came in time.

        Raises:
            Exception: what a task of the source raised: a defect.
        """
        if not self._items and self._defect is None:
            self._filled.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._filled.wait()
            except TimeoutError:
                return None
        if not self._items:
            assert self._defect is not None
            raise self._defect
        item = self._items.popleft()
        if isinstance(item, CycleRows):
            self._waiting -= 1
            self._taken.set()
        return item

    def _add(self, item: CycleRows | LinkReport) -> None:
        self._items.append(item)
        self._filled.set()
