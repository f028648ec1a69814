"""A Modbus TCP device on raw asyncio sockets that behaves as a test tells it to, bad manners included.

It shares no code with the client. Unless told otherwise every register holds `content(unit, function, address)`, which
differs for every unit, table and address, so that a value that stands under another point's name shows itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass


def content(unit: int, function: int, address: int) -> int:
    """What a register holds: its own address, unit and table. Units below 8, addresses below 4096."""
    return ((unit & 7) << 13) | ((function & 1) << 12) | (address & 0xFFF)


def bit_content(unit: int, function: int, address: int) -> int:
    """What a coil or discrete input holds."""
    return (content(unit, function, address) * 0x9E37 >> 7) & 1


@dataclass(frozen=True, slots=True)
class Request:
    """One read request as it came; `number` counts all requests of the device from 1."""

    number: int
    transaction: int
    unit: int
    function: int
    first: int
    count: int

    def data(self) -> bytes:
        """The data bytes of a proper reply."""
        addresses = range(self.first, self.first + self.count)
        if self.function in (3, 4):
            return b"".join(struct.pack(">H", content(self.unit, self.function, a)) for a in addresses)
        bits = [bit_content(self.unit, self.function, a) for a in addresses]
        packed = sum(bit << at for at, bit in enumerate(bits))
        return packed.to_bytes((self.count + 7) // 8, "little")

    def reply(self, data: bytes | None = None) -> bytes:
        """A proper frame with these data bytes, its own by default."""
        data = self.data() if data is None else data
        return self.frame(bytes([self.function, len(data)]) + data)

    def refusal(self, code: int) -> bytes:
        """An exception frame."""
        return self.frame(bytes([self.function | 0x80, code]))

    def frame(self, pdu: bytes, *, transaction: int | None = None, unit: int | None = None, protocol: int = 0) -> bytes:
        """A frame around a PDU, with what a test wants to be wrong in it."""
        transaction = self.transaction if transaction is None else transaction
        unit = self.unit if unit is None else unit
        return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit) + pdu


class Connection:
    """The device's end of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def send(self, data: bytes) -> None:
        """Writes bytes as they are."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def dribble(self, data: bytes, gap_s: float) -> None:
        """Writes byte by byte."""
        for byte in data:
            self.send(bytes([byte]))
            await asyncio.sleep(gap_s)

    def close(self) -> None:
        """Closes politely (FIN)."""
        self._writer.close()

    def reset(self) -> None:
        """Closes with RST."""
        sock = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # closed by the other side already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Behaviour = Callable[[Request, Connection], Awaitable[None] | None]


def answer(request: Request, connection: Connection) -> None:
    """The behaviour of a good device."""
    connection.send(request.reply())


class Device:
    """Listens on loopback within the running loop; each request is handed to `behave`, one after the other."""

    def __init__(self, behave: Behaviour = answer) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], Connection] = {}

    async def __aenter__(self) -> Device:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens; on the port of the first time when it is started again."""
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening and resets every connection."""
        if self._server is not None:
            self._server.close()
        self.reset_all()
        for task in list(self._open):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.sleep(0)

    def reset_all(self) -> None:
        """RST on every connection."""
        for connection in self._open.values():
            connection.reset()

    @property
    def open_connections(self) -> int:
        """Connections that stand."""
        return len(self._open)

    def asked(self, unit: int) -> list[Request]:
        """Requests to one unit so far."""
        return [request for request in self.requests if request.unit == unit]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its end."""
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(writer)
        self._open[task] = connection
        self.connections += 1
        try:
            while True:
                header = await reader.readexactly(8)
                transaction, _, length, unit, function = struct.unpack(">HHHBB", header)
                body = await reader.readexactly(length - 2)
                first, count = struct.unpack(">HH", body[:4])
                request = Request(len(self.requests) + 1, transaction, unit, function, first, count)
                self.requests.append(request)
                done = self.behave(request, connection)
                if done is not None:
                    await done
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            writer.close()


def one_by_one(steps: Iterable[Behaviour], then: Behaviour = answer) -> Behaviour:
    """The first request gets the first behaviour, and so on; all others get `then`."""
    remaining = list(steps)

    def behave(request: Request, connection: Connection) -> Awaitable[None] | None:
        return (remaining.pop(0) if remaining else then)(request, connection)

    return behave
