"""F43: in which type and order registers are to be read, by what they hold at several moments."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest
from probed_device import ProbedDevice, Unit, registers, words

from connectors.modbus.address import Address, Table
from connectors.modbus.byte_order_look import candidates
from connectors.modbus.codec import BYTE_ORDERS
from connectors.modbus.links import open_link
from connectors.modbus.probe import Asked, Look, probe_line
from connectors.modbus.transport import TcpTransport
from mines.clock import SystemClock

HOLDING = 3
PLACE = Address(1, Table.HOLDING, 100)
RANGES = {
    "methane": (0.0, 4.0, 0.05, 1.5),
    "pressure": (0.0, 4000.0, 500.0, 3000.0),
    "heat": (-20.0, 120.0, 10.0, 60.0),
}


def written(value: float, order: str, pack: str = ">f") -> list[int]:
    """A value as a device of this order has it in its registers."""
    packed = struct.pack(pack, value)
    return words(bytes(packed["ABCD".index(letter)] for letter in order))


def moving(chance: random.Random, order: str, least: float, most: float) -> list[dict[int, int]]:
    """A value with a noise of 1 % at four moments, other registers around it that stand still."""
    value, beside = chance.uniform(least, most), {99: chance.randrange(3000)} | registers(102, 7, 60, 1500)
    return [beside | registers(100, *written(value * (1 + chance.gauss(0, 0.01)), order)) for _ in range(4)]


@pytest.mark.parametrize("order", BYTE_ORDERS)
@pytest.mark.parametrize("name", RANGES)
def test_a_value_that_moves_is_found_in_every_order_by_its_range_alone(name, order):
    low, high, least, most = RANGES[name]
    chance = random.Random(f"{name} {order}")
    wrong = alone = 0
    for _ in range(60):
        moments = moving(chance, order, least, most)
        best = candidates(moments, PLACE, low=low, high=high)["ranked"][0]
        wrong += (best["address"], best["data_type"], best["byte_order"]) != ("1/holding/100", "float32", order)
        first = candidates(moments[:1], PLACE, low=low, high=high)["ranked"][0]
        alone += (first["data_type"], first["byte_order"]) != ("float32", order)
    assert wrong <= min(alone, 2)


def test_what_leaps_comes_last_and_says_so():
    moments = [registers(100, *written(value, "CDAB")) for value in (1.0001, 1.0, 1.0117, 1.0002)]
    ranked = candidates(moments, PLACE, low=-1e38, high=1e38)["ranked"]
    leaping = [candidate["leaps"] for candidate in ranked]
    assert (ranked[0]["byte_order"], ranked[0]["data_type"]) == ("CDAB", "float32")
    assert leaping == sorted(leaping)
    assert True in leaping


def test_what_is_out_of_its_range_at_one_moment_is_no_candidate():
    moments = [registers(100, 5), registers(100, 5000), registers(100, 5)]
    ranked = candidates(moments, PLACE, low=0, high=100)["ranked"]
    assert not [it for it in ranked if (it["data_type"], it["byte_order"]) == ("uint16", "AB")]


def test_what_the_device_shows_decides_before_all_else():
    moments = [registers(100, value) for value in (10, 90, 10)]
    best = candidates(moments, PLACE, low=0, high=100_000, expect=10)["ranked"][0]
    assert (best["data_type"], best["byte_order"], best["value"], best["leaps"]) == ("uint16", "AB", 10.0, True)


@pytest.mark.parametrize("moments", [[], [{}], [{}, {7: 1}]], ids=["never read", "nothing there", "elsewhere"])
def test_where_nothing_could_be_read_nothing_is_claimed(moments):
    assert candidates(moments, PLACE, low=0, high=1)["ranked"] == []


def test_a_probe_reads_a_value_at_several_moments():
    class Moving(Unit):
        number = 0

        def answer(self, function, body):
            self.number += 1
            value = 21.5 + self.number % 7 / 10
            self.tables = {HOLDING: registers(100, *written(value, "BADC"))}
            return super().answer(function, body)

    found = looked_at(Moving(), Look(PLACE, -20.0, 120.0))
    best = found["ranked"][0]
    assert (best["data_type"], best["byte_order"], best["leaps"]) == ("float32", "BADC", False)
    assert 21.5 <= best["value"] <= 22.2


def test_what_was_read_before_the_probes_time_was_over_is_ranked():
    unit = Unit({HOLDING: registers(100, *written(0.52, "ABCD"))})
    found = looked_at(unit, Look(PLACE, 0.0, 4.0), apart_s=1.2, within_s=1.0)
    assert found["ranked"][0]["byte_order"] == "ABCD"


def looked_at(unit: Unit, look: Look, **asked):
    async def story():
        async with ProbedDevice({1: unit}) as device, asyncio.timeout(20):
            transport = TcpTransport("127.0.0.1", device.port)
            quick = {"rate": 5000.0, "apart_s": 0.01, "most_reads": 1, "tables": (Table.HOLDING,)} | asked
            return await probe_line(
                transport.endpoint,
                lambda: open_link(transport, clock=SystemClock()),
                Asked(units=(1,), looks=(look,), **quick),
            )

    return asyncio.run(story()).units[0].byte_orders[0]
