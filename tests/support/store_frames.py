"""Frames for store tests, and equality bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mines.events import Event, EventKind
from mines.model import Batch, RowKind, SourcedBatch, Tick, make_batch
from mines.quality import GOOD
from mines.store.frame import Frame

START_MS = 1_770_000_000_000 // 3_600_000 * 3_600_000
"""The beginning of an hour."""


def poll(count: int, seq: int, *, seed: int | None = None, kind: RowKind = RowKind.SAMPLE) -> Batch:
    """One reply of `count` points as registers of 0.01 give them, received at second `seq`."""
    random = np.random.default_rng(seq if seed is None else seed)
    raw = random.integers(0, 4000, count)
    time_ms = START_MS + 1000 * seq
    return make_batch(
        np.arange(count),
        raw * 0.01,
        GOOD,
        receive_time_ms=time_ms,
        monotonic_ns=time_ms * 1_000_000,
        batch_no=seq,
        kind=kind,
    )


def tick_of(seq: int, batches: Sequence[tuple[int, Batch]], **more: object) -> Tick:
    """A tick at second `seq`."""
    time_ms = START_MS + 1000 * seq
    return Tick(seq, time_ms, time_ms * 1_000_000, tuple(SourcedBatch(s, b) for s, b in batches), **more)


def event(seq: int, time_ms: int, kind: EventKind = EventKind.LINK_CHANGED, **detail: object) -> Event:
    """An event with some detail."""
    return Event(seq, time_ms, kind, point="s.0", value=0.25, cause="good", detail=detail)


def frame_of(
    seq: int, *, boot_id: str, site_sha256: str, batches: Sequence[tuple[int, Batch]], events: Sequence[Event] = ()
) -> Frame:
    """A frame of one tick at second `seq`."""
    return Frame(seq, boot_id, site_sha256, (tick_of(seq, batches),), tuple(events))


def bits(thing: object) -> object:
    """Anything of a frame as plain comparable data in which NaN payloads, signs of zero and types count."""
    if isinstance(thing, np.ndarray):
        return (thing.dtype.str, thing.tobytes())
    if isinstance(thing, float):
        return ("float", np.float64(thing).tobytes())
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return (type(thing).__name__, {f.name: bits(getattr(thing, f.name)) for f in dataclasses.fields(thing)})
    if isinstance(thing, dict):
        return {key: bits(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [bits(item) for item in thing]
    return thing
