"""Watching a source's stream in tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mines.model import Batch, LinkReport
from mines.quality import Reason, Severity, reason_of, severity_of
from mines.source import Source


@dataclass
class Seen:
    """What a stream has yielded, with loop times."""

    batches: list[Batch] = field(default_factory=list)
    reports: list[LinkReport] = field(default_factory=list)
    yields_s: list[float] = field(default_factory=list)

    def last(self, point: int) -> tuple[float, Severity, Reason]:
        """Value, severity and reason of the newest row of a point."""
        for batch in reversed(self.batches):
            rows = np.flatnonzero(batch.index == point)
            if len(rows):
                word = int(batch.quality[rows[-1]])
                return float(batch.value[rows[-1]]), severity_of(word), reason_of(word)
        raise AssertionError(f"no row of point {point} yet")

    def reasons(self, point: int) -> list[Reason]:
        """The reason of every row of a point, in order."""
        return [
            reason_of(int(word))
            for batch in self.batches
            for word in batch.quality[np.flatnonzero(batch.index == point)]
        ]

    def states(self, unit: int | None) -> list[str]:
        """The states of a unit as reported, repetitions left out."""
        states = [report.state.value for report in self.reports if report.unit == unit]
        return [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state]

    def report(self, unit: int | None) -> LinkReport:
        """The newest report of a unit."""
        return next(report for report in reversed(self.reports) if report.unit == unit)


class Watch:
    """Runs a stream in the background; leaving it closes the stream."""

    def __init__(self, source: Source) -> None:
        self.seen = Seen()
        self._stream = source.stream()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._stream.aclose()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        async for item in self._stream:
            self.seen.yields_s.append(loop.time())
            if isinstance(item, Batch):
                self.seen.batches.append(item)
            else:
                self.seen.reports.append(item)

    async def until(self, condition: Callable[[Seen], bool], within_s: float = 5.0) -> Seen:
        """Waits for something to have been seen; the test fails where it is not in time."""
        assert self._task is not None
        async with asyncio.timeout(within_s):
            while not condition(self.seen):
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the stream ended by itself")
                await asyncio.sleep(0.005)
        return self.seen

    async def cycles(self, n: int, within_s: float = 5.0) -> Seen:
        """Waits for so many more batches."""
        target = len(self.seen.batches) + n
        return await self.until(lambda seen: len(seen.batches) >= target, within_s)
