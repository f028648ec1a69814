"""A device that is about to be called silent says so while it still answers; a slow wire is no slow device."""

from __future__ import annotations

import asyncio

import pytest
from modbus_points import modbus_point, modbus_source
from modbus_streams import Watch
from rtu_devices import RtuLine, RtuTcpDevice

from connectors.modbus.health import SLOW_FOR_MS, UnitHealth
from connectors.modbus.mbap import Answer
from connectors.modbus.transport import SerialTransport, TcpTransport
from mines.quality import Reason

TIMEOUT_S = 1.2
FORTY = [modbus_point(f"1/holding/{register}") for register in range(40)]
WIRE_S = SerialTransport("", baud=1200, parity="N").wire_s(8, 5 + 2 * len(FORTY))


def after(delay_s: float):
    async def behave(request, wire) -> None:
        await asyncio.sleep(delay_s)
        wire.send(request.reply())

    return behave


async def first_report(transport) -> tuple[str, int, int]:
    """State, slow answers so far, and whether it was slow lately, when the unit has first answered."""
    async with Watch(modbus_source(FORTY, transport=transport, timeout_s=TIMEOUT_S)) as watch:
        seen = await watch.until(lambda seen: seen.states(1)[-1:] == ["good"], within_s=10)
    report = seen.report(1)
    return report.state.value, report.counters.get("slow replies", 0), report.counters.get("slow lately", 0)


@pytest.mark.parametrize(("delay_s", "slow"), [(0.0, 0), (0.8, 1)], ids=["at once", "after two thirds of its time"])
def test_a_unit_that_takes_more_than_half_its_time_is_slow_and_good(delay_s, slow):
    async def test() -> None:
        async with RtuTcpDevice(after(delay_s)) as device:
            transport = TcpTransport("127.0.0.1", device.port, framing="rtu")
            assert await first_report(transport) == ("good", slow, slow)

    asyncio.run(test())


@pytest.mark.parametrize(("delay_s", "slow"), [(WIRE_S, 0), (WIRE_S + 0.8, 1)], ids=["the wire alone", "the unit too"])
def test_what_a_serial_wire_takes_is_not_the_units_own_time(delay_s, slow):
    async def test() -> None:
        async with RtuLine(after(delay_s)) as line:
            transport = SerialTransport(line.path, baud=1200, parity="N")
            assert await first_report(transport) == ("good", slow, slow)

    assert WIRE_S > TIMEOUT_S / 2, "else the wire alone would not be called slow by anybody"
    asyncio.run(test())


def test_a_unit_that_was_slow_once_is_not_called_slow_for_ever():
    health = UnitHealth(1, 0)
    health.was_slow(Answer(b"", Reason.NONE, "", 1_000, 1, heard=True, duration_ms=900.0))
    lately = [
        health.report("plc", "", now_ms, {}).counters.get("slow lately", 0) for now_ms in (1_000, 1_001 + SLOW_FOR_MS)
    ]
    assert lately == [1, 0]
    assert health.report("plc", "", 10**6, {}).counters["slow replies"] == 1
