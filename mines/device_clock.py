"""The clocks of devices held against the box's: ahead, behind, in another year, jumped, standing still. Pure.

A device tells its time in two ways: a server answers what its clock says (`LinkReport.device_time_ms`), and values
carry the time at which they were taken. The two may disagree, so each is judged by itself. Times are kept as they were
told, whatever comes out here: a wrong clock is an event, never a reason to mend a sample. What is said is a fold of the
event log, so that a restart says nothing twice and a replay says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from mines.clock import NO_TIME_MS
from mines.events import Event, EventKind
from mines.model import IndexArray, LinkReport, LinkState, Point, TimeArray
from mines.process_image import ProcessImage
from mines.quality import Severity, severities
from mines.rows import Rows

TOLERANCE_MS: Final = 10_000
"""So far from the box's clock a device's may be (project default); never less than two periods of its points."""
LOOKS: Final = 3
SETTLED_MS: Final = 5_000
"""What is new must have been seen in this many looks over this time before it is believed (project defaults)."""
EARLIEST_MS: Final = 1_262_304_000_000
"""2010-01-01: a device clock before it was never set (project default)."""

ClockKey = tuple[str, int | None, str]  # source, unit, which clock: server or values


class ClockState(StrEnum):
    """What is said of a device's clock. The words stand in events: add, never rename."""

    RIGHT = "right"
    AHEAD = "ahead"
    BEHIND = "behind"
    WRONG_YEAR = "wrong_year"
    STANDS_STILL = "stands_still"


JUMPED: Final = "jumped"
"""Cause of an event that is no state: the clock went on from somewhere else."""


@dataclass(slots=True)
class _Candidate:
    """Something new about a clock that is not believed yet."""

    skew_ms: int
    since_ms: int
    jumped: bool = False
    looks: int = 1

    def settled(self, box_ms: int) -> bool:
        return self.looks >= LOOKS and box_ms - self.since_ms >= SETTLED_MS


class DeviceClock:
    """One clock: look after look of device time against box time, held against what the log last said of it."""

    def __init__(self, tolerance_ms: int) -> None:
        self.said: str | None = None  # the state that stands in the log
        self.skew_ms: int | None = None  # device minus box, as last seen
        self._said_skew_ms: int | None = None  # None = measured against a box clock that has stepped since
        self._tolerance_ms = tolerance_ms
        self._candidate: _Candidate | None = None
        self._still: _Candidate | None = None  # a time that does not move
        self._device_ms: int | None = None  # of the last look
        self._box_ms: int | None = None

    def say(self, cause: str, skew_ms: int) -> None:
        """An event of the log: what stands from here on."""
        self._said_skew_ms, self._candidate = skew_ms, None
        if cause != JUMPED:
            self.said = cause

    def box_stepped(self) -> None:
        """The box's own clock has stepped: nothing that was measured against it holds, and no jump is the device's."""
        self._candidate = self._still = self._device_ms = self.skew_ms = self._said_skew_ms = None

    def look(self, device_ms: int, box_ms: int) -> list[str]:
        """Takes one reading.

        Args:
            device_ms: What the clock says [ms UTC].
            box_ms: When that was heard [ms, box time].
        Returns:
            Causes of the events that this makes, in order; each has been said.
        """
        if box_ms == self._box_ms:  # the same answer, reported again
            return []
        before, moves = self.skew_ms, device_ms != self._device_ms
        self._device_ms, self._box_ms, self.skew_ms = device_ms, box_ms, device_ms - box_ms
        if not moves:
            return self._stands_still(device_ms, box_ms)
        self._still = None
        return self._goes(self.skew_ms, box_ms, before)

    def _stands_still(self, device_ms: int, box_ms: int) -> list[str]:
        if self._still is None:
            self._still = _Candidate(device_ms, box_ms, looks=0)
        self._still.looks += 1
        if self.said == ClockState.STANDS_STILL or not self._still.settled(box_ms):
            return []
        return self._told([ClockState.STANDS_STILL], device_ms - box_ms)

    def _goes(self, skew_ms: int, box_ms: int, before: int | None) -> list[str]:
        if self._as_said(skew_ms, box_ms):
            self._candidate = None
            return []
        known = self._candidate
        if known is None or abs(skew_ms - known.skew_ms) > self._tolerance_ms:
            last = self._said_skew_ms if before is None else before
            jumped = self._tells_a_time and last is not None and abs(skew_ms - last) > self._tolerance_ms
            self._candidate = _Candidate(skew_ms, box_ms, jumped)
            return []
        known.looks += 1
        known.skew_ms = skew_ms
        if not known.settled(box_ms):
            return []
        state = self._judged(skew_ms, box_ms)
        causes = ([JUMPED] if known.jumped else []) + ([state] if state != self.said else [])
        return self._told(causes, skew_ms)

    def _told(self, causes: list[str], skew_ms: int) -> list[str]:
        self._said_skew_ms, self._candidate = skew_ms, None  # also where a wrong clock has only drifted on
        for cause in causes:
            self.say(cause, skew_ms)
        return causes

    @property
    def _tells_a_time(self) -> bool:
        return self.said not in (None, ClockState.STANDS_STILL)

    def _as_said(self, skew_ms: int, box_ms: int) -> bool:
        """True within tolerance of what was said; at the edge of right and wrong with a margin to either side."""
        if not self._tells_a_time or self._said_skew_ms is None:
            return False
        if abs(skew_ms - self._said_skew_ms) > self._tolerance_ms:
            return False
        state = self._judged(skew_ms, box_ms)
        return state == self.said or self._tolerance_ms // 2 < abs(skew_ms) < self._tolerance_ms * 3 // 2

    def _judged(self, skew_ms: int, box_ms: int) -> str:
        if box_ms + skew_ms < EARLIEST_MS:
            return ClockState.WRONG_YEAR
        if abs(skew_ms) <= self._tolerance_ms:
            return ClockState.RIGHT
        return ClockState.AHEAD if skew_ms > 0 else ClockState.BEHIND


class DeviceClocks:
    """All clocks of a mine's devices, as stepped by ticks, and what the log last said of each."""

    def __init__(self, points_per_source: Sequence[Sequence[Point]], offsets: IndexArray) -> None:
        """Points of each source in the site's order of sources, and the process index of the first of each."""
        self._ids = [points[0].source if points else "" for points in points_per_source]
        longest = [max((point.period_s for point in points), default=0.0) for points in points_per_source]
        self._tolerance_ms = {id: max(TOLERANCE_MS, round(2000 * s)) for id, s in zip(self._ids, longest, strict=True)}
        self._offsets = offsets
        self._clocks: dict[ClockKey, DeviceClock] = {}

    def fold(self, event: Event) -> None:
        """Takes an event of the log: what has been said is not said again."""
        if event.kind == EventKind.CLOCK_STEP:
            self._box_stepped()
        if event.kind == EventKind.DEVICE_CLOCK:
            detail = event.detail
            self._clock((detail["source"], detail["unit"], detail["clock"])).say(event.cause, detail["skew_ms"])

    def step(
        self, rows: Rows, image: ProcessImage, links: Iterable[LinkReport], *, box_step_ms: int, time_ms: int
    ) -> list[Event]:
        """Events of one tick, unnumbered.

        Args:
            rows: Of the tick.
            image: As it stood before the rows.
            links: Reports of the tick.
            box_step_ms: How far the box's own wall clock stepped; 0 = it ran on.
            time_ms: Of the tick.
        """
        if box_step_ms:
            self._box_stepped()
        looks = [*_server_looks(links), *self._value_looks(rows, image)]
        return [event for key, device_ms, box_ms in looks for event in self._look(key, device_ms, box_ms, time_ms)]

    def skew_ms(self, source: str, unit: int | None) -> int | None:
        """Device minus box [ms]: by the device's own clock where it tells one, else by the times of its values."""
        return next((clock.skew_ms for clock in self._of(source, unit) if clock.skew_ms is not None), None)

    def state(self, source: str, unit: int | None) -> str | None:
        """What is said of the clocks of a device, the wrong one first; None = nothing yet."""
        said = [clock.said for clock in self._of(source, unit) if clock.said is not None]
        return next((word for word in said if word != ClockState.RIGHT), said[0] if said else None)

    def _of(self, source: str, unit: int | None) -> list[DeviceClock]:
        keys = [(source, unit, which) for which in ("server", "values")]
        return [self._clocks[key] for key in keys if key in self._clocks]

    def _box_stepped(self) -> None:
        for clock in self._clocks.values():
            clock.box_stepped()

    def _clock(self, key: ClockKey) -> DeviceClock:
        return self._clocks.setdefault(key, DeviceClock(self._tolerance_ms.get(key[0], TOLERANCE_MS)))

    def _look(self, key: ClockKey, device_ms: int, box_ms: int, time_ms: int) -> list[Event]:
        source, unit, which = key
        detail: dict[str, Any] = {"source": source, "unit": unit, "clock": which, "skew_ms": device_ms - box_ms}
        causes = self._clock(key).look(device_ms, box_ms)
        return [Event(0, time_ms, EventKind.DEVICE_CLOCK, cause=str(cause), detail=detail) for cause in causes]

    def _value_looks(self, rows: Rows, image: ProcessImage) -> list[tuple[ClockKey, int, int]]:
        """The newest time on values that have changed, source by source: what was only sent again says nothing."""
        timed = rows.source_time_ms != NO_TIME_MS
        if not timed.any():
            return []
        index = rows.index
        usable = (severities(rows.quality) != Severity.BAD) & (severities(image.quality[index]) != Severity.BAD)
        told = np.flatnonzero(timed & usable & (rows.value != image.value[index]))
        if not len(told):
            return []
        of_source = np.searchsorted(self._offsets, index[told], side="right") - 1
        looks: list[tuple[ClockKey, int, int]] = []
        for source in np.unique(of_source).tolist():
            mine = told[of_source == source]
            newest = int(mine[np.argmax(rows.source_time_ms[mine])])
            device_ms, box_ms = _at(rows.source_time_ms, newest), _at(rows.receive_time_ms, newest)
            looks.append(((self._ids[source], None, "values"), device_ms, box_ms))
        return looks


def _server_looks(links: Iterable[LinkReport]) -> list[tuple[ClockKey, int, int]]:
    """What the reports of links that stand say; a lost one repeats what it once knew."""
    return [
        ((report.source, report.unit, "server"), report.device_time_ms, report.last_answer_ms)
        for report in links
        if report.device_time_ms is not None
        and report.last_answer_ms is not None
        and report.state in (LinkState.GOOD, LinkState.DEGRADED)
    ]


def _at(column: TimeArray, row: int) -> int:
    return int(column[row])
