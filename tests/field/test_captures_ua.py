"""OPC UA in other people's traffic: chunks, services and replies, values and their nodes, and what is encrypted."""

import json

import pytest
from pcap_writer import MS, T0_NS, Dialog, pcap_bytes
from ua_talks import (
    acknowledge,
    chunk,
    hello,
    message,
    monitor,
    monitored,
    named,
    namespaces,
    node,
    opened,
    publish,
    published,
    read,
    reply,
    value,
    values,
)

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.pcap_import import import_pcap
from connectors.captures.traffic import read_traffic, warnings
from mines.clock import NO_TIME_MS
from mines.quality import Flag, Reason, Severity, reason_of, severity_of

SERVER = ("192.168.7.20", 4840)
OPENING = [(0, hello()), (1, acknowledge()), (1, opened())]
TANK, PUMP = named("Tank.Level", 2), named("Pump.Run", 2)
READ_TANK = [(0, message(7, read(TANK))), (1, message(7, values(value(4.5))))]


def talk(turns, *, server=SERVER, handshake=True, step_ms=1):
    line = Dialog(server=server)
    packets = line.handshake(T0_NS) if handshake else []
    return [*packets, *(line.send(side, T0_NS + n * step_ms * MS, data) for n, (side, data) in enumerate(turns, 1))]


def written(tmp_path, packets):
    path = tmp_path / "talk.pcap"
    path.write_bytes(pcap_bytes(packets, nano=True))
    return path


def report_of(tmp_path, turns, **how):
    return read_traffic(written(tmp_path, talk(turns, **how))).report()


def rows_of(tmp_path, turns, **how):
    """Imports; gives the result and the rows of the samples file, in order."""
    result = import_pcap(written(tmp_path, talk(turns, **how)), tmp_path / "capture")
    lines = (tmp_path / "capture" / "samples.opcua.jsonl").read_text(encoding="utf-8").splitlines()
    return result, [row for line in lines for row in json.loads(line)["rows"]]


def test_a_read_value_is_a_row_with_its_node_status_and_source_time(tmp_path):
    ticks = 116_444_736_000_000_000 + 1_700_000_000_123 * 10_000
    turns = [*OPENING, (0, message(7, read(TANK, PUMP)))]
    turns.append((1, message(7, values(value(4.5, status=0x40940000, ticks=ticks), value(True, "?", 1)))))
    result, rows = rows_of(tmp_path, turns)
    unknown = "nsu=urn:minewatch:unknown-namespace:2;s="
    assert rows == [
        [unknown + "Tank.Level", "Double", 4.5, 0x40940000, 1_700_000_000_123],
        [unknown + "Pump.Run", "Boolean", True, 0, None],
    ]
    assert result.report["services"] == {"Read": 1}
    assert any("2 OPC UA nodes are of namespaces that the traffic does not name" in line for line in result.warnings)


def test_a_namespace_array_in_the_traffic_names_the_nodes_before_and_after_it(tmp_path):
    uris = namespaces("http://opcfoundation.org/UA/", "urn:one", "urn:mine;1")
    turns = [*OPENING, *READ_TANK, (0, message(8, read(node(2255)))), (1, message(8, values(uris)))]
    result, rows = rows_of(tmp_path, turns)
    assert rows[0][0] == "nsu=urn:mine%3B1;s=Tank.Level"
    assert not any("namespaces" in line for line in result.warnings)


def test_a_notification_is_mapped_through_the_handles_of_its_subscription(tmp_path):
    turns = [
        *OPENING,
        (0, message(7, monitor(5, (TANK, 11), (PUMP, 12)))), (1, message(7, monitored(1, 2))),
        (0, message(8, publish())), (0, message(9, publish())),
        (1, message(8, published(5, (12, value(True, "?", 1)), (11, value(4.5))))),
        (1, message(9, published(6, (11, value(9.9))))),
    ]  # fmt: skip
    result, rows = rows_of(tmp_path, turns)
    assert [(row[0].rpartition("=")[2], row[2]) for row in rows] == [("Pump.Run", True), ("Tank.Level", 4.5)]
    assert any("1 OPC UA values are of nodes that were named before the capture began" in w for w in result.warnings)


def test_what_was_read_is_replayed_by_the_live_codec(tmp_path):
    turns = [
        *OPENING,
        (0, message(7, read(TANK))), (1, message(7, values(value(4.5)))),
        (0, message(8, read(TANK))), (1, message(8, values(value(0.0, status=0x808C0000)))),
        (0, message(9, read(TANK))), (1, message(9, values(value(float("nan"))))),
        (0, message(10, read(TANK))), (1, message(10, values(value(float("inf"))))),
    ]  # fmt: skip
    rows_of(tmp_path, turns, step_ms=300)
    capture = capture_ticks(tmp_path / "capture")
    batches = [item.batch for tick in capture.ticks for item in tick.batches]
    words = [int(batch.quality[0]) for batch in batches]
    assert [severity_of(word) for word in words] == [Severity.GOOD, Severity.BAD, Severity.BAD, Severity.UNCERTAIN]
    assert [reason_of(word) for word in words][1:3] == [Reason.SENSOR_FAILURE, Reason.NOT_A_NUMBER]
    assert words[3] & Flag.OVER_RANGE
    assert batches[0].value.tolist() == [4.5]
    assert {int(batch.source_time_ms[0]) for batch in batches} == {NO_TIME_MS}


def test_a_message_cut_at_any_byte_over_two_segments_is_one_message(tmp_path):
    asked, answered = READ_TANK[0][1], READ_TANK[1][1]
    for at in range(1, len(answered)):
        turns = [*OPENING, (0, asked), (1, answered[:at]), (1, answered[at:])]
        report = report_of(tmp_path, turns)
        assert (report["matched"], report["malformed"], len(report["nodes"])) == (1, 0, 1), at


def test_several_messages_in_a_segment_and_pipelined_requests_answered_out_of_order(tmp_path):
    asked = b"".join(message(n, read(TANK)) for n in (7, 8, 9))
    answered = b"".join(message(n, values(value(float(n)))) for n in (9, 7, 8))
    report = report_of(tmp_path, [*OPENING, (0, asked), (1, answered)])
    assert (report["requests"], report["matched"], report["orphans"]) == (3, 3, 0)


@pytest.mark.parametrize(
    ("policy", "signature"), [("None", b""), ("Basic256Sha256", b"s" * 32), ("Basic256", b"s" * 20)]
)
def test_one_message_in_three_chunks_is_put_together_without_its_signatures(tmp_path, policy, signature):
    body = values(*[value(float(n)) for n in range(30)])
    asked = message(7, read(*[named(f"n{n}", 2) for n in range(30)]))
    parts = [(body[:100], b"C"), (body[100:101], b"C"), (body[101:], b"F")]
    turns = [(0, hello()), (1, acknowledge()), (1, opened(policy)), (0, asked)]
    turns += [(1, message(7, part + signature, end=end)) for part, end in parts]
    _, rows = rows_of(tmp_path, turns)
    assert [row[2] for row in rows] == [float(n) for n in range(30)]


def test_an_aborted_message_leaves_its_request_unanswered(tmp_path):
    turns = [*OPENING, READ_TANK[0], (1, message(7, values(value(1.0))[:9], end=b"C")), (1, message(7, b"", end=b"A"))]
    report = report_of(tmp_path, [*turns, (0, message(8, read(TANK))), (1, message(8, values(value(2.0))))])
    assert (report["requests"], report["matched"], report["unanswered"], report["malformed"]) == (2, 1, 1, 0)


def test_bodies_that_cannot_be_read_are_called_encrypted_and_are_counted(tmp_path):
    secret = bytes(range(130, 250))
    turns = [(0, hello()), (1, acknowledge()), (1, opened("Basic256Sha256"))]
    turns += [(0, message(7, secret)), (1, message(7, secret)), (0, message(8, secret, kind=b"CLO"))]
    result, rows = rows_of(tmp_path, turns)
    assert (result.report["encrypted"], result.report["malformed"], rows) == (True, 0, [])
    assert result.report["messages"] == {"ACK": 1, "CLO": 1, "HEL": 1, "MSG": 2, "OPN": 1}
    assert any(line.startswith("encrypted: 2 OPC UA messages cannot be read") for line in result.warnings)
    assert result.problem is None


def test_a_policy_that_only_signs_is_not_called_encrypted(tmp_path):
    signed = [
        (side, data[:4] + (len(data) + 32).to_bytes(4, "little") + data[8:] + b"s" * 32) for side, data in READ_TANK
    ]
    turns = [(0, hello()), (1, acknowledge()), (1, opened("Basic256Sha256")), *signed]
    report = report_of(tmp_path, turns)
    assert (report["encrypted"], report["matched"], len(report["nodes"])) == (False, 1, 1)


def test_a_body_that_is_none_without_security_is_malformed(tmp_path):
    report = report_of(tmp_path, [*OPENING, (0, message(7, b"\xff" * 40)), *READ_TANK])
    assert (report["encrypted"], report["malformed"], report["matched"]) == (False, 1, 1)


@pytest.mark.parametrize("port", [4840, 48_010])
def test_a_session_joined_in_the_middle_is_told_by_its_services(tmp_path, port):
    turns = [(1, b"rest of a message that began before"), *READ_TANK]
    report = report_of(tmp_path, turns, server=("192.168.7.20", port), handshake=False)
    assert (report["protocol"], report["requests"], report["matched"]) == ("opcua", 1, 1)
    assert report["nodes"][0]["server"] == f"192.168.7.20:{port}"


def test_a_reply_without_its_request_is_an_orphan_and_its_values_have_no_place(tmp_path):
    reading = read_traffic(written(tmp_path, talk([(1, message(3, values(value(1.0)))), *READ_TANK], handshake=False)))
    assert (reading.report()["orphans"], len(reading.report()["nodes"])) == (1, 1)
    assert any("1 OPC UA values" in line for line in warnings(reading))


def test_after_an_illegal_header_the_next_segment_is_tried(tmp_path):
    report = report_of(tmp_path, [*OPENING, (0, b"MSGX\x10\0\0\0garbage"), *READ_TANK])
    assert (report["malformed"], report["matched"]) == (1, 1)


def test_a_hole_in_the_stream_costs_the_message_it_is_in_and_no_other(tmp_path):
    packets = talk([*OPENING, *READ_TANK, (0, message(8, read(TANK))), (1, message(8, values(value(5.0))))])
    reading = read_traffic(written(tmp_path, packets[:7] + packets[8:]))
    report = reading.report()
    assert (report["requests"], report["replies"], report["unanswered"], report["malformed"]) == (2, 1, 1, 0)
    assert any("holes in the captured TCP streams" in line for line in warnings(reading))


def test_faults_are_counted_by_code_whatever_carries_them(tmp_path):
    turns = [*OPENING, (0, message(7, publish())), (1, message(7, reply(397, b"", 0x80790000)))]
    turns += [(0, message(8, publish())), (1, message(8, reply(829, b"\0" * 60, 0x80790000)))]
    turns += [(1, chunk(b"ERR", (0x80080000).to_bytes(4, "little") + b"\xff\xff\xff\xff"))]
    report = report_of(tmp_path, turns)
    assert report["faults"] == {"0x80080000": 1, "0x80790000": 2}
    assert report["exceptions"] == {"Publish/0x80790000": 2}


def test_every_cut_of_a_body_is_a_count_and_never_an_exception(tmp_path):
    whole = published(5, (11, value(4.5)))
    turns = [*OPENING, (0, message(7, monitor(5, (TANK, 11)))), (1, message(7, monitored(1)))]
    for size in range(4, len(whole)):
        turns += [(0, message(100 + size, publish())), (1, message(100 + size, whole[:size]))]
    report = report_of(tmp_path, turns)
    assert report["malformed"] > 0
    assert report["requests"] == len(whole) - 4 + 1


def test_both_protocols_in_one_file_are_both_reported_and_drafted(tmp_path):
    from pcap_writer import adu, read_request, words_reply

    line = Dialog()
    modbus = [
        line.send(0, T0_NS, adu(1, 1, read_request(3, 0, 1))),
        line.send(1, T0_NS + MS, adu(1, 1, words_reply(3, 7))),
    ]
    packets = sorted([*modbus, *talk([*OPENING, *READ_TANK])])
    result = import_pcap(written(tmp_path, packets), tmp_path / "capture")
    assert {result.report["protocol"], result.report["also"][0]["protocol"]} == {"modbus", "opcua"}
    capture = capture_ticks(tmp_path / "capture")
    assert [source.kind for source in capture.site.sources] == ["modbus_tcp", "opcua"]
    values_seen = [item.batch.value.tolist() for tick in capture.ticks for item in tick.batches]
    assert sorted(values_seen) == [[4.5], [7.0]]
