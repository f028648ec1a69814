"""The parts of a frame that are no columns, as JSON: events, link reports, operator acts.

Bit for bit: a float that JSON cannot carry stands as the hex of its eight bytes; a text that is no Unicode (a lone
surrogate) passes through.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from mines.events import Event, EventKind
from mines.model import Actor, LinkReport, LinkState, OperatorAct


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """The document as UTF-8 JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def from_bytes(data: bytes) -> dict[str, Any]:
    """What `to_bytes` made."""
    document: dict[str, Any] = json.loads(data.decode("utf-8", "surrogatepass"))
    return document


def event_row(event: Event) -> list[Any]:
    """An event as a plain list."""
    return [
        event.seq,
        event.time_ms,
        event.kind.value,
        event.point,
        _float_out(event.value),
        event.cause,
        dict(event.detail),
    ]


def event_of(row: Sequence[Any]) -> Event:
    """The event that `event_row` listed."""
    seq, time_ms, kind, point, value, cause, detail = row
    return Event(seq, time_ms, EventKind(kind), point, _float_in(value), cause, detail)


def link_row(report: LinkReport) -> list[Any]:
    """A link report as a plain list."""
    return [
        report.source,
        report.unit,
        report.state.value,
        report.since_ms,
        report.last_answer_ms,
        report.last_error,
        _float_out(report.duration_ms),
        report.polls,
        report.good,
        report.bad,
        report.reconnects,
        report.endpoint,
        report.time_ms,
        dict(report.counters),
        report.device_time_ms,
    ]


def link_of(row: Sequence[Any]) -> LinkReport:
    """The report that `link_row` listed."""
    source, unit, state, since_ms, last_answer_ms, last_error, duration, *rest = row
    return LinkReport(source, unit, LinkState(state), since_ms, last_answer_ms, last_error, _float_in(duration), *rest)


def act_row(act: OperatorAct) -> list[Any]:
    """An operator act as a plain list."""
    actor = [act.actor.id, act.actor.name, act.actor.role, act.actor.station, act.actor.authenticated]
    return [act.ledger_id, act.time_ms, actor, act.action, [list(alarm) for alarm in act.alarms], act.note]


def act_of(row: Sequence[Any]) -> OperatorAct:
    """The act that `act_row` listed."""
    ledger_id, time_ms, actor, action, alarms, note = row
    return OperatorAct(
        ledger_id, time_ms, Actor(*actor), action, tuple((alarm, version) for alarm, version in alarms), note
    )


def _float_out(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else struct.pack(">d", value).hex()


def _float_in(value: float | str | None) -> float | None:
    if isinstance(value, str):
        number: float = struct.unpack(">d", bytes.fromhex(value))[0]
        return number
    return value
