"""From stored rows to evidence: the time in which a point is proved good, and its value. Pure; a reader is handed in.

A row vouches for the time until the next row of its point, if that one comes in time (2 P + 1 s). A row that nothing
follows in time vouches for nothing: silence is never evidence. A confirmation stands for the sample before it, as long
as the chain of rows since then has no gap. Uncertain and bad rows vouch for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from compliance.intervals import Intervals, merged
from compliance.verdicts import Verdict
from compliance.window import Window
from mines.model import Point, TimeArray, ValueArray
from mines.quality import QualityArray, Severity, severities

BoolArray = npt.NDArray[np.bool_]


class Columns(Protocol):
    """Samples and back-filled rows of one point as the store's reader gives them, each of shape (n,), in any order."""

    @property
    def time_ms(self) -> TimeArray:
        """Place on the axis of history [ms]: receive time, for a back-filled row its source time."""
        ...

    @property
    def value(self) -> ValueArray:
        """In the point's unit."""
        ...

    @property
    def quality(self) -> QualityArray:
        """Quality words."""
        ...


class EvidenceReader(Protocol):
    """What evidence needs of `mines.store.reader.Reader`."""

    def samples_of(self, point_ids: Sequence[str], from_ms: int, to_ms: int) -> Mapping[str, Columns]:
        """Rows of several points in one pass."""
        ...

    def confirmations_of(self, point_ids: Sequence[str], from_ms: int, to_ms: int) -> Mapping[str, TimeArray]:
        """Receive times of confirmations of several points in one pass."""
        ...


@dataclass(frozen=True, slots=True)
class Vouching:
    """How long a row may vouch: `periods` × P + `slack_s`."""

    periods: float
    slack_s: float

    def longest_ms(self, period_s: float) -> int:
        """The longest time from a row to the next that still counts as in time [ms]."""
        return round(1000 * (self.periods * period_s + self.slack_s))


@dataclass(frozen=True, slots=True, eq=False)
class PointEvidence:
    """One point over the window, as pieces of time that rows vouch for; arrays of shape (pieces,), in order of time.

    A piece is `good` where the row's quality is good; then `value` held, in the point's unit. `answered` says whether
    any row of the window was good at all.
    """

    start_ms: TimeArray
    end_ms: TimeArray
    value: ValueArray
    good: BoolArray
    answered: bool

    @property
    def watched(self) -> Intervals:
        """Time in which the box had rows of the point, good or not."""
        return merged(self.start_ms, self.end_ms)

    @property
    def valid(self) -> Verdict:
        """Proved while the rows are good, disproved while the box had rows that were not."""
        return Verdict(self._where(self.good), self._where(~self.good))

    def holds(self, condition: BoolArray) -> Verdict:
        """A condition on the value: proved and disproved by good rows only.

        Args:
            condition: Where the value meets it, (pieces,).
        """
        return Verdict(self._where(self.good & condition), self._where(self.good & ~condition))

    def _where(self, mask: BoolArray) -> Intervals:
        return merged(self.start_ms[mask], self.end_ms[mask])


def _nothing() -> PointEvidence:
    times = np.zeros(0, dtype=np.int64)
    return PointEvidence(times, times, np.zeros(0), np.zeros(0, dtype=np.bool_), answered=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of every expected point over one window."""

    window: Window
    points: Mapping[str, PointEvidence]

    def of(self, point: Point) -> PointEvidence:
        """The evidence of one point; nothing where there is none."""
        return self.points.get(point.id) or _nothing()


def point_evidence(
    rows: Columns, confirmed_ms: TimeArray, period_s: float, *, window: Window, vouching: Vouching
) -> PointEvidence:
    """The pieces of time that one point's rows vouch for.

    Args:
        rows: Its samples and back-filled rows.
        confirmed_ms: Receive times of confirmations, (m,) [ms].
        period_s: The point's period P [s].
        window: Pieces are cut to it.
        vouching: How late the next row may come.
    Source: design §5 (2 P + 1 s); indicators §1; compliance/rules/duty.toml "vouching".
    """
    if not len(rows.value):
        return _nothing()
    own = len(rows.value)
    time_ms = np.concatenate([rows.time_ms, confirmed_ms])
    confirm = np.arange(len(time_ms)) >= own
    order = np.lexsort((confirm, time_ms))  # at one moment the sample stands before its confirmation
    time_ms, confirm = time_ms[order], confirm[order]
    in_time = np.diff(time_ms) <= vouching.longest_ms(period_s)
    sample = _sample_that_counts(confirm, in_time)
    stands_for = order[np.maximum(sample, 0)]
    stands_for[stands_for >= own] = 0  # a confirmation before any sample: `sample` is -1, so never good
    value = rows.value[stands_for]
    good = (sample >= 0) & (severities(rows.quality)[stands_for] == Severity.GOOD) & np.isfinite(value)
    return _pieces(time_ms, value, good, in_time=in_time, window=window)


def gather_evidence(reader: EvidenceReader, points: Iterable[Point], window: Window, vouching: Vouching) -> Evidence:
    """The evidence of several points, read in one pass over samples and one over confirmations.

    Args:
        reader: Of the mine's data folder.
        points: Whose; each once.
        window: Read from a little before it, so that its first moments are vouched for.
        vouching: How late the next row may come.
    Source: indicators §1; design §5.
    """
    chosen = list(points)
    ids = [point.id for point in chosen]
    before_ms = max((vouching.longest_ms(point.period_s) for point in chosen), default=0)
    samples = reader.samples_of(ids, window.from_ms - before_ms, window.to_ms)
    confirmed = reader.confirmations_of(ids, window.from_ms - before_ms, window.to_ms)
    never = np.zeros(0, dtype=np.int64)
    found = {
        point.id: point_evidence(
            samples[point.id], confirmed.get(point.id, never), point.period_s, window=window, vouching=vouching
        )
        for point in chosen
        if point.id in samples
    }
    return Evidence(window, found)


def _sample_that_counts(confirm: BoolArray, in_time: BoolArray) -> npt.NDArray[np.int64]:
    """Position of the sample that each row stands for: itself, or the one that it confirms; -1 = none."""
    place = np.arange(len(confirm), dtype=np.int64)
    sample = np.maximum.accumulate(np.where(confirm, -1, place))
    chain = np.concatenate([[0], np.cumsum(~in_time)])
    unbroken = chain[np.maximum(sample, 0)] == chain
    return np.where(unbroken, sample, -1)


def _pieces(
    time_ms: TimeArray, value: ValueArray, good: BoolArray, *, in_time: BoolArray, window: Window
) -> PointEvidence:
    start_ms = np.maximum(time_ms[:-1], window.from_ms)
    end_ms = np.minimum(time_ms[1:], window.to_ms)
    kept = in_time & (end_ms > start_ms)
    inside = (time_ms >= window.from_ms) & (time_ms < window.to_ms)
    return PointEvidence(
        start_ms=start_ms[kept],
        end_ms=end_ms[kept],
        value=value[:-1][kept],
        good=good[:-1][kept],
        answered=bool((good & inside).any()),
    )
