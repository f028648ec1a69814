"""What happened on the link, told as batches: first values together, samples at once, each period a word of the rest.

Pure: no socket, no loop; the moment is an argument. Nothing is said of a point that the server did not prove: a
confirmation carries the time of the server's last word, and no two rest on the same word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from connectors.opcua.decode import Heard, ValueDecoder, Values, joined
from connectors.opcua.gaps import Gaps
from connectors.opcua.link import REPORT_EVERY_S, LinkBook
from connectors.opcua.standing import Standing
from mines.model import Batch, IndexArray, LinkReport, Point, RowKind, make_batch
from mines.quality import Flag, Reason, Severity, bad, severities


@dataclass(frozen=True, slots=True)
class Begun:
    """A session stands; `refused` are (point index, quality word) of the points it cannot have."""

    refused: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Asked for again, these points are still refused: (point index, quality word)."""

    refused: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no session any more."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """Rows out of the server's history that nobody heard when they were new."""

    values: Values


Happening = Begun | Refused | Lost | Recalled | Values


class Teller:
    """One stream's batches and link reports."""

    def __init__(
        self, points: Sequence[Point], book: LinkBook, numbers: Iterator[int], now_s: float, *, polled: bool = False
    ) -> None:
        """A stream that begins now.

        Args:
            points: The source's, in the order that `Batch.index` counts in.
            book: What is known of the link.
            numbers: The source's batch numbers, 1, 2, 3 … per boot.
            now_s: Seconds on the same clock as every later `now_s`.
            polled: Values come each period of themselves, so nothing is confirmed that did not come.
        """
        self.gaps = Gaps(len(points))
        self._polled = polled
        self._refused: IndexArray = np.array([], dtype=np.int32)
        self.standing = Standing(points, now_s)
        self._decoder = ValueDecoder(points)
        self._book, self._numbers = book, numbers
        self._received: list[Values] = []
        self._up = False
        self._hold_until_s: float | None = None  # first values of a session are collected until then
        self._vouched_ns = -1  # the server's word that the last confirmation rested on
        self._beat_at_s = now_s + self.standing.beat_s
        self._report_at_s = now_s + REPORT_EVERY_S
        self._everything: IndexArray = np.arange(len(points), dtype=np.int32)

    @property
    def wake_at_s(self) -> float:
        """When there is something to say even if nothing happens."""
        return self._beat_at_s if self._hold_until_s is None else min(self._beat_at_s, self._hold_until_s)

    def tell(self, happened: Sequence[Happening], now: Heard, now_s: float) -> list[Batch | LinkReport]:
        """What is to be said now, in order.

        Args:
            happened: Since the last call, oldest first.
            now: For rows that are the box's own statement.
            now_s: The same moment in seconds.
        """
        out: list[Batch | LinkReport] = []
        for what in happened:
            match what:
                case Values():
                    self._received.append(what)
                case Begun(refused):
                    self._begin(refused, now_s)
                case Refused(refused):
                    out += self._samples(now_s)
                    self._set_refused(refused)
                    out += self._bad_rows(np.array([i for i, _ in refused], dtype=np.int32), now, now_s)
                case Recalled(values):
                    out += [*self._samples(now_s), self._backfilled(values)]
                case Lost():
                    out += self._lose(now, now_s)
        out += self._first_values(now, now_s) if self._hold_until_s is not None else self._samples(now_s)
        if now_s >= self._beat_at_s:
            out += self._beat(now, now_s)
        return self._reports(now, now_s) + out

    def _begin(self, refused: Sequence[tuple[int, int]], now_s: float) -> None:
        self._up = True
        self._hold_until_s = now_s + self.standing.beat_s
        self.standing.set_bad(self._everything, bad(Reason.WAITING_FOR_INITIAL_DATA))
        self._set_refused(refused)
        self.standing.said(self._everything, now_s)

    def _set_refused(self, refused: Sequence[tuple[int, int]]) -> None:
        self._refused = np.array([index for index, _ in refused], dtype=np.int32)
        self.standing.set_bad(self._refused, np.array([word for _, word in refused], dtype=np.uint16))

    def _lose(self, now: Heard, now_s: float) -> list[Batch]:
        out = self._samples(now_s)
        self.gaps.lost()
        self._up, self._hold_until_s = False, None
        self.standing.set_bad(self._everything, bad(Reason.NO_COMMUNICATION))
        return out + self._bad_rows(self._everything, now, now_s)

    def _first_values(self, now: Heard, now_s: float) -> list[Batch]:
        """All points in one batch, as soon as every value has come or the wait for them is over."""
        missing = np.ones(len(self._everything), dtype=np.bool_)
        for values in self._received:
            missing[np.asarray(values.index, dtype=np.int32)] = False
        waiting = missing & (self.standing.word == bad(Reason.WAITING_FOR_INITIAL_DATA))
        if waiting.any() and now_s < (self._hold_until_s or 0.0):
            return []
        self._hold_until_s = None
        return self._samples(now_s, [self._bad_block(self._everything[missing], now)])

    def _samples(self, now_s: float, more: Sequence[Batch] = ()) -> list[Batch]:
        """Everything received, and `more`, as one batch; nothing where there is nothing."""
        received, self._received = self._received, []
        blocks = [self._decoded(received, now_s)] if received else []
        blocks += [block for block in more if len(block)]
        if not blocks:
            return []
        batch = _joined(blocks, next(self._numbers))
        bad_rows = int(np.count_nonzero(severities(batch.quality) == Severity.BAD))
        self._book.bad += bad_rows
        self._book.good += len(batch) - bad_rows
        self._book.counts["overflows"] += int(np.count_nonzero(batch.quality & np.uint16(Flag.QUEUE_OVERFLOW)))
        return [batch]

    def _decoded(self, received: Sequence[Values], now_s: float) -> Batch:
        """Several replies as one block: decoding costs by the call, and a server may send a burst in many pieces."""
        rows = joined(received, received[-1].heard)
        value, word = self._decoder.decode(rows)
        index, source_time_ms = np.asarray(rows.index, np.int32), np.asarray(rows.source_time_ms, np.int64)
        self.standing.take(index, value, word, now_s)
        self.gaps.heard(index, source_time_ms)
        lengths = [len(values) for values in received]
        return Batch(
            index=index,
            value=value,
            quality=word,
            source_time_ms=source_time_ms,
            receive_time_ms=np.repeat(np.array([v.heard.wall_ms for v in received], np.int64), lengths),
            monotonic_ns=np.repeat(np.array([v.heard.monotonic_ns for v in received], np.int64), lengths),
            batch_no=0,
        )

    def _backfilled(self, values: Values) -> Batch:
        """What stands is left alone: these rows are older."""
        value, word = self._decoder.decode(values)
        return make_batch(
            np.asarray(values.index, dtype=np.int32),
            value,
            word | np.uint16(Flag.BACKFILLED),
            receive_time_ms=values.heard.wall_ms,
            monotonic_ns=values.heard.monotonic_ns,
            batch_no=next(self._numbers),
            source_time_ms=np.array(values.source_time_ms, dtype=np.int64),
            kind=RowKind.BACKFILL,
        )

    def _bad_block(self, index: IndexArray, now: Heard) -> Batch:
        return make_batch(
            index,
            np.full(len(index), np.nan),
            self.standing.word[index],
            receive_time_ms=now.wall_ms,
            monotonic_ns=now.monotonic_ns,
            batch_no=0,
        )

    def _bad_rows(self, index: IndexArray, now: Heard, now_s: float) -> list[Batch]:
        """What stands for points that are bad, said (again)."""
        self.standing.said(index, now_s)
        return self._samples(now_s, [self._bad_block(index, now)])

    def _beat(self, now: Heard, now_s: float) -> list[Batch | LinkReport]:
        beat_s = self.standing.beat_s
        self._beat_at_s += beat_s * (
            1 + (now_s - self._beat_at_s) // beat_s
        )  # keep to the grid, no burst after a stall
        if self._hold_until_s is not None:
            return []
        usable, standing_bad = self.standing.due(now_s)
        out: list[Batch | LinkReport] = []
        if self._up and self._polled:
            if len(usable) and self.standing.overdue(now_s):
                out.append(self._book.report(now.wall_ms))  # a poll takes long: nothing is said of its points meanwhile
            standing_bad = np.intersect1d(standing_bad, self._refused).astype(np.int32)
        elif self._up:
            out += self._confirmed(usable, now, now_s)
        return out + list(self._bad_rows(standing_bad, now, now_s))

    def _confirmed(self, index: IndexArray, now: Heard, now_s: float) -> list[Batch | LinkReport]:
        """Nothing changed and the server spoke since the last beat; else only how the link is doing."""
        heard = self._book.heard
        if heard is None or heard.monotonic_ns <= self._vouched_ns:
            return [self._book.report(now.wall_ms)]
        self._vouched_ns = heard.monotonic_ns
        if not len(index):
            return []
        self.standing.said(index, now_s)
        batch = make_batch(
            index,
            np.full(len(index), np.nan),
            self.standing.word[index],
            receive_time_ms=heard.wall_ms,
            monotonic_ns=heard.monotonic_ns,
            batch_no=next(self._numbers),
            kind=RowKind.CONFIRM,
        )
        return [batch]

    def _reports(self, now: Heard, now_s: float) -> list[Batch | LinkReport]:
        out: list[Batch | LinkReport] = list(self._book.waiting)
        self._book.waiting.clear()
        if not out and now_s >= self._report_at_s:
            out.append(self._book.report(now.wall_ms))
        if out:
            self._report_at_s = now_s + REPORT_EVERY_S
        return out


def _joined(blocks: Sequence[Batch], number: int) -> Batch:
    return Batch(
        index=np.concatenate([block.index for block in blocks]),
        value=np.concatenate([block.value for block in blocks]),
        quality=np.concatenate([block.quality for block in blocks]),
        source_time_ms=np.concatenate([block.source_time_ms for block in blocks]),
        receive_time_ms=np.concatenate([block.receive_time_ms for block in blocks]),
        monotonic_ns=np.concatenate([block.monotonic_ns for block in blocks]),
        batch_no=number,
    )
