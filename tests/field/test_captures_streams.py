"""TCP reassembly: what each side received, whatever the order and the cuts in which it was captured."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_talks import packets, turns
from pcap_writer import MS, T0_NS, Dialog, adu, read_request, words_reply

from connectors.captures.modbus_traffic import Traffic
from connectors.captures.tcp_packets import tcp_segment
from connectors.captures.tcp_streams import ConnectionTable


def chunks_of(found):
    table, chunks = ConnectionTable(), []
    for time_ns, data in found:
        segment = tcp_segment(time_ns, data)
        if segment is not None:
            chunks += [chunk for _, chunk in table.push(segment)]
    return chunks + [chunk for _, chunk in table.flush()]


def bytes_of(found, side):
    return b"".join(chunk.data for chunk in chunks_of(found) if chunk.side == side)


def exchanges_of(found):
    traffic = Traffic()
    for time_ns, data in found:
        segment = tcp_segment(time_ns, data)
        if segment is not None:
            traffic.push(segment)
    return traffic.finish()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_cut_doubled_and_overtaken_segments_give_the_same_conversation(data):
    talk = data.draw(turns())
    isn = (data.draw(st.sampled_from([1000, 2**32 - 20])), data.draw(st.sampled_from([5000, 2**32 - 1])))
    conversations = exchanges_of(data.draw(packets(talk, isn=isn)))
    assert len(conversations) == 1
    found = conversations[0]
    expected = Counter(turn.key for turn in talk)
    assert Counter((e.transaction, e.unit, e.request, e.reply) for e in found.exchanges) == expected
    assert (found.malformed, found.gaps) == (0, 0)
    assert all(e.rtt_ns is None or abs(e.rtt_ns) < 10**9 for e in found.exchanges)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_conversation_on_another_port_is_recognised_by_its_opening(data):
    talk = [turn for turn in data.draw(turns()) if turn.reply is not None]
    conversations = exchanges_of(data.draw(packets(talk, server=("192.168.7.20", 10_502))))
    if not talk:
        assert conversations == []
        return
    assert conversations[0].server[1] == 10_502
    assert all(e.reply is not None for e in conversations[0].exchanges)
    assert len(conversations[0].exchanges) == len(talk)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_lost_packets_never_invent_a_message(data):
    talk = data.draw(turns())
    found = data.draw(packets(talk))
    kept = found[:3] + [packet for packet in found[3:] if data.draw(st.integers(0, 9))]
    seen = [e for conversation in exchanges_of(kept) for e in conversation.exchanges]
    asked, answered = {t.request for t in talk}, {(t.transaction, t.reply) for t in talk}
    for exchange in seen:
        assert exchange.request is None or exchange.request in asked
        assert exchange.reply is None or (exchange.transaction, exchange.reply) in answered


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 2**62))
def test_no_bytes_make_a_segment_or_a_stream_fail(data, time_ns):
    for kind in (b"\x08\x00", b"\x86\xdd", b"\x81\x00"):
        segment = tcp_segment(time_ns, b"\0" * 12 + kind + data)
        if segment is not None:
            for _, chunk in ConnectionTable().push(segment):
                assert chunk.data


def test_a_hole_that_was_acknowledged_is_given_up_after_a_second():
    line = Dialog()
    found = line.handshake(T0_NS)
    line.send(0, 0, b"lost")
    found.append(line.send(0, T0_NS + MS, b"kept"))
    line.sent[0] -= 4  # the server acknowledges only what came before the hole's end
    found.append(line.send(1, T0_NS + 2 * MS, b"re"))
    line.sent[0] += 4
    found.append(line.send(0, T0_NS + 1200 * MS, b"more"))
    table, seen = ConnectionTable(), []
    for time_ns, data in found:
        seen += [(time_ns - T0_NS, chunk) for _, chunk in table.push(tcp_segment(time_ns, data))]
    ours = [(at, chunk.data, chunk.after_gap) for at, chunk in seen if chunk.side == 0]
    assert ours == [(1200 * MS, b"kept", True), (1200 * MS, b"more", False)]


def test_a_hole_that_nobody_acknowledged_waits_for_its_retransmission():
    line = Dialog()
    found = line.handshake(T0_NS)
    line.send(0, 0, b"lost")
    found.append(line.send(0, T0_NS + MS, b"kept"))
    found.append(line.again(0, T0_NS + 20_000 * MS, 0, b"lost"))
    assert [(c.data, c.after_gap) for c in chunks_of(found)] == [(b"lost", False), (b"kept", False)]


def test_bytes_beyond_the_snap_length_are_a_gap_and_nothing_waits_for_them():
    line = Dialog()
    found = line.handshake(T0_NS)
    found.append(line.send(0, T0_NS + MS, b"request"))
    time_ns, data = line.send(1, T0_NS + 2 * MS, b"r" * 200)
    found.append((time_ns, data[:100]))
    found.append(line.send(1, T0_NS + 3 * MS, b"whole"))
    table, seen = ConnectionTable(), []
    for time_ns, data in found:
        seen += [(chunk.data[:1], chunk.after_gap) for _, chunk in table.push(tcp_segment(time_ns, data))]
    assert seen == [(b"r", False), (b"r", False), (b"w", True)]


def test_a_reply_waits_for_its_request_that_was_captured_late():
    line = Dialog()
    opening = line.handshake(T0_NS)
    request = line.send(0, T0_NS + 2 * MS, adu(1, 1, read_request(3, 0, 1)))
    reply = line.send(1, T0_NS + MS, adu(1, 1, words_reply(3, 9)))
    (conversation,) = exchanges_of([*opening, reply, request])
    assert [(e.request is None, e.reply is None) for e in conversation.exchanges] == [(False, False)]


def test_a_request_missing_from_the_capture_leaves_its_reply_an_orphan():
    line = Dialog()
    found = line.handshake(T0_NS)
    line.send(0, 0, adu(1, 1, read_request(3, 0, 1)))
    found.append(line.send(1, T0_NS + MS, adu(1, 1, words_reply(3, 9))))
    found.append(line.send(0, T0_NS + 2 * MS, adu(2, 1, read_request(3, 0, 1))))
    found.append(line.send(1, T0_NS + 3 * MS, adu(2, 1, words_reply(3, 9))))
    (conversation,) = exchanges_of(found)
    assert [e.request is None for e in conversation.exchanges] == [True, False]
    assert conversation.exchanges[1].reply is not None
    assert conversation.gaps == 1


def test_overlapping_retransmissions_keep_the_first_bytes():
    line = Dialog()
    found = line.handshake(T0_NS)
    found.append(line.send(0, T0_NS + MS, b"abcdef"))
    found.append(line.again(0, T0_NS + 2 * MS, 3, b"XYZghi"))
    assert bytes_of(found, 0) == b"abcdefghi"


def test_a_connection_joined_in_mid_stream_begins_at_its_first_segment():
    line = Dialog(sent=[4000, 9000])
    found = [line.send(1, T0_NS, b"tail"), line.send(0, T0_NS + MS, b"next"), line.send(1, T0_NS + 2 * MS, b"reply")]
    assert [(c.side, c.data, c.after_gap) for c in chunks_of(found)] == [
        (0, b"tail", False),
        (1, b"next", False),
        (0, b"reply", False),
    ]


def test_keep_alives_are_no_data():
    line = Dialog()
    found = line.handshake(T0_NS)
    found.append(line.send(0, T0_NS + MS, b"data"))
    found.append(line.again(0, T0_NS + 2 * MS, 3, b"\0"))
    assert bytes_of(found, 0) == b"data"


@pytest.mark.parametrize("isn", [(1000, 5000), (900_000_000, 5)], ids=["near", "far"])
def test_the_same_ports_used_again_are_another_connection(isn):
    request, reply = adu(1, 1, read_request(3, 0, 1)), adu(1, 1, words_reply(3, 9))
    first, second = Dialog(isn=(77, 99)), Dialog(isn=isn)
    found = [*first.handshake(T0_NS), first.send(0, T0_NS + MS, request), first.send(1, T0_NS + 2 * MS, reply)]
    found += second.handshake(T0_NS + 5 * MS)
    found += [second.send(0, T0_NS + 6 * MS, request), second.send(1, T0_NS + 7 * MS, reply)]
    conversations = exchanges_of(found)
    assert [len(c.exchanges) for c in conversations] == [1, 1]


def test_ports_used_again_far_away_are_another_connection_even_where_its_opening_is_missing():
    request, reply = adu(1, 1, read_request(3, 0, 1)), adu(1, 1, words_reply(3, 9))
    found = []
    for n, isn in enumerate([(1000, 5000), (3_000_000_000, 900_000_000)]):
        line, at = Dialog(isn=isn), T0_NS + 10 * n * MS
        found += [line.send(0, at, request), line.send(1, at + MS, reply)]
    assert [len(c.exchanges) for c in exchanges_of(found)] == [1, 1]


def test_an_acknowledgement_of_what_was_never_sent_holds_nothing_up():
    line = Dialog()
    found = line.handshake(T0_NS)
    found.append(line.send(0, T0_NS + MS, b"asked"))
    line.sent[0] += 2**30
    wild = line.send(1, T0_NS + 2 * MS, b"answer")
    table, seen = ConnectionTable(), []
    for time_ns, data in [*found, wild]:
        seen += [chunk.data for _, chunk in table.push(tcp_segment(time_ns, data))]
    assert seen == [b"asked", b"answer"]


def test_what_waits_is_bounded():
    line = Dialog()
    found = line.handshake(T0_NS)
    line.send(0, 0, b"lost")
    found += [line.send(0, T0_NS + MS + n, b"x") for n in range(600)]
    table, most = ConnectionTable(), 0
    seen = 0
    for n, (time_ns, data) in enumerate(found):
        seen += len(list(table.push(tcp_segment(time_ns, data))))
        most = max(most, n - 3 - seen)
    assert seen > 0
    assert most <= 513
