"""Alarm state: a fold of events, nothing else. The live step changes it by the very events it puts on record.

Regions (pages §1.3): condition {normal, pending, active, clearing} with unknown beside it, acknowledgement, latch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mines.alarms.limits import LIMIT_OF_WORD, Limit, LimitTable
from mines.events import Event, EventKind

_NONE = -1


@dataclass(slots=True)
class Standing:
    """One alarm that stands: from its first raise until it is normal, acknowledged and not latched."""

    point: int
    limit: Limit
    raised_ms: int
    value_start: float | None
    count: int = 1
    cleared_ms: int | None = None
    acked: Mapping[str, Any] | None = None  # {actor, time_ms}


class AlarmState:
    """Arrays (4, points): active, pending and clearing since (monotonic ms, -1 = not), unknown, version; what stands.

    `version` grows with every change a person must know of before acting: raise, clear, acknowledge, reset.
    """

    def __init__(self, table: LimitTable) -> None:
        shape = table.set_at.shape
        self.table = table
        self.active = np.zeros(shape, dtype=np.bool_)
        self.unknown = np.zeros(shape, dtype=np.bool_)
        self.pending_mono_ms = np.full(shape, _NONE, dtype=np.int64)
        self.pending_ms = np.full(shape, _NONE, dtype=np.int64)
        self.clearing_mono_ms = np.full(shape, _NONE, dtype=np.int64)
        self.clearing_ms = np.full(shape, _NONE, dtype=np.int64)
        self.version = np.zeros(shape, dtype=np.int64)
        self.bad = np.ones(shape[1], dtype=np.bool_)  # no usable value now: the latest row is bad, or none came yet
        self.last_value = np.full(shape[1], np.nan)  # the latest usable value
        self.worst = np.full(shape, np.nan)  # of the standing alarm; shown only
        self.standing: dict[tuple[int, int], Standing] = {}
        self.raised_total = 0
        self.cleared_total = 0
        self._index = {name: i for i, name in enumerate(table.ids)}

    def cell(self, point_id: str | None, word: str) -> tuple[int, int] | None:
        """(limit, point) of an event; None where the site has no such point or limit now."""
        if point_id is None or word not in LIMIT_OF_WORD or point_id not in self._index:
            return None
        limit, point = LIMIT_OF_WORD[word], self._index[point_id]
        return None if np.isnan(self.table.set_at[limit, point]) else (limit, point)

    def alarm_id(self, cell: tuple[int, int]) -> str:
        """POINT/LIMIT: what a person acts on."""
        return f"{self.table.ids[cell[1]]}/{Limit(cell[0]).word}"

    def fold(self, event: Event) -> None:
        """Takes one event; events that are no alarm's change nothing."""
        if event.kind == EventKind.BOX_STARTED:
            self._begin_delays_again(event)
        change = _CHANGES.get(event.kind)
        if change is None:
            return
        cell = self.cell(event.point, event.cause)
        if cell is not None:
            change(self, cell, event)

    def _begin_delays_again(self, started: Event) -> None:
        """After a restart running delays begin anew: at most one delay late (design §4)."""
        for since_ms, since_mono_ms in (
            (self.pending_ms, self.pending_mono_ms),
            (self.clearing_ms, self.clearing_mono_ms),
        ):
            running = since_mono_ms != _NONE
            since_ms[running] = started.time_ms
            since_mono_ms[running] = started.detail["mono_ms"]

    def end_if_done(self, cell: tuple[int, int]) -> None:
        """An alarm that is normal, acknowledged and not latched stands no longer."""
        alarm = self.standing.get(cell)
        latched = bool(self.table.latch[cell[1]])
        if alarm is not None and not self.active[cell] and alarm.acked is not None and not latched:
            del self.standing[cell]

    def digest(self) -> tuple[npt.NDArray[Any], ...]:
        """What must be equal after a fold: for tests of restart and replay."""
        return (self.active, self.unknown, self.pending_ms, self.clearing_ms, self.version)


def _pending(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.pending_ms[cell] = event.time_ms
    state.pending_mono_ms[cell] = event.detail["mono_ms"]


def _pending_ended(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.pending_ms[cell] = state.pending_mono_ms[cell] = _NONE


def _raised(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    _pending_ended(state, cell, event)
    state.active[cell] = True
    state.unknown[cell] = False
    state.version[cell] = event.detail["version"]
    state.raised_total += 1
    if cell not in state.standing:
        state.worst[cell] = np.nan if event.value is None else event.value
    again = state.standing.get(cell)
    if again is None:
        state.standing[cell] = Standing(cell[1], Limit(cell[0]), event.time_ms, event.value)
    else:
        again.count += 1
        again.cleared_ms = None
        again.acked = None


def _clearing(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.clearing_ms[cell] = event.time_ms
    state.clearing_mono_ms[cell] = event.detail["mono_ms"]


def _clearing_ended(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.clearing_ms[cell] = state.clearing_mono_ms[cell] = _NONE


def _cleared(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    _clearing_ended(state, cell, event)
    state.active[cell] = False
    state.unknown[cell] = False
    state.version[cell] = event.detail["version"]
    state.cleared_total += 1
    alarm = state.standing.get(cell)
    if alarm is not None:
        alarm.cleared_ms = event.time_ms
    state.end_if_done(cell)


def _unknown(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.unknown[cell] = True


def _known(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.unknown[cell] = False


def _acknowledged(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.version[cell] = event.detail["version"]
    alarm = state.standing.get(cell)
    if alarm is not None:
        alarm.acked = {"actor": event.detail["actor"], "time_ms": event.time_ms}
    state.end_if_done(cell)


def _reset(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.version[cell] = event.detail["version"]
    state.standing.pop(cell, None)


def _ended_by_site(state: AlarmState, cell: tuple[int, int], event: Event) -> None:
    state.active[cell] = state.unknown[cell] = False
    _pending_ended(state, cell, event)
    _clearing_ended(state, cell, event)
    state.standing.pop(cell, None)


_CHANGES = {
    EventKind.ALARM_PENDING: _pending,
    EventKind.ALARM_PENDING_ENDED: _pending_ended,
    EventKind.ALARM_RAISED: _raised,
    EventKind.ALARM_CLEARING: _clearing,
    EventKind.ALARM_CLEARING_ENDED: _clearing_ended,
    EventKind.ALARM_CLEARED: _cleared,
    EventKind.ALARM_UNKNOWN: _unknown,
    EventKind.ALARM_KNOWN: _known,
    EventKind.ALARM_ACKNOWLEDGED: _acknowledged,
    EventKind.ALARM_RESET: _reset,
    EventKind.ALARM_ENDED_BY_SITE: _ended_by_site,
}
