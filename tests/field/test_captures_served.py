"""A recorded device that is served: its values at the moment, its refusals and silence, its pace, and faults on top."""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys

import pytest
import typer
from pcap_writer import MS, T0_NS, Dialog, adu, pcap_bytes, read_request, words_reply
from typer.testing import CliRunner

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.fault_script import Fault, FaultScript, parse_fault
from connectors.captures.pcap_import import import_pcap
from connectors.captures.playback import Place, Playback
from connectors.captures.recorded_device import RecordedDevice
from connectors.captures.recorded_server import RecordedServer
from connectors.captures.serve_command import add_serve_command, serve_until_told
from connectors.captures.serving import CaptureServer, ServeOptions
from connectors.captures.wire_frames import WireFrame
from mines.clock import ManualClock
from mines.errors import CaptureError

SERVER = "192.168.7.20:502"
DAY_NS = 86_400_000_000_000


def seen(ms, request, reply, *, unit=1, rtt_ms=5, sure=True):
    at = T0_NS + round(ms * MS)
    reply_ns = None if reply is None else at + rtt_ms * MS
    return WireFrame(at, SERVER, "192.168.7.10:4000", unit, 1, request[0] & 0x7F, request, reply, reply_ns, unit, sure)


def at(ms):
    return Place(0, T0_NS + round(ms * MS))


READ_0_2, READ_1 = read_request(3, 0, 2), read_request(3, 1, 1)


def test_a_register_is_what_was_read_last_whichever_request_read_it():
    device = RecordedDevice([
        seen(0, READ_0_2, words_reply(3, 10, 11)),
        seen(100, READ_1, words_reply(3, 12)),
        seen(200, READ_0_2, words_reply(3, 20, 21)),
    ])  # fmt: skip
    answers = []
    for ms in (-1, 5, 105, 205):
        device.run_to(at(ms))
        answers.append((device.answer(1, READ_0_2).reply, device.answer(1, READ_1).reply))
    assert answers == [
        (words_reply(3, 10, 11), words_reply(3, 11)),
        (words_reply(3, 10, 11), words_reply(3, 11)),
        (words_reply(3, 10, 12), words_reply(3, 12)),
        (words_reply(3, 20, 21), words_reply(3, 21)),
    ]


def test_bits_are_composed_as_the_protocol_packs_them():
    device = RecordedDevice([seen(0, read_request(1, 3, 10), bytes([1, 2, 0b1010_0101, 0b10]))])
    assert device.answer(1, read_request(1, 3, 10)).reply == bytes([1, 2, 0b1010_0101, 0b10])
    assert device.answer(1, read_request(1, 5, 8)).reply == bytes([1, 1, 0b1010_1001])


def test_refusals_and_silence_come_and_go_as_they_did():
    device = RecordedDevice([
        seen(0, READ_1, words_reply(3, 7)),
        seen(100, READ_1, bytes([0x83, 6])),
        seen(200, READ_1, None),
        seen(300, READ_1, words_reply(3, 8)),
    ])  # fmt: skip
    answers = []
    for ms in (50, 150, 250, 350):
        device.run_to(at(ms))
        answers.append(device.answer(1, READ_1).reply)
    assert answers == [words_reply(3, 7), bytes([0x83, 6]), None, words_reply(3, 8)]


def test_one_missing_register_of_a_block_does_not_refuse_those_that_are_there():
    device = RecordedDevice([
        seen(0, READ_0_2, bytes([0x83, 2])), seen(1, READ_1, words_reply(3, 7)), seen(9, READ_0_2, bytes([0x83, 2])),
    ])  # fmt: skip
    device.run_to(at(50))
    assert device.answer(1, READ_1).reply == words_reply(3, 7)
    assert device.answer(1, READ_0_2).reply == bytes([0x83, 2])


@pytest.mark.parametrize(
    ("unit", "request_pdu", "reply"),
    [
        (1, read_request(3, 2, 1), bytes([0x83, 2])),
        (1, read_request(4, 0, 1), bytes([0x84, 2])),
        (1, read_request(3, 0, 126), bytes([0x83, 3])),
        (1, read_request(3, 0, 0), bytes([0x83, 3])),
        (2, READ_1, bytes([0x83, 11])),
        (1, bytes.fromhex("0600010005"), bytes([0x86, 1])),
        (1, b"\x2b\x0e\x01\x00", b"\x2b\x0e\x01\x01\x00\x00\x00"),
        (1, b"\x63", bytes([0xE3, 1])),
    ],
    ids=["register", "table", "too many", "none", "unit", "write", "identification", "unknown function"],
)
def test_what_was_not_recorded_is_refused_as_a_device_refuses_it(unit, request_pdu, reply):
    identification = (b"\x2b\x0e\x01\x00", b"\x2b\x0e\x01\x01\x00\x00\x00")
    device = RecordedDevice([seen(0, READ_0_2, words_reply(3, 1, 2)), seen(1, *identification)])
    assert device.answer(unit, request_pdu).reply == reply


def test_a_reply_that_may_belong_to_another_request_is_not_served():
    device = RecordedDevice([seen(0, READ_1, words_reply(3, 7)), seen(9, READ_1, words_reply(3, 8), sure=False)])
    device.run_to(at(50))
    assert device.answer(1, READ_1).reply == words_reply(3, 7)


@pytest.mark.parametrize("pdu", [bytes([length]) * length for length in range(1, 8)])
def test_no_request_breaks_the_device(pdu):
    reply = RecordedDevice([seen(0, READ_1, words_reply(3, 7))]).answer(1, pdu).reply
    assert reply is not None


def test_the_pace_is_the_captures_times_the_speed_and_days_are_jumped():
    times = [T0_NS, T0_NS + 100 * MS, T0_NS + 3 * DAY_NS]
    playback = Playback(times, speed=2.0)
    assert playback.gaps == 1
    assert playback.place(0) == Place(0, times[0])
    assert playback.place(49 * MS).time_ns == times[0]
    assert playback.place(50 * MS).time_ns == times[1]
    assert playback.place(549 * MS).time_ns == times[1]
    assert playback.place(550 * MS) == playback.place(10 * DAY_NS) == Place(0, times[2])


def test_a_loop_begins_again_a_second_after_the_end():
    playback = Playback([T0_NS, T0_NS + 1000 * MS], loop=True)
    assert playback.place(1999 * MS) == Place(0, T0_NS + 1000 * MS)
    assert playback.place(2000 * MS) == Place(1, T0_NS)
    device = RecordedDevice(
        [seen(0, READ_1, words_reply(3, 7), rtt_ms=0), seen(1000, READ_1, words_reply(3, 8), rtt_ms=0)]
    )
    seen_words = []
    for ms in (0, 1500, 2500, 3500):
        device.run_to(playback.place(ms * MS))
        seen_words.append(device.answer(1, READ_1).reply[-1])
    assert seen_words == [7, 8, 7, 8]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("silence", Fault("silence")),
        ("exception=4@10-20", Fault("exception", 4, 10.0, 20.0)),
        ("delay=500@1.5-", Fault("delay", 500, 1.5)),
        ("hangup@0-3", Fault("hangup", 0, 0.0, 3.0)),
    ],
)
def test_a_fault_is_read_from_its_text(text, fault):
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text", ["", "silense", "exception", "silence=3", "delay=0", "exception=300", "hangup@5-5", "delay=x"]
)
def test_what_is_no_fault_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_fault(text)


def served(faults=(), *, delays=False):
    device = RecordedDevice([seen(0, READ_1, words_reply(3, 7), rtt_ms=40)])
    clock = ManualClock()
    script = FaultScript([parse_fault(text) for text in faults])
    elapsed = clock.monotonic_ns
    return clock, RecordedServer(device, Playback(device.times_ns), elapsed_ns=elapsed, faults=script, delays=delays)


def test_faults_stand_in_their_time_and_what_was_recorded_outside_it():
    clock, server = served(["exception=4@1-2", "silence@3-4", "delay=250@5-6"], delays=True)
    replies = []
    for _ in range(7):
        outcome = server.answer(1, READ_1)
        replies.append((outcome.reply, outcome.delay_ns // MS))
        clock.advance_ms(1000)
    good = (words_reply(3, 7), 40)
    assert replies == [good, (bytes([0x83, 4]), 40), good, (None, 0), good, (words_reply(3, 7), 290), good]


async def asked(port, *frames):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"".join(frames))
        return await asyncio.wait_for(reader.read(1000), 5)
    finally:
        writer.close()
        await writer.wait_closed()


def test_any_client_gets_its_transaction_back_and_pipelined_requests_in_order():
    async def run():
        _, server = served()
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        frames = adu(513, 1, READ_1) + adu(0, 1, read_request(3, 9, 1)) + adu(7, 1, READ_1)
        writer.write(frames[:5])
        await writer.drain()
        writer.write(frames[5:])
        expected = adu(513, 1, words_reply(3, 7)) + adu(0, 1, bytes([0x83, 2])) + adu(7, 1, words_reply(3, 7))
        got = await asyncio.wait_for(reader.readexactly(len(expected)), 5)
        writer.close()
        await writer.wait_closed()
        await server.stop()
        return got, expected

    got, expected = asyncio.run(run())
    assert got == expected


@pytest.mark.parametrize(
    "frame", [struct.pack(">HHHB", 1, 7, 6, 1) + READ_1, b"GET / HTTP/1.1\r\n\r\n"], ids=["protocol", "http"]
)
def test_what_is_no_modbus_ends_its_connection_and_no_other(frame):
    async def run():
        _, server = served()
        port = await server.start("127.0.0.1", 0)
        try:
            return await asked(port, frame), await asked(port, adu(1, 1, READ_1))
        finally:
            await server.stop()

    assert asyncio.run(run()) == (b"", adu(1, 1, words_reply(3, 7)))


def test_a_hangup_ends_the_connection_without_a_word():
    async def run():
        _, server = served(["hangup"])
        port = await server.start("127.0.0.1", 0)
        try:
            return await asked(port, adu(1, 1, READ_1))
        finally:
            await server.stop()

    assert asyncio.run(run()) == b""


@pytest.fixture
def capture(tmp_path):
    line = Dialog()
    packets = line.handshake(T0_NS)
    packets += [line.send(0, T0_NS + MS, adu(1, 1, READ_1)), line.send(1, T0_NS + 2 * MS, adu(1, 1, words_reply(3, 7)))]
    (tmp_path / "talk.pcap").write_bytes(pcap_bytes(packets))
    import_pcap(tmp_path / "talk.pcap", tmp_path / "capture")
    return tmp_path / "capture"


def command(*arguments):
    code = (
        "import typer; from connectors.captures.serve_command import add_serve_command\n"
        "app = typer.Typer(); app.callback()(lambda: None); add_serve_command(app); app()"
    )
    return [sys.executable, "-P", "-c", code, "serve", *map(str, arguments)]


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, []), (signal.SIGTERM, ["--json"])], ids=["SIGINT", "SIGTERM"]
)
def test_the_command_prints_its_address_answers_and_ends_well_when_told(capture, number, options):
    with subprocess.Popen(
        command(capture, *options), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            url = child.stdout.readline().strip()
            if options:
                (server,) = json.loads(url)["servers"]
                assert (server["kind"], server["recorded"]) == ("modbus", SERVER)
                url = server["url"]
            host, _, port = url.removeprefix("tcp://").rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as client:
                client.sendall(adu(3, 1, READ_1))
                assert client.recv(100) == adu(3, 1, words_reply(3, 7))
            os.kill(child.pid, number)
            assert child.wait(10) == 0
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--fault", "fire"], "--fault"), (["--speed", "0"], "--speed"), (["--port", "70000"], "--port")],
    ids=["fault", "speed", "port"],
)
def test_a_wrong_option_is_a_usage_error(capture, arguments, words):
    app = typer.Typer()
    app.callback()(lambda: None)
    add_serve_command(app)
    result = CliRunner().invoke(app, ["serve", str(capture), *arguments])
    assert result.exit_code == 2
    assert words in result.output


def test_a_taken_port_and_a_capture_without_values_are_said(capture, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = ServeOptions(port=taken.getsockname()[1])
        with pytest.raises(CaptureError, match="expected a free port"):
            asyncio.run(serve_until_told(capture, options, json=False))
    (tmp_path / "none").mkdir()
    with pytest.raises(CaptureError, match=r"capture\.toml"):
        asyncio.run(serve_until_told(tmp_path / "none", ServeOptions(), json=False))


def test_a_client_that_is_not_ours_reads_what_was_recorded():
    pymodbus = pytest.importorskip("pymodbus.client")

    async def run():
        _, server = served()
        port = await server.start("127.0.0.1", 0)
        client = pymodbus.AsyncModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
        try:
            assert await client.connect()
            good = await client.read_holding_registers(1, count=1, device_id=1)
            refused = await client.read_holding_registers(9, count=1, device_id=1)
            return good.registers, refused.exception_code
        finally:
            client.close()
            await server.stop()

    assert asyncio.run(run()) == ([7], 2)


def test_twenty_years_between_two_readings_are_jumped_by_replay_and_by_serve(tmp_path):
    later_ns = T0_NS + 20 * 365 * DAY_NS
    one, two = Dialog(), Dialog(client=("192.168.7.10", 50_000))
    packets = [one.send(0, T0_NS, adu(1, 1, READ_1)), one.send(1, T0_NS + MS, adu(1, 1, words_reply(3, 7)))]
    packets += [two.send(0, later_ns, adu(1, 1, READ_1)), two.send(1, later_ns + MS, adu(1, 1, words_reply(3, 8)))]
    (tmp_path / "talk.pcap").write_bytes(pcap_bytes(packets))
    result = import_pcap(tmp_path / "talk.pcap", tmp_path / "capture")
    assert result.report["span_s"] == pytest.approx(20 * 365 * 86_400)
    assert len(list(capture_ticks(tmp_path / "capture").ticks)) <= 4
    server = CaptureServer(tmp_path / "capture", ServeOptions(), ManualClock())
    assert (server.playback.gaps, server.playback.length_ns) == (1, 1_000_000_000)
