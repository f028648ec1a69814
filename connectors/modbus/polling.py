"""One run of a Modbus source: its line, its units, and the tasks that poll and report."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from connectors.modbus.cycle import CycleRows, Grid, PollGroup
from connectors.modbus.health import UnitHealth
from connectors.modbus.line import Cycle, Line, LineTimes, Link
from connectors.modbus.outbox import Outbox
from connectors.modbus.plan import PeriodGroup
from connectors.modbus.points import ReadPoint
from connectors.modbus.settings import ModbusSettings
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
        units = {number: UnitHealth(number, now_ms) for number in numbers}
        quarantine_s = parts.settings.quarantine_s
        self._groups = [PollGroup(group, parts.read, units, quarantine_s=quarantine_s) for group in parts.plan]
        self._line = Line(
            list(units.values()),
            parts.settings,
            LineTimes.of(parts.settings, len(units), parts.shortest_period_s),
            clock=parts.clock,
            open_link=open_link,
            changed=self._report,
        )
        # Sources of one site do not all poll at the same moment, and each does so at the same phase in every run.
        self._phase_fraction = crc32(parts.source_id.encode()) / 2**32

    def start(self) -> list[asyncio.Task[None]]:
        """Starts the tasks; the outbox is told when one ends. None of them where there is nothing to read."""
        if not self._groups:
            return []
        jobs = [("line", self._line.keep_connected()), ("reports", self._report_regularly())]
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
        grid = Grid(group.period_s, self._phase_fraction)
        await _at_most(self._line.attempted, group.period_s)
        slot_s = loop.time()
        while True:
            await self._outbox.put(await self._cycle(group))
            await self._line.probe()
            slot_s, skipped = grid.next_slot(slot_s, loop.time())
            self._line.counters["overruns"] += skipped
            await asyncio.sleep(slot_s - loop.time())

    async def _cycle(self, group: PollGroup) -> CycleRows:
        rows, loop = CycleRows(group), asyncio.get_running_loop()
        cycle = Cycle(loop.time(), group.period_s)
        told = {unit: unit.quarantined for unit in self._line.units}
        waiting = deque(group.in_turn(cycle.start_s))
        while waiting:
            block = waiting.popleft()
            answer = await self._line.read(block.inquiry, cycle)
            rows.fill(block, answer)
            waiting.extendleft(reversed(block.family.after(block, answer, loop.time())))
        for unit in self._line.units:
            if unit.quarantined != told[unit]:
                self._report(unit)
        return rows

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


async def _at_most(event: asyncio.Event, time_s: float) -> None:
    try:
        async with asyncio.timeout(time_s):
            await event.wait()
    except TimeoutError:
        pass
