"""From measures to points: weights, redistribution, and what each indicator loses or leaves open. Pure.

Points are counted in whole hundredths, so that 100 − Σ lost = high and high − Σ unknown = low hold exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compliance.measures import Measure
from compliance.rule_pack import COMMON, Indicator, RulePack
from compliance.window import Window
from mines.model import Subsystem
from mines.words import word

FULL_SCORE = 10_000
"""100 points, in hundredths."""

_NOISE = 1e-6  # a hundredth of a point that floating point missed by less than this is still reached


@dataclass(frozen=True, slots=True, eq=False)
class ScoreItem:
    """One indicator in a score. Its points are hundredths of a point; 0 ≤ lost + unknown ≤ points."""

    indicator: Indicator
    points: int
    lost: int
    unknown: int
    reason: str
    measure: Measure | None = None

    @property
    def low(self) -> int:
        """What is proved [hundredths of a point]."""
        return self.points - self.lost - self.unknown

    def to_json(self, window: Window) -> dict[str, Any]:
        """One entry of `items` in `score --json`."""
        row = self.indicator
        return {
            "id": row.id,
            "subsystem": row.block,
            "title_zh": row.rule.title_zh,
            "title_en": row.rule.title_en,
            "points": self.points / 100,
            "lost": self.lost / 100,
            "unknown": self.unknown / 100,
            "reason": self.reason,
            "reason_zh": word(f"score_reason.{self.reason}", "zh"),
            "reason_en": word(f"score_reason.{self.reason}", "en"),
            "weight": row.weight,
            "scale": row.scale,
            "measured": _measured(self.measure),
            "article": row.rule.article,
            "verified": row.rule.verified,
            "evidence": _evidence(row, self.measure, window),
        }


def score_items(
    pack: RulePack, required: Sequence[Subsystem], measured: Mapping[str, Measure]
) -> tuple[ScoreItem, ...]:
    """Every indicator of the table with what it loses and what it leaves open.

    Args:
        pack: The table.
        required: Subsystems that count; the weight of the others goes to the rest in proportion.
        measured: By indicator id; what is absent is not measured yet.
    Returns:
        In the order of the table; points sum to 100.
    Source: indicators §1 (redistribution, waterfall) and §2 (linear between full and zero).
    """
    counts = [row.block == COMMON or row.block in required for row in pack.indicators]
    points = redistributed([row.weight if c else 0.0 for row, c in zip(pack.indicators, counts, strict=True)])
    return tuple(
        _item(row, weight, measured.get(row.id)) if applicable else ScoreItem(row, 0, 0, 0, "not_applicable")
        for row, weight, applicable in zip(pack.indicators, points, counts, strict=True)
    )


def redistributed(weights: Sequence[float]) -> list[int]:
    """Weights scaled to 100 points in whole hundredths, by largest remainder.

    Args:
        weights: Points, 0 = not applicable; at least one above 0.
    Returns:
        Hundredths of a point, summing to 10 000.
    Source: indicators §1 (weight shown redistributed); rounding by largest remainder is a project default.
    """
    whole = sum(weights)
    exact = [weight / whole * FULL_SCORE for weight in weights]
    out = [math.floor(share + _NOISE) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (out[i] - exact[i], i))
    for i in by_remainder[: FULL_SCORE - sum(out)]:
        out[i] += 1
    return out


def linear_fraction(value: float, full: float, zero: float) -> float:
    """Share of an indicator's points at a value: 1 at `full` or better, 0 at `zero` or worse, linear between.

    Args:
        value: In the unit of `full` and `zero`.
        full: Value at full points; above or below `zero`.
        zero: Value at no points.
    Returns:
        0.0 … 1.0 [fraction].
    Source: indicators §2 (between full and zero linear).
    """
    return min(1.0, max(0.0, (value - zero) / (full - zero)))


def _item(row: Indicator, points: int, measure: Measure | None) -> ScoreItem:
    if measure is None or row.full is None or row.zero is None:
        return ScoreItem(row, points, 0, points, "not_measured_yet")
    ends = [linear_fraction(value, row.full, row.zero) for value in (measure.low, measure.high)]
    low, high = (math.floor(points * fraction + _NOISE) for fraction in sorted(ends))
    if measure.held_back:
        low = 0
    return ScoreItem(row, points, points - high, high - low, _reason(points, low, high, measure), measure)


def _reason(points: int, low: int, high: int, measure: Measure) -> str:
    if high < points:
        return "below_full"
    if low == high:
        return "full"
    return measure.held_back or "missing_data"


def _measured(measure: Measure | None) -> dict[str, Any] | None:
    if measure is None:
        return None
    return {"low": round(measure.low, 6), "high": round(measure.high, 6), "unit": "%"}


def _evidence(row: Indicator, measure: Measure | None, window: Window) -> dict[str, Any]:
    document: dict[str, Any] = {"kinds": list(row.evidence), "from_ms": window.from_ms, "to_ms": window.to_ms}
    if measure is None:
        return document | {"points": []}
    document |= {"points": list(measure.points), **measure.ranges()}
    if measure.share is not None:
        times = measure.share
        document |= {
            "required_ms": times.required_ms,
            "proved_ms": times.proved_ms,
            "disproved_ms": times.disproved_ms,
            "unknown_ms": times.required_ms - times.proved_ms - times.disproved_ms,
        }
    return document
