"""Any frame at all, for property tests of the codec."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from store_frames import START_MS

from mines.clock import NO_TIME_MS
from mines.events import Event, EventKind
from mines.model import Actor, Batch, LinkReport, LinkState, OperatorAct, RowKind, SourcedBatch, Tick
from mines.store.frame import Frame

_int64 = st.integers(-(2**63), 2**63 - 1)
_texts = st.text(st.characters(), max_size=8)  # lone surrogates included
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)
_any_float_bits = hnp.arrays(np.uint64, 1).map(lambda a: float(a.view(np.float64)[0]))


def _column(n: int, dtype: type, elements: st.SearchStrategy) -> st.SearchStrategy:
    # Constant, near each other, or anything: the codec has a way for each.
    return st.one_of(
        elements.map(lambda e: np.full(n, e, dtype=dtype)), hnp.arrays(dtype, n, elements=elements, fill=st.nothing())
    )


def _values(n: int) -> st.SearchStrategy:
    any_bits = hnp.arrays(np.uint64, n).map(lambda a: a.view(np.float64))
    decimals = hnp.arrays(np.int32, n).flatmap(
        lambda raw: st.sampled_from([raw / 1.0, raw / 10, raw * 0.01, raw / 1000, raw * 0.0001, raw * 0.3])
    )
    singles = hnp.arrays(np.float32, n).map(lambda a: a.astype(np.float64))
    return st.one_of(any_bits, decimals, singles, st.just(np.full(n, np.nan)))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Any batch, also one without rows."""
    n = draw(st.integers(0, 12))
    times = st.sampled_from([NO_TIME_MS, 0, START_MS, START_MS + 1, -5]) | _int64
    return Batch(
        index=draw(_column(n, np.int32, st.integers(0, 2**31 - 1))),
        value=draw(_values(n)),
        quality=draw(_column(n, np.uint16, st.integers(0, 2**16 - 1))),
        source_time_ms=draw(_column(n, np.int64, times)),
        receive_time_ms=draw(_column(n, np.int64, times)),
        monotonic_ns=draw(_column(n, np.int64, times)),
        batch_no=draw(st.integers(0, 2**40)),
        kind=draw(st.sampled_from(RowKind)),
    )


_links = st.builds(
    LinkReport,
    source=_texts,
    unit=st.none() | st.integers(0, 247),
    state=st.sampled_from(LinkState),
    since_ms=_int64,
    last_answer_ms=st.none() | _int64,
    last_error=_texts,
    duration_ms=st.none() | _any_float_bits,
    polls=st.integers(0),
    good=st.integers(0),
    bad=st.integers(0),
    reconnects=st.integers(0),
    endpoint=_texts,
    time_ms=_int64,
    counters=st.dictionaries(_texts, st.integers(), max_size=3),
)
_actors = st.builds(Actor, id=_texts, name=_texts, role=_texts, station=_texts, authenticated=st.booleans())
_acts = st.builds(
    OperatorAct,
    ledger_id=st.integers(1, 2**40),
    time_ms=_int64,
    actor=_actors,
    action=_texts,
    alarms=st.lists(st.tuples(_texts, st.integers(0)), max_size=3).map(tuple),
    note=_texts,
)
_events = st.builds(
    Event,
    seq=st.integers(1),
    time_ms=_int64,
    kind=st.sampled_from(EventKind),
    point=st.none() | _texts,
    value=st.none() | _any_float_bits,
    cause=_texts,
    detail=st.dictionaries(_texts, _json, max_size=3),
)
_ticks = st.builds(
    Tick,
    number=_int64,
    time_ms=_int64,
    monotonic_ns=_int64,
    batches=st.lists(st.builds(SourcedBatch, source=st.integers(0, 300), batch=batches()), max_size=4).map(tuple),
    links=st.lists(_links, max_size=2).map(tuple),
    acts=st.lists(_acts, max_size=2).map(tuple),
    clock_step_ms=_int64,
)
frames = st.builds(
    Frame,
    seq=st.integers(1, 2**62),
    boot_id=_texts,
    site_sha256=_texts,
    ticks=st.lists(_ticks, max_size=3).map(tuple),
    events=st.lists(_events, max_size=3).map(tuple),
)
"""Any frame."""
