"""RTU frames without a line: what may leave, what is an answer, and that no noise ever becomes one."""

import json
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_data import reference
from rtu_devices import crc, framed

from connectors.modbus.identification import joined, parse_part
from connectors.modbus.mbap import READ_FUNCTIONS, Verdict, WriteRefused
from connectors.modbus.rtu import RtuGuard, crc16, reply_end, whole_frames, with_crc

UNIT = 3
GOLDEN = ["rtu-leading-zero-exception", "rtu-long-split-by-gap", "rtu-epics-fc4", "rtu-epics-fc3"]


def request(function: int = 3, count: int = 2, unit: int = UNIT, first: int = 100) -> bytes:
    return framed(struct.pack(">BBHH", unit, function, first, count))


def asked(function: int = 3, count: int = 2) -> RtuGuard:
    guard = RtuGuard()
    guard.sending(request(function, count))
    return guard


GOOD = framed(b"\x03\x03\x04\x00\x01\x00\x02")


def exchange(guard: RtuGuard, *pieces: bytes) -> tuple[Verdict, bytes]:
    """What becomes of bytes that come in these pieces, with silence behind them."""
    for piece in pieces:
        guard.received(piece)
    return guard.take()


def frames() -> dict[str, dict]:
    return {each["id"]: each for each in json.loads(reference("field-frames/frames.json").read_text())["frames"]}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("size", [1, 2, 7, 400], ids="{} bytes at a time".format)
def test_a_reply_from_a_real_line_is_understood_however_it_is_cut(name, size):
    frame = frames()[name]
    sent, line = bytes.fromhex(frame["tx"]), bytes.fromhex(frame["rx"])
    inner = bytes.fromhex(frame["valid_inner"] or frame["rx"])
    guard = RtuGuard()
    guard.sending(sent)
    pieces = [line[at : at + size] for at in range(0, len(line), size)]
    assert exchange(guard, *pieces) == (Verdict.ANSWERED, inner)
    assert guard.noise == len(line) - len(inner)
    assert crc(inner[:-2]) == inner[-2:]


def test_the_stray_ff_of_a_real_line_is_left_out_and_a_write_is_never_an_answer():
    """The exchange of the reference is a write, which the box neither sends nor takes for an answer."""
    frame = frames()["rtu-stray-ff"]
    line, inner = bytes.fromhex(frame["rx"]), bytes.fromhex(frame["valid_inner"])
    assert [line[begin:end] for begin, end in whole_frames(line)] == [inner]
    with pytest.raises(WriteRefused):
        RtuGuard().sending(bytes.fromhex(frame["tx"]))
    assert exchange(asked(), b"\xff" + GOOD) == (Verdict.ANSWERED, GOOD)


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=60)
def test_the_crc_is_that_of_the_standard(data):
    assert crc16(data).to_bytes(2, "little") == crc(data)
    assert crc16(with_crc(data)) == 0


@pytest.mark.parametrize("function", sorted(READ_FUNCTIONS))
def test_reads_may_leave(function):
    asked(function)


def test_device_identification_may_leave():
    RtuGuard().sending(framed(bytes([UNIT, 43, 14, 1, 0])))


@pytest.mark.parametrize("function", [code for code in range(256) if code not in READ_FUNCTIONS])
def test_nothing_else_leaves(function):
    with pytest.raises(WriteRefused):
        RtuGuard().sending(request(function))


@pytest.mark.parametrize(
    "body",
    [
        b"\x2b\x0d\x01\x00",
        b"\x10\x00\x01\x00\x01\x02\x00\x01",
        b"\x03\x00\x01\x00\x01\x02\x00",
        b"\x03\x00\x00\x00\x00",
    ],
    ids=["43/13", "write registers", "a read with a tail", "a read of nothing"],
)
def test_nothing_that_only_looks_like_a_read_leaves(body):
    with pytest.raises(WriteRefused):
        RtuGuard().sending(framed(bytes([UNIT]) + body))


@pytest.mark.parametrize(
    ("function", "count", "data"),
    [(1, 1, 1), (1, 8, 1), (2, 9, 2), (2, 2000, 250), (3, 125, 250), (4, 1, 2)],
    ids=["1 coil", "8 coils", "9 inputs", "2000 inputs", "125 registers", "1 register"],
)
def test_the_count_asked_for_decides_how_many_bytes_fit(function, count, data):
    def reply(n: int) -> bytes:
        return framed(bytes([UNIT, function, n]) + bytes(n))

    assert exchange(asked(function, count), reply(data)) == (Verdict.ANSWERED, reply(data))
    for wrong in {max(data - 1, 0), data + 1} & set(range(251)):
        assert exchange(asked(function, count), reply(wrong)) == (Verdict.REFUSED, b"")


SPOILED = {
    "other function": framed(b"\x03\x04\x04\x00\x01\x00\x02"),
    "exception of another function": framed(b"\x03\x84\x02"),
    "bad CRC": GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
    "two whole answers": GOOD + GOOD,
    "two different answers": GOOD + framed(b"\x03\x03\x04\x00\x07\x00\x08"),
    "an exception and an answer": framed(b"\x03\x83\x02") + GOOD,
    "half an answer before it": GOOD[:5] + GOOD,
    "the beginning of another behind it": GOOD + GOOD[:2],
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_not_one_fitting_answer_is_refused_as_the_units_own_failure(name):
    """F46: two devices on one address overlap, or answer one behind the other: never a number."""
    guard = asked()
    assert exchange(guard, SPOILED[name]) == (Verdict.REFUSED, b"")
    assert guard.complaint in ("wrong reply", "bad CRC", "two answers")
    assert guard.heard == (name not in ("other function", "exception of another function"))


ACCEPTED = {
    "alone": GOOD,
    "stray FF before": b"\xff" + GOOD,
    "stray 00 around": b"\x00" + GOOD + b"\x00",
    "a burst of noise before": b"\x81\x3c\x07\xe1\x00\x55" + GOOD,
    "its own echo before": request() + GOOD,
    "noise and echo before": b"\x00" + request() + GOOD,
    "a late reply of another unit before": framed(b"\x04\x03\x04\x00\x09\x00\x09") + GOOD,
}


@pytest.mark.parametrize("size", [1, 3, 64], ids="{} bytes at a time".format)
@pytest.mark.parametrize("name", ACCEPTED)
def test_noise_echo_and_late_replies_of_others_leave_the_answer_alone(name, size):
    line = ACCEPTED[name]
    guard = asked()
    pieces = [line[at : at + size] for at in range(0, len(line), size)]
    assert exchange(guard, *pieces) == (Verdict.ANSWERED, GOOD)
    assert guard.late == ("late" in name)
    assert guard.noise == {"alone": 0, "stray FF before": 1, "stray 00 around": 2, "a burst of noise before": 6}.get(
        name, 1 if name == "noise and echo before" else 0
    )


def test_an_exception_answers():
    refusal = framed(b"\x03\x83\x02")
    assert exchange(asked(), refusal) == (Verdict.ANSWERED, refusal)


def test_an_echo_alone_is_no_answer():
    guard = asked()
    assert exchange(guard, request()) == (Verdict.PENDING, b"")
    guard.given_up()
    assert not guard.garbled()


def test_an_echo_that_begins_like_an_answer_is_no_answer():
    """Asked for 2 registers from 0x0400 on, the echo begins with unit, function and 4, as the answer does."""
    sent = request(first=0x0400)
    guard = RtuGuard()
    guard.sending(sent)
    assert exchange(guard, sent) == (Verdict.PENDING, b"")
    assert exchange(guard, GOOD) == (Verdict.ANSWERED, GOOD)


def test_half_an_answer_at_the_end_of_the_wait_is_told_from_silence():
    guard = asked()
    guard.received(GOOD[:6])
    guard.given_up()
    assert guard.garbled()
    assert (guard.complaint, guard.heard, guard.clean) == ("garbled reply", True, True)
    silent = asked()
    silent.given_up()
    assert not silent.garbled()


def test_a_reply_to_a_request_that_was_given_up_is_late():
    guard = asked()
    guard.given_up()
    guard.received(GOOD)
    assert guard.verdict is Verdict.BROKEN
    assert guard.take() == (Verdict.BROKEN, b"")
    assert guard.late == 1


def test_endless_noise_is_bounded_and_the_answer_behind_it_is_still_found():
    guard = asked()
    for _ in range(400):
        guard.received(b"\x00" * 100)
    assert len(guard._burst) <= 1024
    assert exchange(guard, GOOD) == (Verdict.ANSWERED, GOOD)
    assert guard.noise == 40_000


def identity_reply(more: int = 0, following: int = 0, objects: bytes = b"\x00\x02AB\x01\x01C") -> bytes:
    return framed(bytes([UNIT, 43, 14, 1, 1, more, following, 2]) + objects)


@pytest.mark.parametrize("size", [1, 400], ids=["byte by byte", "at once"])
def test_an_identification_is_as_long_as_its_objects(size):
    guard = RtuGuard()
    guard.sending(framed(bytes([UNIT, 43, 14, 1, 0])))
    line = identity_reply()
    pieces = [line[at : at + size] for at in range(0, len(line), size)]
    assert exchange(guard, *pieces) == (Verdict.ANSWERED, line)
    assert reply_end(line, 0) == len(line)


def test_parts_of_an_identification_are_joined_as_if_nothing_had_followed():
    first = parse_part(bytes([1, 1, 0xFF, 1, 1]) + b"\x00\x02AB")
    second = parse_part(bytes([1, 1, 0, 0, 2]) + b"\x01\x01C\x02\x01D")
    assert (first.next_object, second.next_object) == (1, None)
    assert joined([first, second]) == bytes([1, 1, 0, 0, 3]) + b"\x00\x02AB\x01\x01C\x02\x01D"
    for broken in (b"", b"\x01\x01\x00\x00", bytes([1, 1, 0, 0, 1]) + b"\x00\x05A", bytes([1, 1, 0, 0, 0]) + b"\x00"):
        assert parse_part(broken) is None


noise = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from([0x00, 0xFF, UNIT, 3, 4, 0x83]), max_size=40))


@given(st.lists(noise.map(bytes), max_size=8))
@settings(deadline=None, max_examples=200)
def test_no_noise_is_ever_a_value(pieces):
    guard = asked()
    verdict, frame = exchange(guard, *pieces)
    line = b"".join(pieces)
    if verdict is Verdict.ANSWERED:  # then the noise held a whole fitting frame
        assert frame in line
        assert crc(frame[:-2]) == frame[-2:]
        assert frame[:3] == b"\x03\x03\x04" or frame[:2] == b"\x03\x83"


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_one_altered_byte_never_becomes_a_value(at, change):
    altered = GOOD[:at] + bytes([GOOD[at] ^ change]) + GOOD[at + 1 :]
    assert exchange(asked(), altered)[0] is not Verdict.ANSWERED


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_the_verdict_does_not_depend_on_how_the_line_is_cut(data):
    line = b"".join(
        data.draw(
            st.lists(
                st.one_of(
                    st.just(GOOD),
                    st.just(GOOD[:4]),
                    st.just(framed(b"\x05\x03\x04\x00\x01\x00\x02")),
                    st.binary(max_size=5),
                ),
                min_size=1,
                max_size=4,
            )
        )
    )
    cuts = sorted(data.draw(st.sets(st.integers(0, len(line)), max_size=6)) | {0, len(line)})
    whole, cut = asked(), asked()
    assert exchange(cut, *(line[a:b] for a, b in pairwise(cuts))) == exchange(whole, line)
