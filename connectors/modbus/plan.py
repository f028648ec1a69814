"""Points → read requests: coalesced per unit and table within the device's limits, one group per period. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Protocol

from connectors.modbus.address import Address, Table

MAX_REGISTERS: Final = 125
"""Registers in one reply. Source: MODBUS Application Protocol V1.1b3, 6.3 and 6.4."""
MAX_BITS: Final = 2000
"""Bits in one reply. Source: the same, 6.1 and 6.2."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one point needs of a device: `width` registers, or one bit of a table of bits, every `period_s`."""

    point: int  # index among the source's points
    address: Address
    width: int
    period_s: float

    @property
    def end(self) -> int:
        """The first register, or bit, after it."""
        return self.address.register + self.width


class NeverRead(Protocol):
    """Registers, or bits, of a table that nothing may read: reading them changes the device. Both ends included."""

    @property
    def table(self) -> str: ...

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    @property
    def why(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """How large a request may be, and how many unneeded registers or bits in a row it may read along.

    `units` holds the limits of the units that have their own; those of all others are these.
    """

    max_registers: int = MAX_REGISTERS
    max_bits: int = MAX_BITS
    max_gap: int = 0
    never_read: tuple[NeverRead, ...] = ()
    units: Mapping[int, PlanLimits] = field(default_factory=dict, hash=False)

    def of(self, unit: int) -> PlanLimits:
        """The limits of one unit."""
        return self.units.get(unit, self)

    def largest(self, table: Table) -> int:
        """Registers, or bits, in one request of a table."""
        return self.max_bits if table.of_bits else self.max_registers

    def forbidden(self, table: Table, first: int, end: int) -> NeverRead | None:
        """What may not be read among the registers `first` to before `end`; None where all of them may."""
        return next((it for it in self.never_read if it.table == table and it.first < end and it.last >= first), None)

    def bridges(self, table: Table, first: int, end: int) -> bool:
        """True where the hole from `first` to before `end` may be read along."""
        return end - first <= self.max_gap and (end <= first or self.forbidden(table, first, end) is None)


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One request: `count` registers or bits of a unit's table from `first` on, and the points that it answers for."""

    unit: int
    table: Table
    first: int
    count: int
    needs: tuple[Need, ...]
    bridged: int = 0  # registers or bits in it that no point needs

    @property
    def data_bytes(self) -> int:
        """Of a fitting reply."""
        return (self.count + 7) // 8 if self.table.of_bits else 2 * self.count


@dataclass(frozen=True, slots=True)
class PeriodGroup:
    """The requests of one poll cycle."""

    period_s: float
    requests: tuple[ReadRequest, ...]


def plan_reads(needs: Sequence[Need], limits: PlanLimits) -> tuple[PeriodGroup, ...]:
    """The fewest requests, in order of address, that read every need once; a value is never split.

    Args:
        needs: In any order; they may overlap.
        limits: At least as large as the widest need of each unit.
    Returns:
        One group for each period, shortest first, each ordered by unit, table and register.
    Raises:
        ValueError: a need is wider than a request may be.
    """
    ordered = sorted(needs, key=_order)
    return tuple(
        PeriodGroup(period_s, tuple(_requests(list(members), limits)))
        for period_s, members in groupby(ordered, key=lambda need: need.period_s)
    )


def _order(need: Need) -> tuple[float, int, int, int, int, int]:
    address = need.address
    return need.period_s, address.unit, address.table.function, address.register, need.width, need.point


def _requests(needs: Sequence[Need], limits: PlanLimits) -> Iterator[ReadRequest]:
    for (unit, _), members in groupby(needs, key=lambda need: (need.address.unit, need.address.table)):
        yield from _blocks(list(members), limits.of(unit))


def _blocks(needs: Sequence[Need], limits: PlanLimits) -> Iterator[ReadRequest]:
    """Requests of one table, from left to right: each takes on what still fits."""
    table = needs[0].address.table
    largest = limits.largest(table)
    block: list[Need] = []
    end = bridged = 0
    for need in needs:
        if need.width > largest:
            raise ValueError(f"{need.width} registers for one value, a request may have {largest}")
        first, new_end = need.address.register, max(end, need.end)
        gap = max(0, first - end)
        if block and (not limits.bridges(table, end, first) or new_end - block[0].address.register > largest):
            yield _request(block, end, bridged)
            block, bridged = [], 0
        if block:
            bridged += gap
            end = new_end
        else:
            end = need.end
        block.append(need)
    yield _request(block, end, bridged)


def _request(block: Sequence[Need], end: int, bridged: int) -> ReadRequest:
    first = block[0].address
    return ReadRequest(first.unit, first.table, first.register, end - first.register, tuple(block), bridged)


def halves(request: ReadRequest) -> tuple[ReadRequest, ReadRequest] | None:
    """The request as two, parted at the register nearest to its middle need; together they read every need once.

    Returns:
        None where all its needs begin at the same register: it cannot be parted further.
    """
    starts = [need.address.register for need in request.needs]
    cuts = [i for i in range(1, len(starts)) if starts[i] != starts[i - 1]]
    if not cuts:
        return None
    cut = min(cuts, key=lambda i: abs(2 * i - len(starts)))
    return _part(request.needs[:cut]), _part(request.needs[cut:])


def _part(needs: Sequence[Need]) -> ReadRequest:
    covered: set[int] = set()
    for need in needs:
        covered.update(range(need.address.register, need.end))
    first, end = needs[0].address.register, max(need.end for need in needs)
    return _request(needs, end, end - first - len(covered))
