"""Which frames of the record make a stretch that replays exactly. Pure.

A stretch lies between two ticks A and B, each the last of its frame, and has a first and a last millisecond such that
every row and every event up to A is earlier and everything after A is not; the same at B. Then `events` of the box over
that time are exactly what the stretch makes. Mostly its first millisecond is the one after A. It lies within one boot,
and holds no event that no tick makes (start, stop, site).

A source may yield a cycle that took longer than a tick, so that for a while no tick parts the rows. Where that leaves
less of what is wanted, ticks that part the events alone will do: the events stay exact, and so does the replay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mines.errors import CaptureError
from mines.events import EventKind
from mines.store.frame import Frame

_MADE_BY_NO_TICK = frozenset(
    {
        EventKind.BOX_STARTED,
        EventKind.BOX_STOPPED,
        EventKind.SITE_ACCEPTED,
        EventKind.ALARM_ENDED_BY_SITE,
        EventKind.ROWS_REJECTED,
    }
)
_LOSS_FOR_CLEAN_ROWS_MS, _LOSS_FOR_CLEAN_ROWS_FRACTION = 1_000, 0.05
"""How much of what is wanted is given up to part the rows as well: the smaller of both (project default)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asked for [ms]: `from_ms` inclusive, `to_ms` exclusive; None = as far as the record goes.

    Frames up to `after_seq` are not looked at: it saves reading a long record, and must lie well before `from_ms`.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    after_seq: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Earliest and latest of some times [ms]; inf and -inf where there are none."""

    earliest_ms: float = math.inf
    latest_ms: float = -math.inf

    def joined(self, other: Span) -> Span:
        """Both together."""
        return Span(min(self.earliest_ms, other.earliest_ms), max(self.latest_ms, other.latest_ms))


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What the choice needs to know of a frame; `end_ms` is the time of its last tick."""

    seq: int
    boot_id: str
    site_sha256: str
    end_ms: int | None
    rows: Span
    events: Span
    by_ticks_alone: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames `first_seq` … `last_seq`, `from_ms` inclusive, `to_ms` exclusive."""

    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    boot_id: str
    site_sha256: str


def frame_facts(frame: Frame) -> FrameFacts:
    """The facts of one frame."""
    received = [item.batch.receive_time_ms for tick in frame.ticks for item in tick.batches if len(item.batch)]
    rows = [Span(int(times.min()), int(times.max())) for times in received]
    events = [Span(event.time_ms, event.time_ms) for event in frame.events]
    return FrameFacts(
        seq=frame.seq,
        boot_id=frame.boot_id,
        site_sha256=frame.site_sha256,
        end_ms=frame.ticks[-1].time_ms if frame.ticks else None,
        rows=_together(rows),
        events=_together(events),
        by_ticks_alone=not any(event.kind in _MADE_BY_NO_TICK for event in frame.events),
    )


def choose_stretch(facts: Sequence[FrameFacts], wanted: Wanted) -> Stretch:
    """The stretch that covers what is wanted, as far as the record allows it.

    Args:
        facts: Of the record's frames, in their order; the last one only bounds the one before it.
        wanted: What was asked for; of several boots in that time the one with most of it is taken.
    Raises:
        CaptureError: there is none.
    """
    span = (
        -math.inf if wanted.from_ms is None else wanted.from_ms,
        math.inf if wanted.to_ms is None else wanted.to_ms,
    )
    by_events = _longest(facts, [each.events for each in facts], span)
    by_rows = _longest(facts, [each.events.joined(each.rows) for each in facts], span)
    if by_events is None:
        raise CaptureError("the record holds no stretch of this time that lies between two ticks of one boot")
    held = _shared(by_events, span)
    loss_ms = min(_LOSS_FOR_CLEAN_ROWS_MS, held * _LOSS_FOR_CLEAN_ROWS_FRACTION)
    if by_rows is not None and _shared(by_rows, span) >= held - loss_ms:
        return by_rows
    return by_events


def _longest(facts: Sequence[FrameFacts], times: Sequence[Span], span: tuple[float, float]) -> Stretch | None:
    """The stretch with most of what is wanted, parted by ticks that part `times`."""
    cuts = _cuts(facts, times)
    in_runs = [_in_run(facts, cuts, range(max(first - 1, 0), last + 1), span=span) for first, last in _runs(facts)]
    found = [each for each in in_runs if each is not None and _shared(each, span) > 0]
    return max(found, key=lambda each: _shared(each, span), default=None)


def _cuts(facts: Sequence[FrameFacts], times: Sequence[Span]) -> dict[int, int]:
    """Index of each frame whose last tick parts `times`, with the first millisecond of what comes after it."""
    after = [math.inf] * len(facts)
    for i in range(len(facts) - 2, -1, -1):
        after[i] = min(after[i + 1], times[i + 1].earliest_ms)
    cuts: dict[int, int] = {}
    before = -math.inf
    for i, each in enumerate(facts[:-1]):
        before = max(before, times[i].latest_ms)
        if each.end_ms is not None:
            cut_ms = int(min(each.end_ms + 1, after[i]))
            if before < cut_ms:
                cuts[i] = cut_ms
    return cuts


def _runs(facts: Sequence[FrameFacts]) -> Iterator[tuple[int, int]]:
    """First and last index of frames in a row that a stretch may hold together."""
    first: int | None = None
    for i, each in enumerate(facts):
        if first is not None and (not each.by_ticks_alone or not _alike(facts[i - 1], each)):
            yield first, i - 1
            first = None
        if first is None and each.by_ticks_alone:
            first = i
    if first is not None:
        yield first, len(facts) - 1


def _in_run(
    facts: Sequence[FrameFacts], cuts: dict[int, int], run: Iterable[int], *, span: tuple[float, float]
) -> Stretch | None:
    """The stretch within a run; the frame before the run may end where it begins, if it is of the same boot."""
    usable = [i for i in run if i in cuts]
    usable = [i for i in usable if _alike(facts[i], facts[usable[-1]])]
    if not usable:
        return None
    begin = max((i for i in usable if cuts[i] <= span[0]), default=usable[0])
    end = min((i for i in usable if cuts[i] >= span[1]), default=usable[-1])
    if end <= begin:
        return None
    return Stretch(
        first_seq=facts[begin + 1].seq,
        last_seq=facts[end].seq,
        from_ms=cuts[begin],
        to_ms=cuts[end],
        boot_id=facts[end].boot_id,
        site_sha256=facts[end].site_sha256,
    )


def _shared(stretch: Stretch, span: tuple[float, float]) -> float:
    """How much of what is wanted a stretch holds [ms]."""
    return min(stretch.to_ms, span[1]) - max(stretch.from_ms, span[0])


def _together(spans: Iterable[Span]) -> Span:
    joined = Span()
    for span in spans:
        joined = joined.joined(span)
    return joined


def _alike(one: FrameFacts, other: FrameFacts) -> bool:
    return (one.boot_id, one.site_sha256) == (other.boot_id, other.site_sha256)
