"""The simulated Modbus device says what it was told, byte for byte, and refuses what it has not, as devices do."""

from __future__ import annotations

import asyncio
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient

from connectors.simulator.modbus_server import ModbusDevice, ModbusServer, SilentServer
from connectors.simulator.register_image import byte_positions, read_place, unit_images
from connectors.simulator.scenario import SignalState
from mines.model import Point, PointKind, Subsystem


def point(address: str, data_type: str, order: str = "", **more) -> Point:
    return Point(
        id=address.replace("/", "."), name_zh="", name_en="", subsystem=Subsystem.GAS, area="", kind=PointKind.ANALOG,
        unit="", source="s", address=address, period_s=1.0, data_type=data_type, byte_order=order, **more,
    )  # fmt: skip


def wire(one: Point, value: float, state: SignalState = SignalState.GOOD) -> str:
    """The register bytes of a device with this one point, as hex."""
    images = unit_images([one])
    (image,) = images.values()
    image.write(np.array([value]), np.array([state], dtype=np.uint8))
    return bytes(image.registers[read_place(one.address).table]).hex()


GOLDEN = [
    ("uint16", "", {}, 258.0, "0102"),
    ("uint16", "BA", {}, 258.0, "0201"),
    ("uint16", "AB", {"scale": 0.01}, 1.06, "006a"),
    ("int16", "AB", {"scale": 0.1}, -2.5, "ffe7"),
    ("uint16", "AB", {"scale": 0.1, "offset": -40.0}, 26.3, "0297"),
    ("int32", "ABCD", {}, 0x01020304, "01020304"),
    ("int32", "CDAB", {}, 0x01020304, "03040102"),
    ("int32", "BADC", {}, 0x01020304, "02010403"),
    ("uint32", "DCBA", {}, 0x01020304, "04030201"),
    ("float32", "ABCD", {}, 1.0, "3f800000"),
    ("float32", "CDAB", {}, 1.0, "00003f80"),
    ("float32", "BADC", {}, 1.0, "803f0000"),
    ("float32", "DCBA", {}, 1.0, "0000803f"),
    ("float64", "ABCD", {}, 1.0, "3ff0000000000000"),
    ("float64", "CDAB", {}, 1.0, "0000000000003ff0"),
    ("int64", "ABCD", {}, -2.0, "fffffffffffffffe"),
    ("uint64", "DCBA", {}, 258.0, "0201000000000000"),
    ("uint16", "AB", {}, 70_000.0, "ffff"),  # a converter saturates
    ("int16", "AB", {}, -40_000.0, "8000"),
]


@pytest.mark.parametrize(("data_type", "order", "more", "value", "expected"), GOLDEN, ids=lambda x: str(x))
def test_a_value_lies_in_the_registers_as_its_type_and_byte_order_say(data_type, order, more, value, expected):
    assert wire(point("1/holding/0", data_type, order, **more), value) == expected


LOST = [
    ("uint16", {"sentinels": (65535.0,)}, "ffff"),
    ("int16", {"sentinels": (-32768.0, 1.0)}, "8000"),
    ("uint16", {}, "0000"),  # no way to say it: a dead input reads zero
    ("float32", {}, "7fc00000"),
]


@pytest.mark.parametrize(("data_type", "more", "expected"), LOST, ids=lambda x: str(x))
def test_a_lost_sensor_is_said_by_sentinel_or_nan_or_not_at_all(data_type, more, expected):
    assert wire(point("1/input/0", data_type, **more), 5.0, SignalState.LOST) == expected


@settings(max_examples=200, deadline=None)
@given(order=st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]), size=st.sampled_from([2, 4, 8]))
def test_a_byte_order_moves_every_byte_to_one_place(order, size):
    assert sorted(byte_positions(order, size)) == list(range(size))


@pytest.mark.parametrize("address", ["", "1/holding", "1/memory/0", "1/holding/65536", "1/holding/1.16", "1/holding/x"])
def test_a_text_that_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match=r".+"):
        read_place(address)


DEVICE = (
    point("1/holding/0", "uint16", scale=0.01),
    point("1/holding/1", "float32", "CDAB"),
    point("1/holding/5.0", "bool"),
    point("1/holding/5.9", "bool"),
    point("1/input/0", "int16", scale=0.1),
    point("1/coil/3", "bool"),
    point("1/discrete/0", "bool"),
    point("1/discrete/1", "bool"),
    point("9/holding/0", "uint16"),
)
VALUES = np.array([1.06, -5.5, 1.0, 1.0, -12.3, 1.0, 0.0, 1.0, 77.0])


def with_client(test):
    """Runs `await test(client, device)` against a served device, through pymodbus."""

    async def run():
        device = ModbusDevice(DEVICE, {0: "vendor", 1: "code", 2: "rev"})
        device.write(VALUES, np.zeros(len(VALUES), dtype=np.uint8))
        server = ModbusServer(device)
        port = await server.start()
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0)
        try:
            assert await client.connect()
            await test(client, device)
        finally:
            client.close()
            await server.stop()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_foreign_client_reads_every_table():
    async def reads(client, device):
        registers = (await client.read_holding_registers(0, count=3, device_id=1)).registers
        assert registers[0] == 106
        assert client.convert_from_registers(registers[1:], client.DATATYPE.FLOAT32, word_order="little") == -5.5
        assert (await client.read_holding_registers(5, count=1, device_id=1)).registers == [1 << 9 | 1]
        assert (await client.read_input_registers(0, count=1, device_id=1)).registers == [65536 - 123]
        assert (await client.read_coils(3, count=1, device_id=1)).bits[0] is True
        assert (await client.read_discrete_inputs(0, count=2, device_id=1)).bits[:2] == [False, True]
        assert (await client.read_holding_registers(0, count=1, device_id=9)).registers == [77]

    with_client(reads)


def test_a_second_write_is_seen_by_the_next_read_and_clears_bits():
    async def reads(client, device):
        changed = VALUES.copy()
        changed[[0, 3]] = (0.42, 0.0)
        device.write(changed, np.zeros(len(VALUES), dtype=np.uint8))
        assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [42]
        assert (await client.read_holding_registers(5, count=1, device_id=1)).registers == [1]

    with_client(reads)


def test_what_is_not_there_is_an_exception_and_never_a_zero():
    async def reads(client, device):
        assert (await client.read_holding_registers(3, count=1, device_id=1)).exception_code == 2  # a hole
        assert (await client.read_holding_registers(2, count=4, device_id=1)).exception_code == 2  # across a hole
        assert (await client.read_holding_registers(65535, count=1, device_id=1)).exception_code == 2
        assert (await client.read_coils(0, count=1, device_id=1)).exception_code == 2
        assert (await client.read_holding_registers(0, count=1, device_id=2)).exception_code == 11  # no such unit

    with_client(reads)


def test_a_write_is_refused_as_an_unknown_function():
    async def writes(client, device):
        assert (await client.write_register(0, 1, device_id=1)).exception_code == 1
        assert (await client.write_coil(3, False, device_id=1)).exception_code == 1
        assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [106]

    with_client(writes)


def test_the_device_names_itself():
    async def reads(client, device):
        answer = await client.read_device_information(read_code=1, object_id=0, device_id=1)
        assert {number: text.decode() for number, text in answer.information.items()} == {
            0: "vendor",
            1: "code",
            2: "rev",
        }
        single = await client.read_device_information(read_code=4, object_id=1, device_id=1)
        assert single.information == {1: b"code"}

    with_client(reads)


async def _opened(server):
    return await asyncio.open_connection("127.0.0.1", await server.start())


def frame(transaction: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def test_requests_in_one_segment_and_a_request_in_single_bytes_are_all_answered_in_order():
    async def run():
        device = ModbusDevice(DEVICE)
        device.write(VALUES, np.zeros(len(VALUES), dtype=np.uint8))
        server = ModbusServer(device)
        reader, writer = await _opened(server)
        ask = struct.pack(">BHH", 3, 0, 1)
        writer.write(frame(1, ask) + frame(2, ask))
        for byte in frame(3, ask):
            writer.write(bytes([byte]))
            await writer.drain()
        replies = [await reader.readexactly(11) for _ in range(3)]
        assert replies == [frame(number, b"\x03\x02\x00\x6a") for number in (1, 2, 3)]
        writer.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (b"\x03\x00\x00\x00\x00", 3),
        (b"\x03\x00\x00\x00\x7e", 3),
        (b"\x03\x00", 3),
        (b"\x2b\x0e\x01", 3),
        (b"\x2b\x0d", 1),
    ],
    ids=["count 0", "count 126", "short", "short identification", "other MEI"],
)
def test_a_malformed_request_is_an_exception(pdu, code):
    assert ModbusDevice(DEVICE).answer(1, pdu) == bytes([pdu[0] | 0x80, code])


def test_what_is_no_modbus_closes_the_connection():
    async def run():
        server = ModbusServer(ModbusDevice(DEVICE))
        reader, writer = await _opened(server)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_dead_device_takes_the_connection_and_never_answers():
    async def run():
        server = SilentServer()
        reader, writer = await _opened(server)
        for _ in range(3):
            writer.write(frame(1, struct.pack(">BHH", 3, 0, 1)))
            await writer.drain()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.1)
        assert not reader.at_eof()
        writer.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(run(), 10))
