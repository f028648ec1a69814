"""What a plan will cost each line before the first poll: requests, registers, and how long a cycle takes. Pure.

A request takes its wire time, the time in which the device begins to answer, and the rest before the next one. The
device's part is a typical figure (`response_ms`), not a worst case: what silence costs is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.modbus.plan import PeriodGroup, ReadRequest
from connectors.modbus.settings import ModbusSettings

_REQUEST_BYTES: Final = 8  # of an RTU frame: unit, function, address, count, CRC
_REPLY_BYTES: Final = 5  # unit, function, byte count, CRC


@dataclass(frozen=True, slots=True)
class LineForecast:
    """One period of one line. `cycle_ms` is from first request to last answer, with what else runs meanwhile."""

    line: str
    source: str
    units: tuple[int, ...]
    requests: int
    registers: int  # registers, and bits of tables of bits, that are read
    bridged: int  # of them, those that no point needs
    period_ms: int
    cycle_ms: float

    @property
    def share(self) -> float:
        """Part of the period that the cycle takes [fraction]; above 1 it does not fit."""
        return self.cycle_ms / self.period_ms


def forecast(source_id: str, settings: ModbusSettings, plan: Sequence[PeriodGroup]) -> tuple[LineForecast, ...]:
    """One forecast for each period of a source's line, shortest period first.

    Args:
        source_id: Of the source.
        settings: Its settings: line, speeds, rests, connections.
        plan: From `plan_reads`, in any order.
    Returns:
        Nothing where the line is only listened to: its pace is another system's.
    """
    if settings.transport.passive:
        return ()
    groups = sorted(plan, key=lambda group: group.period_s)
    loads = [(1000 * group.period_s, _load_ms(settings, group.requests)) for group in groups]
    return tuple(
        LineForecast(
            line=settings.transport.line,
            source=source_id,
            units=tuple(sorted({request.unit for request in group.requests})),
            requests=len(group.requests),
            registers=sum(request.count for request in group.requests),
            bridged=sum(request.bridged for request in group.requests),
            period_ms=round(1000 * group.period_s),
            cycle_ms=round(_cycle_ms(loads[at], loads[:at]), 1),
        )
        for at, group in enumerate(groups)
    )


def request_ms(settings: ModbusSettings, request: ReadRequest) -> float:
    """How long one request holds its connection [ms]."""
    unit = settings.unit(request.unit)
    data_bytes = (request.count + 7) // 8 if request.table.of_bits else 2 * request.count
    wire_s = settings.transport.wire_s(_REQUEST_BYTES, _REPLY_BYTES + data_bytes)
    return 1000 * wire_s + unit.response_ms + unit.delay_ms


def _load_ms(settings: ModbusSettings, requests: Sequence[ReadRequest]) -> float:
    """How long the requests take, shared by the connections as the polling shares them: see `polling.shares`."""
    numbers = sorted({request.unit for request in requests})
    busy_ms = [0.0] * settings.connections
    for request in requests:
        alone = len(numbers) == 1
        lane = busy_ms.index(min(busy_ms)) if alone else numbers.index(request.unit) % len(busy_ms)
        busy_ms[lane] += request_ms(settings, request)
    return max(busy_ms)


def _cycle_ms(own: tuple[float, float], shorter: Sequence[tuple[float, float]]) -> float:
    """When a cycle ends although every shorter period begins a cycle of its own meanwhile [ms].

    Args:
        own: Period and load [ms].
        shorter: The same of every shorter period of the line.
    Returns:
        The end of the cycle where it comes within its period; else what it would need in one period, which is more.
    """
    period_ms, load_ms = own

    def needed_by(end_ms: float) -> float:
        return load_ms + sum(load * math.ceil(end_ms / period) for period, load in shorter)

    end_ms = load_ms
    while end_ms <= period_ms:
        needed_ms = needed_by(end_ms)
        if needed_ms <= end_ms:
            return end_ms
        end_ms = needed_ms
    return needed_by(period_ms)
