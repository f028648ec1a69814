"""One poll cycle: the rows of a period group, filled reply by reply into one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from connectors.modbus.codec import BlockDecoder
from connectors.modbus.health import UnitHealth
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import PeriodGroup
from connectors.modbus.points import ReadPoint
from connectors.modbus.refusal import Block, Family
from mines.clock import NO_TIME_MS
from mines.model import Batch, IndexArray, TimeArray, ValueArray
from mines.quality import QualityArray, Reason, bad


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
        self.families: list[Family] = []
        rows = 0
        for place, request in enumerate(plan.requests):
            family = Family(request, read, units[request.unit], place=place, first_row=rows, quarantine_s=quarantine_s)
            self.families.append(family)
            rows = family.whole.rows.stop
        wholes = [family.whole for family in self.families]
        self.decoder = BlockDecoder.joined([whole.decoder for whole in wholes])
        self.nothing = [bytes(size) for size in self.decoder.sizes]
        self.lengths = np.array([whole.rows.stop - whole.rows.start for whole in wholes])
        points = [need.point for request in plan.requests for need in request.needs]
        self.index: IndexArray = _frozen(np.array(points, dtype=np.int32))
        self.source_time_ms: TimeArray = _frozen(np.full(rows, NO_TIME_MS, dtype=np.int64))

    def in_turn(self, now_s: float) -> Sequence[Block]:
        """Its blocks for the next cycle: what has answered before what may not, then what has waited longest."""
        blocks = [block for family in self.families for block in family.for_cycle(now_s)]
        if len(blocks) > 1:
            blocks.sort(key=_turn)
        return blocks


class CycleRows:
    """The rows of one cycle while they come in. All whole blocks are decoded at once, when the cycle is over."""

    def __init__(self, group: PollGroup) -> None:
        n = len(group.families)
        self._group = group
        self._replies = group.nothing.copy()
        self._reasons = [Reason.BLOCK_NOT_READ] * n
        self._receive_time_ms = [0] * n
        self._monotonic_ns = [0] * n
        self._parts: list[tuple[Block, Answer]] = []

    def fill(self, block: Block, answer: Answer) -> None:
        """Takes what became of one block; only its own rows are touched."""
        family = block.family
        if block is not family.whole:
            self._parts.append((block, answer))
            return
        place = family.place
        self._receive_time_ms[place] = answer.receive_time_ms
        self._monotonic_ns[place] = answer.monotonic_ns
        self._reasons[place] = answer.reason
        if answer.payload is not None:
            self._replies[place] = answer.payload

    def batch(self, batch_no: int) -> Batch:
        """The cycle's batch; every block has been filled."""
        group = self._group
        value, quality = group.decoder.decode(*self._replies)
        receive_time_ms: TimeArray = np.array(self._receive_time_ms).repeat(group.lengths)
        monotonic_ns: TimeArray = np.array(self._monotonic_ns).repeat(group.lengths)
        for place, reason in enumerate(self._reasons):
            if reason is not Reason.NONE:
                _mark(value, quality, group.families[place].whole.rows, reason)
        for block, answer in self._parts:  # in the place of their whole block
            rows = block.rows
            receive_time_ms[rows] = answer.receive_time_ms
            monotonic_ns[rows] = answer.monotonic_ns
            if answer.payload is None:
                _mark(value, quality, rows, answer.reason)
            else:
                value[rows], quality[rows] = block.decoder.decode(answer.payload)
        return Batch(
            index=group.index,
            value=value,
            quality=quality,
            source_time_ms=group.source_time_ms,
            receive_time_ms=receive_time_ms,
            monotonic_ns=monotonic_ns,
            batch_no=batch_no,
        )


def _turn(block: Block) -> tuple[bool, bool, float]:
    inquiry = block.inquiry
    return not inquiry.unit.proven, inquiry.failures > 0, inquiry.asked_s


def _mark(value: ValueArray, quality: QualityArray, rows: slice, reason: Reason) -> None:
    """No value, and why."""
    value[rows] = np.nan
    quality[rows] = bad(reason)


def _frozen(column: np.ndarray) -> np.ndarray:
    """Shared by all batches of a group, so nobody may write into it."""
    column.flags.writeable = False
    return column
