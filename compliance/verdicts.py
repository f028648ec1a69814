"""What is known of a condition over time: proved, disproved, or neither. Three-valued logic on intervals. Pure.

Making anything unknown can only shrink what is proved and what is disproved: that is why missing data never scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compliance.intervals import NOWHEN, Intervals, at_least, intersection, length_ms, union


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """When a condition is proved to hold and when it is proved not to; the two never overlap. The rest is unknown."""

    proved: Intervals
    disproved: Intervals

    @property
    def known(self) -> Intervals:
        """Time in which it is known, either way."""
        return union([self.proved, self.disproved])


UNKNOWN = Verdict(NOWHEN, NOWHEN)
"""Nothing known at any time: a point that is not there."""


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Every condition holds; unknown where there is no condition at all.

    Source: Kleene's strong three-valued logic, conjunction; indicators §1 (missing time is unknown).
    """
    return Verdict(intersection([v.proved for v in verdicts]), union([v.disproved for v in verdicts]))


def any_of(verdicts: Sequence[Verdict]) -> Verdict:
    """At least one condition holds; unknown where there is no condition at all.

    Source: Kleene's strong three-valued logic, disjunction; indicators §1 (missing time is unknown).
    """
    return Verdict(union([v.proved for v in verdicts]), intersection([v.disproved for v in verdicts]))


def at_least_of(count: int, verdicts: Sequence[Verdict]) -> Verdict:
    """At least `count` conditions hold; unknown where fewer than `count` conditions exist.

    Args:
        count: 1 or more.
        verdicts: One a signal.
    Source: alarm-logic §5 (running is proved by at least two signals); three-valued as `all_of` and `any_of`.
    """
    if len(verdicts) < count:
        return UNKNOWN
    enough_against = len(verdicts) - count + 1
    return Verdict(
        at_least(count, [v.proved for v in verdicts]), at_least(enough_against, [v.disproved for v in verdicts])
    )


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a required time a condition is proved and disproved [ms]; summable over places and points."""

    required_ms: int
    proved_ms: int
    disproved_ms: int
    watched_ms: int  # of the required time, how much the box had rows of it at all, good or not

    @property
    def low(self) -> float:
        """Proved ÷ required [fraction]; 0 where nothing is required."""
        return self.proved_ms / self.required_ms if self.required_ms else 0.0

    @property
    def high(self) -> float:
        """Not disproved ÷ required [fraction]; 1 where nothing is required."""
        return (self.required_ms - self.disproved_ms) / self.required_ms if self.required_ms else 1.0

    @property
    def coverage(self) -> float:
        """Known ÷ required [fraction]."""
        return (self.proved_ms + self.disproved_ms) / self.required_ms if self.required_ms else 0.0

    @property
    def observed(self) -> float | None:
        """Proved ÷ watched [fraction]: what a young box can honestly say; None where it watched nothing."""
        return self.proved_ms / self.watched_ms if self.watched_ms else None


def share(verdict: Verdict, required: Intervals, watched: Intervals) -> Share:
    """A verdict measured against the time in which the duty is required.

    Args:
        verdict: Over any time.
        required: When it must hold; what lies outside counts for nothing.
        watched: When the box had rows at all.
    Returns:
        low = proved ÷ required; high = low + unknown ÷ required.
    Source: indicators §1, duty rate.
    """
    return Share(
        required_ms=length_ms(required),
        proved_ms=length_ms(intersection([verdict.proved, required])),
        disproved_ms=length_ms(intersection([verdict.disproved, required])),
        watched_ms=length_ms(intersection([watched, required])),
    )


def total(shares: Sequence[Share]) -> Share:
    """Several shares as one, e.g. place-hours over places.

    Source: indicators §2, G1 (place-hours).
    """
    return Share(
        required_ms=sum(s.required_ms for s in shares),
        proved_ms=sum(s.proved_ms for s in shares),
        disproved_ms=sum(s.disproved_ms for s in shares),
        watched_ms=sum(s.watched_ms for s in shares),
    )
