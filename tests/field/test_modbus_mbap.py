"""The guard of one connection: what may leave, and which bytes may be taken for the answer. No sockets."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.modbus.mbap import READ_FUNCTIONS, ReplyGuard, Verdict, WriteRefused, reason_of_exception
from mines.quality import Reason

TID, UNIT = 7, 3


def request(function: int = 3, count: int = 2, tid: int = TID, unit: int = UNIT) -> bytes:
    return struct.pack(">HHHBBHH", tid, 0, 6, unit, function, 100, count)


def frame(pdu: bytes, tid: int = TID, unit: int = UNIT, protocol: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">HHHB", tid, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


GOOD = frame(b"\x03\x04\x00\x01\x00\x02")
LATE = frame(b"\x03\x04\x00\x09\x00\x09", tid=TID - 1)


def asked(function: int = 3, count: int = 2) -> ReplyGuard:
    guard = ReplyGuard()
    guard.sending(request(function, count))
    return guard


class Receiver:
    """What pymodbus does with its buffer: skips frames of other transactions, takes one, keeps the rest."""

    def __init__(self, guard: ReplyGuard) -> None:
        self.guard = guard
        self.buffer = b""
        self.taken: list[bytes] = []

    def feed(self, data: bytes) -> Verdict:
        self.buffer += data
        verdict, visible = self.guard.received(self.buffer)
        at = 0
        while visible and len(self.buffer) - at >= 8:
            tid, _, length = struct.unpack_from(">HHH", self.buffer, at)
            end = at + 6 + length
            if end > len(self.buffer):
                break
            found = self.buffer[at:end]
            at = end
            if tid in (0, TID) and found[6] == UNIT:
                self.taken.append(found)
                break
        self.buffer = self.buffer[at:]
        return verdict


@pytest.mark.parametrize("function", sorted(READ_FUNCTIONS))
def test_reads_may_leave(function):
    asked(function)


def test_device_identification_may_leave():
    ReplyGuard().sending(frame(b"\x2b\x0e\x01\x00"))


@pytest.mark.parametrize("function", [code for code in range(256) if code not in READ_FUNCTIONS])
def test_nothing_else_leaves(function):
    with pytest.raises(WriteRefused):
        ReplyGuard().sending(request(function))


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x2b\x0d\x01\x00",
        b"\x05\x00\x01\xff\x00",
        b"\x10\x00\x01\x00\x01\x02\x00\x01",
        b"\x03\x00\x01\x00\x01\x02\x00\x01",
    ],
    ids=["43/13", "write coil", "write registers", "a read with a tail"],
)
def test_nothing_that_only_looks_like_a_read_leaves(pdu):
    with pytest.raises(WriteRefused):
        ReplyGuard().sending(frame(pdu))


def test_a_fitting_reply_answers():
    assert asked().received(GOOD) == (Verdict.ANSWERED, True)


@pytest.mark.parametrize(
    ("function", "count", "data"),
    [(1, 1, 1), (1, 8, 1), (2, 9, 2), (2, 2000, 250), (3, 125, 250), (4, 1, 2)],
    ids=["1 coil", "8 coils", "9 inputs", "2000 inputs", "125 registers", "1 register"],
)
def test_the_count_asked_for_decides_how_many_bytes_fit(function, count, data):
    assert asked(function, count).received(frame(bytes([function, data]) + bytes(data)))[0] is Verdict.ANSWERED
    for wrong in {max(data - 1, 0), data + 1} & set(range(251)):
        verdict, visible = asked(function, count).received(frame(bytes([function, wrong]) + bytes(wrong)))
        assert verdict in (Verdict.REFUSED, Verdict.BROKEN)
        assert not visible


def test_an_exception_answers():
    assert asked().received(frame(b"\x83\x02")) == (Verdict.ANSWERED, True)


@pytest.mark.parametrize(
    "reply",
    [
        frame(b"\x04\x04\x00\x01\x00\x02"),
        frame(b"\x84\x02"),
        frame(b"\x03\x02\x00\x01"),
        frame(b"\x03\x06\x00\x01\x00\x02\x00\x03"),
        frame(b"\x03\x04\x00\x01\x00\x02", unit=UNIT + 1),
        frame(b"\x55\x04\x00\x01\x00\x02"),
        frame(b"\x00\x04\x00\x01\x00\x02"),
        frame(b"\x80\x04"),
    ],
    ids=[
        "other function",
        "exception of another function",
        "too few registers",
        "too many registers",
        "other unit",
        "unknown function",
        "function 0",
        "function 128",
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_never_shown(reply):
    guard = asked()
    assert guard.received(reply) == (Verdict.REFUSED, False)
    assert guard.complaint
    assert guard.at_boundary


@pytest.mark.parametrize(
    "data",
    [
        frame(b"\x03\x04\x00\x01\x00\x02", tid=0),
        frame(b"\x03\x04\x00\x01\x00\x02", protocol=1),
        frame(b"\x03\x04\x00\x01\x00\x02", length=0),
        frame(b"\x03\x04\x00\x01\x00\x02", length=2),
        frame(b"\x03\x04\x00\x01\x00\x02", length=255),
        frame(b"\x03\x04\x00\x01\x00\x02", length=65535),
        frame(b"\x03\x04\x00\x01\x00\x02\x00"),
        frame(b"\x03\x06\x00\x01\x00\x02"),
        frame(b"\x83\x02\x00"),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        GOOD + b"HTTP/1.1",
    ],
    ids=[
        "transaction 0",
        "protocol 1",
        "length 0",
        "length 2",
        "length 255",
        "length 65535",
        "a byte more than counted",
        "fewer bytes than counted",
        "a long exception",
        "an HTTP banner",
        "garbage behind a reply",
    ],
)
def test_a_stream_that_cannot_be_followed_is_broken(data):
    guard = asked()
    assert guard.received(data) == (Verdict.BROKEN, False)
    assert guard.complaint


def test_a_late_reply_is_dropped_and_counted_and_the_next_one_taken():
    guard = asked()
    receiver = Receiver(guard)
    assert receiver.feed(LATE) is Verdict.PENDING
    assert receiver.feed(GOOD) is Verdict.ANSWERED
    assert receiver.taken == [GOOD]
    assert guard.late == 1


def test_a_reply_after_its_request_was_given_up_is_late_even_with_the_right_transaction():
    guard = asked()
    guard.given_up()
    assert guard.received(GOOD) == (Verdict.PENDING, False)
    assert guard.late == 1


def test_a_second_answer_to_the_same_request_is_not_taken():
    receiver = Receiver(asked())
    assert receiver.feed(GOOD + frame(b"\x03\x04\xff\xff\xff\xff")) is Verdict.ANSWERED
    assert receiver.taken == [GOOD]
    assert receiver.guard.late == 1


def test_a_beginning_of_a_frame_is_no_boundary():
    guard = asked()
    for length in range(1, len(GOOD)):
        assert guard.received(GOOD[:length]) == (Verdict.PENDING, True)
        assert not guard.at_boundary
    assert guard.received(GOOD) == (Verdict.ANSWERED, True)
    assert guard.at_boundary


def test_bytes_that_the_receiver_has_thrown_away_break_the_stream():
    guard = asked()
    guard.given_up()
    guard.received(GOOD)
    assert guard.received(GOOD[:4])[0] is Verdict.BROKEN


def test_every_whole_frame_is_seen_once_in_both_directions():
    seen: list[tuple[bool, bytes]] = []
    guard = ReplyGuard(lambda sending, data: seen.append((sending, data)))
    guard.sending(request())
    receiver = Receiver(guard)
    stream = LATE + GOOD + LATE
    for byte in stream:
        receiver.feed(bytes([byte]))
    assert seen == [(True, request()), (False, LATE), (False, GOOD), (False, LATE)]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([LATE, frame(b"\x83\x06", tid=99), frame(b"\x03\x02\x00\x01", tid=5)]), max_size=3),
    st.lists(st.integers(0, 80), max_size=6),
)
def test_a_reply_behind_late_ones_is_found_however_the_stream_is_cut(before, cuts):
    stream = b"".join(before) + GOOD
    receiver = Receiver(asked())
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    verdicts = [receiver.feed(stream[start:end]) for start, end in pairwise(edges)]
    assert verdicts[-1] is Verdict.ANSWERED
    assert verdicts.count(Verdict.ANSWERED) == 1
    assert receiver.taken == [GOOD]
    assert receiver.guard.late == len(before)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_no_noise_is_ever_taken_for_an_answer(noise, cut):
    receiver = Receiver(asked())
    receiver.feed(noise[:cut])
    receiver.feed(noise[cut:])
    for taken in receiver.taken:
        assert taken[:9] == GOOD[:9] or taken[:8] == frame(b"\x83\x02")[:8]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, Reason.ILLEGAL_FUNCTION),
        (2, Reason.ILLEGAL_ADDRESS),
        (3, Reason.ILLEGAL_VALUE),
        (4, Reason.DEVICE_FAILURE),
        (5, Reason.DEVICE_BUSY),
        (6, Reason.DEVICE_BUSY),
        (8, Reason.DEVICE_FAILURE),
        (10, Reason.GATEWAY_PATH),
        (11, Reason.GATEWAY_NO_RESPONSE),
        (0, Reason.BAD_OTHER),
        (99, Reason.BAD_OTHER),
    ],
)
def test_every_exception_code_has_its_reason(code, reason):
    assert reason_of_exception(code) is reason
