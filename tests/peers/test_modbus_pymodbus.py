"""pymodbus' own server on loopback: an independent encoder of registers, float orders and exceptions."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import pytest
from modbus_points import free_port, modbus_point, modbus_source
from modbus_streams import Watch
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from mines.quality import Reason, Severity, reason_of

PERIOD_S = 0.1
EXCEPTIONS = {
    ExcCodes.ILLEGAL_FUNCTION: Reason.ILLEGAL_FUNCTION,
    ExcCodes.ILLEGAL_ADDRESS: Reason.ILLEGAL_ADDRESS,
    ExcCodes.ILLEGAL_VALUE: Reason.ILLEGAL_VALUE,
    ExcCodes.DEVICE_FAILURE: Reason.DEVICE_FAILURE,
    ExcCodes.DEVICE_BUSY: Reason.DEVICE_BUSY,
    ExcCodes.GATEWAY_PATH_UNAVIABLE: Reason.GATEWAY_PATH,
    ExcCodes.GATEWAY_NO_RESPONSE: Reason.GATEWAY_NO_RESPONSE,
}


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 15)

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def serving(device: SimDevice, port: int = 0) -> AsyncGenerator[int]:
    port = port or free_port()
    server = ModbusTcpServer(device, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()


def test_values_that_pymodbus_encodes_are_decoded():
    device = SimDevice(
        1,
        simdata=[
            SimData(10, values=[1.5, -2.5], datatype=DataType.FLOAT32),
            SimData(20, values=[-3.0e100], datatype=DataType.FLOAT64),
            SimData(30, values=[-5, 6], datatype=DataType.INT16),
            SimData(40, values=[-70_000], datatype=DataType.INT32),
            SimData(50, values=[1 << 50], datatype=DataType.UINT64),
        ],
    )
    cases = [
        ("1/holding/10", "float32", 1.5),
        ("1/holding/12", "float32", -2.5),
        ("1/holding/20", "float64", -3.0e100),
        ("1/input/30", "int16", -5.0),
        ("1/input/31", "int16", 6.0),
        ("1/holding/40", "int32", -70_000.0),
        ("1/holding/50", "uint64", float(1 << 50)),
    ]

    async def test() -> None:
        points = [modbus_point(address, data_type, period_s=PERIOD_S) for address, data_type, _ in cases]
        async with serving(device) as port, Watch(modbus_source(points, port, timeout_s=1.0)) as watch:
            seen = await watch.cycles(2)
            for index, (address, _, value) in enumerate(cases):
                assert seen.last(index) == (value, Severity.GOOD, Reason.NONE), address

    run(test())


@pytest.mark.parametrize("code", EXCEPTIONS, ids=lambda code: code.name)
def test_every_exception_that_the_server_can_give_has_its_reason(code):
    async def refuse(function, start, address, count, registers, values):
        return code if address == 7 else None

    device = SimDevice(1, simdata=[SimData(0, values=[0] * 100, datatype=DataType.REGISTERS)], action=refuse)

    async def test() -> None:
        points = [modbus_point("1/holding/7", period_s=PERIOD_S)]
        async with serving(device) as port, Watch(modbus_source(points, port, timeout_s=1.0)) as watch:
            seen = await watch.cycles(3)
            assert {reason_of(int(word)) for batch in seen.batches for word in batch.quality} == {EXCEPTIONS[code]}
            assert seen.report(1).reconnects == 0

    run(test())


def test_a_server_that_goes_and_returns_is_read_again():
    def device() -> SimDevice:
        return SimDevice(1, simdata=[SimData(0, values=[41], datatype=DataType.REGISTERS)])

    async def test() -> None:
        port = free_port()
        source = modbus_source([modbus_point("1/holding/0", period_s=PERIOD_S)], port, timeout_s=1.0)
        async with Watch(source) as watch:
            await watch.until(lambda seen: seen.states(1)[-1:] == ["lost"])
            for _ in range(2):
                async with serving(device(), port):
                    await watch.until(lambda seen: seen.states(1)[-1:] == ["good"])
                    assert (await watch.cycles(1)).last(0) == (41.0, Severity.GOOD, Reason.NONE)
                await watch.until(lambda seen: seen.states(1)[-1:] == ["lost"])
            assert watch.seen.report(1).reconnects == 1

    run(test())
