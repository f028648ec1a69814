"""pcap files: both byte orders and clocks, what is no pcap, and files that end too early."""

import pytest
from pcap_writer import (
    ACK,
    MS,
    T0_NS,
    Dialog,
    adu,
    ethernet,
    ip_packet,
    pcap_bytes,
    read_request,
    tcp_bytes,
    words_reply,
)

from connectors.captures.pcap import read_packets
from connectors.captures.tcp_packets import endpoint_text, tcp_segment
from connectors.captures.traffic import read_traffic
from mines.errors import CaptureError


def short_talk(**dialog):
    line = Dialog(**dialog)
    return [
        *line.handshake(T0_NS),
        line.send(0, T0_NS + MS, adu(1, 3, read_request(3, 10, 2))),
        line.send(1, T0_NS + 3 * MS, adu(1, 3, words_reply(3, 7, 8))),
        line.send(0, T0_NS + 9 * MS, adu(2, 3, read_request(4, 0, 1))),
        line.send(1, T0_NS + 10 * MS, adu(2, 3, bytes([0x84, 2]))),
    ]


def written(tmp_path, data):
    path = tmp_path / "talk.pcap"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("nano", [False, True], ids=["us", "ns"])
def test_both_byte_orders_and_clocks_give_the_same_packets(tmp_path, order, nano):
    packets = [(T0_NS + 1_234_567, b"one"), (T0_NS + 2_000_000, b"two")]
    found = list(read_packets(written(tmp_path, pcap_bytes(packets, order=order, nano=nano))))
    assert [each.data for each in found] == [b"one", b"two"]
    assert [each.link_type for each in found] == [1, 1]
    assert found[0].time_ns == T0_NS + (1_234_567 if nano else 1_234_000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["cut in the file header", "found 0"]),
        (bytes.fromhex("d4c3b2a1") + b"\0" * 5, ["cut in the file header", "found 9"]),
        (b"PK\x03\x04" + b"\0" * 40, ["not a pcap file", "504b0304"]),
        (bytes.fromhex("0a0d0d0a") + b"\0" * 40, ["pcapng"]),
    ],
    ids=["empty", "short", "zip", "pcapng"],
)
def test_what_is_no_pcap_is_said_with_file_and_place(tmp_path, data, words):
    path = written(tmp_path, data)
    with pytest.raises(CaptureError) as error:
        list(read_packets(path))
    assert str(path) in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_a_missing_file_is_a_capture_error(tmp_path):
    with pytest.raises(CaptureError, match=r"none\.pcap.*No such file"):
        list(read_packets(tmp_path / "none.pcap"))


def test_a_packet_length_that_cannot_be_is_damage(tmp_path):
    data = bytearray(pcap_bytes([(T0_NS, b"one"), (T0_NS, b"two")]))
    data[24 + 19 + 8 : 24 + 19 + 12] = b"\xff\xff\xff\x7f"
    packets = read_packets(written(tmp_path, bytes(data)))
    assert next(packets).data == b"one"
    with pytest.raises(CaptureError, match=":2: byte 43: packet length"):
        next(packets)


def test_a_file_cut_anywhere_keeps_what_was_whole_and_names_the_place(tmp_path):
    packets = short_talk()
    whole = pcap_bytes(packets)
    path = tmp_path / "cut.pcap"
    ends = [24]
    for _, data in packets:
        ends.append(ends[-1] + 16 + len(data))
    reports = []
    for n in range(len(packets) + 1):
        path.write_bytes(pcap_bytes(packets[:n]))
        reports.append(read_traffic(path).report())
    assert (reports[-1]["matched"], reports[-1]["exceptions"]) == (2, {"4/2": 1})
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        reading = read_traffic(path)
        kept = max((n for n, end in enumerate(ends) if end <= size), default=0)
        assert reading.report() == reports[kept]
        assert (reading.problem is None) == (size in ends)
        if reading.problem is not None and size > 24:
            assert f"{path}:{kept + 1}: byte {ends[kept]}: the file is cut in this packet" in str(reading.problem)


@pytest.mark.parametrize("vlans", [(), (7,), (7, 8)], ids=["plain", "vlan", "double"])
@pytest.mark.parametrize(
    ("client", "server"),
    [(("192.168.7.10", 4000), ("192.168.7.20", 502)), (("fd00::10", 4000), ("fd00::20", 502))],
    ids=["ipv4", "ipv6"],
)
def test_ethernet_vlan_ipv4_and_ipv6_carry_the_same_talk(tmp_path, vlans, client, server):
    packets = short_talk(client=client, server=server, vlans=vlans)
    reading = read_traffic(written(tmp_path, pcap_bytes(packets)))
    report = reading.report()
    assert (report["requests"], report["matched"], report["malformed"]) == (2, 2, 0)
    address = f"[{server[0]}]" if ":" in server[0] else server[0]
    assert endpoint_text(reading.conversations[0].server) == f"{address}:502"


def test_padding_of_short_frames_is_not_data():
    tcp = tcp_bytes((4000, 502), 5, 6, ACK, b"ab")
    segment = tcp_segment(0, ethernet(*ip_packet("10.0.0.1", "10.0.0.2", tcp)))
    assert (segment.payload, segment.lost) == (b"ab", 0)


def test_bytes_beyond_the_snap_length_are_known_to_be_lost():
    tcp = tcp_bytes((4000, 502), 5, 6, ACK, b"x" * 100)
    segment = tcp_segment(0, ethernet(*ip_packet("10.0.0.1", "10.0.0.2", tcp))[:80])
    assert len(segment.payload) + segment.lost == 100
    assert segment.lost > 0


@pytest.mark.parametrize(
    "mangle",
    [
        lambda data: data[:12] + b"\x08\x06" + data[14:],
        lambda data: data[:23] + b"\x11" + data[24:],
        lambda data: data[:20] + b"\x20\x00" + data[22:],
        lambda data: data[:20] + b"\x00\x10" + data[22:],
        lambda data: data[:14] + b"\x44" + data[15:],
    ],
    ids=["arp", "udp", "first fragment", "later fragment", "short header"],
)
def test_what_is_no_whole_tcp_segment_is_passed_over(mangle):
    data = ethernet(*ip_packet("10.0.0.1", "10.0.0.2", tcp_bytes((4000, 502), 5, 6, ACK, b"ab")))
    assert tcp_segment(0, data) is not None
    assert tcp_segment(0, mangle(data)) is None


def test_every_prefix_of_a_packet_is_read_or_passed_over():
    for kind in ("10.0.0.1", "fd00::1"):
        data = ethernet(*ip_packet(kind, kind.replace("1", "2", 1), tcp_bytes((4000, 502), 5, 6, ACK, b"abcdef")), (3,))
        found = [tcp_segment(0, data[:size]) for size in range(len(data) + 1)]
        assert found[0] is None
        assert found[-1].payload == b"abcdef"


def test_another_link_type_is_a_problem_and_its_packets_are_counted(tmp_path):
    path = written(tmp_path, pcap_bytes([(T0_NS, b"\0" * 40)] * 3, link_type=105))
    reading = read_traffic(path)
    assert reading.counted.packets == 3
    assert "link type: 105 (IEEE 802.11) is not read" in str(reading.problem)
