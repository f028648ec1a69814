"""The snapshot's content: made of the watch and the counters, in the schema that mines.snapshot states."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mines.alarms.desk import standing_alarms
from mines.device_clock import DeviceClocks
from mines.events import Event
from mines.model import LinkReport, LinkState, Subsystem
from mines.process_image import SUBSYSTEMS
from mines.quality import Severity, severities
from mines.snapshot import SCHEMA
from mines.watch import Watch

_LATEST_EVENTS = 20
_LATEST_ACTS = 200


@dataclass(slots=True)
class SourceCounters:
    """What came from one source since the start; `polls` counts batches of samples."""

    id: str
    kind: str
    endpoint: str
    points: int
    period_ms: int
    polls: int = 0
    samples: int = 0
    good: int = 0
    bad: int = 0

    def count(self, quality: np.ndarray) -> None:
        """Takes one batch of samples; uncertain counts with the good: the device answered with a value."""
        lost = int(np.count_nonzero(severities(quality) == Severity.BAD))
        self.polls += 1
        self.samples += len(quality)
        self.bad += lost
        self.good += len(quality) - lost


@dataclass(slots=True)
class Counters:
    """Since the start of `run`: read = stored + Σ rejected + what is not yet committed."""

    sources: list[SourceCounters]
    read: int = 0
    stored: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    late_ticks: int = 0
    raised_before: int = 0
    cleared_before: int = 0
    latest: deque[Event] = field(default_factory=lambda: deque(maxlen=_LATEST_EVENTS))


def source_state(states: Sequence[LinkState]) -> LinkState:
    """State of a source from its links: all alike, or degraded; connecting where none has reported."""
    known = set(states)
    if not known:
        return LinkState.CONNECTING
    return known.pop() if len(known) == 1 else LinkState.DEGRADED


def live_part(watch: Watch, counters: Counters) -> dict[str, Any]:
    """Everything of the document that follows from watch and counters, but for the points (snapshot_points).

    Args:
        watch: As stepped by the latest tick.
        counters: Since the start.
    """
    alarms = standing_alarms(watch.alarms, watch.image.value)
    states: defaultdict[str, list[LinkState]] = defaultdict(list)
    for (name, _), report in watch.links.items():
        states[name].append(report.state)
    return {
        "schema": SCHEMA,
        "counters": _counters(watch, counters),
        "sources": [_source(source, states[source.id]) for source in counters.sources],
        "links": [_link(report, watch.clocks) for report in sorted(watch.links.values(), key=_link_order)],
        "subsystems": _subsystems(watch, alarms),
        "alarms": alarms,
        "events": [event.to_json() for event in counters.latest],
        "acts": {str(key): watch.acts[key] for key in sorted(watch.acts)[-_LATEST_ACTS:]},
    }


def _counters(watch: Watch, counters: Counters) -> dict[str, Any]:
    return {
        "read": counters.read,
        "stored": counters.stored,
        "rejected": dict(counters.rejected),
        "ticks": counters.ticks,
        "late_ticks": counters.late_ticks,
        "alarms_raised": watch.alarms.raised_total - counters.raised_before,
        "alarms_cleared": watch.alarms.cleared_total - counters.cleared_before,
    }


def _source(source: SourceCounters, states: Sequence[LinkState]) -> dict[str, Any]:
    return {
        "id": source.id,
        "kind": source.kind,
        "endpoint": source.endpoint,
        "state": source_state(states).value,
        "points": source.points,
        "period_ms": source.period_ms,
        "polls": source.polls,
        "samples": source.samples,
        "good": source.good,
        "bad": source.bad,
    }


def _link_order(report: LinkReport) -> tuple[str, int]:
    return report.source, -1 if report.unit is None else report.unit


def _link(report: LinkReport, clocks: DeviceClocks) -> dict[str, Any]:
    return {
        "source": report.source,
        "unit": report.unit,
        "endpoint": report.endpoint,
        "state": report.state.value,
        "since_ms": report.since_ms,
        "last_answer_ms": report.last_answer_ms,
        "last_error": report.last_error,
        "duration_ms": report.duration_ms,
        "polls": report.polls,
        "good": report.good,
        "bad": report.bad,
        "reconnects": report.reconnects,
        "time_ms": report.time_ms,
        "counters": dict(report.counters),
        "clock": clocks.state(report.source, report.unit),
        "skew_ms": clocks.skew_ms(report.source, report.unit),
    }


def _subsystems(watch: Watch, alarms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    image = watch.image
    usable = severities(image.quality) != Severity.BAD
    points = np.bincount(image.subsystem, minlength=len(SUBSYSTEMS)).tolist()
    good = np.bincount(image.subsystem[usable], minlength=len(SUBSYSTEMS)).tolist()
    levels: defaultdict[Subsystem, list[int]] = defaultdict(list)
    if alarms:
        of_point = {point.id: point.subsystem for point in watch.points}
        for row in alarms:
            levels[of_point[row["point"]]].append(row["level"])
    return {
        subsystem.value: {
            "points": points[at],
            "good": good[at],
            "bad": points[at] - good[at],
            "alarms": len(levels[subsystem]),
            "level": min(levels[subsystem], default=0),
        }
        for at, subsystem in enumerate(SUBSYSTEMS)
        if points[at]
    }
