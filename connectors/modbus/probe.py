"""`probe modbus`: which units answer on a line, who they are, and which registers they have. Reads only, one at a time.

First every unit is asked whether it is there, then what answered is searched table by table; what time or silence cuts
short is said to be so, and nothing of the rest is lost by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.modbus.address import MAX_REGISTER, Address, Table
from connectors.modbus.asker import Asker, TimeIsOver
from connectors.modbus.byte_order_look import candidates
from connectors.modbus.line import Link
from connectors.modbus.mbap import DEVICE_IDENTIFICATION, Answer
from connectors.modbus.plan import MAX_BITS, MAX_REGISTERS, ReadRequest
from connectors.modbus.probe_hints import line_hints, unit_hints
from connectors.modbus.probe_identity import identity_of
from connectors.modbus.probe_report import ModbusProbe, TableFound, TableState, UnitFound
from connectors.modbus.span_search import Finding, SpanSearch, readable
from mines.errors import LinkLost
from mines.quality import Reason

TABLES: Final = (Table.HOLDING, Table.INPUT, Table.COIL, Table.DISCRETE)
"""In the order in which they are asked for: most devices have holding registers."""
FASTEST_RATE: Final = 50.0
"""Requests a second that a probe may send at most: it is no load test. Project default."""
_ABSENT: Final = frozenset({Reason.GATEWAY_PATH, Reason.GATEWAY_NO_RESPONSE})
_NOT_THERE: Final = frozenset({Reason.ILLEGAL_ADDRESS, Reason.ILLEGAL_VALUE})
_MOST_SILENCES: Final = 2  # in a row: the rest of the table is left alone
_MOST_FAILURES: Final = 3  # other exceptions in a row: the same
_MOST_AROUND: Final = 10  # reads for one look at one moment
_BUSY_AGAIN: Final = 2  # so often a read is sent again where the unit says that it is busy


@dataclass(frozen=True, slots=True)
class Look:
    """A value whose byte order is asked for: where it lies, and what it should be near."""

    address: Address
    low: float
    high: float
    expect: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a probe may do. The defaults are project defaults, gentle to whatever else a gateway has to do."""

    units: tuple[int, ...]
    tables: tuple[Table, ...] = TABLES
    first: int = 0
    last: int = 999
    most_reads: int = 120  # of one table
    rate: float = 5.0  # requests a second
    moments: int = 4  # at which a value is read whose byte order is asked for …
    apart_s: float = 0.5  # … so far from each other
    timeout_s: float = 1.0
    again_s: float = 1.0  # before a connection on which nothing was heard is made again
    within_s: float = 600.0
    looks: tuple[Look, ...] = ()
    never: tuple[tuple[Table, int, int], ...] = ()  # never read: first and last register of each

    def forbids(self, table: Table, first: int, count: int) -> bool:
        """True where something in a stretch may never be read."""
        return any(t is table and low < first + count and first <= high for t, low, high in self.never)

    @property
    def most_requests(self) -> int:
        """The most that it can send."""
        of_looks = _MOST_AROUND * self.moments * len(self.looks)
        return len(self.units) * (1 + len(TABLES) + self.most_reads * len(self.tables) + 1) + of_looks

    @property
    def most_seconds(self) -> float:
        """The longest that it can take [s]."""
        rests_s = self.moments * self.apart_s * len(self.looks)
        return min(self.within_s, self.most_requests * max(1 / self.rate, self.timeout_s) + rests_s)


async def probe_line(
    address: str, open_link: Callable[[], Link], asked: Asked, told: Callable[[int, int], None] = lambda *_: None
) -> ModbusProbe:
    """Everything that can be had of a line within the bounds.

    Args:
        address: For the report.
        open_link: Makes a fresh, unconnected link; the line is this program's alone.
        asked: What may be asked.
        told: Requests sent so far and the most that may still come, for a bar.
    Raises:
        LinkLost: it could not be reached at all; the message is a word for it.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    pace = {"timeout_s": asked.timeout_s, "rate": asked.rate, "again_s": asked.again_s}
    asker = Asker(open_link, **pace, end_s=start_s + asked.within_s)
    prober = _Prober(asker, asked, ModbusProbe(address, not_asked=list(asked.units)), told)
    found = prober.found
    try:
        await prober.run()
    except TimeIsOver:
        found.ended = f"not done within {asked.within_s:g} s"
    except LinkLost as lost:
        if not asker.requests:
            raise
        found.ended = str(lost)
    finally:
        asker.close()
    found.requests, found.timeouts, found.late = asker.requests, asker.timeouts, asker.late
    found.connects, found.lost = asker.connects, asker.lost
    found.lost.pop("probe over", None)
    found.seconds = loop.time() - start_s
    for unit in found.units:
        unit.hints += unit_hints(unit)
    found.hints = line_hints(found)
    return found


class _Prober:
    """One probe while it goes on."""

    def __init__(self, asker: Asker, asked: Asked, found: ModbusProbe, told: Callable[[int, int], None]) -> None:
        self._asker, self._asked, self.found, self._told = asker, asked, found, told
        self._tables_left = 0

    async def run(self) -> None:
        for number in self._asked.units:
            await self._scan(number)
            self.found.not_asked.remove(number)
            self._tell()
        for unit in self.found.units:
            unit.tables = {table: TableFound(table) for table in self._asked.tables}
        self._tables_left = len(self.found.units) * len(self._asked.tables)
        for look in self._asked.looks:
            await self._look(look)
        for unit in self.found.units:
            for table in self._asked.tables:
                await self._search(unit, unit.tables[table])
                self._tables_left -= 1
            await self._identify(unit)  # once more: two devices on one address answer by turns

    async def _scan(self, number: int) -> None:
        """Whether a unit is there: by its identity, else by one register of each table until something is heard."""
        unit = UnitFound(number, "identification")
        answer = await self._identify(unit)
        for table in TABLES:
            if answer.heard:
                break
            if self._asked.forbids(table, self._asked.first, 1):
                continue
            unit.by = table.value
            answer = await self._read(unit, table, self._asked.first, 1)
        if not answer.heard:
            self.found.silent.append(number)
        elif answer.reason in _ABSENT:
            self.found.absent.append(number)
        else:
            self.found.units.append(unit)

    async def _identify(self, unit: UnitFound) -> Answer:
        answer = await self._asker.identify(unit.unit)
        self._count(unit, DEVICE_IDENTIFICATION[0], answer)
        if answer.payload is not None:
            unit.identities.add(answer.payload)
            unit.identity = unit.identity or identity_of(answer.payload)
        return answer

    async def _read(self, unit: UnitFound, table: Table, first: int, count: int) -> Answer:
        answer = await self._asker.read(ReadRequest(unit.unit, table, first, count, ()))
        self._count(unit, table.function, answer)
        self._tell()
        return answer

    def _count(self, unit: UnitFound, function: int, answer: Answer) -> None:
        if answer.duration_ms is not None:
            unit.durations_ms.append(answer.duration_ms)
        if answer.word.startswith("exception "):
            unit.exceptions[f"{function}/{answer.word.removeprefix('exception ')}"] += 1
        unit.wrong += answer.reason is Reason.WRONG_REPLY
        unit.timeouts += answer.reason is Reason.TIMEOUT

    async def _search(self, unit: UnitFound, found: TableFound) -> None:
        """Which registers of a table can be read."""
        largest = MAX_BITS if found.table.of_bits else MAX_REGISTERS
        asked = self._asked
        never = [(first, last) for table, first, last in asked.never if table is found.table]
        search = SpanSearch(asked.first, asked.last, largest=largest, most_reads=asked.most_reads, never=never)
        refused: list[tuple[int, int]] = []
        try:
            await self._read_spans(unit, found, search, refused)
        finally:
            found.spans = search.spans()
            stretches = readable(found.spans)
            if stretches:
                found.state = TableState.PRESENT
            within = [
                last - first + 1 for first, last in refused if any(a <= first and last <= b for a, b in stretches)
            ]
            found.too_large = min(within, default=0)

    async def _read_spans(
        self, unit: UnitFound, found: TableFound, search: SpanSearch, refused: list[tuple[int, int]]
    ) -> None:
        silences = failures = 0
        while (span := search.next()) is not None:
            answer = await self._read(unit, found.table, span.first, span.count)
            for _ in range(_BUSY_AGAIN):
                if answer.reason is Reason.DEVICE_BUSY:
                    answer = await self._read(unit, found.table, span.first, span.count)
            found.reads += 1
            if answer.payload is not None:
                finding, found.largest_read = Finding.READ, max(found.largest_read, span.count)
            elif answer.reason in _NOT_THERE:
                finding, found.state = Finding.REFUSED, TableState.REFUSED
                refused.append((span.first, span.last))
            else:
                finding = Finding.FAILED
            search.take(span, finding)
            silences = 0 if answer.heard else silences + 1
            failures = failures + 1 if finding is Finding.FAILED else 0
            if failures and found.state is TableState.NOT_ASKED:
                found.state = TableState.SILENT if silences else TableState.FAILED
            if answer.reason is Reason.ILLEGAL_FUNCTION or answer.reason in _ABSENT:
                found.state = TableState.NO_FUNCTION
                search.end()
            elif silences >= _MOST_SILENCES or failures >= _MOST_FAILURES:
                found.state = TableState.SILENT if silences else TableState.FAILED
                search.end()

    async def _look(self, look: Look) -> None:
        """Reads around a value, at several moments, and ranks what it may be, also one register to either side."""
        unit = next((unit for unit in self.found.units if unit.unit == look.address.unit), None)
        if unit is None:
            return
        moments: list[Mapping[int, int]] = []
        try:
            for number in range(self._asked.moments):
                if number:
                    await asyncio.sleep(self._asked.apart_s)
                words = await self._words(unit, look)
                if not words:
                    break
                moments.append(words)
        finally:  # what was read before the probe's time was over is ranked all the same
            low, high, expect = look.low, look.high, look.expect
            unit.byte_orders.append(candidates(moments, look.address, low=low, high=high, expect=expect))

    async def _words(self, unit: UnitFound, look: Look) -> Mapping[int, int]:
        """Registers around a value, as far as the device has them."""
        words: dict[int, int] = {}
        for first, count in _around(look.address.register):
            if words.keys() >= set(range(first, first + count)) or first + count > MAX_REGISTER + 1:
                continue
            if self._asked.forbids(look.address.table, first, count):
                continue
            answer = await self._read(unit, look.address.table, first, count)
            if answer.payload is not None:
                data = answer.payload
                words |= {first + at: int.from_bytes(data[2 * at : 2 * at + 2], "big") for at in range(count)}
        return words

    def _tell(self) -> None:
        left = len(self.found.not_asked) + self._tables_left * self._asked.most_reads
        self._told(self._asker.requests, self._asker.requests + left)


def _around(register: int) -> Sequence[tuple[int, int]]:
    """Reads that cover a value of up to four registers and one register to either side, the widest first."""
    before, behind = max(register - 1, 0), register + 1
    whole = (before, behind + 4 - before)
    return (whole, *((first, count) for count in (4, 2, 1) for first in (register, before, behind)))
