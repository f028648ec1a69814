"""Modbus RTU devices that behave as a test tells them to: on a serial line (a pseudo-terminal) and behind TCP.

They share no code with the client. Unless told otherwise every register holds `content(unit, function, address)` of
tests/support/modbus_devices.py, so that a value that stands under another point's name shows itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import tty
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from modbus_devices import Request as MbapRequest


def crc(data: bytes) -> bytes:
    """CRC-16 of Modbus, low byte first, bit by bit as the standard's appendix tells it."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xA001 if register & 1 else 0)
    return struct.pack("<H", register)


def framed(body: bytes) -> bytes:
    """Unit, function and data with their CRC."""
    return body + crc(body)


@dataclass(frozen=True, slots=True)
class RtuRequest:
    """One request as it came; `number` counts all requests of the line from 1."""

    number: int
    raw: bytes

    @property
    def unit(self) -> int:
        return self.raw[0]

    @property
    def function(self) -> int:
        return self.raw[1]

    @property
    def first(self) -> int:
        return int.from_bytes(self.raw[2:4], "big")

    @property
    def count(self) -> int:
        return int.from_bytes(self.raw[4:6], "big")

    def data(self) -> bytes:
        """The data bytes of a proper reply."""
        return MbapRequest(0, 0, self.unit, self.function, self.first, self.count).data()

    def reply(self, data: bytes | None = None, *, unit: int | None = None, function: int | None = None) -> bytes:
        """A proper frame with these data bytes, its own by default, with what a test wants to be wrong in it."""
        data = self.data() if data is None else data
        unit = self.unit if unit is None else unit
        return framed(bytes([unit, self.function if function is None else function, len(data)]) + data)

    def refusal(self, code: int) -> bytes:
        """An exception frame."""
        return framed(bytes([self.unit, self.function | 0x80, code]))


class Wire:
    """The device's end of a line or connection."""

    def __init__(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        self._write = write
        self.close = close

    def send(self, *pieces: bytes) -> None:
        """Writes bytes as they are."""
        for piece in pieces:
            self._write(piece)

    async def dribble(self, data: bytes, *, size: int = 1, gap_s: float = 0.001) -> None:
        """Writes a few bytes at a time."""
        for at in range(0, len(data), size):
            self._write(data[at : at + size])
            await asyncio.sleep(gap_s)


Behaviour = Callable[[RtuRequest, Wire], Awaitable[None] | None]


def answer(request: RtuRequest, wire: Wire) -> None:
    """The behaviour of a good device."""
    wire.send(request.reply())


def silent(request: RtuRequest, wire: Wire) -> None:
    """The behaviour of a dead one."""


def one_by_one(steps: Iterable[Behaviour], then: Behaviour = answer) -> Behaviour:
    """The first request gets the first behaviour, and so on; all others get `then`."""
    remaining = list(steps)
    return lambda request, wire: (remaining.pop(0) if remaining else then)(request, wire)


class _Devices:
    """What both kinds share: requests in, behaviour out."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.requests: list[RtuRequest] = []
        self.times_s: list[float] = []
        """Loop times of the requests."""
        self.sent = b""
        """Every byte that the box sent."""
        self._tasks: set[asyncio.Future[None]] = set()

    def asked(self, unit: int) -> list[RtuRequest]:
        """Requests to one unit so far."""
        return [request for request in self.requests if request.unit == unit]

    def take(self, pending: bytes, wire: Wire) -> bytes:
        """Cuts whole requests off what has come; returns the rest."""
        while len(pending) >= 4:
            length = 7 if pending[1] == 43 else 8
            if len(pending) < length:
                break
            raw, pending = pending[:length], pending[length:]
            assert crc(raw[:-2]) == raw[-2:], raw.hex(" ")
            request = RtuRequest(len(self.requests) + 1, raw)
            self.requests.append(request)
            self.times_s.append(asyncio.get_running_loop().time())
            done = self.behave(request, wire)
            if done is not None:
                task = asyncio.ensure_future(done)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return pending

    async def end_tasks(self) -> None:
        """No behaviour goes on."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class RtuLine(_Devices):
    """A serial line on a pseudo-terminal; `path` stays the same when its adapter is unplugged and plugged in again."""

    def __init__(self, behave: Behaviour = answer) -> None:
        super().__init__(behave)
        self._folder = TemporaryDirectory(prefix="line")
        self.path = str(Path(self._folder.name) / "ttyS9")
        self._fds: tuple[int, int] | None = None
        self._pending = b""
        self._wire = Wire(self.send, self.unplug)

    async def __aenter__(self) -> RtuLine:
        self.plug()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.end_tasks()
        self.unplug()
        self._folder.cleanup()

    def plug(self) -> None:
        """The port is there."""
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        Path(self.path).symlink_to(os.ttyname(slave))
        self._fds, self._pending = (master, slave), b""
        asyncio.get_running_loop().add_reader(master, self._readable)

    def unplug(self) -> None:
        """The port goes, as a USB adapter does that is pulled."""
        if self._fds is None:
            return
        asyncio.get_running_loop().remove_reader(self._fds[0])
        for fd in self._fds:
            os.close(fd)
        self._fds = None
        Path(self.path).unlink()

    @property
    def port(self) -> int:
        """The port itself, as a file descriptor."""
        assert self._fds is not None
        return self._fds[1]

    def send(self, data: bytes) -> None:
        """Puts bytes on the line."""
        if self._fds is not None:
            os.write(self._fds[0], data)

    def _readable(self) -> None:
        assert self._fds is not None
        with contextlib.suppress(OSError):
            data = os.read(self._fds[0], 4096)
            self.sent += data
            self._pending = self.take(self._pending + data, self._wire)


class RtuTcpDevice(_Devices):
    """A serial gateway without a protocol of its own: RTU frames through TCP, on loopback."""

    def __init__(self, behave: Behaviour = answer) -> None:
        super().__init__(behave)
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> RtuTcpDevice:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.end_tasks()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def open_connections(self) -> int:
        """Connections that stand."""
        return len(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)

        def write(data: bytes) -> None:
            if not writer.is_closing():
                writer.write(data)

        wire, pending = Wire(write, writer.close), b""
        try:
            while data := await reader.read(4096):
                self.sent += data
                pending = self.take(pending + data, wire)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def asking(unit: int, first: int, count: int, function: int = 3) -> RtuRequest:
    """A read request as a master sends it."""
    return RtuRequest(0, framed(struct.pack(">BBHH", unit, function, first, count)))


class ForeignMaster:
    """Another system that polls a line to which the box listens: its requests and their replies appear on the wire.

    Register 500 is refused with exception 2.

    Args:
        line: Where.
        period_s: It asks everything once in this time.
        asked: Unit, first register and count of each request.
    """

    def __init__(self, line: RtuLine, period_s: float, *asked: tuple[int, int, int]) -> None:
        self._line, self._period_s, self._asked = line, period_s, asked
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ForeignMaster:
        self._task = asyncio.create_task(self._poll())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _poll(self) -> None:
        while True:
            for unit, first, count in self._asked:
                request = asking(unit, first, count)
                self._line.send(request.raw)
                await asyncio.sleep(self._period_s / 20)
                self._line.send(request.refusal(2) if first == 500 else request.reply())
                await asyncio.sleep(self._period_s / 20)
            await asyncio.sleep(self._period_s * (1 - len(self._asked) / 10))


@contextlib.asynccontextmanager
async def two_wires(behave: Behaviour = answer) -> AsyncGenerator[RtuLine]:
    """A line whose adapter hears itself: every request comes back before its reply."""

    def echoing(request: RtuRequest, wire: Wire) -> Awaitable[None] | None:
        wire.send(request.raw)
        return behave(request, wire)

    async with RtuLine(echoing) as line:
        yield line
