"""The watch: everything a tick does to the picture of the mine. `run` and `replay` step the very same one.

Within a tick: every row steps the alarms; then links; then operator acts; then delays that fall due; then the image.
Nothing here reads a clock: ticks carry their times, so the same ticks give the same events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mines.alarms.desk import apply_act, ended_by_site
from mines.alarms.limits import limit_table
from mines.alarms.state import AlarmState
from mines.alarms.step import note_rows, step_rows, step_timers
from mines.device_clock import DeviceClocks
from mines.events import Event, EventKind
from mines.model import LinkReport, LinkState, Point, RowKind, Tick
from mines.process_image import ProcessImage
from mines.rows import Rows, gather_rows, source_offsets

LinkKey = tuple[str, int | None]


class Watch:
    """State of one mine as stepped by ticks: process image, alarms, links, the answers to operator acts."""

    def __init__(self, points_per_source: Sequence[Sequence[Point]], next_seq: int) -> None:
        """Points of each source in the site's order of sources; `next_seq` numbers the next event."""
        self.points: tuple[Point, ...] = tuple(point for points in points_per_source for point in points)
        self.offsets = source_offsets([len(points) for points in points_per_source])
        self.image = ProcessImage(self.points)
        self.alarms = AlarmState(limit_table(self.points))
        self.clocks = DeviceClocks(points_per_source, self.offsets)
        self.links: dict[LinkKey, LinkReport] = {}
        self.link_states: dict[LinkKey, str] = {}
        self.acts: dict[int, str] = {}
        self.next_seq = next_seq

    def fold(self, log: Iterable[Event]) -> None:
        """Takes the event log as it stands: afterwards alarms and links are what they were at its end."""
        for event in log:
            self.alarms.fold(event)
            self._fold_link(event)
            self.clocks.fold(event)
            self._fold_act(event)

    def begin(self, log: Sequence[Event], started: Event) -> list[Event]:
        """After a restart: folds the log, says that the box started, ends alarms that the site no longer has.

        Args:
            log: The whole event log.
            started: `box_started` with `mono_ms` in its detail, from which running delays begin again.
        Returns:
            Both kinds of events, numbered.
        """
        self.fold(log)
        self.alarms.fold(started)
        return self.number([started, *ended_by_site(self.alarms, log, started.time_ms)])

    def prime(self, ticks: Iterable[Tick]) -> None:
        """Takes rows from before a stretch into the image without stepping alarms: what the log cannot tell.

        The log folds to the alarm state; which point's latest row was bad, and its latest usable value, are rows.
        """
        for tick in ticks:
            rows = gather_rows(tick, self.offsets)
            self._show(tick, rows)
            note_rows(self.alarms, rows)

    def lead_in(self, ticks: Iterable[Tick]) -> None:
        """Takes the last ticks before a stretch for what is judged over several looks: the clocks of devices."""
        image = ProcessImage(self.points)
        for tick in ticks:
            rows = gather_rows(tick, self.offsets)
            self.clocks.step(rows, image, tick.links, box_step_ms=tick.clock_step_ms, time_ms=tick.time_ms)
            image.apply(rows)

    @property
    def last_ledger_id(self) -> int:
        """The newest ledger row that was answered; 0 = none."""
        return max(self.acts, default=0)

    def number(self, events: Iterable[Event]) -> list[Event]:
        """Gives events their place in the log."""
        numbered = [replace(event, seq=self.next_seq + i) for i, event in enumerate(events)]
        self.next_seq += len(numbered)
        return numbered

    def step(self, tick: Tick) -> list[Event]:
        """Events of one tick, numbered, in the order of the log."""
        rows = gather_rows(tick, self.offsets)
        events = [] if tick.clock_step_ms == 0 else [_clock_step(tick)]
        events += step_rows(self.alarms, rows)
        for report in tick.links:
            events += self._link_event(report)
        events += self._device_clocks(tick, rows)
        for act in tick.acts:
            events += apply_act(self.alarms, act, tick.time_ms)
        events += step_timers(self.alarms, tick.time_ms, tick.monotonic_ns // 1_000_000)
        self._show(tick, rows)
        for event in events:
            self._fold_act(event)
        return self.number(events)

    def _device_clocks(self, tick: Tick, rows: Rows) -> list[Event]:
        """Held against the image as it stands before the rows: only what has changed tells a time."""
        step_ms = tick.clock_step_ms
        return self.clocks.step(rows, self.image, tick.links, box_step_ms=step_ms, time_ms=tick.time_ms)

    def _show(self, tick: Tick, rows: Rows) -> None:
        self.image.apply(rows)
        confirmed = gather_rows(tick, self.offsets, RowKind.CONFIRM)
        self.image.confirm(confirmed.index, confirmed.monotonic_ns)

    def _link_event(self, report: LinkReport) -> list[Event]:
        key = (report.source, report.unit)
        self.links[key] = report
        was = self.link_states.get(key)
        if was == report.state.value or report.state == LinkState.CONNECTING:
            return []
        defect = report.last_error.startswith("source_defect")
        error = report.last_error.encode("utf-8", "replace").decode("utf-8")  # whatever a library put into an exception
        detail = {"source": report.source, "unit": report.unit, "was": was, "error": error}
        event = Event(
            seq=0,
            time_ms=report.time_ms,
            kind=EventKind.SOURCE_RESTARTED if defect else EventKind.LINK_CHANGED,
            cause=report.state.value,
            detail=detail,
        )
        self._fold_link(event)
        return [event]

    def _fold_link(self, event: Event) -> None:
        if event.kind in (EventKind.LINK_CHANGED, EventKind.SOURCE_RESTARTED):
            self.link_states[(event.detail["source"], event.detail["unit"])] = event.cause

    def _fold_act(self, event: Event) -> None:
        if "ledger_id" in event.detail:
            answer = "refused" if event.kind == EventKind.ACT_REFUSED else "applied"
            known = self.acts.get(event.detail["ledger_id"], answer)
            self.acts[event.detail["ledger_id"]] = answer if known == answer else "partly"


def _clock_step(tick: Tick) -> Event:
    return Event(
        seq=0,
        time_ms=tick.time_ms,
        kind=EventKind.CLOCK_STEP,
        cause="forward" if tick.clock_step_ms > 0 else "backward",
        detail={"step_ms": tick.clock_step_ms},
    )
