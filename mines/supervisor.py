"""The supervisor: sources → tick → watch → journal → snapshot. It is handed its sources and never imports a connector.

One asyncio loop. Sources fill a queue; every 250 ms on the monotonic grid the queue is drained once, the watch steps,
and what happened is committed by one writer thread, at most 1 s after it came and at once after an event. The loop
never waits for the disk: while a commit runs, ticks gather for the next one. A disk that fails ends the process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mines import snapshot
from mines.box_time import BoxTime
from mines.errors import StoreError
from mines.events import Event, EventKind
from mines.model import Batch, LinkReport, LinkState, OperatorAct, RowKind, SourcedBatch, Tick, make_batch
from mines.quality import Flag, Reason, bad
from mines.rows import RangeJudge
from mines.snapshot_document import Counters, SourceCounters, live_part
from mines.source import Source
from mines.store.box_store import BoxStore
from mines.store.disk import NotNow
from mines.store.frame import Frame, Watermark
from mines.watch import Watch

_LOG = logging.getLogger("minewatch.supervisor")
_SOURCE_BACKOFF_S = 5.0
_TRY_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What this run is; printed in every snapshot."""

    boot_id: str
    site_sha256: str
    software: str
    origin: str  # live, simulated
    mine: dict[str, str]
    pid: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How often: tick, commit, publish [ms]."""

    tick_ms: int = 250
    commit_ms: int = 1000
    publish_ms: int = 1000


@dataclass(slots=True)
class _Waiting:
    """What was drained and is not yet handed to the writer."""

    ticks: list[Tick] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    rows: int = 0


class Supervisor:
    """Runs one mine's box until stopped."""

    def __init__(
        self,
        sources: Sequence[Source],
        watch: Watch,
        store: BoxStore,
        *,
        time: BoxTime,
        identity: Identity,
        snapshot_path: Path,
        new_acts: Callable[[int], list[OperatorAct]],
        progress: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        """All parts ready made.

        Args:
            sources: In the site's order.
            watch: Folded from the log of `store`.
            store: Open for writing; only the writer thread calls it from now on.
            time: Box time; the sources stamp with the same.
            identity: For the snapshot.
            snapshot_path: Where the snapshot is published.
            new_acts: Ledger rows after an id, oldest first; called from a thread.
            progress: Called after every tick that did its work; feeds the watchdog.
            pace: Tick, commit and publish periods.
        """
        self._sources, self._watch, self._store, self._time = sources, watch, store, time
        self._identity, self._snapshot_path = identity, snapshot_path
        self._new_acts, self._progress, self._pace = new_acts, progress, pace or Pace()
        self._judges = [RangeJudge(source.points) for source in sources]
        self._queue: list[tuple[int, Batch | LinkReport]] = []
        self._waiting = _Waiting()
        self._acts: list[OperatorAct] = []
        self._acts_seen = watch.last_ledger_id
        self._watermark: Watermark = store.watermark
        self._next_frame = store.next_frame_seq
        self._tick_number = self._seq = 0
        self._committed_ns = self._published_ns = 0
        self._lag_ms = 0
        self._commit: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._ledger_reader = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._stopping = asyncio.Event()
        self._counters = Counters(
            [_source_counters(source) for source in sources],
            raised_before=watch.alarms.raised_total,
            cleared_before=watch.alarms.cleared_total,
        )

    def stop(self) -> None:
        """Asks for an orderly end: last tick, commit, snapshot."""
        self._stopping.set()

    async def run(self, opening: Sequence[Event]) -> None:
        """Until `stop()`; `opening` are events from before the first tick (start, site change).

        Raises:
            StoreError: the journal cannot be written; the process must end, a restart replays.
        """
        self._record(opening)
        pumps = [asyncio.create_task(self._pump(i), name=f"pump {s.id}") for i, s in enumerate(self._sources)]
        try:
            await self._tick_forever()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await self._finish()

    async def _tick_forever(self) -> None:
        period_s = self._pace.tick_ms / 1000
        loop = asyncio.get_running_loop()
        due = loop.time() + period_s
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), max(due - loop.time(), 0))
            except TimeoutError:
                pass
            late_s = loop.time() - due
            self._lag_ms = max(round(late_s * 1000), 0)
            if late_s > period_s:
                self._counters.late_ticks += 1
                due += period_s * (late_s // period_s)  # keep to the grid; what came meanwhile is in this tick
            due += period_s
            self._tick()

    def _tick(self) -> None:
        tick = self._drain()
        events = self._watch.step(tick)
        if events or not tick.quiet:  # a delay may fall due at a quiet tick: replay needs that tick
            self._waiting.ticks.append(tick)
        self._record(events)
        self._counters.ticks += 1
        now_ns = self._time.monotonic_ns()
        if self._commit_is_due(now_ns):
            self._start_commit(now_ns)
        if events or now_ns - self._published_ns >= self._pace.publish_ms * 1_000_000 - 1_000_000:
            self._publish(now_ns)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_ledger())
        if self._commit is not None and self._commit.done() and self._commit.exception() is not None:
            raise StoreError(str(self._commit.exception())) from self._commit.exception()
        self._progress()

    def _drain(self) -> Tick:
        queue, self._queue = self._queue, []
        acts, self._acts = self._acts, []
        step_ms = self._time.look()
        self._tick_number += 1
        batches = [SourcedBatch(i, item) for i, item in queue if isinstance(item, Batch)]
        batches.sort(key=lambda item: item.source)  # stable: within a source in order of batch_no
        rows = sum(len(item.batch) for item in batches if item.batch.kind != RowKind.CONFIRM)
        self._waiting.rows += rows
        self._counters.read += rows
        return Tick(
            number=self._tick_number,
            time_ms=self._time.wall_ms(),
            monotonic_ns=self._time.monotonic_ns(),
            batches=tuple(batches),
            links=tuple(item for _, item in queue if isinstance(item, LinkReport)),
            acts=tuple(acts),
            clock_step_ms=step_ms,
        )

    def _record(self, events: Sequence[Event]) -> None:
        self._waiting.events.extend(events)
        self._counters.latest.extend(events)

    # Commit: one frame at a time, by the writer thread.

    def _commit_is_due(self, now_ns: int) -> bool:
        if self._commit is not None and not self._commit.done():
            return False
        if not (self._waiting.ticks or self._waiting.events):
            return False
        old = now_ns - self._committed_ns >= (self._pace.commit_ms - self._pace.tick_ms // 2) * 1_000_000
        return old or bool(self._waiting.events)

    def _start_commit(self, now_ns: int) -> None:
        self._committed_ns = now_ns
        waiting, self._waiting = self._waiting, _Waiting()
        frame = Frame(
            seq=self._next_frame,
            boot_id=self._identity.boot_id,
            site_sha256=self._identity.site_sha256,
            ticks=tuple(waiting.ticks),
            events=tuple(waiting.events),
        )
        self._next_frame += 1
        self._commit = asyncio.create_task(self._write(frame, waiting.rows))

    async def _write(self, frame: Frame, rows: int) -> None:
        loop, told = asyncio.get_running_loop(), False
        while True:
            try:
                self._watermark = await loop.run_in_executor(self._writer, self._store.commit, frame)
            except NotNow as problem:  # disk full or file held: nothing is broken, nothing is lost, the frame waits
                if self._stopping.is_set():
                    raise
                if not told:
                    _LOG.error("not durable yet, trying on: %s", problem)
                told = True
                await asyncio.sleep(_TRY_AGAIN_S)
                continue
            break
        if told:
            _LOG.info("durable again: frame %d", frame.seq)
        self._counters.stored += rows

    async def _ask_ledger(self) -> None:
        """Operator acts that the web recorded; they are in the next tick."""
        loop = asyncio.get_running_loop()
        acts = await loop.run_in_executor(self._ledger_reader, self._new_acts, self._acts_seen)
        if acts:
            self._acts_seen = max(act.ledger_id for act in acts)
            self._acts.extend(acts)

    # Sources

    async def _pump(self, position: int) -> None:
        """Batches of one source into the queue, for ever; an exception out of it is a defect and is said as one."""
        source, last_batch, error = self._sources[position], 0, ""
        while True:
            base = last_batch
            try:
                async with aclosing(source.stream()) as stream:
                    async for item in stream:
                        if error:
                            self._queue.append((position, self._own_report(source, LinkState.GOOD, "")))
                            error = ""
                        if isinstance(item, Batch):
                            last_batch = base + item.batch_no
                            item = self._accepted(position, replace(item, batch_no=last_batch))
                        self._queue.append((position, item))
                error = "stream ended"
            except Exception as problem:  # the one boundary: a defect of one source stops no other
                _LOG.exception("source %s failed", source.id)
                error = f"{type(problem).__name__}: {problem}"
            last_batch += 1
            self._queue.append((position, self._accepted(position, self._all_bad(source, last_batch))))
            self._queue.append((position, self._own_report(source, LinkState.LOST, f"source_defect: {error}")))
            await asyncio.sleep(_SOURCE_BACKOFF_S)

    def _accepted(self, position: int, batch: Batch) -> Batch:
        points = len(self._sources[position].points)
        if len(batch) and not (0 <= int(batch.index.min()) and int(batch.index.max()) < points):
            raise IndexError(f"batch {batch.batch_no} names a point that the source does not have")
        batch = self._judges[position].judged(batch)
        if self._time.unsure:
            batch = replace(batch, quality=batch.quality | np.uint16(Flag.CLOCK_UNSURE))
        if batch.kind != RowKind.CONFIRM:
            self._counters.sources[position].count(batch.quality)
        return batch

    def _all_bad(self, source: Source, batch_no: int) -> Batch:
        n = len(source.points)
        return make_batch(
            np.arange(n, dtype=np.int32),
            np.full(n, np.nan),
            bad(Reason.SOURCE_DEFECT),
            receive_time_ms=self._time.wall_ms(),
            monotonic_ns=self._time.monotonic_ns(),
            batch_no=batch_no,
        )

    def _own_report(self, source: Source, state: LinkState, error: str) -> LinkReport:
        """What the supervisor itself says of a source that failed and was started anew."""
        now = self._time.wall_ms()
        return LinkReport(
            source=source.id,
            unit=None,
            state=state,
            since_ms=now,
            last_answer_ms=None,
            last_error=error,
            duration_ms=None,
            polls=0,
            good=0,
            bad=0,
            reconnects=0,
            time_ms=now,
        )

    # Snapshot and end

    def _publish(self, now_ns: int, *, stopped: bool = False) -> None:
        self._published_ns = now_ns
        self._seq += 1
        snapshot.publish(self._snapshot_path, self._document(now_ns, stopped=stopped))

    def _document(self, now_ns: int, *, stopped: bool) -> dict[str, Any]:
        identity = self._identity
        return live_part(self._watch, self._counters, now_ns) | {
            "boot_id": identity.boot_id,
            "seq": self._seq,
            "time_ms": self._time.wall_ms(),
            "mono_ms": now_ns // 1_000_000,
            "software": identity.software,
            "site_sha256": identity.site_sha256,
            "origin": identity.origin,
            "clock_unsure": self._time.unsure,
            "stopped": stopped,
            "mine": identity.mine,
            "run": {"pid": identity.pid, "started_ms": identity.started_ms},
            "durable": {
                "frame": self._watermark.frame,
                "rows": self._watermark.rows,
                "event_seq": self._watermark.event_seq,
            },
            "poller": {"lag_ms": self._lag_ms, "queued_rows": self._waiting.rows},
        }

    async def _finish(self) -> None:
        """Last tick, last commit, last snapshot; a commit that failed is not tried again."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        failed = False
        if self._commit is not None:
            (result,) = await asyncio.gather(self._commit, return_exceptions=True)
            failed = isinstance(result, BaseException)
        if not failed:
            tick = self._drain()
            stopped = Event(0, tick.time_ms, EventKind.BOX_STOPPED, cause="asked")
            events = self._watch.step(tick)
            if events or not tick.quiet:
                self._waiting.ticks.append(tick)
            self._record(events)
            self._record(self._watch.number([stopped]))
            self._start_commit(self._time.monotonic_ns())
            assert self._commit is not None
            await self._commit
            self._publish(self._time.monotonic_ns(), stopped=True)
        self._writer.shutdown()
        self._ledger_reader.shutdown()


def _source_counters(source: Source) -> SourceCounters:
    return SourceCounters(
        id=source.id,
        kind=str(getattr(source, "kind", "")),
        endpoint=str(getattr(source, "endpoint", "")),
        points=len(source.points),
        period_ms=_mean_period_ms([point.period_s for point in source.points]),
    )


def _mean_period_ms(periods_s: Sequence[float]) -> int:
    """The period at which points × time ÷ period is the number of samples to expect: the harmonic mean [ms]."""
    return round(1000 * len(periods_s) / sum(1 / period_s for period_s in periods_s)) if periods_s else 1000
