"""One line: connections that several units share, one request in flight on each, no unit at the cost of another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.modbus.connection import Connection, Link
from connectors.modbus.device_check import Proofs
from connectors.modbus.health import REFUSALS, WRONG_DEVICE, Inquiry, UnitHealth
from connectors.modbus.mbap import Answer
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.unit_settings import MOST_WAIT_S
from mines.clock import Clock
from mines.quality import Reason

FIRST_PASS_S: Final = 8.0
"""After a start or an outage every unit of a line has been asked once within this time (R5: 10 s)."""
LEAST_TIMEOUT_S: Final = 0.3
"""No unit is called silent sooner because a neighbour is polled fast (libraries P5; project default)."""
REQUEST_BYTES: Final = 8
"""Of an RTU frame that reads: unit, function, address, count, CRC."""
REPLY_BYTES: Final = 5
"""Of an RTU frame that answers it, beside the data: unit, function, byte count, CRC."""
LONGEST_REPLY_BYTES: Final = 251
"""Data of the longest reply: how much a device will tell of itself is not known beforehand."""

__all__ = ["Cycle", "Line", "LineTimes", "Link"]


class Cycle:
    """One poll cycle's use of the line. What is slow may overrun its period; what is lost or greedy may not.

    When its period is over, what has not been asked yet is left for the next cycle only where silence has eaten the
    time, or where its own unit has had a whole period of the line, which it shares with others.
    """

    def __init__(self, start_s: float, period_s: float) -> None:
        self.start_s = start_s
        self._period_s = period_s
        self._failures = 0
        self._used_s: dict[UnitHealth, float] = {}

    def used(self, unit: UnitHealth, time_s: float, *, heard: bool) -> None:
        """Counts what one request took."""
        self._used_s[unit] = self._used_s.get(unit, 0.0) + time_s
        if not heard:
            self._failures += 1

    def leaves(self, unit: UnitHealth, now_s: float, *, alone: bool) -> bool:
        """True where the unit is not asked any more in this cycle."""
        if now_s < self.start_s + self._period_s:
            return False
        greedy = not alone and self._used_s.get(unit, 0.0) >= self._period_s
        return greedy or self._failures > 1


@dataclass(frozen=True, slots=True)
class LineTimes:
    """How long a unit of this line may take to begin to answer [s], on its first time and later."""

    timeout_s: float
    first_pass_s: float

    @staticmethod
    def of(timeout_s: float, units: int, shortest_period_s: float) -> LineTimes:
        """One silent unit may not cost its neighbours more than one period (R6); alone on its line it has none."""
        if units > 1:
            timeout_s = min(timeout_s, max(shortest_period_s, LEAST_TIMEOUT_S))
        return LineTimes(timeout_s, min(timeout_s, FIRST_PASS_S / max(units, 1)))


class Line:
    """Asks, and keeps one record per unit. Every wait in it has an end.

    Args:
        units: Everything that is asked on this line.
        settings: Of the source.
        shortest_period_s: Of its points.
        clock: For stamps only; waits use the loop's time.
        open_link: Makes a fresh, unconnected link.
        changed: Called with a unit whose state has changed.
    """

    def __init__(
        self,
        units: Sequence[UnitHealth],
        settings: ModbusSettings,
        shortest_period_s: float,
        *,
        clock: Clock,
        open_link: Callable[[], Link],
        changed: Callable[[UnitHealth], None],
    ) -> None:
        self.units = tuple(units)
        self.asking: UnitHealth | None = None
        """The unit whose answer is waited for."""
        self.counters: Counter[str] = Counter()
        self._backoff_s = (settings.backoff_s, settings.backoff_max_s)
        self._transport = settings.transport
        self._on_a_wire = settings.transport.wire_s(REQUEST_BYTES, REPLY_BYTES) > 0.0
        self._clock = clock
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._connections = tuple(
            Connection(open_link, self._backoff_s, came_up=self._came_up, went_down=self._went_down)
            for _ in range(settings.connections)
        )
        own = {unit: settings.unit(unit.unit) for unit in self.units}
        self._times = {unit: LineTimes.of(own[unit].timeout_s, len(units), shortest_period_s) for unit in self.units}
        self._delay_s = {unit: own[unit].delay_ms / 1000 for unit in self.units}

    @property
    def jobs(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What keeps its connections, for ever; each must be run as a task."""
        return [connection.keep() for connection in self._connections]

    async def attempted(self) -> None:
        """Returns when every connection has been tried once."""
        for connection in self._connections:
            await connection.attempted.wait()

    def standing(self) -> Sequence[Connection]:
        """Connections that can be asked on now; where none stands, the first."""
        return [it for it in self._connections if it.up] or self._connections[:1]

    def counted(self) -> dict[str, int]:
        """What is counted for the line as a whole, since the start."""
        late = sum(it.late + (0 if it.link is None else it.link.late) for it in self._connections)
        return {**self.counters, "late replies": late}

    async def read(self, inquiry: Inquiry, cycle: Cycle, connection: Connection) -> Answer:
        """The answer to one request of a poll cycle, or at once the reason why it is not asked."""
        if not connection.up:
            connection = self.standing()[0]
        if connection.turn.locked():  # nobody waits for his turn to be told that he has none
            held_back = self._held_back(inquiry, cycle, connection)
            if held_back is not None:
                return held_back
        await connection.turn.acquire()
        try:
            if connection.rests_until_s:
                await asyncio.sleep(max(0.0, connection.rests_until_s - self._loop.time()))
            held_back = self._held_back(inquiry, cycle, connection)
            if held_back is not None:
                return held_back
            answer = await self._ask(inquiry, connection)
            cycle.used(inquiry.unit, self._loop.time() - inquiry.asked_s, heard=answer.heard)
            return answer
        finally:
            connection.turn.release()

    async def probe(self) -> None:
        """Asks the silent unit that has rested longest beyond its time, if there is one. Between poll cycles."""
        now_s = self._loop.time()
        due = [unit for unit in self.units if unit.failures and unit.silent and unit.rest_until_s <= now_s]
        connection = self.standing()[0]
        if not due or not connection.up:
            return
        unit = min(due, key=lambda unit: unit.rest_until_s)
        inquiry = min(unit.inquiries, key=lambda inquiry: (inquiry.failures, inquiry.asked_s))
        async with connection.turn:
            await asyncio.sleep(max(0.0, connection.rests_until_s - self._loop.time()))
            if connection.up:
                await self._ask(inquiry, connection)

    def _came_up(self, connection: Connection, was_out: bool) -> None:
        self.counters["connects"] += 1
        if self.counters["connects"] > len(self._connections):
            self.counters["reconnects"] += 1
        if was_out and self.standing() == [connection]:
            for unit in self.units:
                unit.forget(self._loop.time())

    def _went_down(self, connection: Connection) -> None:
        """Where it was good until now and is made again at once, lost is what is missed by a poll."""
        if connection.failures and self._down:
            for unit in self.units:
                self._report_lost(unit, connection)

    @property
    def _down(self) -> bool:
        """True where every connection has been tried and none stands."""
        return all(it.attempted.is_set() and not it.up for it in self._connections)

    def _report_lost(self, unit: UnitHealth, connection: Connection) -> None:
        if unit.line_lost(connection.why_down, self._clock.wall_ms()):
            self._changed(unit)

    def _held_back(self, inquiry: Inquiry, cycle: Cycle, connection: Connection) -> Answer | None:
        unit = inquiry.unit
        if not connection.up:
            if self._down:
                self._report_lost(unit, connection)
            return self._unsent(Reason.NO_COMMUNICATION, connection.why_down)
        if unit.failures and unit.holds_back(cycle.start_s):
            return self._unsent(unit.reason, "resting")
        now_s = self._loop.time()
        if inquiry.rest_until_s > now_s:
            return self._unsent(inquiry.reason, "resting")
        if unit.proofs is not None and unit.proofs.fault_on(connection.link):
            if not unit.proofs.due(connection.link, now_s, silent=unit.failures > 0):
                return self._unsent(Reason.WRONG_DEVICE, WRONG_DEVICE)
        if cycle.leaves(unit, now_s, alone=len(self.units) == 1):
            unit.counters["not read in time"] += 1
            return self._unsent(Reason.BLOCK_NOT_READ, "not read in time")
        return None

    def _unsent(self, reason: Reason, word: str) -> Answer:
        return Answer(None, reason, word, self._clock.wall_ms(), self._clock.monotonic_ns())

    async def _ask(self, inquiry: Inquiry, connection: Connection) -> Answer:
        assert connection.link is not None
        unit = inquiry.unit
        inquiry.asked_s = self._loop.time()
        self.asking = unit
        answer = await self._answer(inquiry, connection.link)
        self.asking = None
        if answer.heard:
            connection.heard()
            if answer.duration_ms is not None and self._is_slow(inquiry, answer.duration_ms):
                unit.was_slow(answer)
        delay_s = self._delay_s[unit]
        if delay_s:
            connection.rests_until_s = self._loop.time() + delay_s
        if unit.take(inquiry, answer, self._loop.time(), backoff_s=self._backoff_s):
            self._changed(unit)
        if answer.reason is Reason.TIMEOUT:
            self._silence(connection)
        return answer

    async def _answer(self, inquiry: Inquiry, link: Link) -> Answer:
        """What came of it; of a unit that is not the device that the site means, nothing."""
        unit = inquiry.unit
        if unit.proofs is not None and unit.proofs.due(link, self._loop.time(), silent=unit.failures > 0):
            unproved = await self._prove(inquiry, unit.proofs, link)
            if unproved is not None:
                return unproved
        return await link.read(inquiry.request, self._wait_s(inquiry))

    async def _prove(self, inquiry: Inquiry, proofs: Proofs, link: Link) -> Answer | None:
        """Asks the unit what it is. Where it is another, or cannot be asked: the answer in place of the one wanted."""
        unit, fault, check = inquiry.unit, "", proofs.check
        if check.identity is not None:
            told = await link.identify(unit.unit, self._wait_s(inquiry, LONGEST_REPLY_BYTES))
            if told.payload is None and told.reason not in REFUSALS:
                return told
            fault = check.identity_fault(told.payload)
        if check.signature is not None and not fault:
            read = await link.read(check.signature.request, self._wait_s(inquiry, check.signature.request.data_bytes))
            if read.payload is None and read.reason not in REFUSALS:
                return read
            fault = check.signature.fault(read.payload) if read.payload is not None else f"its signature: {read.word}"
        proofs.enter(link, fault, self._loop.time())
        if not fault:
            return None
        now_ms, now_ns = self._clock.wall_ms(), self._clock.monotonic_ns()
        return Answer(None, Reason.WRONG_DEVICE, f"{WRONG_DEVICE}: {fault}", now_ms, now_ns, True)

    def _wait_s(self, inquiry: Inquiry, data_bytes: int | None = None) -> float:
        """For the whole reply: what the wire takes, and what the unit may take to begin to answer."""
        times, request = self._times[inquiry.unit], inquiry.request
        begin_s = times.timeout_s if inquiry.unit.asked else times.first_pass_s
        if not self._on_a_wire:
            return begin_s
        reply_bytes = REPLY_BYTES + (request.data_bytes if data_bytes is None else data_bytes)
        wire_s = self._transport.wire_s(REQUEST_BYTES, reply_bytes)
        return min(begin_s + wire_s, max(MOST_WAIT_S, LEAST_TIMEOUT_S + wire_s))

    def _is_slow(self, inquiry: Inquiry, duration_ms: float) -> bool:
        """True where a unit that took so long is not far from being called silent; the wire's time is not its own."""
        half_ms = 500 * self._times[inquiry.unit].timeout_s
        if duration_ms <= half_ms or not self._on_a_wire:
            return duration_ms > half_ms
        wire_s = self._transport.wire_s(REQUEST_BYTES, REPLY_BYTES + inquiry.request.data_bytes)
        return duration_ms - 1000 * wire_s > half_ms

    def _silence(self, connection: Connection) -> None:
        """A line on which every unit is silent may be dead itself: a fresh connection is the way to find out."""
        connection.silences += 1
        share = -(-len(self.units) // len(self._connections))
        if connection.silences >= max(2, share) and all(unit.silent for unit in self.units):
            self.counters["silent line"] += 1
            connection.give_up("silent line")
