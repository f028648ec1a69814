"""Bisect on refusal, never on silence: a refused block is parted down to the registers that the device refuses. Pure.

Only exceptions 1-3 part a block; a timeout says nothing of an address. What cannot be parted further rests in
quarantine and is bad with its reason, alone; the rest of the block is read in the same cycle. From time to time, ever
less often, the whole block is tried again: where it is refused again its parts go on as they were, in the same cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.modbus.codec import BlockDecoder
from connectors.modbus.health import REFUSALS, Inquiry, UnitHealth, delay_s
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import ReadRequest, halves
from connectors.modbus.points import ReadPoint
from mines.quality import Reason

MOST_QUARANTINE_S: Final = 3600.0
MOST_PARTINGS: Final = 16
"""Partings of one block in one cycle: enough for two refused registers among 125; the rest waits for the next cycle."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One request of a cycle, its decoder, the rows that it fills, and the planned block that it is (part of)."""

    inquiry: Inquiry
    decoder: BlockDecoder
    rows: slice
    family: Family

    @property
    def refused(self) -> bool:
        """True where the device refused it when it was last asked."""
        return self.inquiry.reason in REFUSALS


class Family:
    """One planned block and the parts that stand in for it while the device refuses it.

    Args:
        request: As planned.
        read: The source's points by index.
        unit: Whose request it is.
        place: Its number among the requests of its cycle.
        first_row: Of the batch; rows stand in the order of the request's needs.
        quarantine_s: First rest of what is refused; doubles.
    """

    def __init__(
        self,
        request: ReadRequest,
        read: Mapping[int, ReadPoint],
        unit: UnitHealth,
        *,
        place: int = 0,
        first_row: int,
        quarantine_s: float,
    ) -> None:
        self.place = place
        self._read, self._unit, self._first_s = read, unit, quarantine_s
        self.whole = self._block(request, first_row)
        self._parts = [self.whole]
        self._kept: list[Block] = []  # the parts, while the whole is tried again
        self._handed: set[Block] = set()  # to be asked in this cycle before the unit is judged
        self._partings = 0  # in this cycle
        self._tries = 0
        self._try_again_s = 0.0
        unit.adopt(self.whole.inquiry)

    def for_cycle(self, now_s: float) -> Sequence[Block]:
        """What stands for the block in the cycle that begins now [s, loop time]."""
        self._partings = 0
        if self._parted and now_s >= self._try_again_s:
            self._kept = self._parts
            self._become([self.whole])
            self._hand(None, [self.whole])
        return tuple(self._parts)

    def after(self, block: Block, answer: Answer, now_s: float) -> Sequence[Block]:
        """Takes the answer to one of its blocks.

        Args:
            block: Of this family, as `for_cycle` or an earlier call gave it.
            answer: To it.
            now_s: Loop time.
        Returns:
            What must be asked in its place, still in this cycle.
        """
        if answer.reason is Reason.NONE and block is self.whole and not (self._kept or self._handed):
            self._tries = 0  # as nearly always
            return ()
        refused = answer.heard and answer.reason in REFUSALS
        if self._kept:
            out = self._after_another_try(answer, now_s, refused=refused)
        elif refused:
            out = self._after_refusal(block, now_s)
        else:
            out = ()
        self._hand(block, out)
        return out

    @property
    def _parted(self) -> bool:
        return self._parts[0] is not self.whole

    def _block(self, request: ReadRequest, first_row: int) -> Block:
        fields = [self._read[need.point].field(request) for need in request.needs]
        decoder = BlockDecoder(fields, request.count, of_bits=request.table.of_bits)
        rows = slice(first_row, first_row + len(fields))
        measures = any(self._read[need.point].measures for need in request.needs)
        return Block(Inquiry(request, self._unit, measures=measures), decoder, rows, self)

    def _after_refusal(self, block: Block, now_s: float) -> Sequence[Block]:
        if not self._parted:
            self._wait(now_s)
        requests = halves(block.inquiry.request)
        if requests is None:
            block.inquiry.rest_until_s = self._try_again_s
            self._count()
            return ()
        if self._partings >= MOST_PARTINGS:
            return ()
        self._partings += 1
        left = self._block(requests[0], block.rows.start)
        right = self._block(requests[1], left.rows.stop)
        at = self._parts.index(block)
        self._become([*self._parts[:at], left, right, *self._parts[at + 1 :]])
        return left, right

    def _after_another_try(self, answer: Answer, now_s: float, *, refused: bool) -> Sequence[Block]:
        """Read: it is whole again. Refused: its parts go on at once. Anything else says nothing: the parts stand."""
        kept, self._kept = self._kept, []
        if answer.reason is Reason.NONE:
            self._tries = 0
            return ()
        known = sorted(kept, key=lambda part: not part.refused)  # the refused first: the link stays what it was
        self._become(kept)
        if not refused:
            return ()
        self._wait(now_s)
        return tuple(known)

    def _wait(self, now_s: float) -> None:
        self._tries += 1
        self._try_again_s = now_s + delay_s(self._tries, self._first_s, MOST_QUARANTINE_S)

    def _become(self, parts: list[Block]) -> None:
        before, self._parts = self._parts, parts
        for block in before:
            if block not in parts:
                self._unit.drop(block.inquiry)
        for block in parts:
            if block not in before:
                self._unit.adopt(block.inquiry)
        self._count()

    def _hand(self, answered: Block | None, out: Sequence[Block]) -> None:
        """While some of it is still to be asked, the unit is not judged by what was."""
        before = bool(self._handed)
        self._handed -= {answered}
        self._handed.update(out)
        self._unit.undecided += bool(self._handed) - before

    def _count(self) -> None:
        """Requests in quarantine, for the link report: over all families of the unit."""
        resting = sum(inquiry.reason in REFUSALS for inquiry in self._unit.inquiries)
        self._unit.counters["quarantined requests"] = resting
