"""Other link types than Ethernet, and pcapng: the same talk comes out, and what is damaged is named with its place."""

import struct

import pytest
from pcap_writer import (
    MS,
    T0_NS,
    Dialog,
    adu,
    block,
    enhanced,
    interface,
    linked,
    option,
    pcap_bytes,
    pcapng_bytes,
    read_request,
    section,
    words_reply,
)

from connectors.captures.links import ip_in
from connectors.captures.pcap import read_packets
from connectors.captures.traffic import read_traffic, warnings
from mines.errors import CaptureError

V4 = {"client": ("192.168.7.10", 4000), "server": ("192.168.7.20", 502)}
V6 = {"client": ("fd00::10", 4000), "server": ("fd00::20", 502)}


def talk(ends=V4, **dialog):
    line = Dialog(**ends, **dialog)
    return [
        *line.handshake(T0_NS),
        line.send(0, T0_NS + MS, adu(1, 3, read_request(3, 10, 2))),
        line.send(1, T0_NS + 3 * MS, adu(1, 3, words_reply(3, 7, 8))),
    ]


def read(tmp_path, data):
    path = tmp_path / "talk.cap"
    path.write_bytes(data)
    return read_traffic(path)


def matched(reading):
    report = reading.report()
    return report["requests"], report["matched"], report["malformed"]


@pytest.mark.parametrize("ends", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("link_type", "order"),
    [(0, "<"), (0, ">"), (101, "<"), (108, "<"), (113, "<"), (276, "<")],
    ids=["null little", "null big", "raw", "loop", "cooked", "cooked 2"],
)
def test_every_link_type_carries_the_same_talk(tmp_path, link_type, order, ends):
    packets = [(time_ns, linked(frame, link_type, order)) for time_ns, frame in talk(ends)]
    reading = read(tmp_path, pcap_bytes(packets, link_type=link_type))
    assert (matched(reading), reading.problem) == ((1, 1, 0), None)


@pytest.mark.parametrize("family", [10, 23, 24, 28, 30], ids=["linux", "windows", "openbsd", "freebsd", "macos"])
def test_every_systems_number_of_the_ipv6_family_is_known(family):
    assert ip_in(0, struct.pack("<I", family) + b"\x60" * 40) == (0x86DD, 4)


@pytest.mark.parametrize("outer", [0x8100, 0x88A8, 0x9100], ids=["802.1Q", "802.1ad", "old QinQ"])
def test_two_tags_of_any_kind_are_passed(outer):
    frame = talk()[3][1]
    tagged = frame[:12] + struct.pack(">HHHH", outer, 5, 0x8100, 7) + frame[12:]
    assert ip_in(1, tagged) == (0x0800, 22)


@pytest.mark.parametrize("link_type", [0, 1, 101, 108, 113, 276, 105])
@pytest.mark.parametrize("data", [b"", b"\x45", b"\xff" * 30], ids=["empty", "one byte", "ones"])
def test_no_bytes_break_the_link_reader(link_type, data):
    found = ip_in(link_type, data)
    assert found is None or found[1] <= 20


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_pcapng_gives_what_pcap_gives(tmp_path, order):
    packets = talk()
    reading = read(tmp_path, pcapng_bytes(packets, order=order))
    assert reading.problem is None
    assert reading.report() == read(tmp_path, pcap_bytes(packets, nano=True)).report()


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        (b"", 10**6),
        (option(9, b"\x03"), 10**3),
        (option(9, b"\x8a"), 2**10),
        (option(14, struct.pack("<q", 1000)), 10**6),
    ],
    ids=["default", "ms", "binary", "offset"],
)
def test_times_of_pcapng_are_read_in_the_interfaces_ticks(tmp_path, options, ticks):
    path = tmp_path / "one.pcapng"
    path.write_bytes(section() + interface(options=options) + enhanced(5 * ticks + ticks // 2, b"one"))
    offset_s = 1000 if b"\x0e\0" in options else 0
    assert [each.time_ns for each in read_packets(path)] == [(offset_s * 10 + 55) * 100_000_000]


def test_interfaces_and_sections_of_one_file_have_their_own_link_type_and_order(tmp_path):
    frames = talk()
    first = section("<") + interface(1, "<") + interface(101, "<")
    first += enhanced(T0_NS // 1000, frames[0][1], "<", 0) + enhanced(T0_NS // 1000, linked(frames[1][1], 101), "<", 1)
    second = section(">") + interface(276, ">")
    second += b"".join(enhanced(ns // 1000, linked(frame, 276), ">") for ns, frame in frames[2:])
    assert matched(read(tmp_path, first + second)) == (1, 1, 0)


def test_an_interface_that_is_not_read_beside_one_that_is_becomes_a_warning(tmp_path):
    good = b"".join(enhanced(ns // 1000, frame, number=1) for ns, frame in talk())
    reading = read(tmp_path, section() + interface(189) + interface(1) + enhanced(T0_NS // 1000, b"\0" * 64) + good)
    assert (matched(reading), reading.problem) == ((1, 1, 0), None)
    assert list(warnings(reading)) == ["1 packets of link type 189 (USB) are not read"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (section() + block(3, b"\0" * 8), ":2: byte 28: a packet without a time"),
        (section() + enhanced(1, b"one"), ":2: byte 28: a packet of interface 0"),
        (section() + interface() + struct.pack("<II", 6, 3), ":3: byte 48: block length 3"),
        (b"\x0a\x0d\x0d\x0a" + b"\0" * 24, ":1: byte 0: a pcapng section of no byte order"),
    ],
    ids=["no time", "no interface", "bad length", "no order"],
)
def test_damage_in_pcapng_is_said_with_block_and_byte(tmp_path, data, words):
    path = tmp_path / "bad.pcapng"
    path.write_bytes(data)
    with pytest.raises(CaptureError) as error:
        list(read_packets(path))
    assert words in str(error.value)


def test_a_pcapng_file_cut_anywhere_keeps_what_was_whole(tmp_path):
    packets = talk()
    whole = pcapng_bytes(packets)
    counts = set()
    for size in range(4, len(whole)):
        reading = read(tmp_path, whole[:size])
        counts.add(reading.counted.packets)
        if reading.problem is not None:
            assert "is cut in this block" in str(reading.problem)
    assert counts == set(range(len(packets) + 1))


def test_a_packet_cut_by_the_snap_length_loses_its_message_and_no_other(tmp_path):
    line = Dialog(**V4)
    packets = [
        *line.handshake(T0_NS),
        line.send(0, T0_NS + MS, adu(1, 3, read_request(3, 0, 60))),
        line.send(1, T0_NS + 2 * MS, adu(1, 3, words_reply(3, *range(60)))),
        line.send(0, T0_NS + 3 * MS, adu(2, 3, read_request(3, 0, 2))),
        line.send(1, T0_NS + 4 * MS, adu(2, 3, words_reply(3, 1, 2))),
    ]
    reading = read(tmp_path, pcap_bytes(packets, snaplen=100))
    report = reading.report()
    assert (report["requests"], report["matched"], report["unanswered"], report["malformed"]) == (2, 1, 1, 0)
    assert list(warnings(reading)) == [
        "1 holes in the captured TCP streams: some requests or replies are missing from the capture"
    ]
