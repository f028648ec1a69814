"""Columns of packed history come back bit for bit, whatever is in them; damage is an error and never another column."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mines.clock import NO_TIME_MS
from mines.store.raw_codec import (
    decode_ints,
    decode_source_times,
    decode_values,
    encode_ints,
    encode_source_times,
    encode_values,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
ANY_BITS = hnp.arrays(np.int64, st.integers(0, 40), elements=INT64).map(lambda bits: bits.view(np.float64))
MIXED = st.lists(
    st.one_of(
        st.integers(-5000, 5000).map(lambda raw: raw * 0.01),
        st.integers(-5000, 5000).map(lambda raw: raw / 100),
        st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e308]),
        st.floats(width=32),
        st.floats(),
    ),
    max_size=60,
).map(lambda values: np.array(values, dtype=np.float64))


RUNS = st.lists(st.tuples(INT64 | st.integers(0, 3), st.integers(1, 40)), max_size=12).map(
    lambda runs: np.repeat(
        np.array([n for n, _ in runs], dtype=np.int64), np.array([k for _, k in runs], dtype=np.int64)
    )
)


@settings(max_examples=300, deadline=None)
@given(RUNS | hnp.arrays(np.int64, st.integers(0, 60), elements=INT64 | st.integers(0, 3) | st.just(NO_TIME_MS)))
def test_whole_numbers_come_back(column):
    assert (decode_ints(encode_ints(column)) == column).all()


@settings(max_examples=300, deadline=None)
@given(st.one_of(ANY_BITS, MIXED))
def test_values_come_back_bit_for_bit(column):
    back = decode_values(encode_values(column))
    assert back.view(np.int64).tolist() == column.view(np.int64).tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**42), st.one_of(st.just(NO_TIME_MS), INT64)), max_size=40))
def test_source_times_come_back(rows):
    receive = np.array([row[0] for row in rows], dtype=np.int64)
    source = np.array([row[1] for row in rows], dtype=np.int64)
    assert decode_source_times(encode_source_times(source, receive), receive).tolist() == source.tolist()


@settings(max_examples=200, deadline=None)
@given(MIXED, st.data())
def test_a_cut_or_altered_column_is_an_error_or_of_the_same_length(column, data):
    """What an altered byte may still decode to is caught by the hash over the decoded content, never by luck."""
    packed = bytearray(encode_values(column))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.booleans())
    try:
        decode_values(bytes(packed[:at] if cut else packed))
    except (ValueError, struct.error):
        pass


@pytest.mark.parametrize(
    ("name", "column", "most"),
    [
        ("methane steps of 0.01", np.repeat(np.random.default_rng(1).integers(20, 60, 60), 60) * 0.01, 0.2),
        ("wind, noise of 0.01", np.random.default_rng(2).integers(180, 260, 3600) / 100, 1.0),
        ("a switch", np.repeat([0.0, 1.0, 0.0], 1200), 0.05),
        ("flat", np.full(3600, 0.52), 0.05),
        ("one row of an hour is lost", np.where(np.arange(3600) == 77, np.nan, 0.5), 0.05),
    ],
    ids=lambda thing: thing if isinstance(thing, str) else "",
)
def test_a_mines_columns_are_small(name, column, most):
    assert len(encode_values(column)) / len(column) <= most
