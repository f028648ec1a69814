"""Modbus in other people's traffic: framing, who is the server, which reply is whose, and the report."""

import json

import pytest
from pcap_writer import MS, T0_NS, Dialog, adu, pcap_bytes, read_request, words_reply

from connectors.captures.modbus_pairs import Pairs
from connectors.captures.modbus_wire import Adu, Framer, read_access, reply_data, write_access
from connectors.captures.report import nearest_rank, rtt_quantiles_ms
from connectors.captures.tcp_streams import Chunk
from connectors.captures.traffic import read_traffic

READ = read_request(3, 0, 1)
REPLY = words_reply(3, 9)
KEYS = [
    "protocol", "packets", "span_s", "connections", "units", "requests", "replies", "matched", "unanswered",
    "orphans", "unanswered_by_unit", "late", "exceptions", "function_codes", "rtt_ms", "writes", "malformed",
    "encrypted", "devices", "registers",
]  # fmt: skip


def report_of(tmp_path, packets):
    path = tmp_path / "talk.pcap"
    path.write_bytes(pcap_bytes(packets))
    reading = read_traffic(path)
    assert reading.problem is None
    return reading.report()


def talk(*turns, handshake=True, **dialog):
    """Packets of (side, ms, bytes)."""
    line = Dialog(**dialog)
    opening = line.handshake(T0_NS) if handshake else []
    return opening + [line.send(side, T0_NS + round(ms * MS), data) for side, ms, data in turns]


def framed(*pieces):
    framer = Framer()
    found = [a for i, data in enumerate(pieces) for a in framer.push(Chunk(0, i, data, after_gap=False))]
    return [(a.transaction, a.unit, a.pdu, a.time_ns) for a in found], framer.malformed


def test_one_message_over_several_segments_and_several_in_one():
    data = adu(1, 2, READ) + adu(3, 4, REPLY)
    assert framed(data)[0] == [(1, 2, READ, 0), (3, 4, REPLY, 0)]
    for cut in range(1, len(data)):
        found, malformed = framed(data[:cut], data[cut:])
        assert [each[:3] for each in found] == [(1, 2, READ), (3, 4, REPLY)]
        assert malformed == 0
        assert found[1][3] == 1
    assert [each[:3] for each in framed(*[bytes([b]) for b in data])[0]] == [(1, 2, READ), (3, 4, REPLY)]


@pytest.mark.parametrize(
    "illegal",
    [b"HTTP/1.1 200 OK\r\n", b"\0\1\0\1\0\6\1\3\0\0\0\1", b"\0\1\0\0\0\1\1", b"\0\1\0\0\xff\xff\1", b"\0\1\0\0\0\0"],
    ids=["http", "protocol id", "length 1", "length 65535", "length 0"],
)
def test_after_an_illegal_header_the_next_segment_is_tried(illegal):
    found, malformed = framed(adu(1, 1, READ) + illegal + adu(2, 1, READ), adu(3, 1, READ))
    assert [each[0] for each in found] == [1, 3]
    assert malformed == 1


def test_a_gap_ends_a_message_that_had_begun():
    framer = Framer()
    assert list(framer.push(Chunk(0, 0, adu(1, 1, READ)[:8], after_gap=False))) == []
    found = list(framer.push(Chunk(0, 1, adu(2, 1, READ), after_gap=True)))
    assert [a.transaction for a in found] == [2]
    assert framer.malformed == 0


def test_a_message_is_as_late_as_the_last_of_its_segments_was_captured():
    framer, data = Framer(), adu(1, 1, READ)
    assert list(framer.push(Chunk(0, 30, data[:5], after_gap=False))) == []  # sent again, so captured last
    (found,) = framer.push(Chunk(0, 10, data[5:], after_gap=False))
    assert found.time_ns == 30


def test_after_a_gap_register_data_is_not_taken_for_a_header():
    inner = adu(0, 0, READ)  # legal register data, and legal messages if one begins to read here
    reply = adu(5, 1, words_reply(3, *(int.from_bytes(inner[i : i + 2], "big") for i in range(0, 12, 2)), 7))
    framer = Framer()
    assert list(framer.push(Chunk(0, 1, reply[9:], after_gap=True))) == []
    assert list(framer.push(Chunk(0, 2, adu(0, 0, b"\0\0\0\0"), after_gap=False))) == []
    found = list(framer.push(Chunk(0, 3, adu(6, 1, REPLY) + adu(7, 1, REPLY), after_gap=False)))
    assert [a.transaction for a in found] == [6, 7]
    assert framer.malformed == 0


@pytest.mark.parametrize(
    ("pdu", "read", "write"),
    [
        (read_request(1, 5, 9), ("coil", 5, 9), None),
        (read_request(2, 5, 9), ("discrete", 5, 9), None),
        (read_request(3, 5, 9), ("holding", 5, 9), None),
        (read_request(4, 5, 9), ("input", 5, 9), None),
        (bytes.fromhex("050001ff00"), None, ("coil", 1, 1)),
        (bytes.fromhex("060001abcd"), None, ("holding", 1, 1)),
        (bytes.fromhex("0f000100040109"), None, ("coil", 1, 4)),
        (bytes.fromhex("100001000204 00aa00bb"), None, ("holding", 1, 2)),
        (bytes.fromhex("16000affffdead"), None, ("holding", 10, 1)),
        (bytes.fromhex("1700010004000200010200ff"), ("holding", 1, 4), ("holding", 2, 1)),
        (b"\x11", None, None),
        (bytes.fromhex("0300"), None, None),
    ],
)
def test_what_a_request_touches(pdu, read, write):
    for access, expected in ((read_access(pdu), read), (write_access(pdu), write)):
        assert (None if access is None else (access.table, access.first, access.count)) == expected


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (words_reply(3, 9), b"\0\x09"),
        (words_reply(4, 9), None),
        (words_reply(3, 9, 9), None),
        (bytes([3, 2, 0]), None),
        (bytes([0x83, 2]), None),
        (b"\3", None),
    ],
    ids=["fits", "other function", "too many", "cut", "exception", "bare"],
)
def test_only_a_fitting_reply_has_data(reply, data):
    assert reply_data(READ, reply) == data


def paired(*messages):
    """(sender, ms, transaction, unit, pdu) → exchanges as (ms of request, ms of reply, sure)."""
    pairs = Pairs()
    for sender, ms, transaction, unit, pdu in messages:
        message = Adu(0, ms, transaction, unit, pdu)
        pairs.request(message) if sender == "ask" else pairs.reply(message)
    return [(None if e.request is None else e.time_ns, e.reply_time_ns, e.sure) for e in pairs.exchanges]


def test_replies_go_to_the_oldest_request_of_their_transaction():
    found = paired(
        ("ask", 1, 7, 1, READ), ("ask", 2, 7, 1, READ), ("tell", 3, 7, 1, REPLY), ("tell", 4, 7, 1, REPLY)
    )  # fmt: skip
    assert found == [(1, 3, True), (2, 4, True)]


def test_units_that_share_a_transaction_id_keep_their_own_replies():
    found = paired(
        ("ask", 1, 0, 1, READ), ("ask", 2, 0, 2, READ), ("tell", 3, 0, 2, REPLY), ("tell", 9, 0, 1, REPLY)
    )  # fmt: skip
    assert found == [(1, 9, True), (2, 3, True)]


def test_a_reply_of_another_unit_is_matched_by_its_transaction_where_nothing_fits_better():
    assert paired(("ask", 1, 5, 1, READ), ("tell", 3, 5, 255, REPLY)) == [(1, 3, True)]
    other_function = paired(("ask", 1, 5, 1, READ), ("tell", 3, 5, 255, words_reply(4, 9)))
    assert other_function == [(1, None, True), (None, 3, True)]


def test_a_reply_that_may_belong_to_different_questions_is_not_sure():
    other = read_request(3, 100, 1)
    found = paired(("ask", 1, 7, 1, READ), ("ask", 2, 7, 1, other), ("tell", 3, 7, 1, REPLY), ("tell", 4, 7, 1, REPLY))
    assert found == [(1, 3, False), (2, 4, True)]


def test_report_has_the_contract_and_is_plain_json(tmp_path):
    report = report_of(
        tmp_path,
        talk(
            (0, 1, adu(1, 3, READ)),
            (1, 2, adu(1, 3, REPLY)),
            (0, 10, adu(2, 3, bytes.fromhex("060001abcd"))),
            (1, 1500, adu(2, 3, bytes.fromhex("060001abcd"))),
            (0, 1600, adu(3, 4, READ)),
            (0, 1700, adu(4, 3, read_request(3, 900, 1))),
            (1, 1703, adu(4, 3, bytes([0x83, 2]))),
            (1, 1800, adu(9, 3, REPLY)),
        ),
    )
    assert list(report) == KEYS
    assert json.loads(json.dumps(report)) == report
    registers = report.pop("registers")
    report.pop("devices")  # test_each_unit_of_each_server_is_told_apart
    assert report == {
        "protocol": "modbus",
        "packets": 11,
        "span_s": 1.8,
        "connections": 1,
        "units": [3, 4],
        "requests": 4,
        "replies": 4,
        "matched": 3,
        "unanswered": 1,
        "orphans": 1,
        "unanswered_by_unit": {"4": 1},
        "late": 1,
        "exceptions": {"3/2": 1},
        "function_codes": {"3": 3, "6": 1},
        "rtt_ms": {"min": 1.0, "p50": 3.0, "p95": 1490.0, "max": 1490.0},
        "writes": [{"client": "192.168.7.10", "unit": 3, "function": 6, "count": 1}],
        "malformed": 0,
        "encrypted": False,
    }
    assert registers == [
        {"server": "192.168.7.20:502", "unit": 3, "table": "holding", "first": 0, "last": 0, "reads": 1, "writes": 0,
         "guess": "uint16"},
        {"server": "192.168.7.20:502", "unit": 3, "table": "holding", "first": 1, "last": 1, "reads": 0, "writes": 1,
         "guess": None},
    ]  # fmt: skip


def test_exactly_one_second_is_not_late(tmp_path):
    turns = [(0, 0, adu(1, 1, READ)), (1, 1000, adu(1, 1, REPLY)), (0, 2000, adu(2, 1, READ))]
    assert report_of(tmp_path, talk(*turns, (1, 3000.001, adu(2, 1, REPLY))))["late"] == 1


@pytest.mark.parametrize(
    ("values", "pct", "expected"),
    [([7], 50, 7), ([1, 2, 3], 50, 2), ([1, 2, 3, 4], 50, 3), (list(range(1, 101)), 95, 96), ([1, 2], 100, 2)],
)
def test_quantiles_by_rank(values, pct, expected):
    assert nearest_rank(values, pct) == expected


def test_no_round_trip_has_no_quantile():
    assert rtt_quantiles_ms([]) == {"min": None, "p50": None, "p95": None, "max": None}


def test_port_502_outranks_who_opened_the_connection(tmp_path):
    # The side on port 502 sends the SYN: a device cannot, so whoever wrote this file turned the connection round.
    turns = [(1, 1, adu(1, 1, READ)), (0, 2, adu(1, 1, REPLY))]
    report = report_of(tmp_path, talk(*turns, client=("10.0.0.2", 502), server=("10.0.0.1", 4000)))
    assert (report["matched"], report["orphans"]) == (1, 0)


def test_the_same_address_on_both_sides_is_told_by_the_port(tmp_path):
    turns = [(0, 1, adu(1, 1, READ)), (1, 2, adu(1, 1, REPLY))]
    ends = {"client": ("10.0.0.1", 4000), "server": ("10.0.0.1", 502)}
    assert report_of(tmp_path, talk(*turns, **ends, handshake=False))["matched"] == 1


@pytest.mark.parametrize("handshake", [True, False], ids=["opening seen", "joined"])
def test_another_port_counts_once_a_reply_fits_a_request(tmp_path, handshake):
    turns = [(0, 1, adu(1, 1, READ)), (1, 2, adu(1, 1, REPLY)), (0, 3, adu(2, 1, READ))]
    report = report_of(tmp_path, talk(*turns, server=("10.0.0.9", 5020), handshake=handshake))
    assert (report["connections"], report["requests"], report["matched"]) == (1, 2, 1)


def test_a_connection_on_another_port_joined_at_a_reply_is_told_by_its_shapes(tmp_path):
    turns = [(1, 0, adu(6, 1, REPLY)), (0, 1, adu(7, 1, READ)), (1, 2, adu(7, 1, REPLY))]
    report = report_of(tmp_path, talk(*turns, server=("10.0.0.9", 5020), handshake=False))
    assert (report["requests"], report["replies"], report["orphans"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"\x03\x00\x00\x16\x11\xe0", b"\x03\x00\x00\x16\x11\xd0"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
    ids=["tpkt", "http"],
)
def test_another_protocol_on_another_port_is_neither_counted_nor_malformed(tmp_path, one, other):
    turns = [(side, n, data) for n, (side, data) in enumerate([(0, one), (1, other)] * 20)]
    report = report_of(tmp_path, talk(*turns, server=("10.0.0.9", 102)))
    assert (report["connections"], report["requests"], report["malformed"]) == (0, 0, 0)


def test_garbage_on_port_502_is_malformed_and_no_connection(tmp_path):
    report = report_of(tmp_path, talk((0, 1, b"GET / HTTP/1.1\r\n\r\n"), (1, 2, b"HTTP/1.1 400 Bad\r\n\r\n")))
    assert (report["connections"], report["malformed"]) == (0, 2)


@pytest.mark.parametrize("port", [502, 802])
def test_tls_where_modbus_is_expected_is_called_encrypted(tmp_path, port):
    report = report_of(tmp_path, talk((0, 1, b"\x16\x03\x01\x00\xc8" + b"x" * 200), server=("10.0.0.9", port)))
    assert (report["encrypted"], report["malformed"]) == (True, 0)


def test_tls_elsewhere_says_nothing_of_modbus(tmp_path):
    report = report_of(tmp_path, talk((0, 1, b"\x16\x03\x01\x00\xc8" + b"x" * 200), server=("10.0.0.9", 443)))
    assert report["encrypted"] is False


def test_a_message_that_its_sender_cannot_send_is_malformed_and_no_request(tmp_path):
    report = report_of(tmp_path, talk((0, 1, adu(1, 1, bytes([0x83, 2]))), (0, 2, adu(2, 1, READ))))
    assert (report["requests"], report["malformed"]) == (1, 1)


def test_a_float_is_guessed_and_a_count_is_not(tmp_path):
    turns = [(0, 1, adu(1, 1, read_request(3, 10, 4))), (1, 2, adu(1, 1, words_reply(3, 0x4248, 0, 5, 0xFFF0)))]
    registers = report_of(tmp_path, talk(*turns))["registers"]
    guesses = [(r["first"], r["last"], r["guess"]) for r in registers]
    assert guesses == [(10, 11, "float32"), (12, 12, "uint16"), (13, 13, "int16")]


def test_each_unit_of_each_server_is_told_apart(tmp_path):
    turns = [
        (0, 1, adu(1, 1, READ)), (1, 3, adu(1, 1, REPLY)),
        (0, 10, adu(2, 2, READ)), (1, 1500, adu(2, 2, bytes([0x83, 4]))),
        (0, 2000, adu(3, 2, READ)),
    ]  # fmt: skip
    one, two = report_of(tmp_path, talk(*turns))["devices"]
    assert (one["server"], one["unit"], one["requests"], one["matched"], one["late"]) == (
        "192.168.7.20:502",
        1,
        1,
        1,
        0,
    )
    assert (one["rtt_ms"]["p50"], one["exceptions"]) == (2.0, {})
    assert (two["unit"], two["requests"], two["matched"], two["unanswered"], two["late"]) == (2, 2, 1, 1, 1)
    assert (two["exceptions"], two["function_codes"]) == ({"3/4": 1}, {"3": 2})


def test_a_device_on_another_port_that_falls_silent_is_still_known(tmp_path):
    ends = {"server": ("10.0.0.9", 5020)}
    answered = talk((0, 1, adu(1, 1, READ)), (1, 2, adu(1, 1, REPLY)), client=("10.0.0.1", 4000), **ends)
    silent = talk((0, 11, adu(1, 1, READ)), (0, 12, adu(2, 1, READ)), client=("10.0.0.1", 4001), **ends)
    elsewhere = talk((0, 21, adu(1, 1, READ)), client=("10.0.0.1", 4002), server=("10.0.0.9", 5021))
    report = report_of(tmp_path, sorted([*answered, *silent, *elsewhere]))
    assert (report["connections"], report["requests"], report["unanswered"]) == (2, 3, 2)
