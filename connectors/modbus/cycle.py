"""One poll cycle: the rows of a period group, filled reply by reply into one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from connectors.modbus.health import UnitHealth
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import PeriodGroup
from connectors.modbus.points import ReadPoint
from connectors.modbus.refusal import Block, Family
from mines.clock import NO_TIME_MS
from mines.model import Batch, IndexArray, TimeArray, ValueArray
from mines.quality import QualityArray, Reason, bad

LATE_START_FRACTION = 0.25
"""A cycle that begins at most this part of a period late keeps its slot; later, the slot is skipped and counted."""

_ROUNDING = 1e-6  # of a period: a slot computed from its number is found again under it


class PollGroup:
    """The points of one period, compiled: rows stand in the order of the requests."""

    def __init__(
        self,
        plan: PeriodGroup,
        read: Mapping[int, ReadPoint],
        units: Mapping[int, UnitHealth],
        *,
        quarantine_s: float,
    ) -> None:
        self.period_s = plan.period_s
        self._families: list[Family] = []
        rows = 0
        for request in plan.requests:
            family = Family(request, read, units[request.unit], first_row=rows, quarantine_s=quarantine_s)
            self._families.append(family)
            rows = family.whole.rows.stop
        points = [need.point for request in plan.requests for need in request.needs]
        self.index: IndexArray = _frozen(np.array(points, dtype=np.int32))
        self.source_time_ms: TimeArray = _frozen(np.full(rows, NO_TIME_MS, dtype=np.int64))

    def in_turn(self, now_s: float) -> Sequence[Block]:
        """Its blocks for the next cycle: what has answered before what may not, then what has waited longest."""
        return sorted((block for family in self._families for block in family.for_cycle(now_s)), key=_turn)


class CycleRows:
    """The rows of one cycle while they come in."""

    def __init__(self, group: PollGroup) -> None:
        n = len(group.index)
        self._group = group
        self._value: ValueArray = np.full(n, np.nan)
        self._quality: QualityArray = np.full(n, bad(Reason.BLOCK_NOT_READ), dtype=np.uint16)
        self._receive_time_ms: TimeArray = np.zeros(n, dtype=np.int64)
        self._monotonic_ns: TimeArray = np.zeros(n, dtype=np.int64)

    def fill(self, block: Block, answer: Answer) -> None:
        """Takes what became of one block; only its own rows are touched."""
        rows = block.rows
        self._receive_time_ms[rows] = answer.receive_time_ms
        self._monotonic_ns[rows] = answer.monotonic_ns
        if answer.payload is None:
            self._quality[rows] = bad(answer.reason)
        else:
            self._value[rows], self._quality[rows] = block.decoder.decode(answer.payload)

    def batch(self, batch_no: int) -> Batch:
        """The cycle's batch; every block has been filled."""
        return Batch(
            index=self._group.index,
            value=self._value,
            quality=self._quality,
            source_time_ms=self._group.source_time_ms,
            receive_time_ms=self._receive_time_ms,
            monotonic_ns=self._monotonic_ns,
            batch_no=batch_no,
        )


class Grid:
    """Slots at phase + k × period on a clock that never steps [s]."""

    def __init__(self, period_s: float, phase_fraction: float) -> None:
        self._period_s = period_s
        self._phase_s = period_s * phase_fraction

    def next_slot(self, slot_s: float, now_s: float) -> tuple[float, int]:
        """When the next cycle begins, and how many slots are skipped for it.

        Args:
            slot_s: Where the last cycle began.
            now_s: When it ended.
        """
        oldest_s = now_s - LATE_START_FRACTION * self._period_s
        first = math.floor((slot_s - self._phase_s) / self._period_s + _ROUNDING) + 1
        k = max(first, math.ceil((oldest_s - self._phase_s) / self._period_s - _ROUNDING))
        return self._phase_s + k * self._period_s, k - first


def _turn(block: Block) -> tuple[bool, bool, float]:
    inquiry = block.inquiry
    return not inquiry.unit.proven, inquiry.failures > 0, inquiry.asked_s


def _frozen(column: np.ndarray) -> np.ndarray:
    """Shared by all batches of a group, so nobody may write into it."""
    column.flags.writeable = False
    return column
