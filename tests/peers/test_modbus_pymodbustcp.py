"""A server of other people's making: pyModbusTCP, blocking and threaded, on loopback."""

import asyncio
import struct
from collections.abc import Iterator

import pytest
from modbus_points import modbus_point, modbus_source
from modbus_proxy import DecodingProxy
from modbus_streams import Seen, Watch
from pyModbusTCP.server import DataBank, ModbusServer

from mines.model import Point
from mines.quality import Reason, Severity

PERIOD_S = 0.1


def words(packed: bytes) -> list[int]:
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


@pytest.fixture
def server() -> Iterator[ModbusServer]:
    bank = DataBank(h_regs_size=200, i_regs_size=200, coils_size=64, d_inputs_size=64)
    bank.set_holding_registers(10, words(struct.pack(">fdiQ", 1.5, -2.25, -7, 1 << 40)))
    bank.set_input_registers(20, words(struct.pack(">hH", -3, 0x8001)))
    bank.set_coils(3, [True, False, True])
    bank.set_discrete_inputs(9, [True])
    server = ModbusServer("127.0.0.1", 0, no_block=True, data_bank=bank)
    server.start()
    yield server
    server.stop()


def port_of(server: ModbusServer) -> int:
    port: int = server._service.server_address[1]
    return port


POINTS = [
    (modbus_point("1/holding/10", "float32", period_s=PERIOD_S), 1.5),
    (modbus_point("1/holding/12", "float64", period_s=PERIOD_S), -2.25),
    (modbus_point("1/holding/16", "int32", period_s=PERIOD_S), -7.0),
    (modbus_point("1/holding/18", "uint64", period_s=PERIOD_S), float(1 << 40)),
    (modbus_point("1/input/20", "int16", scale=0.1, period_s=PERIOD_S), -0.3),
    (modbus_point("1/input/21.15", "bool", period_s=PERIOD_S), 1.0),
    (modbus_point("1/input/21.1", "bool", period_s=PERIOD_S), 0.0),
    (modbus_point("1/coil/3", "bool", period_s=PERIOD_S), 1.0),
    (modbus_point("1/coil/4", "bool", period_s=PERIOD_S), 0.0),
    (modbus_point("1/coil/5", "bool", period_s=PERIOD_S), 1.0),
    (modbus_point("1/discrete/9", "bool", period_s=PERIOD_S), 1.0),
]


def read(points: list[Point], port: int, cycles: int = 2) -> Seen:
    async def watch() -> Seen:
        async with Watch(modbus_source(points, port, timeout_s=1.0)) as watch:
            return await watch.until(lambda seen: len(seen.batches) >= cycles)

    return asyncio.run(asyncio.wait_for(watch(), 10))


def test_every_table_and_type_is_read(server):
    seen = read([point for point, _ in POINTS], port_of(server))
    for index, (point, value) in enumerate(POINTS):
        assert seen.last(index) == (value, Severity.GOOD, Reason.NONE), point.address


def test_an_address_that_the_server_does_not_have_is_bad_and_its_neighbours_are_good(server):
    points = [
        modbus_point("1/holding/10", "float32", period_s=PERIOD_S),
        modbus_point("1/holding/5000", period_s=PERIOD_S),
        modbus_point("1/coil/60000", "bool", period_s=PERIOD_S),
        modbus_point("1/discrete/9", "bool", period_s=PERIOD_S),
    ]
    seen = read(points, port_of(server), cycles=4)
    assert seen.last(0) == (1.5, Severity.GOOD, Reason.NONE)
    assert seen.last(1)[2] is Reason.ILLEGAL_ADDRESS
    assert seen.last(2)[2] is Reason.ILLEGAL_ADDRESS
    assert seen.last(3) == (1.0, Severity.GOOD, Reason.NONE)
    assert seen.states(1)[-1] == "degraded"


def test_values_change_when_the_device_changes_them(server):
    async def test() -> None:
        point = modbus_point("1/holding/30", "uint16", period_s=PERIOD_S)
        async with Watch(modbus_source([point], port_of(server))) as watch:
            for value in (1, 2, 3):
                server.data_bank.set_holding_registers(30, [value])
                await watch.until(lambda seen, value=value: bool(seen.batches) and seen.last(0)[0] == value)

    asyncio.run(asyncio.wait_for(test(), 10))


def test_it_is_sent_nothing_but_reads(server):
    with DecodingProxy("127.0.0.1", port_of(server)) as proxy:
        read([point for point, _ in POINTS], proxy.port)
    assert proxy.read_only
    assert proxy.functions.keys() == {1, 2, 3, 4}
