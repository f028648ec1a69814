"""Replay: recorded ticks through the very watch that `run` steps, on a virtual clock; into a journal where asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from mines.errors import CaptureError
from mines.events import Event, event_log_sha256
from mines.model import RowKind, Tick
from mines.rows import RangeJudge
from mines.site.site_file import Site
from mines.store.box_store import BoxStore
from mines.store.frame import Frame
from mines.times import print_time
from mines.watch import Watch

_FRAME_MS = 1_000
_GAP_MS = 60_000
"""Capture time without a tick that is jumped, and said, at any speed (project default)."""
_BOOT = "replay"

Keep = Callable[[Frame], object]
Wait = Callable[[float], None]


class Recording(Protocol):
    """What a capture gives for replay."""

    @property
    def ticks(self) -> Iterable[Tick]:
        """In their order; read once."""
        ...

    @property
    def before(self) -> Sequence[Event]:
        """Events to fold first."""
        ...

    @property
    def next_event_seq(self) -> int:
        """Number of the first event that the replay gives."""
        ...

    @property
    def picture(self) -> Tick | None:
        """What stood at the beginning."""
        ...

    @property
    def lead(self) -> Sequence[Tick]:
        """The last ticks before the beginning."""
        ...

    @property
    def first_ms(self) -> int:
        """Beginning of the stretch, inclusive."""
        ...

    @property
    def last_ms(self) -> int:
        """End of the stretch, exclusive where it is a live capture."""
        ...


@dataclass(slots=True)
class Replayed:
    """What a replay gave. `gaps` are (from_ms, to_ms) that were jumped."""

    first_ms: int
    last_ms: int
    site_sha256: str
    rows: int = 0
    elapsed_s: float = 0.0
    events: list[Event] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)

    @property
    def event_log_sha256(self) -> str:
        """Over the events of the replay."""
        return event_log_sha256(self.events)

    def gap_texts(self) -> list[str]:
        """One sentence a gap."""
        return [f"nothing between {print_time(a)} and {print_time(b)}: jumped" for a, b in self.gaps]

    def to_json(self) -> dict[str, Any]:
        """The document of `replay --json`."""
        return {
            "rows": self.rows,
            "events": len(self.events),
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "elapsed_s": round(self.elapsed_s, 3),
            "site_sha256": self.site_sha256,
            "event_log_sha256": self.event_log_sha256,
            "gaps": [list(gap) for gap in self.gaps],
        }


def replay_ticks(recording: Recording, site: Site, *, speed: str = "max", out: Path | None = None) -> Replayed:
    """Steps a whole recording.

    Args:
        recording: Opened on the points of `site`.
        site: Whose limits apply.
        speed: `max`, or how many times real time.
        out: A data folder to be made, in which the journal of the replay is kept; None keeps none.
    Raises:
        CaptureError: the recording is damaged, or `speed` is neither.
        StoreError: `out` cannot be written.
    """
    factor = _factor(speed)
    points = [site.points_of(source.id) for source in site.sources]
    watch = Watch(points, recording.next_event_seq)
    watch.fold(recording.before)
    if recording.picture is not None:
        watch.prime([recording.picture])
    watch.lead_in(recording.lead)
    result = Replayed(recording.first_ms, recording.last_ms, site.sha256)
    begun = time.perf_counter()
    with ExitStack() as stack:
        keep: Keep | None = None
        if out is not None:
            store = BoxStore.open(out, site, boot_id=_BOOT, time_ms=recording.first_ms)
            stack.callback(store.close)
            keep = store.commit
        wait = None if factor is None else (lambda seconds: time.sleep(seconds / factor))
        judged = _judged(recording.ticks, [RangeJudge(each) for each in points])
        _step(judged, watch, result, _Frames(keep, site.sha256), wait)
    result.elapsed_s = time.perf_counter() - begun
    return result


def _factor(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if factor <= 0:
        raise CaptureError(f"speed {speed!r}; expected max or a number above 0")
    return factor


def _step(ticks: Iterable[Tick], watch: Watch, result: Replayed, frames: _Frames, wait: Wait | None) -> None:
    before_ms: int | None = None
    for tick in ticks:
        if before_ms is not None:
            passed_ms = tick.time_ms - before_ms
            if passed_ms > _GAP_MS:
                result.gaps.append((before_ms, tick.time_ms))
            elif wait is not None and passed_ms > 0:
                wait(passed_ms / 1000)
        before_ms = tick.time_ms
        events = watch.step(tick)
        result.rows += sum(len(item.batch) for item in tick.batches if item.batch.kind != RowKind.CONFIRM)
        result.events += events
        frames.add(tick, events)
    frames.flush()


class _Frames:
    """Groups ticks into frames of about a second, numbered from 1, as the journal of a box would be."""

    def __init__(self, keep: Keep | None, site_sha256: str) -> None:
        self._keep, self._site_sha256 = keep, site_sha256
        self._seq = 0
        self._ticks: list[Tick] = []
        self._events: list[Event] = []

    def add(self, tick: Tick, events: list[Event]) -> None:
        if self._keep is None:
            return
        if self._ticks and tick.time_ms - self._ticks[0].time_ms >= _FRAME_MS:
            self.flush()
        self._ticks.append(tick)
        self._events += events

    def flush(self) -> None:
        if self._keep is not None and self._ticks:
            self._seq += 1
            self._keep(Frame(self._seq, _BOOT, self._site_sha256, tuple(self._ticks), tuple(self._events)))
        self._ticks, self._events = [], []


def _judged(ticks: Iterable[Tick], judges: Sequence[RangeJudge]) -> Iterable[Tick]:
    """Spans of the site applied as the supervisor does: rows made from raw frames have not met them yet."""

    for tick in ticks:
        batches = tuple(replace(item, batch=judges[item.source].judged(item.batch)) for item in tick.batches)
        yield replace(tick, batches=batches)
