"""The step: rows of a tick against limits, vectorised by layers; then the delays that fall due at tick time.

Rules (alarm-logic §1-§2): alarm and cut-off compare with ≥ (low: ≤), clear and restore with < (low: >). Good raises,
holds and clears; uncertain raises and holds; bad does neither, and an active alarm says that it does not know.
Over-range on the dangerous side is an active value at every limit of that side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mines.alarms.limits import Limit, LimitTable
from mines.alarms.state import AlarmState
from mines.events import Event, EventKind
from mines.quality import Flag, Severity, severities
from mines.rows import Rows, layers

Mask = npt.NDArray[np.bool_]
_HIGH = np.array([[limit.high] for limit in Limit])


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """Rows of one layer: no point twice. Masks are (4, rows)."""

    row: npt.NDArray[np.int32]
    point: npt.NDArray[np.int32]
    value: npt.NDArray[np.float64]
    time_ms: npt.NDArray[np.int64]
    mono_ms: npt.NDArray[np.int64]
    bad: Mask  # (rows,)
    good: Mask  # (rows,): only a plainly good value ends an on-delay or clears
    exceeds: Mask
    clears: Mask


def step_rows(state: AlarmState, rows: Rows) -> list[Event]:
    """Events of these rows in arrival order, `seq` 0; the state is changed by them.

    Args:
        state: Of all points; changed in place.
        rows: Samples in arrival order with their own times.
    """
    concerned = np.flatnonzero(state.table.limited[rows.index])
    found: list[tuple[int, int, Event]] = []
    for chosen in layers(rows.index[concerned]):
        layer = _layer(state.table, rows, concerned[chosen].astype(np.int32))
        found.extend(_step_layer(state, layer))
    found.sort(key=lambda item: item[:2])  # arrival order across layers; within a row as the layer found them
    return [event for _, _, event in found]


def note_rows(state: AlarmState, rows: Rows) -> None:
    """Notes what rows from before a stretch tell of each point, without a transition: for the start of a replay."""
    bad = severities(rows.quality) == Severity.BAD
    state.bad[rows.index] = bad
    state.last_value[rows.index[~bad]] = rows.value[~bad]


def step_timers(state: AlarmState, time_ms: int, mono_ms: int) -> list[Event]:
    """Delays that have run out at a tick, in order of their due times; the state is changed.

    A delay whose point has no usable value now does not run out: bad neither raises nor clears.
    """
    table = state.table
    due = [*_due(state.pending_mono_ms, table.on_delay_ms, mono_ms, EventKind.ALARM_RAISED)]
    due += _due(state.clearing_mono_ms, table.off_delay_ms, mono_ms, EventKind.ALARM_CLEARED)
    events = []
    for _, limit, point, kind in sorted(due, key=lambda item: item[:3]):
        if state.bad[point]:
            continue
        event = _run_out(state, (limit, point), kind)
        state.fold(event)
        events.append(event)
    return events


def _layer(table: LimitTable, rows: Rows, chosen: npt.NDArray[np.int32]) -> _Layer:
    point, value, words = rows.index[chosen], rows.value[chosen], rows.quality[chosen]
    severity = severities(words)
    bad, good = severity == Severity.BAD, severity == Severity.GOOD
    set_at, clear_at = table.set_at[:, point], table.clear_at[:, point]
    over, under = (words & Flag.OVER_RANGE) != 0, (words & Flag.UNDER_RANGE) != 0
    beyond = np.where(_HIGH, over, under)
    reaches = np.where(_HIGH, value >= set_at, value <= set_at) | beyond
    returns = np.where(_HIGH, value < clear_at, value > clear_at) & ~beyond
    limited = ~np.isnan(set_at)
    return _Layer(
        row=chosen,
        point=point,
        value=value,
        time_ms=rows.receive_time_ms[chosen],
        mono_ms=rows.monotonic_ns[chosen] // 1_000_000,
        bad=bad,
        good=good,
        exceeds=reaches & limited & ~bad,
        clears=returns & limited & good,
    )


def _step_layer(state: AlarmState, layer: _Layer) -> Iterator[tuple[int, int, Event]]:
    """(row number, phase, event) for every change; each phase works on the state the phase before left."""
    point = layer.point
    yield from _delays_before_rows(state, layer)
    state.bad[point] = layer.bad
    state.last_value[point[~layer.bad]] = layer.value[~layer.bad]
    usable = ~layer.bad
    active, unknown = state.active[:, point], state.unknown[:, point]
    yield from _emit(state, layer, 1, active & ~unknown & layer.bad, EventKind.ALARM_UNKNOWN)
    yield from _emit(state, layer, 1, unknown & usable, EventKind.ALARM_KNOWN)
    pending, clearing = state.pending_ms[:, point] >= 0, state.clearing_ms[:, point] >= 0
    on_delay, off_delay = state.table.on_delay_ms[point] > 0, state.table.off_delay_ms[point] > 0
    yield from _emit(state, layer, 2, pending & layer.good & ~layer.exceeds, EventKind.ALARM_PENDING_ENDED)
    yield from _emit(state, layer, 2, clearing & ~layer.clears, EventKind.ALARM_CLEARING_ENDED)
    rises = layer.exceeds & ~active & ~pending
    yield from _emit(state, layer, 3, rises & ~on_delay, EventKind.ALARM_RAISED)
    yield from _emit(state, layer, 3, rises & on_delay, EventKind.ALARM_PENDING)
    falls = layer.clears & active & ~clearing
    yield from _emit(state, layer, 3, falls & ~off_delay, EventKind.ALARM_CLEARED)
    yield from _emit(state, layer, 3, falls & off_delay, EventKind.ALARM_CLEARING)
    _keep_worst(state, layer)


def _delays_before_rows(state: AlarmState, layer: _Layer) -> Iterator[tuple[int, int, Event]]:
    """A delay that ran out before its point's next row fell due then, whatever tick the row came in."""
    point, table = layer.point, state.table
    for since, delay, kind in (
        (state.pending_mono_ms, table.on_delay_ms, EventKind.ALARM_RAISED),
        (state.clearing_mono_ms, table.off_delay_ms, EventKind.ALARM_CLEARED),
    ):
        began = since[:, point]
        ripe = (began >= 0) & (began + delay[point] <= layer.mono_ms) & ~state.bad[point]
        for limit, k in np.argwhere(ripe).tolist():
            event = _run_out(state, (limit, int(point[k])), kind)
            state.fold(event)
            yield int(layer.row[k]), 0, event


def _due(
    since: npt.NDArray[np.int64], delay: npt.NDArray[np.int64], mono_ms: int, kind: EventKind
) -> list[tuple[int, int, int, EventKind]]:
    cells = np.argwhere((since >= 0) & (since + delay <= mono_ms)).tolist()
    return [(int(since[limit, point] + delay[point]), limit, point, kind) for limit, point in cells]


def _run_out(state: AlarmState, cell: tuple[int, int], kind: EventKind) -> Event:
    """The event of a delay that ran out: its time is the due time, its value the last usable one."""
    raising = kind == EventKind.ALARM_RAISED
    since = state.pending_ms[cell] if raising else state.clearing_ms[cell]
    delay = state.table.on_delay_ms[cell[1]] if raising else state.table.off_delay_ms[cell[1]]
    value = float(state.last_value[cell[1]])
    return _event(state, cell, kind, int(since + delay), value=value, mono_ms=0)


def _emit(
    state: AlarmState, layer: _Layer, phase: int, cells: Mask, kind: EventKind
) -> Iterator[tuple[int, int, Event]]:
    for limit, k in np.argwhere(cells).tolist():
        event = _event(
            state,
            (limit, int(layer.point[k])),
            kind,
            int(layer.time_ms[k]),
            value=float(layer.value[k]),
            mono_ms=int(layer.mono_ms[k]),
        )
        state.fold(event)
        yield int(layer.row[k]), phase, event


def _event(
    state: AlarmState, cell: tuple[int, int], kind: EventKind, time_ms: int, *, value: float, mono_ms: int
) -> Event:
    table = state.table
    detail: dict[str, Any] = {
        "limit_value": float(table.set_at[cell]),
        "level": int(table.level[cell]),
    }
    if kind in (EventKind.ALARM_RAISED, EventKind.ALARM_CLEARED):
        detail["version"] = int(state.version[cell]) + 1
    if kind in (EventKind.ALARM_PENDING, EventKind.ALARM_CLEARING):
        detail["mono_ms"] = mono_ms
    return Event(
        seq=0,
        time_ms=time_ms,
        kind=kind,
        point=table.ids[cell[1]],
        value=None if np.isnan(value) else value,
        cause=Limit(cell[0]).word,
        detail=detail,
    )


def _keep_worst(state: AlarmState, layer: _Layer) -> None:
    """The worst usable value of each active alarm: shown, never part of an event."""
    point = layer.point
    usable = ~layer.bad & ~np.isnan(layer.value)
    worst = state.worst[:, point]
    further = np.where(_HIGH, np.fmax(worst, layer.value), np.fmin(worst, layer.value))
    state.worst[:, point] = np.where(state.active[:, point] & usable, further, worst)
