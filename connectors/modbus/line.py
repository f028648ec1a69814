"""One line: a connection that several units share, one request in flight, and no unit at the cost of another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from connectors.modbus.health import Inquiry, UnitHealth, delay_s
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import ReadRequest
from connectors.modbus.settings import ModbusSettings
from mines.clock import Clock
from mines.quality import Reason

FIRST_PASS_S: Final = 8.0
"""After a start or an outage every unit of a line has been asked once within this time (R5: 10 s)."""
LEAST_TIMEOUT_S: Final = 0.3
"""No unit is called silent sooner because a neighbour is polled fast (libraries P5; project default)."""


class Link(Protocol):
    """One connection, from its making to its end; it is never made twice."""

    lost: asyncio.Event
    """Set when the connection is gone or was closed."""
    error: str
    """Why; "" while it stands."""

    @property
    def late(self) -> int:
        """Replies that came after their request had been given up."""
        ...

    @property
    def connected(self) -> bool:
        """True from a successful `connect` until it is lost."""
        ...

    async def connect(self) -> bool:
        """Connects within its timeout; False with `error` set where it cannot."""
        ...

    async def read(self, request: ReadRequest, timeout_s: float) -> Answer:
        """Asks and waits at most `timeout_s` for the whole reply. Never raises for what the field does."""
        ...

    def close(self, why: str) -> None:
        """Releases the connection."""
        ...


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
        self._failures += not heard

    def leaves(self, unit: UnitHealth, now_s: float, *, alone: bool) -> bool:
        """True where the unit is not asked any more in this cycle."""
        if now_s < self.start_s + self._period_s:
            return False
        greedy = not alone and self._used_s.get(unit, 0.0) >= self._period_s
        return greedy or self._failures > 1


@dataclass(frozen=True, slots=True)
class LineTimes:
    """How long a unit of this line may take to answer [s]."""

    timeout_s: float
    first_pass_s: float

    @staticmethod
    def of(settings: ModbusSettings, units: int, shortest_period_s: float) -> LineTimes:
        """One silent unit may not cost its neighbours more than one period (R6); alone on its line it has none."""
        timeout_s = settings.timeout_s
        if units > 1:
            timeout_s = min(timeout_s, max(shortest_period_s, LEAST_TIMEOUT_S))
        return LineTimes(timeout_s, min(timeout_s, FIRST_PASS_S / max(units, 1)))


class Line:
    """Connects, reconnects, asks; keeps one record per unit. Every wait in it has an end.

    Args:
        units: Everything that is asked on this line.
        settings: Of the source.
        times: From `LineTimes.of`.
        clock: For stamps only; waits use the loop's time.
        open_link: Makes a fresh, unconnected link.
        changed: Called with a unit whose state has changed.
    """

    def __init__(
        self,
        units: Sequence[UnitHealth],
        settings: ModbusSettings,
        times: LineTimes,
        *,
        clock: Clock,
        open_link: Callable[[], Link],
        changed: Callable[[UnitHealth], None],
    ) -> None:
        self.units = tuple(units)
        self.asking: UnitHealth | None = None
        """The unit whose answer is waited for."""
        self.counters: Counter[str] = Counter()
        self.attempted = asyncio.Event()
        """Set when the first attempt to connect has ended."""
        self._backoff_s = (settings.backoff_s, settings.backoff_max_s)
        self._times = times
        self._clock = clock
        self._open_link = open_link
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._link: Link | None = None
        self._error = "connecting"
        self._failures = 0  # connections in a row on which nothing was heard
        self._silences = 0  # timeouts in a row on the whole line
        self._outage = False

    async def keep_connected(self) -> None:
        """Connects and reconnects for ever; the one owner of the connection."""
        try:
            while True:
                await self._one_connection()
                await asyncio.sleep(delay_s(self._failures, *self._backoff_s))
        finally:
            if self._link is not None:
                self._link.close("source closed")

    async def _one_connection(self) -> None:
        link = self._open_link()
        self._link = link
        connected = await link.connect()
        if connected:
            self._came_up()
        self.attempted.set()
        self._failures += 1  # until something is heard on it
        if connected:
            await link.lost.wait()
        self._link = None
        self._error = link.error
        self._outage = self._outage or not connected
        self.counters["late replies"] += link.late
        if self._failures:
            for unit in self.units:
                self._report_lost(unit)
        # else it was good until now and is made again at once: lost is what is missed by a poll or cannot be made again

    def _report_lost(self, unit: UnitHealth) -> None:
        if unit.line_lost(self._why_down, self._clock.wall_ms()):
            self._changed(unit)

    def _came_up(self) -> None:
        self.counters["connects"] += 1
        if self.counters["connects"] > 1:
            self.counters["reconnects"] += 1
        if self._outage:
            for unit in self.units:
                unit.forget()
        self._outage, self._silences = False, 0

    def counted(self) -> dict[str, int]:
        """What is counted for the line as a whole, since the start."""
        late = self._link.late if self._link is not None else 0
        return {**self.counters, "late replies": self.counters["late replies"] + late}

    async def read(self, inquiry: Inquiry, cycle: Cycle) -> Answer:
        """The answer to one request of a poll cycle, or at once the reason why it is not asked."""
        held_back = self._held_back(inquiry, cycle)
        if held_back is not None:
            return held_back
        async with self._turn:
            held_back = self._held_back(inquiry, cycle)
            if held_back is not None:
                return held_back
            answer = await self._ask(inquiry)
            cycle.used(inquiry.unit, self._loop.time() - inquiry.asked_s, heard=answer.heard)
            return answer

    async def probe(self) -> None:
        """Asks the silent unit that has rested longest beyond its time, if there is one. Between poll cycles."""
        now_s = self._loop.time()
        due = [unit for unit in self.units if unit.silent and unit.rest_until_s <= now_s]
        if not due or not self._up:
            return
        unit = min(due, key=lambda unit: unit.rest_until_s)
        inquiry = min(unit.inquiries, key=lambda inquiry: (inquiry.failures, inquiry.asked_s))
        async with self._turn:
            if self._up:
                await self._ask(inquiry)

    @property
    def _up(self) -> bool:
        return self._link is not None and self._link.connected

    @property
    def _why_down(self) -> str:
        """The newest reason; a connection that has just been lost has not been put away yet."""
        return (self._link.error if self._link is not None else "") or self._error

    def _held_back(self, inquiry: Inquiry, cycle: Cycle) -> Answer | None:
        unit = inquiry.unit
        now_s = self._loop.time()
        if not self._up:
            if self.attempted.is_set():
                self._report_lost(unit)
            return self._unsent(Reason.NO_COMMUNICATION, self._why_down)
        if unit.holds_back(cycle.start_s):
            return self._unsent(unit.reason, "resting")
        if inquiry.rest_until_s > now_s:
            return self._unsent(inquiry.reason, "resting")
        if cycle.leaves(unit, now_s, alone=len(self.units) == 1):
            unit.counters["not read in time"] += 1
            return self._unsent(Reason.BLOCK_NOT_READ, "not read in time")
        return None

    def _unsent(self, reason: Reason, word: str) -> Answer:
        return Answer(None, reason, word, self._clock.wall_ms(), self._clock.monotonic_ns())

    async def _ask(self, inquiry: Inquiry) -> Answer:
        assert self._link is not None
        unit = inquiry.unit
        inquiry.asked_s = self._loop.time()
        timeout_s = self._times.timeout_s if unit.asked else self._times.first_pass_s
        self.asking = unit
        answer = await self._link.read(inquiry.request, timeout_s)
        self.asking = None
        if answer.heard:
            self._failures = self._silences = 0
        if unit.take(inquiry, answer, self._loop.time(), backoff_s=self._backoff_s):
            self._changed(unit)
        if answer.reason is Reason.TIMEOUT:
            self._silence()
        return answer

    def _silence(self) -> None:
        """A line on which every unit is silent may be dead itself: a fresh connection is the way to find out."""
        self._silences += 1
        if self._silences >= max(2, len(self.units)) and all(unit.silent for unit in self.units):
            self.counters["silent line"] += 1
            self._outage = True
            if self._link is not None:
                self._link.close("silent line")
