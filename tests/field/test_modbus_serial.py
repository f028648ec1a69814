"""RTU over real lines: pseudo-terminals and sockets; late, merged, garbled and foreign bytes never become a value."""

import asyncio
import contextlib
import fcntl
import os
import random
import time
from collections.abc import AsyncGenerator, Coroutine
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_devices import content
from modbus_points import modbus_point, modbus_source
from modbus_streams import Watch
from rtu_devices import (
    Behaviour,
    RtuLine,
    RtuRequest,
    RtuTcpDevice,
    Wire,
    answer,
    framed,
    one_by_one,
    silent,
    two_wires,
)

from connectors.modbus.address import Table
from connectors.modbus.connection import Link
from connectors.modbus.links import open_link
from connectors.modbus.mbap import WriteRefused
from connectors.modbus.plan import ReadRequest
from connectors.modbus.transport import SerialTransport, TcpTransport
from mines.clock import SystemClock
from mines.quality import Reason, Severity

BAUD = 115_200
TIOCGEXCL = 0x80045440  # Linux
TIMEOUT_S = 0.15
ASK = ReadRequest(3, Table.HOLDING, 100, 4, ())
OTHER = ReadRequest(3, Table.HOLDING, 200, 4, ())
NEIGHBOUR = ReadRequest(5, Table.HOLDING, 300, 4, ())


def run(coroutine: Coroutine[Any, Any, None], loop_factory: Any = None) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 60)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(bounded())


def serial(path: str, baud: int = BAUD) -> SerialTransport:
    return SerialTransport(path, baud=baud, parity="N")


@contextlib.asynccontextmanager
async def linked(line: RtuLine, **options: Any) -> AsyncGenerator[Link]:
    link = open_link(serial(line.path), clock=SystemClock(), **options)
    assert await link.connect(), link.error
    try:
        yield link
    finally:
        link.close("test over")
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def on_a_line(behave: Behaviour = answer, **options: Any) -> AsyncGenerator[tuple[Link, RtuLine]]:
    async with RtuLine(behave) as line, linked(line, **options) as link:
        yield link, line


@contextlib.asynccontextmanager
async def through_tcp(behave: Behaviour = answer, **options: Any) -> AsyncGenerator[tuple[Link, RtuTcpDevice]]:
    async with RtuTcpDevice(behave) as device:
        transport = TcpTransport("127.0.0.1", device.port, connect_timeout_s=1.0, framing="rtu")
        link = open_link(transport, clock=SystemClock(), **options)
        assert await link.connect(), link.error
        try:
            yield link, device
        finally:
            link.close("test over")
            await asyncio.sleep(0)


WAYS = {"serial": on_a_line, "tcp": through_tcp}
both_ways = pytest.mark.parametrize("way", WAYS)


def proper(request: ReadRequest) -> bytes:
    return RtuRequest(0, bytes([request.unit, request.table.function]) + _place(request)).data()


def _place(request: ReadRequest) -> bytes:
    return request.first.to_bytes(2, "big") + request.count.to_bytes(2, "big")


def sends(make: Any) -> Behaviour:
    return lambda request, wire: wire.send(make(request))


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@both_ways
@pytest.mark.parametrize("count", [1, 125], ids=["one", "many"])
@pytest.mark.parametrize("table", list(Table))
def test_a_good_device_is_read_in_every_table(table, count, way, loop_factory):
    async def test() -> None:
        async with WAYS[way]() as (link, device):
            request = ReadRequest(5, table, 7, count, ())
            for _ in range(2):
                reply = await link.read(request, 1.0)
                assert (reply.payload, reply.reason, reply.heard) == (proper(request), Reason.NONE, True)
                assert reply.duration_ms is not None
            assert {asked.function for asked in device.requests} == {table.function}
            assert link.connected

    run(test(), loop_factory)


@both_ways
@pytest.mark.parametrize("size", [1, 3, 8], ids="{} bytes at a time".format)
def test_a_reply_in_pieces_is_put_together(way, size):
    async def in_pieces(request: RtuRequest, wire: Wire) -> None:
        await wire.dribble(request.reply(), size=size)

    async def test() -> None:
        async with WAYS[way](in_pieces) as (link, _):
            for request in (ASK, OTHER):
                assert (await link.read(request, 1.0)).payload == proper(request)

    run(test())


def closes(request: RtuRequest, wire: Wire) -> None:
    wire.close()


def flips(frame: bytes, at: int) -> bytes:
    at %= len(frame)
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]


WRONG = Reason.WRONG_REPLY
MISBEHAVIOUR = {
    # what it does: behaviour, reason, heard
    "too few registers": (sends(lambda r: r.reply(r.data()[:2])), WRONG, True),
    "too many registers": (sends(lambda r: r.reply(r.data() + b"\0\0")), WRONG, True),
    "other function": (sends(lambda r: r.reply(function=4)), WRONG, False),
    "a flipped bit in the data": (sends(lambda r: flips(r.reply(), 5)), WRONG, True),
    "a flipped bit in the CRC": (sends(lambda r: flips(r.reply(), -1)), WRONG, True),
    "merged with another answer": (sends(lambda r: r.reply() + r.reply(bytes(8))), WRONG, True),
    "an answer that another runs into": (sends(lambda r: r.reply()[:6] + r.reply(bytes(8))), WRONG, True),
    "noise": (sends(lambda r: b"\xa5\x5a\x07" * 30), WRONG, False),
    "half a reply": (sends(lambda r: r.reply()[:7]), WRONG, True),
    "silence": (silent, Reason.TIMEOUT, False),
    "only its echo": (sends(lambda r: r.raw), Reason.TIMEOUT, False),
    "another unit": (sends(lambda r: r.reply(unit=4)), Reason.TIMEOUT, False),
}


@both_ways
@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_misbehaviour_is_bad_with_its_reason_and_the_next_answer_is_right(name, way):
    """F41, F46."""
    behave, reason, heard = MISBEHAVIOUR[name]

    async def test() -> None:
        async with WAYS[way](one_by_one([behave])) as (link, _):
            reply = await link.read(ASK, TIMEOUT_S)
            assert (reply.payload, reply.reason, reply.heard) == (None, reason, heard)
            assert link.connected
            after = await link.read(OTHER, 0.5)
            assert (after.payload, after.reason) == (proper(OTHER), Reason.NONE)

    run(test())


@both_ways
@pytest.mark.parametrize("code", [1, 2, 6, 11])
def test_an_exception_is_an_answer(code, way):
    async def test() -> None:
        async with WAYS[way](one_by_one([sends(lambda r: r.refusal(code))])) as (link, _):
            reply = await link.read(ASK, 1.0)
            assert (reply.payload, reply.heard, reply.word) == (None, True, f"exception {code}")
            assert (await link.read(OTHER, 1.0)).payload == proper(OTHER)

    run(test())


def late_by(delay_s: float) -> Behaviour:
    async def late(request: RtuRequest, wire: Wire) -> None:
        await asyncio.sleep(delay_s)
        wire.send(request.reply())

    return late


@both_ways
def test_a_late_answer_is_never_the_answer_to_the_next_request(way):
    """P2: without an id the late answer to A fits the request for B; asked for 200, one had the values of 100."""

    async def test() -> None:
        async with WAYS[way](one_by_one([late_by(0.12)])) as (link, device):
            assert (await link.read(ASK, 0.05)).reason is Reason.TIMEOUT
            reply = await link.read(OTHER, 1.0)
            assert (reply.payload, reply.reason) == (proper(OTHER), Reason.NONE)
            if way == "serial":
                assert link.late == 1
            else:
                assert device.connections == 2

    run(test())


def test_after_a_timeout_a_serial_line_is_left_silent_for_the_slowest_reply():
    async def test() -> None:
        async with on_a_line(one_by_one([silent])) as (link, line):
            await link.read(ASK, TIMEOUT_S)
            await link.read(NEIGHBOUR, TIMEOUT_S)
            first_s, second_s = line.times_s
            slowest_s = TIMEOUT_S + 256 * 11 / BAUD
            assert second_s - first_s >= TIMEOUT_S + slowest_s

    run(test())


def test_the_silence_after_a_timeout_ends_with_the_late_answer():
    async def test() -> None:
        async with on_a_line(one_by_one([late_by(0.1)])) as (link, line):
            started_s = time.monotonic()
            assert (await link.read(ASK, 0.05)).reason is Reason.TIMEOUT
            assert (await link.read(ASK, 5.0)).reason is Reason.NONE
            assert time.monotonic() - started_s < 5.0
            assert line.times_s[1] - line.times_s[0] >= 0.1

    run(test())


def test_frames_of_a_slow_line_keep_the_silence_that_ends_them():
    gap_s = 3.5 * 11 / 1200

    async def test() -> None:
        async with RtuLine() as line:
            link = open_link(serial(line.path, baud=1200), clock=SystemClock())
            assert await link.connect()
            for _ in range(4):
                assert (await link.read(ASK, 2.0)).reason is Reason.NONE
            link.close("test over")
            assert min(np.diff(line.times_s)) >= gap_s

    run(test())


def test_bytes_between_two_requests_end_a_socket_without_ids():
    async def answers_twice(request: RtuRequest, wire: Wire) -> None:
        wire.send(request.reply())
        await asyncio.sleep(0.05)
        wire.send(request.reply())

    async def test() -> None:
        async with through_tcp(one_by_one([answers_twice])) as (link, device):
            assert (await link.read(ASK, 1.0)).payload == proper(ASK)
            await asyncio.sleep(0.15)
            assert (await link.read(OTHER, 1.0)).payload == proper(OTHER)
            assert (device.connections, link.late) == (2, 1)

    run(test())


def test_a_gateway_that_goes_while_its_socket_is_renewed_is_a_lost_link():
    async def test() -> None:
        async with through_tcp(silent) as (link, device):
            device._server.close()
            await link.read(ASK, 0.05)
            assert not link.connected
            assert link.error == "refused"
            assert (await link.read(ASK, 0.05)).reason is Reason.NO_COMMUNICATION

    run(test())


def test_a_unit_that_answers_twice_is_given_the_time_to_and_is_then_no_number():
    """F46: two devices of one address that do not collide. The first exchange looks right; after it nothing does."""

    async def twice(request: RtuRequest, wire: Wire) -> None:
        wire.send(request.reply())
        await asyncio.sleep(0.06)
        wire.send(request.reply(bytes(8)))

    async def test() -> None:
        async with on_a_line(twice) as (link, _):
            await link.read(ASK, TIMEOUT_S)
            await asyncio.sleep(0.1)
            for request in (ASK, OTHER, ASK):
                reply = await link.read(request, TIMEOUT_S)
                assert (reply.payload, reply.reason, reply.word) == (None, WRONG, "two answers")

    run(test())


def test_a_unit_that_no_longer_answers_twice_is_believed_again():
    async def twice(request: RtuRequest, wire: Wire) -> None:
        wire.send(request.reply())
        await asyncio.sleep(0.05)
        wire.send(request.reply())

    async def test() -> None:
        async with on_a_line(one_by_one([twice])) as (link, line):
            await link.read(ASK, TIMEOUT_S)
            await asyncio.sleep(0.1)
            assert (await link.read(ASK, TIMEOUT_S)).payload == proper(ASK)
            started_s = line.times_s[-1]
            assert (await link.read(OTHER, TIMEOUT_S)).payload == proper(OTHER)
            assert line.times_s[-1] - started_s >= TIMEOUT_S  # once more it was waited for, then no longer
            assert (await link.read(OTHER, TIMEOUT_S)).payload == proper(OTHER)

    run(test())


def test_an_adapter_that_hears_itself_is_read_as_any_other():
    async def test() -> None:
        async with two_wires() as line, linked(line) as link:
            for request in (ASK, OTHER, ReadRequest(3, Table.HOLDING, 0x0400, 2, ())):
                assert (await link.read(request, 1.0)).payload == proper(request)
            assert link.late == 0

    run(test())


def test_a_line_that_is_never_silent_is_not_written_into():
    async def test() -> None:
        async with RtuLine() as line:
            link = open_link(serial(line.path, baud=300), clock=SystemClock())
            assert await link.connect()

            async def babble() -> None:
                while True:
                    line.send(b"\x55")
                    await asyncio.sleep(0.002)

            babbling = asyncio.create_task(babble())
            await asyncio.sleep(0.02)
            reply = await link.read(ASK, 0.3)
            babbling.cancel()
            link.close("test over")
            assert (reply.reason, reply.word) == (WRONG, "never silent")
            assert line.sent == b""

    run(test())


def test_a_pulled_adapter_is_a_lost_link_that_says_so():
    async def test() -> None:
        async with on_a_line() as (link, line):
            assert (await link.read(ASK, 1.0)).reason is Reason.NONE
            line.unplug()
            async with asyncio.timeout(2):
                await link.lost.wait()
            assert link.error == "port gone"
            assert (await link.read(ASK, 1.0)).reason is Reason.NO_COMMUNICATION
            again = open_link(serial(line.path), clock=SystemClock())
            assert not await again.connect()
            assert again.error == "no such port"

    run(test())


def test_a_port_that_another_program_holds_is_not_opened():
    async def test() -> None:
        async with RtuLine() as line:
            other = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
            fcntl.flock(other, fcntl.LOCK_EX)
            link = open_link(serial(line.path), clock=SystemClock())
            assert not await link.connect()
            assert link.error == "port in use"
            os.close(other)

    run(test())


def test_no_second_master_can_open_the_port_that_is_polled():
    async def test() -> None:
        async with on_a_line() as (link, line):
            second = open_link(serial(line.path), clock=SystemClock())
            assert not await second.connect()
            assert second.error == "port in use"
            exclusive = fcntl.ioctl(line.port, TIOCGEXCL, bytes(4))  # who is not root cannot open it at all
            assert exclusive != bytes(4)
            assert (await link.read(ASK, 1.0)).reason is Reason.NONE

    run(test())


def test_a_port_that_cannot_be_set_as_told_says_so():
    """A pseudo-terminal has no parity; the system refuses it as it does for an adapter that lacks it."""

    async def test() -> None:
        async with RtuLine() as line:
            link = open_link(SerialTransport(line.path, parity="E"), clock=SystemClock())
            assert not await link.connect()
            assert link.error == "port refuses its settings"

    run(test())


@both_ways
def test_nothing_but_reads_can_be_sent_even_by_pymodbus_own_calls(way):
    async def test() -> None:
        async with WAYS[way]() as (link, device):
            client = link._client
            for attempt in (
                client.write_register(1, 1, device_id=3),
                client.write_registers(1, [1, 2], device_id=3),
                client.write_coil(1, True, device_id=3),
                client.write_coils(1, [True], device_id=3),
                client.mask_write_register(address=1, device_id=3),
                client.readwrite_registers(read_address=1, read_count=1, values=[1], device_id=3),
                client.report_device_id(device_id=3),
            ):
                with pytest.raises(WriteRefused):
                    await attempt
            assert (await link.read(ASK, 1.0)).payload == proper(ASK)
            assert device.sent == device.requests[0].raw

    run(test())


def identifies(request: RtuRequest, wire: Wire) -> None:
    """One object a reply."""
    first = request.raw[4]
    objects = [b"\x00\x05ACREL", b"\x01\x06ADW300", b"\x02\x03V12"]
    more, following = (0xFF, first + 1) if first < 2 else (0, 0)
    head = bytes([request.unit, 43, 14, 1, 1, more, following, 1])
    wire.send(framed(head + objects[first]))


@both_ways
def test_an_identification_is_read_to_its_end(way):
    async def test() -> None:
        async with WAYS[way](identifies) as (link, device):
            reply = await link.identify(3, 1.0)
            objects = b"\x00\x05ACREL\x01\x06ADW300\x02\x03V12"
            assert (reply.payload, reply.reason) == (bytes([1, 1, 0, 0, 3]) + objects, Reason.NONE)
            assert [request.raw[1:5] for request in device.requests] == [bytes([43, 14, 1, n]) for n in range(3)]

    run(test())


@both_ways
def test_an_identification_that_never_ends_is_no_answer(way):
    def endless(request: RtuRequest, wire: Wire) -> None:
        wire.send(framed(bytes([request.unit, 43, 14, 1, 1, 0xFF, 0, 1]) + b"\x00\x01A"))

    async def test() -> None:
        async with WAYS[way](endless) as (link, device):
            assert (await link.identify(3, 1.0)).reason is WRONG
            assert len(device.requests) == 1

    run(test())


def test_what_crosses_a_line_is_tapped_noise_included():
    seen: list[tuple[bool, bytes]] = []

    async def test() -> None:
        def tap(sending: bool, ns: int, frame: bytes) -> None:
            seen.append((sending, frame))

        async with on_a_line(sends(lambda r: b"\xff" + r.reply()), tap=tap) as (link, line):
            await link.read(ASK, 1.0)
            request = line.requests[0]
            assert seen == [(True, request.raw), (False, b"\xff" + request.reply())]

    run(test())


def noisy(seed: int) -> Behaviour:
    """Replies among noise: whole, split, merged, doubled, garbled, late or not at all."""
    chance = random.Random(seed)

    def garbage() -> bytes:
        return chance.randbytes(chance.randrange(1, 12))

    async def behave(request: RtuRequest, wire: Wire) -> None:
        reply, fate = request.reply(), chance.randrange(9)
        wrong = request.reply(bytes(len(request.data())))
        match fate:
            case 0:
                wire.send(garbage(), reply)
            case 1:
                await wire.dribble(reply, size=chance.randrange(1, 9), gap_s=0)
            case 2:
                wire.send(flips(reply, chance.randrange(len(reply))))
            case 3:
                wire.send(reply + wrong)
            case 4:
                wire.send(reply[: chance.randrange(1, len(reply))], garbage())
            case 5:
                await asyncio.sleep(0.03)
                wire.send(reply)
            case 6:
                wire.send(garbage())
            case _:
                wire.send(reply)

    return behave


@both_ways
@given(st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=3)
def test_under_noise_every_value_is_its_registers_own(way, seed):
    read_under_noise(way, seed, 12)


@pytest.mark.long
@both_ways
@given(st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=40)
def test_under_noise_every_value_is_its_registers_own_in_thousands_of_reads(way, seed):
    read_under_noise(way, seed, 60)


def read_under_noise(way: str, seed: int, reads: int) -> None:
    async def test() -> None:
        good = 0
        async with WAYS[way](noisy(seed)) as (link, _):
            chance = random.Random(seed)
            for _ in range(reads):
                unit, first, count = chance.choice((3, 5)), chance.randrange(0, 900), chance.randrange(2, 9)
                request = ReadRequest(unit, Table.HOLDING, first, count, ())
                reply = await link.read(request, 0.02)
                if reply.reason is Reason.NONE:
                    assert reply.payload == proper(request)
                    good += 1
                else:
                    assert reply.payload is None
        assert good > 0 or reads < 20

    run(test())


def test_a_line_of_three_units_one_of_them_dead_is_read_by_the_source():
    """Shows 3 on a serial line: the neighbours of a dead unit have their values, and the dead one its reason."""

    def dead(request: RtuRequest, wire: Wire) -> None:
        if request.unit != 2:
            answer(request, wire)

    async def test() -> None:
        async with RtuLine(dead) as line:
            points = [modbus_point(f"{unit}/holding/10", period_s=0.1) for unit in (1, 2, 3)]
            source = modbus_source(points, transport=serial(line.path), timeout_s=0.05, backoff_s=0.5, backoff_max_s=2)
            async with Watch(source) as watch:
                await watch.until(lambda seen: seen.states(2)[-1:] == ["lost"])
                seen = await watch.cycles(4)
                assert seen.last(0) == (content(1, 3, 10), Severity.GOOD, Reason.NONE)
                assert seen.last(2) == (content(3, 3, 10), Severity.GOOD, Reason.NONE)
                assert set(seen.reasons(1)) == {Reason.TIMEOUT}
                assert (source.kind, source.endpoint) == ("modbus_serial", line.path)

    run(test())


def test_a_source_goes_on_when_its_adapter_is_plugged_in_again():
    async def test() -> None:
        async with RtuLine() as line:
            source = modbus_source([modbus_point("1/holding/10", period_s=0.1)], transport=serial(line.path))
            async with Watch(source) as watch:
                await watch.until(lambda seen: seen.states(1)[-1:] == ["good"])
                line.unplug()
                await watch.until(lambda seen: seen.states(1)[-1:] == ["lost"])
                assert watch.seen.report(1).last_error in ("port gone", "no such port")
                line.plug()
                seen = await watch.until(lambda seen: seen.states(1)[-1:] == ["good"])
                await watch.cycles(1)
                assert seen.last(0)[1] is Severity.GOOD

    run(test())


def test_requests_of_one_line_never_overlap():
    async def test() -> None:
        async with RtuLine() as line:
            points = [modbus_point(f"{unit}/holding/{10 * n}", period_s=0.1) for unit in (1, 2) for n in range(4)]
            async with Watch(modbus_source(points, transport=serial(line.path))) as watch:
                await watch.cycles(4)
            assert min(after - before for before, after in pairwise(line.times_s)) >= 0.00175

    run(test())
