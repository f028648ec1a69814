"""Event records: what happened, in order. Their bytes are canonical, so their hash is everybody's to recompute."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """Everything that can happen. The word stands in `events --json`: add, never rename."""

    BOX_STARTED = "box_started"
    BOX_STOPPED = "box_stopped"
    SITE_ACCEPTED = "site_accepted"  # first site, or a site with other content than the last
    CLOCK_STEP = "clock_step"
    SOURCE_RESTARTED = "source_restarted"  # an exception out of a source: our defect
    LINK_CHANGED = "link_changed"  # cause = new state; detail: source, unit, was, error
    DEVICE_CLOCK = "device_clock"  # cause = state of the clock, or jumped; detail: source, unit, clock, skew_ms
    ALARM_PENDING = "alarm_pending"  # the on-delay began to run
    ALARM_PENDING_ENDED = "alarm_pending_ended"  # it ended without an alarm
    ALARM_RAISED = "alarm_raised"  # cause = the limit: high_alarm, high_cut, low_alarm, low_cut
    ALARM_CLEARING = "alarm_clearing"  # the off-delay began to run
    ALARM_CLEARING_ENDED = "alarm_clearing_ended"  # it ended, still active
    ALARM_CLEARED = "alarm_cleared"  # the condition is gone; a latched alarm stands until reset
    ALARM_UNKNOWN = "alarm_unknown"  # no usable value: the alarm holds
    ALARM_KNOWN = "alarm_known"  # values again: the same alarm goes on
    ALARM_ACKNOWLEDGED = "alarm_acknowledged"
    ALARM_RESET = "alarm_reset"
    ALARM_ENDED_BY_SITE = "alarm_ended_by_site"  # its point or limit is in the site no longer
    ACT_REFUSED = "act_refused"  # the alarm had changed since the person saw it
    ROWS_REJECTED = "rows_rejected"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `seq` has no gap over the life of the data folder.

    `value` is the engineering value that caused it, None where there is none; `cause` is one word;
    `detail` holds the rest as plain JSON (no boot id, no store time: they would make replay differ).
    """

    seq: int
    time_ms: int
    kind: EventKind
    point: str | None = None
    value: float | None = None
    cause: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `events --json` prints and that the hash is taken over."""
        return {
            "seq": self.seq,
            "time_ms": self.time_ms,
            "kind": self.kind.value,
            "point": self.point,
            "value": _number(self.value),
            "cause": self.cause,
            "detail": dict(self.detail),
        }

    def canonical(self) -> bytes:
        """UTF-8 bytes of the canonical JSON line, newline included."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8") + b"\n"


def event_from_json(data: Mapping[str, Any]) -> Event:
    """The event that `to_json` printed."""
    return Event(
        seq=data["seq"],
        time_ms=data["time_ms"],
        kind=EventKind(data["kind"]),
        point=data["point"],
        value=data["value"],
        cause=data["cause"],
        detail=data["detail"],
    )


def event_log_sha256(events: Iterable[Event]) -> str:
    """SHA-256 over the canonical lines in the order given, as hex."""
    digest = hashlib.sha256()
    for event in events:
        digest.update(event.canonical())
    return digest.hexdigest()


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
