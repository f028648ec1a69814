"""Which registers of one table a device has, in few reads: taken apart where it refuses, never where it is silent.

Pure. First whole blocks, for devices that have everything; then single registers where maps like to begin (the first
two, the hundreds, fifties and tens). Around each that is there the search grows outwards by doubling and halving, and
looks across small holes. What a bound on the reads leaves unknown is said to be so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, groupby
from typing import Final


class Finding(StrEnum):
    """What became of one register."""

    READ = "read"
    REFUSED = "refused"  # exception 2 or 3 to the one register
    REFUSED_TOGETHER = "refused_together"  # read with others it was refused; alone it was not asked for
    NOT_ASKED = "not_asked"  # the search was over before its turn
    FAILED = "failed"  # no answer, or one that does not say whether it is there: not asked for again
    NEVER = "never"  # excluded beforehand


_CODES: Final = tuple(Finding)
_READ, _REFUSED, _TOGETHER, _NOT_ASKED, _FAILED, _NEVER = range(len(_CODES))
_HOLES: Final = (2, 3, 5, 9, 17)  # so far behind the last register that was read it looks for the next
_STRIDES: Final = (100, 50, 10, 1)


@dataclass(frozen=True, slots=True)
class Span:
    """Registers, or bits, `first` to `last` of a table, each of which has the same finding."""

    first: int
    last: int
    finding: Finding

    @property
    def count(self) -> int:
        """How many."""
        return self.last - self.first + 1


_Search = Generator[tuple[int, int], Finding, None]  # yields first and last of a read, is sent what became of it


class SpanSearch:
    """The search over one table. `next()` says what to read, `take()` what became of it, until there is none.

    Args:
        first: Of the stretch that is searched.
        last: Of it, included.
        largest: In one read.
        most_reads: After so many the search is over.
        never: Stretches that are never read, first and last of each.
    """

    def __init__(
        self, first: int, last: int, *, largest: int, most_reads: int, never: Sequence[tuple[int, int]] = ()
    ) -> None:
        self._first, self._last, self._largest, self._left = first, last, largest, most_reads
        self._known = bytearray([_NOT_ASKED]) * (last - first + 1)
        for low, high in never:
            for register in range(max(low, first), min(high, last) + 1):
                self._known[register - first] = _NEVER
        self._hits: deque[int] = deque()  # registers that are there, around which it has not grown yet
        self._search = self._reads()
        self._now: tuple[int, int] | None = next(self._search, None)
        self.over = False
        """True where it ended before everything was known."""

    def next(self) -> Span | None:
        """What to read now; None where the search is over."""
        if self._now is None or self.over:
            return None
        if self._left == 0:
            self.over = True
            return None
        return Span(*self._now, Finding.NOT_ASKED)

    def take(self, span: Span, finding: Finding) -> None:
        """What became of the read that `next()` gave: READ, REFUSED or FAILED."""
        self._left -= 1
        code = _CODES.index(finding)
        if code == _REFUSED and span.count > 1:
            code = _TOGETHER
        for at in range(span.first - self._first, span.last - self._first + 1):
            if code == _READ or self._known[at] in (_NOT_ASKED, _TOGETHER):
                self._known[at] = code
        try:
            self._now = self._search.send(finding)
        except StopIteration:
            self._now = None

    def end(self) -> None:
        """Nothing more is asked."""
        self.over = True

    def spans(self) -> tuple[Span, ...]:
        """What is known so far, from left to right."""
        spans, at = [], self._first
        for code, members in groupby(self._known):
            count = len(list(members))
            spans.append(Span(at, at + count - 1, _CODES[code]))
            at += count
        return tuple(spans)

    def _reads(self) -> _Search:
        yield from self._blocks()
        for register in self._places():
            if not self._open(register):
                continue
            if (yield register, register) is Finding.READ:
                self._hits.append(register)
            while self._hits:
                hit = self._hits.popleft()
                yield from self._grow(hit, 1)
                yield from self._grow(hit, -1)

    def _blocks(self) -> _Search:
        start = self._first
        while start <= self._last:
            end = start
            while end < self._last and end - start + 1 < self._largest and self._open(end + 1):
                end += 1
            if self._open(start):
                yield start, end
            start = end + 1

    def _places(self) -> Iterator[int]:
        """Where it looks for a register, the likeliest first."""
        strides = (range(-(-self._first // stride) * stride, self._last + 1, stride) for stride in _STRIDES)
        return chain((self._first, min(self._first + 1, self._last)), *strides)

    def _grow(self, hit: int, way: int) -> _Search:
        """From a register that is there to the end of its stretch, and a look across the hole behind it.

        Doubles its step until it is refused, then halves it. The one register at the end is asked for alone: a refusal
        of several may be of their number.
        """
        good, step, growing = hit, 1, True
        while (room := self._room(good, way)) > 0:
            step = min(step, room, self._largest)
            far = good + way * step
            finding = yield (good + way, far) if way > 0 else (far, good + way)
            if finding is Finding.READ:
                good = far
                step = 2 * step if growing else max(step // 2, 1)
            elif finding is Finding.FAILED:
                return
            elif step == 1:
                break
            else:
                growing, step = False, step // 2
        yield from self._across(good, way)

    def _across(self, good: int, way: int) -> _Search:
        for distance in _HOLES:
            register = good + way * distance
            if self._open(register) and (yield register, register) is Finding.READ:
                self._hits.append(register)
                return

    def _open(self, register: int) -> bool:
        """True where a register may be asked for and is not known yet."""
        within = self._first <= register <= self._last
        return within and self._known[register - self._first] in (_NOT_ASKED, _TOGETHER)

    def _room(self, good: int, way: int) -> int:
        """How many unknown registers follow in a row, as far as one read could go."""
        count = 0
        while count < self._largest and self._open(good + way * (count + 1)):
            count += 1
        return count


def readable(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """The stretches that can be read, first and last of each."""
    return [(span.first, span.last) for span in spans if span.finding is Finding.READ]
