"""Sources on the bench: each kind of source with a real device behind a cable that a test can cut and mend.

A new kind of source is one function here and one line in RIGS: the contract of `mines/source.py` is then held over it
(tests/field/test_source_contract.py). Protocol libraries are loaded by the rig that needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from rtu_devices import RtuLine, RtuRequest, Wire

from mines.source import Source

PERIOD_S = 0.1


class Cable:
    """The TCP way to a device. Cut, it refuses connections; mended, it listens on the same port again."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._tasks)

    async def mend(self) -> None:
        """Listens and forwards."""
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Ends every connection and refuses new ones."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target_port)
            async with asyncio.TaskGroup() as both:
                both.create_task(_forward(reader, far))
                both.create_task(_forward(far_reader, writer))
        except (OSError, asyncio.CancelledError, BaseExceptionGroup):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError("one side has closed")


@dataclass(frozen=True)
class Rig:
    """A source with period `PERIOD_S`, three points that can be read, and one, the last, that cannot."""

    source: Source
    cable: Cable | SerialCable

    @property
    def readable(self) -> list[int]:
        """Indices of the points that have values."""
        return list(range(len(self.source.points) - 1))

    @property
    def unreadable(self) -> int:
        """Index of the point that the device refuses."""
        return len(self.source.points) - 1


@asynccontextmanager
async def _cable_to(port: int) -> AsyncGenerator[Cable]:
    cable = Cable(port)
    await cable.mend()
    try:
        yield cable
    finally:
        await cable.cut()


@asynccontextmanager
async def modbus_rig() -> AsyncGenerator[Rig]:
    """A Modbus TCP device that refuses register 500."""
    from modbus_devices import Connection, Device, Request
    from modbus_points import modbus_point, modbus_source

    def refuses_500(request: Request, connection: Connection) -> None:
        connection.send(request.refusal(2) if request.first == 500 else request.reply())

    points = [modbus_point(f"1/holding/{register}", period_s=PERIOD_S) for register in (3, 1, 7, 500)]
    async with Device(refuses_500) as device, _cable_to(device.port) as cable:
        yield Rig(modbus_source(points, cable.port), cable)


@asynccontextmanager
async def opcua_rig(read: str = "subscribe") -> AsyncGenerator[Rig]:
    """An asyncua server without one of the nodes."""
    from opcua_mine import MINE_URI, new_name, point, quick_source, the_mine

    mine = the_mine()
    addresses = [mine.add(new_name(), float(number)) for number in range(3)]
    addresses.append(f"nsu={MINE_URI};s=is not there")
    points = [point(f"p{number}", address, PERIOD_S) for number, address in enumerate(addresses)]
    async with _cable_to(mine.port) as cable:
        yield Rig(quick_source(f"opc.tcp://127.0.0.1:{cable.port}/mine", points, read=read), cable)


class SerialCable:
    """The way to a serial line. Cut, the port is gone, as with a USB adapter that is pulled."""

    connections = 0
    """The port itself stands for it: nothing else is held."""

    def __init__(self, line: RtuLine) -> None:
        self._line = line

    async def cut(self) -> None:
        """Pulls the adapter."""
        self._line.unplug()

    async def mend(self) -> None:
        """Plugs it in again."""
        self._line.plug()


def _refuses_500(request: RtuRequest, wire: Wire) -> None:
    wire.send(request.refusal(2) if request.first == 500 else request.reply())


@asynccontextmanager
async def serial_rig() -> AsyncGenerator[Rig]:
    """A device on a serial line."""
    from modbus_points import modbus_point, modbus_source

    from connectors.modbus.transport import SerialTransport

    points = [modbus_point(f"1/holding/{register}", period_s=PERIOD_S) for register in (3, 1, 7, 500)]
    async with RtuLine(_refuses_500) as line:
        transport = SerialTransport(line.path, baud=115_200, parity="N")
        yield Rig(modbus_source(points, transport=transport), SerialCable(line))


@asynccontextmanager
async def passive_rig() -> AsyncGenerator[Rig]:
    """A serial line that another master polls; its device refuses register 500."""
    from modbus_points import listening_source, modbus_point
    from rtu_devices import ForeignMaster

    points = [modbus_point(f"1/holding/{register}", period_s=PERIOD_S) for register in (3, 1, 7, 500)]
    async with RtuLine() as line, ForeignMaster(line, PERIOD_S, (1, 1, 7), (1, 500, 1)):
        yield Rig(listening_source(points, line.path), SerialCable(line))
        assert line.sent == b""


RIGS: dict[str, Callable[[], AbstractAsyncContextManager[Rig]]] = {
    "modbus": modbus_rig,
    "modbus_serial": serial_rig,
    "modbus_passive": passive_rig,
    "opcua": opcua_rig,
    "opcua_polled": partial(opcua_rig, "poll"),
}
"""By name; one entry a kind of source."""
