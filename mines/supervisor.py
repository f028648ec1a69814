"""The supervisor: sources → tick → watch → journal → snapshot. It is handed its sources and never imports a connector.

One asyncio loop. The intake fills a queue; every 250 ms on the monotonic grid it is drained once, the watch steps, and
what happened goes to the committer and into the snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mines import snapshot
from mines.box_time import BoxTime
from mines.committer import Committer
from mines.events import Event, EventKind
from mines.intake import Intake
from mines.model import OperatorAct, RowKind, Tick
from mines.snapshot_document import Counters, live_part
from mines.snapshot_points import PointsPicture, id_texts, points_text
from mines.source import Source
from mines.store.box_store import BoxStore
from mines.watch import Watch


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
        self._watch, self._time, self._identity = watch, time, identity
        self._snapshot_path, self._new_acts, self._progress = snapshot_path, new_acts, progress
        self._pace = pace or Pace()
        self._intake = Intake(sources, time)
        self._committer = Committer(
            store, boot_id=identity.boot_id, site_sha256=identity.site_sha256, period_ms=self._pace.commit_ms
        )
        self._acts: list[OperatorAct] = []
        self._acts_seen = watch.last_ledger_id
        self._asking: asyncio.Task[None] | None = None
        self._ledger_reader = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._tick_number = self._seq = self._published_ns = self._lag_ms = 0
        self._stopping = asyncio.Event()
        self._publisher = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._publishing: asyncio.Future[None] | None = None
        self._owed = False  # events that no snapshot shows yet
        self._ids = id_texts(watch.points)
        self._counters = Counters(
            self._intake.counters,
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
        self._committer.add_events(opening)
        self._counters.latest.extend(opening)
        self._intake.start()
        try:
            await self._tick_forever()
        finally:
            await self._finish()

    async def _tick_forever(self) -> None:
        period_s = self._pace.tick_ms / 1000
        loop = asyncio.get_running_loop()
        # On the multiples of the period: a source knows where ticks fall, and polls between them (connectors do).
        due = (loop.time() // period_s + 1) * period_s
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), max(due - loop.time(), 0))
            late_s = loop.time() - due
            self._lag_ms = max(round(late_s * 1000), 0)
            if late_s > period_s:
                self._counters.late_ticks += 1
                due += period_s * (late_s // period_s)  # keep to the grid; what came meanwhile is in this tick
            due += period_s
            self._tick()

    def _tick(self) -> None:
        events = self._step()
        now_ns = self._time.monotonic_ns()
        self._committer.commit_if_due(now_ns, self._pace.tick_ms * 500_000)
        self._owed = self._owed or bool(events)
        due_ns = self._published_ns + self._pace.publish_ms * 1_000_000 - self._pace.tick_ms * 500_000
        if self._owed or now_ns >= due_ns:
            self._publish(now_ns)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_ledger())
        self._progress()

    def _step(self) -> list[Event]:
        """Drains the intake into one tick and steps the watch with it."""
        batches, links = self._intake.drain()
        acts, self._acts = self._acts, []
        self._tick_number += 1
        tick = Tick(
            number=self._tick_number,
            clock_step_ms=self._time.look(),
            time_ms=self._time.wall_ms(),
            monotonic_ns=self._time.monotonic_ns(),
            batches=batches,
            links=links,
            acts=tuple(acts),
        )
        events = self._watch.step(tick)
        self._committer.add(tick, events)
        self._counters.latest.extend(events)
        self._counters.ticks += 1
        self._counters.read += sum(len(item.batch) for item in batches if item.batch.kind != RowKind.CONFIRM)
        return events

    async def _ask_ledger(self) -> None:
        """Operator acts that the web recorded; they are in the next tick."""
        loop = asyncio.get_running_loop()
        acts = await loop.run_in_executor(self._ledger_reader, self._new_acts, self._acts_seen)
        if acts:
            self._acts_seen = max(act.ledger_id for act in acts)
            self._acts.extend(acts)

    def _publish(self, now_ns: int, *, stopped: bool = False) -> None:
        """Hands the picture of this moment to a thread: to write ten thousand points takes too long for the loop.

        While one is being written none is begun; the next tick sees to it.
        """
        if self._publishing is not None:
            if not self._publishing.done():
                return
            self._publishing.result()
        self._published_ns, self._owed = now_ns, False
        self._seq += 1
        self._counters.stored = self._committer.stored
        document = self._document(now_ns, stopped=stopped)
        points = points_text(self._ids, PointsPicture.of(self._watch.image, now_ns))
        loop, path = asyncio.get_running_loop(), self._snapshot_path
        self._publishing = loop.run_in_executor(self._publisher, snapshot.publish, path, document, points)

    async def _published(self) -> None:
        """Returns when the snapshot under way is written."""
        if self._publishing is not None:
            await self._publishing

    def _document(self, now_ns: int, *, stopped: bool) -> dict[str, Any]:
        identity, watermark = self._identity, self._committer.watermark
        return live_part(self._watch, self._counters) | {
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
            "durable": {"frame": watermark.frame, "rows": watermark.rows, "event_seq": watermark.event_seq},
            "poller": {"lag_ms": self._lag_ms, "queued_rows": self._committer.waiting_rows},
        }

    async def _finish(self) -> None:
        """Streams closed, last tick, last commit, last snapshot; a commit that failed is not tried again."""
        await self._intake.stop()
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)
        self._ledger_reader.shutdown()
        self._step()
        stopped = self._watch.number([Event(0, self._time.wall_ms(), EventKind.BOX_STOPPED, cause="asked")])
        self._committer.add_events(stopped)
        self._counters.latest.extend(stopped)
        try:
            await self._committer.finish(self._time.monotonic_ns())
            await self._published()
            self._publish(self._time.monotonic_ns(), stopped=True)
            await self._published()
        finally:
            self._publisher.shutdown()
