"""A line that another system polls: what is understood of it, that doubt is no number, and that nothing is sent."""

import asyncio
import json
import os
import random
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_devices import content
from modbus_points import listening_source, modbus_point
from modbus_streams import Watch
from reference_data import reference
from rtu_devices import ForeignMaster, RtuLine, asking, framed
from site_folders import POINTS_CSV, SITE_TOML, write_site

from connectors.modbus.address import Table
from connectors.modbus.links import open_link
from connectors.modbus.listening import ListeningSource
from connectors.modbus.overheard import Heard, LineEar
from connectors.modbus.plan import ReadRequest
from connectors.modbus.read_only_port import open_read_only
from connectors.modbus.settings import read_settings
from connectors.modbus.transport import SerialTransport
from connectors.sources import build_sources
from mines.clock import ManualClock, SystemClock
from mines.quality import Reason, Severity
from mines.site.site_file import load_site
from mines.site.source_table import SourceTable

MS = 1_000_000
CHARACTER_S = 11 / 9600


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 20)

    asyncio.run(bounded())


class Line:
    """Bytes on a wire with their times [ms], into an ear."""

    def __init__(self) -> None:
        self.ear = LineEar(CHARACTER_S)
        self.now_ms = 0.0
        self.heard: list[Heard] = []

    def after(self, ms: float, *pieces: bytes) -> "Line":
        """Some time later these bytes come, in these pieces."""
        self.now_ms += ms
        for piece in pieces:
            self.heard += self.ear.heard(piece, self._stamp())
        return self

    def silence(self, ms: float) -> "Line":
        self.now_ms += ms
        self.heard += self.ear.silent(self._stamp())
        return self

    def _stamp(self) -> tuple[int, int]:
        return int(self.now_ms), int(self.now_ms * MS)

    @property
    def told(self) -> list[tuple[int, int, Any]]:
        """Unit, first register and data or reason of everything heard."""
        return [(request.unit, request.first, answer.payload or answer.reason) for request, answer in self.heard]


ASK, OTHER = asking(3, 100, 2), asking(3, 200, 2)


def test_requests_and_replies_are_paired():
    line = Line().after(0, ASK.raw).after(20, ASK.reply()).after(10, OTHER.raw).after(30, OTHER.reply())
    assert line.told == [(3, 100, ASK.data()), (3, 200, OTHER.data())]
    request, answer = line.heard[1]
    assert request == ReadRequest(3, Table.HOLDING, 200, 2, ())
    assert (answer.duration_ms, answer.receive_time_ms, answer.heard) == (30.0, 60, True)


@pytest.mark.parametrize("table", list(Table))
def test_every_table_is_heard(table):
    request = asking(7, 10, 9, table.function)
    line = Line().after(0, request.raw).after(20, request.reply())
    assert line.heard[0][0].table is table
    assert line.heard[0][1].payload == request.data()


@pytest.mark.parametrize("size", [1, 2, 5, 1000], ids="{} bytes at a time".format)
def test_exchanges_from_real_lines_are_understood_however_they_are_cut(size):
    frames = json.loads(reference("field-frames/frames.json").read_text())["frames"]
    line = Line()
    for frame in frames:
        for side in ("tx", "rx"):
            data = bytes.fromhex(frame[side])
            line.after(20, *(data[at : at + size] for at in range(0, len(data), size))).silence(60)
    assert [(request.unit, request.first, request.count) for request, _ in line.heard] == [
        (4, 0x0121, 1),
        (1, 0xF3, 0x38),
        (1, 0, 0x2A),
        (1, 0, 0x2E),
    ]
    assert [answer.reason for _, answer in line.heard] == [Reason.ILLEGAL_ADDRESS] + [Reason.NONE] * 3
    for (_, answer), frame in zip(line.heard[1:], frames[2:], strict=True):
        assert answer.payload == bytes.fromhex(frame["rx"])[3:-2]
    assert line.ear.counters["writes seen"] == 1
    assert line.ear.counters["noise bytes"] == 3  # 00 before, 00 behind, FF before


def test_an_exception_and_a_silence_have_their_reason():
    line = Line().after(0, ASK.raw).after(20, ASK.refusal(2)).after(20, OTHER.raw).after(1000, ASK.raw)
    assert line.told == [(3, 100, Reason.ILLEGAL_ADDRESS), (3, 200, Reason.TIMEOUT)]


def test_a_request_after_which_the_master_falls_silent_is_given_up():
    line = Line().after(0, ASK.raw).silence(6000)
    assert line.told == [(3, 100, Reason.TIMEOUT)]
    assert Line().after(0, ASK.raw).after(6000, ASK.reply()).told == [(3, 100, Reason.TIMEOUT)]


SPOILED = {
    "bad CRC": lambda r: r.reply()[:-1] + b"\x00",
    "too few registers": lambda r: r.reply(r.data()[:2]),
    "other function": lambda r: r.reply(function=4),
    "other unit": lambda r: r.reply(unit=9),
    "nothing but noise": lambda r: b"\x5a\xa5" * 6,
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_does_not_fit_is_no_number_and_the_next_exchange_is_understood(name):
    line = Line().after(0, ASK.raw).after(20, SPOILED[name](ASK)).silence(60)
    line.after(900, asking(5, 7, 3).raw).after(20, asking(5, 7, 3).reply())
    assert [(unit, first) for unit, first, _ in line.told] == [(3, 100), (5, 7)]
    assert line.told[0][2] in (Reason.WRONG_REPLY, Reason.TIMEOUT)
    assert line.told[1][2] == asking(5, 7, 3).data()


def test_merged_frames_and_noise_between_them_are_taken_apart():
    line = Line().after(0, b"\xff" + ASK.raw + ASK.reply() + b"\x00" + OTHER.raw + OTHER.reply()).silence(60)
    assert line.told == [(3, 100, ASK.data()), (3, 200, OTHER.data())]


def coils(first: int, count: int = 20, unit: int = 1):
    return asking(unit, first, count, 1)


def test_a_reply_that_looks_like_a_request_is_a_reply_where_it_comes_promptly():
    """20 coils are 3 bytes: the reply has 8 bytes as a request has, and its count could be one."""
    asked = coils(0)
    reply = asked.reply(b"\x05\x00\x09")
    assert len(reply) == len(asked.raw)
    line = Line().after(0, asked.raw).after(15, reply).after(100, ASK.raw).after(20, ASK.reply())
    assert line.told == [(1, 0, b"\x05\x00\x09"), (3, 100, ASK.data())]


def test_a_request_that_looks_like_the_reply_of_a_dead_unit_is_never_its_value():
    """A dead unit is asked for 20 coils; the master gives up and asks for those from 0x0300 on."""
    dead, following = coils(0), coils(0x0300)
    assert following.raw[2] == 3
    line = Line().after(0, dead.raw).after(1000, following.raw).after(1000, ASK.raw).after(20, ASK.reply())
    assert line.told == [(1, 0, Reason.WRONG_REPLY), (3, 100, ASK.data())]
    assert line.ear.counters["doubtful replies"] == 1


def test_what_answers_a_doubtful_request_is_no_value_either():
    """It could be the late reply to the first."""
    line = Line().after(0, coils(0).raw).after(1000, coils(0x0300).raw).after(15, coils(0x0300).reply(b"\xff\xff\xff"))
    assert line.told == [(1, 0, Reason.WRONG_REPLY)]
    line.after(6000, coils(0x0300).raw).after(15, coils(0x0300).reply(b"\xff\xff\xff"))
    assert line.told[1:] == [(1, 0x0300, b"\xff\xff\xff")]


def test_a_reply_behind_a_garbled_request_is_not_the_value_of_the_one_before():
    garbled = OTHER.raw[:-1] + b"\x00"
    line = Line().after(0, ASK.raw).after(1000, garbled).after(20, OTHER.reply()).silence(60)
    assert line.told == [(3, 100, Reason.WRONG_REPLY)]


def test_a_request_after_a_doubtful_one_is_never_its_value():
    first, doubtful, third = coils(0), coils(0x0300), coils(0x0310)
    line = Line().after(0, first.raw).after(1000, doubtful.raw).after(15, third.raw).after(1000, ASK.raw)
    assert all(not isinstance(data, bytes) for _, _, data in line.told)


def test_a_late_reply_to_an_earlier_request_is_never_the_value_of_the_next():
    """P2, seen from outside: same unit, function and length, so nothing tells the replies apart."""
    line = Line().after(0, ASK.raw).after(500, OTHER.raw).after(10, ASK.reply()).after(30, OTHER.reply())
    assert line.told == [(3, 100, Reason.TIMEOUT), (3, 200, Reason.WRONG_REPLY)]
    third = asking(3, 300, 2)
    line.after(10, third.raw).after(20, third.reply())
    assert line.told[2] == (3, 300, Reason.WRONG_REPLY)  # its reply could be that of 200 as well
    longer = asking(3, 400, 5)
    line.after(10, longer.raw).after(20, longer.reply()).after(10, ASK.raw).after(20, ASK.reply())
    assert line.told[3:] == [(3, 400, longer.data()), (3, 100, ASK.data())]


def test_a_request_that_is_repeated_after_a_loss_is_answered():
    line = Line().after(0, ASK.raw).after(1000, ASK.raw).after(20, ASK.reply())
    assert line.told == [(3, 100, Reason.TIMEOUT), (3, 100, ASK.data())]


WRITES = {
    "a coil": (bytes([3, 5, 0, 1, 0xFF, 0]), bytes([3, 5, 0, 1, 0xFF, 0])),
    "a register": (bytes([3, 6, 0, 1, 0, 7]), bytes([3, 6, 0, 1, 0, 7])),
    "registers": (bytes([3, 16, 0, 1, 0, 2, 4, 0, 1, 0, 2]), bytes([3, 16, 0, 1, 0, 2])),
    "masked": (bytes([3, 22, 0, 4, 0, 0xF2, 0, 0x25]), bytes([3, 22, 0, 4, 0, 0xF2, 0, 0x25])),
    "written and read": (bytes([3, 23, 0, 3, 0, 1, 0, 14, 0, 1, 2, 0, 255]), bytes([3, 23, 2, 0, 254])),
    "refused": (bytes([3, 6, 0, 1, 0, 7]), bytes([3, 0x86, 2])),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_of_the_other_system_is_counted_once_and_is_no_value(name):
    request, reply = (framed(each) for each in WRITES[name])
    line = Line().after(0, ASK.raw).after(20, ASK.reply()).after(20, request).after(20, reply)
    line.after(20, OTHER.raw).after(20, OTHER.reply())
    assert line.ear.counters["writes seen"] == 1
    assert line.told == [(3, 100, ASK.data()), (3, 200, OTHER.data())]
    line.after(20, request).after(20, reply)
    assert line.ear.counters["writes seen"] == 2


def test_a_reply_without_a_request_is_nobodys():
    line = Line().after(0, ASK.reply()).after(20, OTHER.raw).after(20, OTHER.reply())
    assert line.told == [(3, 200, OTHER.data())]
    assert line.ear.counters["unmatched replies"] == 1


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(deadline=None, max_examples=150)
def test_no_noise_is_ever_a_value(pieces):
    line = Line()
    for piece in pieces:
        line.after(3, piece)
    line.silence(60)
    assert all(answer.payload is None for _, answer in line.heard)
    assert line.ear._buffer == b""


COUNTS = (17, 20, 24, 1, 2, 8)
"""Replies of 17 to 24 bits are as long as requests, and requests from 0x0300 on look like them."""


@given(st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=60)
def test_among_noise_losses_and_altered_bytes_every_value_is_its_registers_own(seed):
    chance = random.Random(seed)
    line, right = Line(), 0
    for _ in range(30):
        first, count = chance.choice((chance.randrange(900), 0x300 + chance.randrange(256))), chance.choice(COUNTS)
        asked = asking(chance.choice((1, 2)), first, count, chance.choice((1, 2, 3, 4)))
        request, reply = asked.raw, asked.reply()
        fate = chance.randrange(8)
        if fate == 0:
            request = request[:3] + bytes([request[3] ^ 0x40]) + request[4:]
        elif fate == 1:
            reply = b""
        elif fate == 2:
            reply = bytearray(reply)
            reply[chance.randrange(len(reply))] ^= chance.randrange(1, 256)
            reply = bytes(reply)
        elif fate == 3:
            reply = chance.randbytes(chance.randrange(1, 5)) + reply
        for data in (request, reply):
            size = chance.randrange(1, 20)
            line.after(chance.choice((2, 20)), *(data[at : at + size] for at in range(0, len(data), size)))
        line.after(900 if fate in (0, 1, 2) else 5)
        if chance.random() < 0.7:
            line.silence(60)
    for request, answer in line.heard:
        if answer.payload is not None:
            own = asking(request.unit, request.first, request.count, request.table.function)
            assert answer.payload == own.data()
            right += 1
    assert right >= 5


PERIOD_S = 0.1


def test_what_the_other_system_reads_is_there_and_what_nobody_reads_says_so():
    async def test() -> None:
        points = [modbus_point(f"{unit}/holding/{register}", period_s=PERIOD_S) for unit, register in POLLED]
        points.append(modbus_point("1/holding/700", period_s=PERIOD_S))
        async with RtuLine() as line, ForeignMaster(line, PERIOD_S, (1, 1, 7), (2, 40, 4)):
            source = listening_source(points, line.path)
            async with Watch(source) as watch:
                await watch.until(lambda seen: seen.states(2)[-1:] == ["good"])
                seen = await watch.cycles(12)
                for at, (unit, register) in enumerate(POLLED):
                    assert seen.last(at) == (content(unit, 3, register), Severity.GOOD, Reason.NONE)
                assert set(seen.reasons(3)) == {Reason.WAITING_FOR_INITIAL_DATA}
                assert seen.report(1).duration_ms is not None
            assert line.sent == b""
            assert (source.kind, source.endpoint) == ("modbus_serial", line.path)

    run(test())


POLLED = [(1, 1), (1, 7), (2, 42)]


def test_a_unit_that_is_not_polled_any_more_is_lost_and_its_points_are_bad_each_period():
    async def test() -> None:
        points = [modbus_point("1/holding/1", period_s=PERIOD_S), modbus_point("2/holding/40", period_s=PERIOD_S)]
        async with RtuLine() as line, ForeignMaster(line, PERIOD_S, (1, 1, 7)):
            async with Watch(listening_source(points, line.path)) as watch:
                async with ForeignMaster(line, 2 * PERIOD_S, (2, 40, 4)):
                    await watch.until(lambda seen: seen.states(2)[-1:] == ["good"])
                seen = await watch.until(lambda seen: seen.states(2)[-1:] == ["lost"])
                assert seen.report(2).last_error == "nobody polls it"
                before = len(seen.reasons(1))
                await asyncio.sleep(6 * PERIOD_S)
                rows = seen.reasons(1)[before:]
                assert set(rows) == {Reason.NO_COMMUNICATION}
                assert len(rows) >= 2
                assert seen.last(0)[1] is Severity.GOOD

    run(test())


def test_writes_of_the_other_system_are_reported():
    async def test() -> None:
        write = framed(bytes([1, 6, 0, 1, 0, 7]))
        points = [modbus_point("1/holding/1", period_s=PERIOD_S)]
        async with RtuLine() as line, Watch(listening_source(points, line.path)) as watch:
            await watch.until(lambda seen: bool(seen.batches))
            line.send(write)
            line.send(write)
            line.send(asking(1, 1, 1).raw)
            line.send(asking(1, 1, 1).reply())
            await watch.until(lambda seen: seen.reports[-1].counters.get("writes seen") == 1)

    run(test())


def test_units_at_slow_and_fast_periods_have_their_own_pace():
    async def test() -> None:
        points = [modbus_point("1/holding/1", period_s=PERIOD_S), modbus_point("1/holding/700", period_s=5 * PERIOD_S)]
        async with RtuLine() as line, ForeignMaster(line, PERIOD_S, (1, 1, 7)):
            async with Watch(listening_source(points, line.path)) as watch:
                await watch.until(lambda seen: len(seen.reasons(1)) >= 3)
                rows = [b for b in watch.seen.batches if 1 in b.index]
                times_s = [float(batch.monotonic_ns[0]) / 1e9 for batch in rows]
                assert np.diff(times_s)[1:].min() > 2 * PERIOD_S
                assert all(a.batch_no + 1 == b.batch_no for a, b in pairwise(watch.seen.batches))

    run(test())


def test_the_port_is_opened_for_reading_only():
    async def test() -> None:
        async with RtuLine() as line:
            transport = SerialTransport(line.path, parity="N", passive=True)
            port = open_read_only(transport)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(port, b"\x01")
            with pytest.raises(BlockingIOError):
                open_read_only(transport)
            os.close(port)
            with pytest.raises(OSError, match="no standard speed"):
                open_read_only(SerialTransport(line.path, baud=12_345, passive=True))

    run(test())


def test_nobody_is_given_a_link_that_could_speak_on_a_passive_line():
    with pytest.raises(ValueError, match="only listened to"):
        open_link(SerialTransport("/dev/ttyS9", passive=True), clock=ManualClock())


def test_a_passive_table_becomes_a_source_that_listens():
    settings_, problems = read_settings(
        SourceTable("tap", "modbus_serial", {"device": "/dev/ttyS9", "passive": True}), []
    )
    assert problems == []
    assert settings_.transport == SerialTransport("/dev/ttyS9", passive=True)


def test_a_site_with_a_passive_line_builds_a_source_that_listens(tmp_path):
    toml = SITE_TOML.partition("[source.kj]")[0] + PASSIVE_TOML
    points = "\n".join(line for line in POINTS_CSV.splitlines() if ",kj," not in line).replace("/holding/", "/coil/")
    (source,) = build_sources(load_site(write_site(tmp_path, toml=toml, points=points)), SystemClock())
    assert isinstance(source, ListeningSource)


PASSIVE_TOML = '[source.pump]\nkind = "modbus_serial"\ndevice = "/dev/ttyS9"\npassive = true\n'
