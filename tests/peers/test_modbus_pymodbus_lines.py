"""pymodbus' own servers behind every transport: a serial line, RTU through TCP, TLS. Independent framers."""

import asyncio
import contextlib
import os
import ssl
import tty
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from modbus_points import free_port, modbus_point, modbus_source
from modbus_streams import Watch
from pymodbus import ModbusDeviceIdentification
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice
from tls_papers import Authority

from connectors.modbus.links import open_link
from connectors.modbus.transport import SerialTransport, TcpTransport, TlsFiles, Transport
from mines.clock import SystemClock
from mines.quality import Reason, Severity

PERIOD_S = 0.2
CASES = [("7/holding/10", "float32", 1.5), ("7/holding/12", "float32", -2.5), ("7/input/30", "int16", -5.0)]
NAMES = ["ACREL" * 20, "ADW300" * 18, "V1.2" * 20]
IDENTITY = ModbusDeviceIdentification(dict(enumerate(NAMES)))
"""Too long for one reply."""


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 20)

    asyncio.run(bounded())


def device() -> SimDevice:
    floats = SimData(10, values=[1.5, -2.5], datatype=DataType.FLOAT32)
    return SimDevice(7, simdata=[floats, SimData(30, values=[-5, 6], datatype=DataType.INT16)])


@contextlib.contextmanager
def a_cable(folder: Path):
    """Two serial ports, what goes into one comes out of the other."""
    loop, ends = asyncio.get_running_loop(), [os.openpty(), os.openpty()]

    def forward(source: int, target: int) -> None:
        with contextlib.suppress(OSError):
            os.write(target, os.read(source, 4096))

    for at, (master, slave) in enumerate(ends):
        tty.setraw(slave)
        loop.add_reader(master, forward, master, ends[1 - at][0])
    yield [os.ttyname(slave) for _, slave in ends]
    for master, slave in ends:
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


@contextlib.asynccontextmanager
async def serial_line(folder: Path) -> AsyncGenerator[Transport]:
    with a_cable(folder) as (theirs, ours):
        server = ModbusSerialServer(device(), port=theirs, baudrate=115_200, identity=IDENTITY)
        async with running(server):
            yield SerialTransport(ours, baud=115_200, parity="N")


@contextlib.asynccontextmanager
async def rtu_through_tcp(folder: Path) -> AsyncGenerator[Transport]:
    port = free_port()
    server = ModbusTcpServer(device(), address=("127.0.0.1", port), framer=FramerType.RTU, identity=IDENTITY)
    async with running(server):
        yield TcpTransport("127.0.0.1", port, framing="rtu")


@contextlib.asynccontextmanager
async def plain_tcp(folder: Path) -> AsyncGenerator[Transport]:
    port = free_port()
    async with running(ModbusTcpServer(device(), address=("127.0.0.1", port), identity=IDENTITY)):
        yield TcpTransport("127.0.0.1", port)


@contextlib.asynccontextmanager
async def within_tls(folder: Path) -> AsyncGenerator[Transport]:
    authority, port = Authority(folder, "authority"), free_port()
    paper, box = authority.sign("server", hosts=("127.0.0.1",)), authority.sign("box")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paper.certificate, paper.key)
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ModbusTlsServer(device(), address=("127.0.0.1", port), sslctx=context, identity=IDENTITY)
    async with running(server):
        yield TcpTransport("127.0.0.1", port, tls=TlsFiles(authority.path, box.certificate, box.key))


@contextlib.asynccontextmanager
async def running(server: Any) -> AsyncGenerator[None]:
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()


WAYS = {"serial": serial_line, "rtu through tcp": rtu_through_tcp, "tls": within_tls, "tcp": plain_tcp}
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_values_that_pymodbus_serves_are_read(way, tmp_path):
    async def test() -> None:
        async with WAYS[way](tmp_path) as transport:
            points = [modbus_point(address, kind, period_s=PERIOD_S) for address, kind, _ in CASES]
            async with Watch(modbus_source(points, transport=transport, timeout_s=1.0)) as watch:
                seen = await watch.cycles(3, 10)
                for at, (_, _, value) in enumerate(CASES):
                    assert seen.last(at) == (value, Severity.GOOD, Reason.NONE)
                    assert set(seen.reasons(at)) == {Reason.NONE}

    run(test())


@every_way
def test_what_pymodbus_says_of_itself_is_read(way, tmp_path):
    async def test() -> None:
        async with WAYS[way](tmp_path) as transport:
            link = open_link(transport, clock=SystemClock())
            assert await link.connect(), link.error
            answer = await link.identify(7, 2.0)
            link.close("test over")
            await asyncio.sleep(0.01)
            assert answer.reason is Reason.NONE
            objects = b"".join(bytes([at, len(name)]) + name.encode() for at, name in enumerate(NAMES))
            assert answer.payload[2:] == bytes([0, 0, 3]) + objects

    run(test())
