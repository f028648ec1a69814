"""A frame comes back bit for bit or not at all, and is small."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_frames import START_MS, bits, event, frame_of, poll, tick_of
from store_strategies import frames

from mines.clock import NO_TIME_MS
from mines.errors import StoreError
from mines.events import Event
from mines.model import Actor, Batch, LinkReport, LinkState, OperatorAct, RowKind, SourcedBatch, Tick, make_batch
from mines.store.frame import Frame, decode_columns, decode_frame, encode_frame


@settings(max_examples=80, deadline=None)
@given(frames)
def test_any_frame_comes_back_bit_for_bit(frame):
    assert bits(decode_frame(encode_frame(frame))) == bits(frame)


@settings(max_examples=25, deadline=None)
@given(frames, st.data())
def test_any_altered_byte_is_detected(frame, data):
    good = encode_frame(frame)
    at = data.draw(st.integers(0, len(good) - 1))
    altered = bytearray(good)
    altered[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StoreError):
        decode_frame(bytes(altered))


def test_every_single_flipped_byte_of_a_typical_frame_is_detected():
    good = encode_frame(frame_of(7, boot_id="b", site_sha256="0" * 64, batches=[(0, poll(20, 7))]))
    for at in range(len(good)):
        altered = bytearray(good)
        altered[at] ^= 0xFF
        with pytest.raises(StoreError):
            decode_frame(bytes(altered))


@pytest.mark.parametrize("end", [0, 3, 22, 25, 26, -1], ids=str)
def test_a_frame_that_is_cut_short_is_detected(end):
    good = encode_frame(frame_of(7, boot_id="b", site_sha256="0" * 64, batches=[(0, poll(20, 7))]))
    with pytest.raises(StoreError):
        decode_frame(good[:end])


@pytest.mark.parametrize("thing", [None, "", "MWFR", 7], ids=repr)
def test_what_is_no_bytes_is_no_frame(thing):
    """A bit that flips in a database's record may change the type of a column."""
    with pytest.raises(StoreError):
        decode_frame(thing)


def test_bytes_behind_a_frame_are_detected():
    good = encode_frame(frame_of(7, boot_id="b", site_sha256="0" * 64, batches=[(0, poll(20, 7))]))
    with pytest.raises(StoreError):
        decode_frame(good + b"\0")


@pytest.mark.parametrize(("version", "codec"), [(2, 1), (1, 2)], ids=["version", "codec"])
def test_a_frame_of_another_format_is_refused_by_name(version, codec):
    good = encode_frame(frame_of(7, boot_id="b", site_sha256="0" * 64, batches=[(0, poll(20, 7))]))
    header, body = bytearray(good[:20]), good[24:]
    header[4], header[5] = version, codec
    crc = struct.pack("<I", zlib.crc32(body, zlib.crc32(header)))
    with pytest.raises(StoreError, match=f"format {version}, codec {codec}"):
        decode_frame(bytes(header) + crc + body)


SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324, 1.7976931348623157e308, 2.0**53, 2.0**53 + 2, 1e300, 0.1]
)
PAYLOADS = np.array([0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], dtype=np.uint64)


@pytest.mark.parametrize(
    "values",
    [
        SPECIAL,
        PAYLOADS.view(np.float64),
        np.arange(-50, 50) / 100,
        np.arange(-50, 50) * 0.01,
        np.arange(-50, 50) * 0.0625 + 4.0,
        np.array([0.43, 1.07], dtype=np.float32).astype(np.float64),
        np.array([0.43, np.nan, 7.0, 1 / 3, np.float64(np.float32(0.1)), -0.0]),
    ],
    ids=["special", "nan payloads", "hundredths", "times 0.01", "sixteenths", "float32", "mixed"],
)
def test_values_come_back_with_their_very_bits(values):
    batch = make_batch(np.arange(len(values)), values, 0, receive_time_ms=1, monotonic_ns=2, batch_no=3)
    frame = Frame(1, "b", "", (tick_of(1, [(0, batch)]),))
    (tick,) = decode_frame(encode_frame(frame)).ticks
    assert tick.batches[0].batch.value.view(np.int64).tolist() == values.view(np.int64).tolist()


def mine_wide_frame(devices: int, count: int, seed: int = 1) -> Frame:
    """One second of a mine: every device answers once, a few ms after the one before."""
    random = np.random.default_rng(seed)
    batches = []
    for device in range(devices):
        values = random.integers(0, 4000, count) / 100
        receive = START_MS + 7 * device
        batches.append(
            make_batch(
                np.arange(count),
                values,
                0,
                receive_time_ms=receive,
                monotonic_ns=receive * 10**6 + device,
                batch_no=device + 1,
            )
        )
    return Frame(1, "0" * 32, "f" * 64, (tick_of(1, [(i, b) for i, b in enumerate(batches)]),))


@pytest.mark.parametrize("decimal", [lambda raw: raw / 100, lambda raw: raw * 0.01], ids=["divided", "times the scale"])
def test_a_typical_poll_takes_at_most_six_bytes_a_sample(decimal):
    raw = np.random.default_rng(5).integers(0, 10_000, 100)
    batch = make_batch(
        np.arange(100), decimal(raw), 0, receive_time_ms=START_MS + 137, monotonic_ns=987_654_321_987, batch_no=512
    )
    boot_id, site = "9f86d081884c7d659a2feaa0c55ad015", "a3bf4f1b2b0b822cd15d6c15b0f00a08" * 2
    assert len(encode_frame(frame_of(77, boot_id=boot_id, site_sha256=site, batches=[(0, batch)]))) <= 600


def test_columns_say_which_rows_are_samples_and_where_they_stand_in_time():
    samples, confirms = poll(3, 1), poll(2, 1, kind=RowKind.CONFIRM)
    backfill = Batch(
        index=np.arange(2, dtype=np.int32),
        value=np.array([1.0, 2.0]),
        quality=np.zeros(2, dtype=np.uint16),
        source_time_ms=np.array([5_000, NO_TIME_MS]),
        receive_time_ms=np.array([9_000, 9_000]),
        monotonic_ns=np.zeros(2, dtype=np.int64),
        batch_no=9,
        kind=RowKind.BACKFILL,
    )
    frame = Frame(1, "b", "", (tick_of(1, [(0, samples), (0, confirms), (1, backfill)]),))
    columns = decode_columns(encode_frame(frame))
    assert columns.stored_rows == 5
    assert columns.axis_time_ms().tolist() == [START_MS + 1000] * 5 + [5_000, 9_000]


@pytest.mark.parametrize(
    ("ticks", "events", "span"),
    [
        ((tick_of(3, []), tick_of(5, [])), (), (START_MS + 3000, START_MS + 5000)),
        ((), (event(1, 40), event(2, 60)), (40, 60)),
        ((), (), (0, 0)),
    ],
    ids=["ticks", "events only", "nothing"],
)
def test_a_frame_knows_its_time(ticks, events, span):
    assert Frame(1, "b", "", ticks, events).span_ms == span


def test_a_batch_of_another_type_is_no_frame():
    batch = dataclasses.replace(poll(3, 1), index=np.arange(3, dtype=np.int64))
    with pytest.raises(TypeError):
        encode_frame(Frame(1, "b", "", (tick_of(1, [(0, batch)]),)))


FULL = {
    Tick: Tick(1, 2, 3, (SourcedBatch(4, poll(2, 1)),), (), (), 5),
    LinkReport: LinkReport("s", 1, LinkState.GOOD, 2, 3, "timeout", 4.5, 5, 6, 7, 8, "e", 9, {"late": 1}, 10),
    OperatorAct: OperatorAct(1, 2, Actor("a", "甲", "r", "st", True), "reset", (("p/high_alarm", 3),), "备注"),
    Event: event(1, 2, a=[1, {"b": None}]),
}
INSIDE = {
    Tick: lambda thing: Frame(1, "b", "s", (thing,)),
    LinkReport: lambda thing: Frame(1, "b", "s", (Tick(1, 2, 3, links=(thing,)),)),
    OperatorAct: lambda thing: Frame(1, "b", "s", (Tick(1, 2, 3, acts=(thing,)),)),
    Event: lambda thing: Frame(1, "b", "s", (), (thing,)),
}


@pytest.mark.parametrize("kind", FULL, ids=lambda kind: kind.__name__)
def test_no_field_of_the_model_is_left_out(kind):
    """A field that is added to the model and forgotten by the codec would be lost in silence."""
    thing = FULL[kind]
    unset = {field.name for field in dataclasses.fields(kind) if not getattr(thing, field.name)}
    assert unset == ({"links", "acts"} if kind is Tick else set()), "give the new field a value in FULL"
    frame = INSIDE[kind](thing)
    assert bits(decode_frame(encode_frame(frame))) == bits(frame)


def test_a_batch_has_the_columns_that_the_codec_knows():
    assert {field.name for field in dataclasses.fields(Batch)} == {
        "index", "value", "quality", "source_time_ms", "receive_time_ms", "monotonic_ns", "batch_no", "kind"
    }  # fmt: skip
