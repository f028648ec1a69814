"""The codec against a golden table, real field frames, and itself turned round."""

import csv
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_data import reference

from connectors.modbus.codec import BYTE_ORDERS, REGISTERS, BlockDecoder, Field, byte_places, raw_sentinel
from mines.quality import GOOD, Reason, Severity, bad, reason_of, severity_of

ROOT = Path(__file__).parents[2]
CASES = list(csv.DictReader((ROOT / "fixtures/modbus/codec_cases.csv").read_text(encoding="utf-8").splitlines()))
PACK = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"} | {
    "float32": "f",
    "float64": "d",
}


def field_of(case: dict[str, str]) -> Field:
    data_type, _, bit = case["data_type"].partition(".")
    return Field(
        position=0,
        data_type=data_type,
        byte_order=case["byte_order"] or "ABCD",
        bit=int(bit) if bit else None,
        scale=float(case["scale"]),
        offset=float(case["offset"]),
        sentinels=tuple(float(text) for text in case["sentinels"].split()),
    )


def same(one: float, other: float) -> bool:
    return one == other and math.copysign(1, one) == math.copysign(1, other) if one == one else other != other


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_registers_become_the_value_and_quality_of_the_golden_table(case):
    payload = bytes.fromhex(case["registers"])
    value, quality = BlockDecoder([field_of(case)], len(payload) // 2).decode(payload)
    assert same(float(value[0]), float(case["value"])), value[0]
    assert reason_of(int(quality[0])) == Reason[case["reason"].upper()]
    assert severity_of(int(quality[0])) == (Severity.GOOD if case["reason"] == "none" else Severity.BAD)


def test_every_case_of_the_table_decodes_the_same_amid_all_the_others():
    """One block that holds the whole table: no field disturbs another."""
    fields, payload = [], b""
    for case in CASES:
        alone = field_of(case)
        fields.append(
            Field(
                len(payload) // 2,
                alone.data_type,
                alone.byte_order,
                alone.bit,
                alone.scale,
                alone.offset,
                alone.sentinels,
            )
        )
        payload += bytes.fromhex(case["registers"])
    value, quality = BlockDecoder(fields, len(payload) // 2).decode(payload)
    for row, case in enumerate(CASES):
        assert same(float(value[row]), float(case["value"])), case["id"]
        assert reason_of(int(quality[row])) == Reason[case["reason"].upper()], case["id"]


def test_coils_are_counted_from_the_lowest_bit_of_the_first_byte():
    positions = [0, 1, 7, 8, 12]
    decoder = BlockDecoder([Field(position, "bool") for position in positions], 13, of_bits=True)
    value, quality = decoder.decode(bytes([0b1000_0001, 0b0001_0000]))
    assert value.tolist() == [1, 0, 1, 0, 1]
    assert (quality == GOOD).all()


@pytest.mark.parametrize("size", [0, 1, 3, 5, 8], ids="{} bytes".format)
def test_a_reply_of_another_size_is_never_decoded(size):
    with pytest.raises(ValueError, match="for a block of 4"):
        BlockDecoder([Field(0, "uint16")], 2).decode(bytes(size))


@pytest.mark.parametrize(
    "field",
    [Field(2, "uint16"), Field(1, "float32"), Field(-1, "uint16"), Field(2, "bool", bit=0)],
    ids=["behind", "half behind", "before", "bit behind"],
)
def test_a_field_outside_its_block_is_refused_when_compiled(field):
    with pytest.raises(ValueError, match="outside"):
        BlockDecoder([field], 2)


@pytest.mark.parametrize("order", ["AB", "BA", "", "abcd", "ABDC"])
def test_an_order_that_does_not_exist_for_the_width_is_refused(order):
    with pytest.raises(ValueError, match="byte order"):
        byte_places(order, 4)


@pytest.mark.parametrize(
    ("sentinel", "data_type"),
    [(65536, "int16"), (-32769, "uint16"), (0.5, "uint16"), (2.0**64, "int64"), (-1.0, "uint64"), (2.0**32, "int32")],
    ids=str,
)
def test_a_sentinel_that_the_type_can_never_hold_is_known_as_such(sentinel, data_type):
    assert raw_sentinel(sentinel, data_type) is None


def test_a_sentinel_of_64_bits_never_turns_into_a_small_number():
    """As float64, 2^64 - 1 is 2^64: taken as a bit pattern of an int64 it would stand for 0."""
    assert raw_sentinel(18446744073709551615.0, "int64") is None


def test_decoding_leaves_no_trace_in_the_next_reply():
    decoder = BlockDecoder([Field(0, "uint16", sentinels=(65535,)), Field(1, "int16")], 2)
    first, _ = decoder.decode(bytes.fromhex("FFFF0001"))
    value, quality = decoder.decode(bytes.fromhex("00020003"))
    assert value.tolist() == [2, 3]
    assert (quality == GOOD).all()
    assert np.isnan(first[0])


@st.composite
def encoded_values(draw):
    data_type = draw(st.sampled_from(sorted(REGISTERS)))
    order = draw(st.sampled_from(BYTE_ORDERS))
    raw = draw(st.binary(min_size=2 * REGISTERS[data_type], max_size=2 * REGISTERS[data_type]))
    return data_type, order, raw


@settings(deadline=None, max_examples=80)
@given(st.lists(encoded_values(), min_size=1, max_size=12))
def test_any_mixture_decodes_as_struct_does(values):
    fields, payload = [], b""
    for data_type, order, raw in values:
        fields.append(Field(len(payload) // 2, data_type, order))
        places = byte_places(order, len(raw))
        wire = bytearray(len(raw))
        for big_endian_at, wire_at in enumerate(places):
            wire[wire_at] = raw[big_endian_at]
        payload += bytes(wire)
    value, quality = BlockDecoder(fields, len(payload) // 2).decode(payload)
    for row, (data_type, _, raw) in enumerate(values):
        expected = float(struct.unpack(">" + PACK[data_type], raw)[0])
        assert same(float(value[row]), expected)
        assert quality[row] == (bad(Reason.NOT_A_NUMBER) if expected != expected else GOOD)


@st.composite
def blocks_of_fields(draw):
    """A block with fields anywhere in it, as registers or as bits, and a reply to it."""
    if draw(st.booleans()):
        count = draw(st.integers(1, 40))
        positions = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8))
        fields = [Field(position, "bool") for position in positions]
        return BlockDecoder(fields, count, of_bits=True), draw(st.binary(min_size=(count + 7) // 8, max_size=5))[
            : (count + 7) // 8
        ]
    fields = []
    for _ in range(draw(st.integers(1, 8))):
        data_type = draw(st.sampled_from([*sorted(REGISTERS), "bool"]))
        position = draw(st.integers(0, 20 - REGISTERS.get(data_type, 1)))
        bit = draw(st.integers(0, 15)) if data_type == "bool" else None
        scale, offset = draw(st.sampled_from([(1.0, 0.0), (0.1, 0.0), (3.0, -5.0)]))
        sentinels = draw(st.sampled_from([(), (0.0,), (1.0,)]))
        fields.append(Field(position, data_type, draw(st.sampled_from(BYTE_ORDERS)), bit, scale, offset, sentinels))
    return BlockDecoder(fields, 20), draw(st.binary(min_size=40, max_size=40))


@settings(deadline=None, max_examples=120)
@given(st.lists(blocks_of_fields(), min_size=1, max_size=5))
def test_joined_blocks_decode_as_each_does_alone(blocks):
    decoders, replies = zip(*blocks, strict=True)
    value, quality = BlockDecoder.joined(decoders).decode(*replies)
    alone = [decoder.decode(reply) for decoder, reply in blocks]
    assert value.tobytes() == np.concatenate([values for values, _ in alone]).tobytes()
    assert quality.tolist() == np.concatenate([qualities for _, qualities in alone]).tolist()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(REGISTERS)), st.sampled_from(BYTE_ORDERS), st.integers(0, 6), st.data())
def test_values_in_equal_steps_decode_as_values_in_a_heap(data_type, order, hole, data):
    """A stride over the reply and a place for each value give the same numbers."""
    step = REGISTERS[data_type] + hole
    fields = [Field(at, data_type, order) for at in range(1, 1 + 7 * step, step)]
    registers = 1 + 7 * step
    payload = data.draw(st.binary(min_size=2 * registers, max_size=2 * registers))
    value, quality = BlockDecoder(fields, registers).decode(payload)
    mixed, _ = BlockDecoder([*fields, fields[0], fields[-1], fields[0]], registers).decode(payload)
    assert value.tobytes() == mixed[:7].tobytes()
    assert (quality == GOOD).tolist() == (~np.isnan(value)).tolist()


def test_of_joined_blocks_each_must_have_its_own_size():
    decoder = BlockDecoder.joined([BlockDecoder([Field(0, "uint16")], 1), BlockDecoder([Field(0, "uint16")], 2)])
    with pytest.raises(ValueError, match="4, 2 bytes for a block of 2, 4"):
        decoder.decode(bytes(4), bytes(2))


def field_frame(name: str) -> bytes:
    path = reference("field-frames/frames.json")
    frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
    reply = bytes.fromhex(next(frame for frame in frames if frame["id"] == name)["rx"])
    return reply[3:-2]  # RTU: unit, function, byte count … CRC


def test_floats_of_a_real_word_swapped_frame_are_read():
    payload = field_frame("rtu-epics-fc3")
    decoder = BlockDecoder([Field(at, "float32", "CDAB") for at in (4, 6, 8)], len(payload) // 2)
    value, _ = decoder.decode(payload)
    assert value.tolist() == pytest.approx([10.0, 10.0, 30.02], abs=1e-5)


def test_runs_of_ffff_in_a_real_frame_are_negative_numbers_unless_the_map_says_otherwise():
    payload = field_frame("rtu-long-split-by-gap")
    lowest_word = payload.index(bytes.fromhex("FFFFFFFFFFFFA581")) // 2
    value, quality = BlockDecoder([Field(lowest_word, "int64")], len(payload) // 2).decode(payload)
    assert value.tolist() == [0xA581 - 0x10000]
    assert quality.tolist() == [GOOD]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 0xFFFF), st.integers(0, 14).flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, 15))),
    st.sampled_from(["AB", "BA", "ABCD", "BADC"]), st.integers(0, 3),
)  # fmt: skip
def test_some_bits_of_a_register_are_a_number_without_a_sign(word, bits, order, position):
    low, high = bits
    registers = [0xA5A5] * 4
    registers[position] = word
    payload = b"".join(register.to_bytes(2, "big") for register in registers)
    fields = [Field(position, "uint16", order, low, high_bit=high), Field(position, "uint16", order)]
    value, quality = BlockDecoder(fields, 4).decode(payload)
    seen = word if order in ("AB", "ABCD") else int.from_bytes(word.to_bytes(2, "big"), "little")
    assert value.tolist() == [float((seen >> low) & ((1 << (high - low + 1)) - 1)), float(seen)]
    assert quality.tolist() == [0, 0]
