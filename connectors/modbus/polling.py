"""One run of a Modbus source: its line, its units, and the tasks that poll and report."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.grid import Grid
from connectors.modbus.connection import Connection, Link
from connectors.modbus.cycle import CycleRows, PollGroup
from connectors.modbus.device_check import device_check
from connectors.modbus.health import UnitHealth
from connectors.modbus.line import Cycle, Line
from connectors.modbus.outbox import Outbox
from connectors.modbus.plan import PeriodGroup
from connectors.modbus.plausibility import Plausibility
from connectors.modbus.points import ReadPoint
from connectors.modbus.refusal import Block
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.unit_settings import UnitSettings
from mines.clock import Clock
from mines.model import LinkReport

REPORT_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a run is made of; all of it fixed when the source is."""

    source_id: str
    endpoint: str
    settings: ModbusSettings
    clock: Clock
    plan: tuple[PeriodGroup, ...]
    read: Mapping[int, ReadPoint]  # by index among the source's points
    phase_fraction: float  # of each period: where its grid begins

    @property
    def shortest_period_s(self) -> float:
        """Of the points; of the reports where there are none."""
        return min((group.period_s for group in self.plan), default=REPORT_EVERY_S)


class Polling:
    """The tasks of one run and what they share."""

    def __init__(self, parts: Parts, open_link: Callable[[], Link], outbox: Outbox) -> None:
        self._parts = parts
        self._outbox = outbox
        now_ms = parts.clock.wall_ms()
        numbers = sorted({request.unit for group in parts.plan for request in group.requests})
        units = {number: _health(number, now_ms, parts.settings.unit(number)) for number in numbers}
        quarantine_s = parts.settings.quarantine_s
        self._groups = [PollGroup(group, parts.read, units, quarantine_s=quarantine_s) for group in parts.plan]
        self._line = Line(
            list(units.values()),
            parts.settings,
            parts.shortest_period_s,
            clock=parts.clock,
            open_link=open_link,
            changed=self._report,
        )

    def start(self) -> list[asyncio.Task[None]]:
        """Starts the tasks; the outbox is told when one ends. None of them where there is nothing to read."""
        if not self._groups:
            return []
        jobs = [("reports", self._report_regularly()), *(("line", job) for job in self._line.jobs)]
        jobs += [(f"poll {group.period_s:g} s", self._poll(group)) for group in self._groups]
        tasks = [asyncio.create_task(job, name=f"{self._parts.source_id}: {name}") for name, job in jobs]
        for task in tasks:
            task.add_done_callback(self._outbox.fail)
        return tasks

    def sign_of_life(self) -> LinkReport | None:
        """A report of the unit that is being waited for, or of the first."""
        unit = self._line.asking or next(iter(self._line.units), None)
        return None if unit is None else self._report_of(unit)

    async def _poll(self, group: PollGroup) -> None:
        """Cycles of one group: the first as soon as the line has been tried, then on the grid, never two at once."""
        loop = asyncio.get_running_loop()
        grid = Grid(group.period_s, self._parts.phase_fraction)
        lasted = "cycle ms" if group is self._groups[0] else f"cycle ms of {group.period_s:g} s"
        await _at_most(self._line.attempted(), group.period_s)
        slot_s = loop.time()
        while True:
            began_s = loop.time()
            rows = await self._cycle(group, began_s)
            self._line.counters[lasted] = round(1000 * (loop.time() - began_s))
            await self._outbox.put(rows)
            await self._line.probe()
            slot_s, skipped = grid.next_slot(slot_s, loop.time())
            self._line.counters["overruns"] += skipped
            await asyncio.sleep(slot_s - loop.time())

    async def _cycle(self, group: PollGroup, start_s: float) -> CycleRows:
        rows, cycle = CycleRows(group), Cycle(start_s, group.period_s)
        told = [unit.quarantined for unit in self._line.units]
        connections = self._line.standing()
        blocks = group.in_turn(start_s)
        if len(connections) == 1:
            await self._work(deque(blocks), connections[0], rows, cycle)
        else:
            async with asyncio.TaskGroup() as tasks:
                for connection, share in zip(connections, shares(blocks, len(connections)), strict=True):
                    tasks.create_task(self._work(share, connection, rows, cycle))
        for unit, before in zip(self._line.units, told, strict=True):
            if unit.quarantined != before:
                self._report(unit)
        return rows

    async def _work(self, waiting: deque[Block], connection: Connection, rows: CycleRows, cycle: Cycle) -> None:
        """Asks on one connection what waits for it; what is parted is asked at once."""
        loop = asyncio.get_running_loop()
        while waiting:
            block = waiting.popleft()
            answer = await self._line.read(block.inquiry, cycle, connection)
            rows.fill(block, answer)
            parts = block.family.after(block, answer, loop.time())
            if parts:
                waiting.extendleft(reversed(parts))

    async def _report_regularly(self) -> None:
        while True:
            for unit in self._line.units:
                self._report(unit)
            await asyncio.sleep(REPORT_EVERY_S)

    def _report(self, unit: UnitHealth) -> None:
        self._outbox.put_report(self._report_of(unit))

    def _report_of(self, unit: UnitHealth) -> LinkReport:
        parts = self._parts
        return unit.report(parts.source_id, parts.endpoint, parts.clock.wall_ms(), self._line.counted())


def _health(number: int, now_ms: int, settings: UnitSettings) -> UnitHealth:
    odd = Plausibility(settings.frozen_s) if settings.plausibility else None
    check = device_check(number, settings.identity, settings.signature)
    return UnitHealth(number, now_ms, check=check, odd=odd)


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Ends tasks for certain, also where this is itself cancelled meanwhile: none may go on polling unseen."""
    pending = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=0.1)
        except asyncio.CancelledError as err:
            cancelled, pending = err, {task for task in pending if not task.done()}
    if cancelled is not None:
        raise cancelled
    await asyncio.sleep(0)  # lets closed transports go


def shares(blocks: Sequence[Block], connections: int) -> list[deque[Block]]:
    """What each of several connections asks: a unit on one of them, so that two never ask it at once.

    The blocks of a unit that is alone are taken from one heap by whichever connection is free.
    """
    numbers = sorted({block.inquiry.request.unit for block in blocks})
    if len(numbers) == 1:
        return [deque(blocks)] * connections
    out: list[deque[Block]] = [deque() for _ in range(connections)]
    place = {number: at % connections for at, number in enumerate(numbers)}
    for block in blocks:
        out[place[block.inquiry.request.unit]].append(block)
    return out


async def _at_most(waiting: Coroutine[Any, Any, None], time_s: float) -> None:
    try:
        async with asyncio.timeout(time_s):
            await waiting
    except TimeoutError:
        pass
