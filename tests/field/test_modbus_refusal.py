"""Bisect on refusal, never on silence (F42): the refused register is bad alone, its block is read all the same."""

import asyncio
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_devices import Connection, Device, Request, answer, content
from modbus_points import modbus_point, modbus_source
from modbus_streams import Watch

from connectors.modbus.address import Address, Table
from connectors.modbus.health import UnitHealth
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import Need, PlanLimits, halves, plan_reads
from connectors.modbus.points import read_points
from connectors.modbus.refusal import Family
from mines.quality import Reason

PERIOD_S = 0.1


class Refuses:
    """A device that refuses every request that touches one of its forbidden registers, or is longer than it likes."""

    def __init__(self, *forbidden: int, code: int = 2, longest: int = 125) -> None:
        self.forbidden, self.code, self.longest = set(forbidden), code, longest

    def __call__(self, request: Request, connection: Connection) -> None:
        touched = set(range(request.first, request.first + request.count))
        if touched & self.forbidden or request.count > self.longest:
            connection.send(request.refusal(self.code))
        else:
            answer(request, connection)


def hundred(period_s: float = PERIOD_S):
    return [modbus_point(f"1/holding/{i}", period_s=period_s) for i in range(100)]


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 20))


def test_one_refused_register_of_a_hundred_is_bad_alone_from_the_first_cycle_on():
    async def test() -> None:
        async with Device(Refuses(37)) as device, Watch(modbus_source(hundred(), device.port)) as watch:
            seen = await watch.cycles(6)
            for batch in seen.batches:
                by_point = dict(zip(batch.index.tolist(), zip(batch.quality, batch.value, strict=True), strict=True))
                assert int(by_point[37][0]) >> 8 & 0x3F == Reason.ILLEGAL_ADDRESS
                good = {i: value for i, (word, value) in by_point.items() if word == 0}
                assert good == {i: float(content(1, 3, i)) for i in range(100) if i != 37}
            assert seen.states(1) == ["connecting", "degraded"]
            assert seen.report(1).counters["quarantined requests"] == 1
            assert device.connections == 1

    run(test())


def test_a_quarantined_register_is_not_asked_for_until_its_time_and_then_the_block_is_whole_again():
    async def test() -> None:
        refuses = Refuses(37)
        async with Device(refuses) as device, Watch(modbus_source(hundred(), device.port, quarantine_s=0.6)) as watch:
            await watch.cycles(2)
            asked = len(device.requests)
            await watch.cycles(2)
            touching = [r for r in device.requests[asked:] if r.first <= 37 < r.first + r.count]
            assert touching == []
            refuses.forbidden.clear()
            await watch.until(lambda seen: seen.states(1)[-1:] == ["good"])
            asked = len(device.requests)
            await watch.cycles(2)
            assert {(r.first, r.count) for r in device.requests[asked:]} == {(0, 100)}
            assert watch.seen.report(1).counters["quarantined requests"] == 0

    run(test())


def test_trying_the_whole_again_costs_no_good_point_a_sample_and_no_change_of_the_link():
    async def test() -> None:
        async with (
            Device(Refuses(5, 80)) as device,
            Watch(modbus_source(hundred(), device.port, quarantine_s=0.15)) as watch,
        ):
            seen = await watch.cycles(12)
            assert len([r for r in device.requests if r.count == 100]) >= 3
            for point in (0, 4, 6, 79, 81, 99):
                assert set(seen.reasons(point)) == {Reason.NONE}
            assert set(seen.reasons(5)) | set(seen.reasons(80)) == {Reason.ILLEGAL_ADDRESS}
            assert seen.states(1) == ["connecting", "degraded"]

    run(test())


def test_a_device_that_refuses_long_requests_is_read_in_shorter_ones_and_is_good():
    async def test() -> None:
        async with Device(Refuses(code=3, longest=30)) as device, Watch(modbus_source(hundred(), device.port)) as watch:
            seen = await watch.cycles(4)
            assert all(set(seen.reasons(point)) == {Reason.NONE} for point in range(100))
            assert seen.states(1)[-1] == "good"
            assert seen.report(1).counters["quarantined requests"] == 0

    run(test())


def test_silence_parts_nothing():
    async def test() -> None:
        def silent(request: Request, connection: Connection) -> None:
            pass

        async with Device(silent) as device, Watch(modbus_source(hundred(), device.port, timeout_s=0.05)) as watch:
            await watch.cycles(5)
            assert {(r.first, r.count) for r in device.requests} == {(0, 100)}

    run(test())


WIDTHS = st.sampled_from([1, 1, 1, 2, 4])


@st.composite
def needs(draw):
    found, at = [], 0
    for point in range(draw(st.integers(1, 40))):
        width = draw(WIDTHS)
        found.append(Need(point, Address(1, Table.HOLDING, at), width, 1.0))
        at += draw(st.sampled_from([0, width, width, width]))
    return found


@given(needs())
@settings(max_examples=60, deadline=None)
def test_halves_hold_every_need_once_and_read_no_more_than_the_whole(found):
    for group in plan_reads(found, PlanLimits(max_registers=125)):
        for request in group.requests:
            parts = halves(request)
            if parts is None:
                assert len({need.address.register for need in request.needs}) == 1
                continue
            assert parts[0].needs + parts[1].needs == request.needs
            for part in parts:
                assert request.first <= part.first
                assert part.first + part.count <= request.first + request.count
                assert part.needs


DATA_TYPES = {1: "uint16", 2: "uint32", 4: "float64"}


@given(st.lists(WIDTHS, min_size=1, max_size=40), st.sets(st.integers(0, 120), max_size=4), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_in_the_end_exactly_the_points_on_refused_registers_are_refused(widths, forbidden, later):
    at, points = 0, []
    for width in widths:
        points.append(modbus_point(f"1/holding/{at}", data_type=DATA_TYPES[width]))
        at += width
    read, problems = read_points(points, PlanLimits())
    assert problems == []
    by_point = {item.need.point: item for item in read}
    unit = UnitHealth(1, 0)
    (group,) = plan_reads([item.need for item in read], PlanLimits())
    families = [Family(request, by_point, unit, first_row=0, quarantine_s=1000.0) for request in group.requests]
    for cycle in range(12):
        got = {}
        for family in families:
            waiting = list(family.for_cycle(float(cycle)))
            while waiting:
                block = waiting.pop(0)
                request = block.inquiry.request
                said = ask(request, forbidden, resting=block.inquiry.rest_until_s > cycle)
                if said.heard:
                    unit.take(block.inquiry, said, float(cycle), backoff_s=(1.0, 2.0))
                for need in request.needs:
                    got[need.point] = said.payload is not None
                waiting = [*family.after(block, said, float(cycle)), *waiting]
    expected = {item.need.point: not forbidden & set(range(item.need.address.register, item.need.end)) for item in read}
    assert got == expected
    assert unit.undecided == 0
    assert unit.counters["quarantined requests"] == sum(not good for good in expected.values())


def ask(request, forbidden, *, resting):
    if resting:
        return Answer(None, Reason.ILLEGAL_ADDRESS, "resting", 0, 0)
    if forbidden & set(range(request.first, request.first + request.count)):
        return Answer(None, Reason.ILLEGAL_ADDRESS, "exception 2", 0, 0, heard=True)
    payload = struct.pack(f">{request.count}H", *([1] * request.count))
    return Answer(payload, Reason.NONE, "", 0, 0, heard=True)
