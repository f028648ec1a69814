"""Registers and bits that the traffic touched, by server, unit and table: for the report and for a draft site. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from connectors.captures.modbus_pairs import Exchange
from connectors.captures.modbus_wire import Access, read_access, reply_data, write_access
from connectors.captures.tcp_packets import Endpoint, endpoint_text

TableKey = tuple[Endpoint, int, str]
"""Server, unit, table."""

BIT_TABLES = frozenset({"coil", "discrete"})
_MOST_BITS, _MOST_REGISTERS, _LAST_ADDRESS = 2000, 125, 0xFFFF
_FLOAT_LOW, _FLOAT_HIGH = 1e-3, 1e7


@dataclass(slots=True)
class _Block:
    """One request that was answered, again and again: when it was asked [ns], the words of its latest good reply."""

    asked_ns: list[int] = field(default_factory=list)
    words: tuple[int, ...] = ()


@dataclass(slots=True)
class _Table:
    """`blocks` by (first, count); read and written registers by number, with how often."""

    blocks: dict[tuple[int, int], _Block] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    writes: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadRegister:
    """One register or bit that was asked for and answered, be it by an exception. `period_s` is None where that
    happened only once."""

    server: Endpoint
    unit: int
    table: str
    register: int
    period_s: float | None


class RegisterMap:
    """Collects what requests touch."""

    def __init__(self) -> None:
        self._tables: dict[TableKey, _Table] = {}

    def add(self, server: Endpoint, exchange: Exchange) -> None:
        """One exchange: writes count where they were sent, reads where they were answered."""
        if exchange.request is None:
            return
        written = write_access(exchange.request)
        if written is not None:
            _count(self._table(server, exchange.unit, written.table).writes, written)
        access = read_access(exchange.request)
        if access is None or exchange.reply is None or not exchange.sure or not _is_possible(access):
            return
        table = self._table(server, exchange.unit, access.table)
        block = table.blocks.setdefault((access.first, access.count), _Block())
        block.asked_ns.append(exchange.time_ns)
        data = reply_data(exchange.request, exchange.reply)
        if data is None:
            return
        _count(table.reads, access)
        if access.table not in BIT_TABLES:
            block.words = struct.unpack(f">{access.count}H", data)

    def read_registers(self) -> Iterator[ReadRegister]:
        """Every register that was answered, ordered by server, unit, table and number."""
        for (server, unit, name), table in sorted(self._tables.items()):
            for register, period_s in sorted(_periods(table).items()):
                yield ReadRegister(server, unit, name, register, None if math.isinf(period_s) else period_s)

    def document(self) -> list[dict[str, Any]]:
        """Runs of registers that were touched alike: server, unit, table, first, last, reads, writes and, for what was
        read, `guess`: the type of the run's first register by its latest words. A guess is no map."""
        return [
            {"server": endpoint_text(server), "unit": unit, "table": name, **run}
            for (server, unit, name), table in sorted(self._tables.items())
            for run in _runs(table, name)
        ]

    def _table(self, server: Endpoint, unit: int, name: str) -> _Table:
        return self._tables.setdefault((server, unit, name), _Table())


def _count(counts: dict[int, int], access: Access) -> None:
    for register in range(access.first, min(access.first + access.count, _LAST_ADDRESS + 1)):
        counts[register] = counts.get(register, 0) + 1


def _is_possible(access: Access) -> bool:
    """Whether a device may answer this at all: no more than one reply holds, none beyond the last address."""
    most = _MOST_BITS if access.table in BIT_TABLES else _MOST_REGISTERS
    return 1 <= access.count <= most and access.first + access.count - 1 <= _LAST_ADDRESS


def _periods(table: _Table) -> dict[int, float]:
    """Median time between two reads of each register [s]; the shortest, where several requests cover it; inf where it
    was read once."""
    periods: dict[int, float] = {}
    for (first, count), block in table.blocks.items():
        times = sorted(block.asked_ns)
        steps = [later - earlier for earlier, later in pairwise(times)]
        period_s = median(steps) / 1e9 if steps else math.inf
        for register in range(first, first + count):
            periods[register] = min(period_s, periods.get(register, math.inf))
    return periods


def _runs(table: _Table, name: str) -> Iterator[dict[str, Any]]:
    guesses = {} if name in BIT_TABLES else _guesses(table)
    run: dict[str, Any] = {}
    for register in sorted(table.reads.keys() | table.writes.keys()):
        reads, writes = table.reads.get(register, 0), table.writes.get(register, 0)
        guess = None if not reads else "bool" if name in BIT_TABLES else guesses.get(register, "uint16")
        alike = run and run["last"] == register - 1 and (run["reads"], run["writes"]) == (reads, writes)
        if alike and run["guess"] == guess:
            run["last"] = register
            continue
        if run:
            yield run
        run = {"first": register, "last": register, "reads": reads, "writes": writes, "guess": guess}
    if run:
        yield run


def _guesses(table: _Table) -> dict[int, str]:
    """Registers that look like more than a plain uint16."""
    guesses: dict[int, str] = {}
    for (first, _), block in sorted(table.blocks.items()):
        at = 0
        while at < len(block.words):
            guess = _guess(block.words, at)
            width = 2 if guess == "float32" else 1
            if guess is not None:
                guesses.update(dict.fromkeys(range(first + at, first + at + width), guess))
            at += width
    return guesses


def _guess(words: tuple[int, ...], at: int) -> str | None:
    if at + 1 < len(words):
        (number,) = struct.unpack(">f", struct.pack(">HH", words[at], words[at + 1]))
        if math.isfinite(number) and _FLOAT_LOW <= abs(number) <= _FLOAT_HIGH:
            return "float32"
    return "int16" if words[at] >= 0xFF00 and words[at] != 0xFFFF else None
