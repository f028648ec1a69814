"""A Modbus TCP device that a probe looks at: units with registers at chosen addresses, an identity, and bad manners.

It shares no code with the client. `async with ProbedDevice({1: Unit(...)}) as device: device.port`.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_HEADER = struct.Struct(">HHHBB")


@dataclass
class Unit:
    """One unit: `tables` is function → address → value."""

    tables: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    identity: Mapping[int, bytes] | None = None
    most: int = 125  # registers in one read; more is exception 3
    silent_for: frozenset[int] = frozenset()  # functions that it ignores
    exception: int = 0  # to everything

    def answer(self, function: int, body: bytes) -> bytes | None:
        if function in self.silent_for:
            return None
        if self.exception:
            return bytes([function | 0x80, self.exception])
        if function == 43:
            if self.identity is None:
                return bytes([function | 0x80, 1])
            objects = b"".join(bytes([number, len(text)]) + text for number, text in self.identity.items())
            return bytes([43, 14, 1, 1, 0, 0, len(self.identity)]) + objects
        if function not in self.tables:
            return bytes([function | 0x80, 1])
        first, count = struct.unpack(">HH", body)
        if count > self.most:
            return bytes([function | 0x80, 3])
        table = self.tables[function]
        if not set(range(first, first + count)) <= table.keys():
            return bytes([function | 0x80, 2])
        values = [table[address] for address in range(first, first + count)]
        if function < 3:
            packed = sum((value & 1) << at for at, value in enumerate(values)).to_bytes((count + 7) // 8, "little")
        else:
            packed = b"".join(struct.pack(">H", value) for value in values)
        return bytes([function, len(packed)]) + packed


class ProbedDevice:
    """Listens on loopback in the running loop. Units that it does not have get exception `missing`, 0 = silence."""

    def __init__(self, units: Mapping[int, Unit], *, missing: int = 0) -> None:
        self.units = dict(units)
        self.missing = missing
        self.zero_transaction = False
        self.double = False  # every answer twice
        self.hangs_up_on: frozenset[int] = frozenset()  # functions
        self.hangs_up_on_missing = False
        self.garbage_once = False  # the next answer is no Modbus
        self.asked: Counter[tuple[int, int]] = Counter()  # (unit, function)
        self.times_s: list[float] = []
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ProbedDevice:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop_connections(self) -> None:
        """Ends every connection at once."""
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while True:
                transaction, _, length, unit, function = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                body = await reader.readexactly(length - 2)
                self.asked[unit, function] += 1
                self.times_s.append(asyncio.get_running_loop().time())
                if function in self.hangs_up_on or (self.hangs_up_on_missing and unit not in self.units):
                    return
                if self.garbage_once:
                    self.garbage_once = False
                    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    continue
                pdu = self._pdu(unit, function, body)
                if pdu is not None:
                    transaction = 0 if self.zero_transaction else transaction
                    frame = struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu
                    writer.write(frame * (2 if self.double else 1))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def _pdu(self, unit: int, function: int, body: bytes) -> bytes | None:
        if unit not in self.units:
            return bytes([function | 0x80, self.missing]) if self.missing else None
        return self.units[unit].answer(function, body)


def registers(first: int, *values: int) -> dict[int, int]:
    """Values from an address on."""
    return {first + at: value for at, value in enumerate(values)}


def words(packed: bytes) -> list[int]:
    """Big-endian bytes as registers."""
    return list(struct.unpack(f">{len(packed) // 2}H", packed))
