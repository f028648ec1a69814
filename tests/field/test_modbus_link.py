"""One connection over real sockets to a device with bad manners: no wrong reply becomes a number, every wait ends."""

import asyncio
import contextlib
import errno
import socket
import struct
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import pytest
import uvloop
from modbus_devices import Behaviour, Connection, Device, Request, answer, one_by_one
from modbus_points import free_port

from connectors.modbus.address import Table
from connectors.modbus.link import TcpLink, word_of_tcp
from connectors.modbus.mbap import WriteRefused
from connectors.modbus.plan import ReadRequest
from mines.clock import ManualClock, SystemClock
from mines.quality import Reason

TIMEOUT_S = 0.15
ASK = ReadRequest(3, Table.HOLDING, 100, 4, ())
OTHER = ReadRequest(3, Table.HOLDING, 200, 4, ())


def run(coroutine: Coroutine[Any, Any, None], loop_factory: Any = None) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 10)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(bounded())


@contextlib.asynccontextmanager
async def linked(behave: Behaviour = answer, **options: Any) -> AsyncGenerator[tuple[TcpLink, Device]]:
    async with Device(behave) as device:
        link = TcpLink("127.0.0.1", device.port, **{"connect_timeout_s": 1.0, "clock": SystemClock(), **options})
        assert await link.connect()
        try:
            yield link, device
        finally:
            link.close("test over")
            await asyncio.sleep(0)


def proper(request: ReadRequest, number: int = 1) -> bytes:
    return Request(number, 0, request.unit, request.table.function, request.first, request.count).data()


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("count", [1, 125], ids=["one", "many"])
@pytest.mark.parametrize("table", list(Table))
def test_a_good_device_is_read_in_every_table(table, count, loop_factory):
    async def test() -> None:
        async with linked() as (link, device):
            request = ReadRequest(5, table, 7, count, ())
            for _ in range(3):
                reply = await link.read(request, TIMEOUT_S)
                assert (reply.payload, reply.reason, reply.heard) == (proper(request), Reason.NONE, True)
                assert reply.duration_ms is not None
            assert {asked.function for asked in device.requests} == {table.function}
            assert link.connected

    run(test(), loop_factory)


def sends(make: Any) -> Behaviour:
    def behave(request: Request, connection: Connection) -> None:
        connection.send(make(request))

    return behave


def closes_after(part: int) -> Behaviour:
    def behave(request: Request, connection: Connection) -> None:
        connection.send(request.reply()[:part])
        connection.close()

    return behave


async def resets_in_mid_frame(request: Request, connection: Connection) -> None:
    connection.send(request.reply()[:9])
    await asyncio.sleep(0.02)
    connection.reset()


async def dribbles(request: Request, connection: Connection) -> None:
    await connection.dribble(request.reply(), TIMEOUT_S / 4)


def is_silent(request: Request, connection: Connection) -> None:
    pass


WRONG = Reason.WRONG_REPLY
LOST = Reason.NO_COMMUNICATION
MISBEHAVIOUR = {
    # what it does: behaviour, reason, the connection stays, told before the timeout
    "too few registers": (sends(lambda r: r.reply(r.data()[:2])), WRONG, True, True),
    "too many registers": (sends(lambda r: r.reply(r.data() + b"\0\0")), WRONG, True, True),
    "no registers": (sends(lambda r: r.reply(b"")), WRONG, True, True),
    "other function": (sends(lambda r: r.frame(b"\x04\x08" + r.data())), WRONG, True, True),
    "unknown function": (sends(lambda r: r.frame(b"\x55\x08" + r.data())), WRONG, True, True),
    "exception of another function": (sends(lambda r: r.frame(b"\x84\x02")), WRONG, True, True),
    "other unit": (sends(lambda r: r.frame(b"\x03\x08" + r.data(), unit=4)), WRONG, True, True),
    "transaction 0": (sends(lambda r: r.frame(b"\x03\x08" + r.data(), transaction=0)), WRONG, False, True),
    "other protocol": (sends(lambda r: r.frame(b"\x03\x08" + r.data(), protocol=7)), WRONG, False, True),
    "byte count too small": (sends(lambda r: r.frame(b"\x03\x06" + r.data())), WRONG, False, True),
    "byte count too large": (sends(lambda r: r.frame(b"\x03\x0a" + r.data())), WRONG, False, True),
    "exception without a code": (sends(lambda r: r.frame(b"\x83")), WRONG, False, True),
    "length 0": (sends(lambda r: struct.pack(">HHHBB", r.transaction, 0, 0, 3, 3)), WRONG, False, True),
    "length 65535": (sends(lambda r: struct.pack(">HHHBB", r.transaction, 0, 65535, 3, 3)), WRONG, False, True),
    "an HTTP banner": (sends(lambda r: b"HTTP/1.1 400 Bad Request\r\n\r\n"), WRONG, False, True),
    "a flood of garbage": (sends(lambda r: b"\xff" * 100_000), WRONG, False, True),
    "other transaction": (sends(lambda r: r.frame(b"\x03\x08" + r.data(), transaction=9)), Reason.TIMEOUT, True, False),
    "silence": (is_silent, Reason.TIMEOUT, True, False),
    "half a reply": (sends(lambda r: r.reply()[:11]), Reason.TIMEOUT, False, False),
    "half a header": (sends(lambda r: r.reply()[:5]), Reason.TIMEOUT, False, False),
    "a byte at a time": (dribbles, Reason.TIMEOUT, False, False),
    "closes at once": (closes_after(0), LOST, False, True),
    "closes in mid frame": (closes_after(9), LOST, False, True),
    "resets in mid frame": (resets_in_mid_frame, LOST, False, True),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_misbehaviour_is_told_with_its_reason_in_bounded_time_and_never_a_number(name):
    behave, reason, stays, at_once = MISBEHAVIOUR[name]

    async def test() -> None:
        async with linked(one_by_one([behave])) as (link, _):
            start_s = time.monotonic()
            reply = await link.read(ASK, TIMEOUT_S)
            elapsed_s = time.monotonic() - start_s
            assert (reply.payload, reply.reason) == (None, reason)
            assert link.connected == stays
            assert link.lost.is_set() != stays
            assert elapsed_s < (TIMEOUT_S * 0.9 if at_once else TIMEOUT_S + 0.1)
            after = await link.read(OTHER, TIMEOUT_S)
            assert (after.payload, after.reason) == ((proper(OTHER), Reason.NONE) if stays else (None, LOST))

    run(test())


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 8, 10, 11, 77])
def test_an_exception_is_an_answer_and_leaves_the_connection_alone(code):
    async def test() -> None:
        async with linked(one_by_one([sends(lambda r: r.refusal(code))])) as (link, _):
            reply = await link.read(ASK, TIMEOUT_S)
            assert (reply.payload, reply.heard, reply.word) == (None, True, f"exception {code}")
            assert reply.reason not in (Reason.NONE, Reason.TIMEOUT, Reason.WRONG_REPLY, Reason.NO_COMMUNICATION)
            assert (await link.read(OTHER, TIMEOUT_S)).payload == proper(OTHER)

    run(test())


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 8], ids="{} bytes at a time".format)
def test_a_reply_in_pieces_is_put_together(pieces):
    async def in_pieces(request: Request, connection: Connection) -> None:
        reply = request.reply()
        for at in range(0, len(reply), pieces):
            connection.send(reply[at : at + pieces])
            await asyncio.sleep(0.001)

    async def test() -> None:
        async with linked(in_pieces) as (link, _):
            for request in (ASK, OTHER):
                assert (await link.read(request, 1.0)).payload == proper(request)

    run(test())


def test_a_late_answer_is_never_taken_for_the_answer_to_the_next_request():
    held: list[bytes] = []

    def holds(request: Request, connection: Connection) -> None:
        held.append(request.reply())

    def sends_both(request: Request, connection: Connection) -> None:
        connection.send(held.pop() + request.reply())

    async def test() -> None:
        async with linked(one_by_one([holds, sends_both] * 3)) as (link, _):
            for number in range(1, 4):
                assert (await link.read(ASK, 0.05)).reason is Reason.TIMEOUT
                assert (await link.read(OTHER, TIMEOUT_S)).payload == proper(OTHER)
                assert link.late == number
            assert link.connected

    run(test())


def test_two_devices_on_one_address_give_one_answer_and_a_late_one_that_is_counted():
    """F46 behind a gateway: the second reply bears the transaction of a request that has been answered."""

    def twice(request: Request, connection: Connection) -> None:
        connection.send(request.reply() + request.reply(bytes(8)))

    async def test() -> None:
        async with linked(twice) as (link, device):
            for number, request in enumerate((ASK, OTHER, ASK), start=1):
                assert (await link.read(request, TIMEOUT_S)).payload == proper(request)
                assert link.late == number
            assert device.connections == 1

    run(test())


def test_a_late_answer_that_comes_alone_leaves_the_next_request_its_own():
    async def late(request: Request, connection: Connection) -> None:
        await asyncio.sleep(0.08)
        connection.send(request.reply())

    async def test() -> None:
        async with linked(one_by_one([late])) as (link, _):
            assert (await link.read(ASK, 0.03)).reason is Reason.TIMEOUT
            await asyncio.sleep(0.1)
            assert (await link.read(OTHER, TIMEOUT_S)).payload == proper(OTHER)
            assert link.late == 1

    run(test())


def test_a_late_answer_cut_in_two_by_the_next_request_costs_the_connection_not_a_value():
    connections: list[Connection] = []

    def keeps(request: Request, connection: Connection) -> None:
        connections.append(connection)

    async def test() -> None:
        async with linked(one_by_one([keeps])) as (link, device):
            assert (await link.read(ASK, 0.03)).reason is Reason.TIMEOUT
            late = device.requests[0].reply()
            connections[0].send(late[:11])
            await asyncio.sleep(0.03)
            reply = await link.read(OTHER, TIMEOUT_S)
            assert (reply.payload, reply.reason) == (None, Reason.NO_COMMUNICATION)
            assert not link.connected

    run(test())


def test_a_long_late_reply_and_the_next_in_one_segment_are_both_understood():
    """More than pymodbus' 264 bytes at once, which it would drop whole (P9)."""
    large = ReadRequest(3, Table.HOLDING, 0, 125, ())

    async def test() -> None:
        held: list[bytes] = []

        def holds(request: Request, connection: Connection) -> None:
            held.append(request.reply())

        def sends_both(request: Request, connection: Connection) -> None:
            connection.send(held.pop() + request.reply())

        async with linked(one_by_one([holds, sends_both])) as (link, _):
            assert (await link.read(large, 0.03)).reason is Reason.TIMEOUT
            assert (await link.read(large, TIMEOUT_S)).payload == proper(large)

    run(test())


def test_many_timeouts_in_a_row_do_not_close_the_connection():
    """pymodbus would, after retries + 3 (P7): for the neighbours on the line that is ours to decide."""

    async def test() -> None:
        async with linked(one_by_one([is_silent] * 6)) as (link, device):
            for _ in range(6):
                assert (await link.read(ASK, 0.02)).reason is Reason.TIMEOUT
            assert (await link.read(ASK, TIMEOUT_S)).payload == proper(ASK)
            assert device.connections == 1

    run(test())


def test_nothing_but_reads_can_be_sent_even_by_pymodbus_own_calls():
    async def test() -> None:
        async with linked() as (link, device):
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
            assert (await link.read(ASK, TIMEOUT_S)).payload == proper(ASK)
            assert [request.function for request in device.requests] == [3]

    run(test())


def test_every_frame_is_tapped_once_as_it_was_on_the_wire():
    seen: list[tuple[bool, bytes]] = []

    async def test() -> None:
        async with linked(tap=lambda sending, ns, frame: seen.append((sending, frame))) as (link, device):
            await link.read(ASK, TIMEOUT_S)
            request = device.requests[0]
            sent = request.frame(struct.pack(">BHH", 3, ASK.first, ASK.count))
            assert seen == [(True, sent), (False, request.reply())]

    run(test())


def test_garbage_is_tapped_too():
    seen: list[bytes] = []

    async def test() -> None:
        banner = b"SSH-2.0-OpenSSH_9.2\r\n"
        async with linked(sends(lambda r: banner), tap=lambda sending, ns, frame: seen.append(frame)) as (link, _):
            await link.read(ASK, TIMEOUT_S)
            assert seen[-1] == banner

    run(test())


def test_stamps_come_from_the_clock_that_was_given():
    async def test() -> None:
        clock = ManualClock(wall_ms=1_700_000_000_000, monotonic_ns=5)
        async with linked(one_by_one([answer, is_silent]), clock=clock) as (link, _):
            for _ in range(2):
                reply = await link.read(ASK, 0.05)
                assert (reply.receive_time_ms, reply.monotonic_ns) == (1_700_000_000_000, 5)

    run(test())


def test_a_refused_connection_says_so():
    async def test() -> None:
        link = TcpLink("127.0.0.1", free_port(), connect_timeout_s=1.0, clock=SystemClock())
        assert not await link.connect()
        assert (link.connected, link.error, link.lost.is_set()) == (False, "refused", True)
        assert (await link.read(ASK, TIMEOUT_S)).reason is Reason.NO_COMMUNICATION

    run(test())


def test_a_black_hole_ends_with_the_connect_timeout():
    async def test() -> None:
        with socket.socket() as hole, contextlib.ExitStack() as full:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            for _ in range(3):  # a full backlog drops every further SYN
                filler = full.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(hole.getsockname())
            link = TcpLink(*hole.getsockname(), connect_timeout_s=0.1, clock=SystemClock())
            start_s = time.monotonic()
            assert not await link.connect()
            assert time.monotonic() - start_s < 0.5
            assert link.error == "connect timeout"

    run(test())


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(), "refused"),
        (socket.gaierror(), "name unknown"),
        (TimeoutError(), "connect timeout"),
        (OSError(errno.EHOSTUNREACH, ""), "unreachable"),
        (OSError(errno.ENETUNREACH, ""), "unreachable"),
        (OSError(errno.EMFILE, ""), "cannot connect"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_reason_of_a_failed_connection_has_a_word(error, word):
    assert word_of_tcp(error) == word


def test_the_kernel_watches_for_a_half_open_connection():
    async def test() -> None:
        async with linked() as (link, _):
            sock = link._client.ctx.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3_000

    run(test())


def test_a_cancellation_that_comes_along_with_the_answer_is_heeded():
    class CancellingClock(ManualClock):
        reader: asyncio.Task[Any] | None = None

        def wall_ms(self) -> int:
            if self.reader is not None:
                self.reader.cancel()
            return super().wall_ms()

    async def test() -> None:
        clock = CancellingClock()
        async with linked(clock=clock) as (link, _):
            clock.reader = asyncio.create_task(link.read(ASK, TIMEOUT_S))
            with pytest.raises(asyncio.CancelledError):
                await clock.reader
            clock.reader = None
            assert (await link.read(ASK, TIMEOUT_S)).payload == proper(ASK)

    run(test())


def test_closing_releases_the_connection_at_the_device():
    async def test() -> None:
        async with linked() as (link, device):
            await link.read(ASK, TIMEOUT_S)
            link.close("test")
            async with asyncio.timeout(1):
                while device.open_connections:
                    await asyncio.sleep(0.005)
            assert link.error == "test"

    run(test())


def test_a_lost_connection_sets_lost_without_a_request():
    async def test() -> None:
        async with linked() as (link, device):
            await link.read(ASK, TIMEOUT_S)
            device.reset_all()
            async with asyncio.timeout(1):
                await link.lost.wait()
            assert link.error == "closed by the device"

    run(test())
