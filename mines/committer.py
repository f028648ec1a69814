"""The committer: ticks and events gather into frames, and one writer thread makes them durable, one frame at a time.

While a frame is being written, what comes waits for the next one: the loop never waits for the disk. A disk that is
full or held by somebody is tried on; one that failed is never tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mines.errors import StoreError
from mines.events import Event
from mines.model import RowKind, Tick
from mines.store.box_store import BoxStore
from mines.store.disk import NotNow
from mines.store.frame import Frame, Watermark

_LOG = logging.getLogger("minewatch.committer")
_TRY_AGAIN_S = 1.0


@dataclass(slots=True)
class _Waiting:
    """What is not yet handed to the writer."""

    ticks: list[Tick] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    rows: int = 0


class Committer:
    """Commits at once after an event, else at most `period_ms` after the first row that waits."""

    def __init__(self, store: BoxStore, *, boot_id: str, site_sha256: str, period_ms: int) -> None:
        """`store` is called from the writer thread only, from now on."""
        self._store, self._boot_id, self._site_sha256 = store, boot_id, site_sha256
        self._period_ns = period_ms * 1_000_000
        self._waiting = _Waiting()
        self._next_frame = store.next_frame_seq
        self._begun_ns = 0
        self._running: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._ending = False
        self.watermark: Watermark = store.watermark
        self.stored = 0

    @property
    def waiting_rows(self) -> int:
        """Rows that were drained and are not in the frame being written."""
        return self._waiting.rows

    def add(self, tick: Tick, events: Sequence[Event]) -> None:
        """Takes a tick and its events; a tick that drained nothing and caused nothing is not kept."""
        if events or not tick.quiet:  # a delay may fall due at a quiet tick: replay needs that tick
            self._waiting.ticks.append(tick)
        self._waiting.events.extend(events)
        self._waiting.rows += sum(len(item.batch) for item in tick.batches if item.batch.kind != RowKind.CONFIRM)

    def add_events(self, events: Sequence[Event]) -> None:
        """Events outside any tick: before the first and after the last."""
        self._waiting.events.extend(events)

    def commit_if_due(self, now_ns: int, grace_ns: int) -> None:
        """Starts a commit where one is due; called once a tick, `grace_ns` is half of one.

        Raises:
            StoreError: the commit before failed.
        """
        if self._running is not None and self._running.done() and self._running.exception() is not None:
            raise StoreError(str(self._running.exception())) from self._running.exception()
        waiting = self._waiting
        if self._busy or not (waiting.ticks or waiting.events):
            return
        if waiting.events or now_ns - self._begun_ns >= self._period_ns - grace_ns:
            self._start(now_ns)

    async def finish(self, now_ns: int) -> None:
        """Waits for the commit under way and makes the last one; nothing after a failure.

        Raises:
            StoreError: what waited is not durable.
        """
        self._ending = True
        try:
            if self._running is not None:
                await self._running
            if self._waiting.ticks or self._waiting.events:
                await self._start(now_ns)
        finally:
            self._writer.shutdown()

    @property
    def _busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def _start(self, now_ns: int) -> asyncio.Task[None]:
        self._begun_ns = now_ns
        waiting, self._waiting = self._waiting, _Waiting()
        ticks, events = tuple(waiting.ticks), tuple(waiting.events)
        frame = Frame(self._next_frame, self._boot_id, self._site_sha256, ticks, events)
        self._next_frame += 1
        self._running = asyncio.create_task(self._write(frame, waiting.rows), name=f"commit {frame.seq}")
        return self._running

    async def _write(self, frame: Frame, rows: int) -> None:
        loop, told = asyncio.get_running_loop(), False
        while True:
            try:
                self.watermark = await loop.run_in_executor(self._writer, self._store.commit, frame)
                break
            except NotNow as problem:  # disk full or file held: nothing is broken, nothing is lost, the frame waits
                if self._ending:
                    raise
                if not told:
                    _LOG.error("not durable yet, trying on: %s", problem)
                told = True
            await asyncio.sleep(_TRY_AGAIN_S)
        if told:
            _LOG.info("durable again: frame %d", frame.seq)
        self.stored += rows
