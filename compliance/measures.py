"""The indicators that can be measured now: C1, C2, G1, V1, D1, each as an interval in percent. Pure.

An indicator that is not here is not measured yet: its whole weight is unknown, never lost and never given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from compliance.evidence import Evidence
from compliance.intervals import NOWHEN, Intervals, intersection, longest, subtract
from compliance.operating import Duty
from compliance.rule_pack import RulePack
from compliance.template import Template
from compliance.verdicts import UNKNOWN, Share, Verdict, all_of, share, total
from mines.model import Point, Subsystem

_HOUR_MS = 3_600_000
_SHOWN_RANGES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """One indicator as measured: between `low` and `high` [%], and what it was measured by.

    `lost` and `unknown` are the stretches that cost points or leave them open. `held_back` is a reason code where more
    than the interval stands against full points at LOW.
    """

    low: float
    high: float
    points: tuple[str, ...]
    share: Share | None = None
    lost: Intervals = field(default_factory=lambda: NOWHEN)
    unknown: Intervals = field(default_factory=lambda: NOWHEN)
    held_back: str = ""

    def ranges(self) -> dict[str, list[list[int]]]:
        """The longest stretches that cost points or leave them open, in order of time [ms]."""
        return {
            "lost_ranges": longest(self.lost, _SHOWN_RANGES),
            "unknown_ranges": longest(self.unknown, _SHOWN_RANGES),
        }


def measures(
    template: Template, evidence: Evidence, duty: Mapping[Subsystem, Duty], pack: RulePack
) -> dict[str, Measure]:
    """Every indicator that can be measured, by its id.

    Args:
        template: Expected points of the mine.
        evidence: Over the window.
        duty: From `operating.duties`.
        pack: The rules.
    Source: indicators §2.
    """
    found = {"C1": connected(template, evidence), "C2": fresh_data(template, evidence)}
    by_duty: Mapping[str, tuple[Subsystem, Callable[[Duty, Evidence], Measure]]] = {
        "G1": (Subsystem.GAS, monitored_places),
        "V1": (Subsystem.VENTILATION, main_fan_duty),
    }
    found |= {id_: measure(duty[s], evidence) for id_, (s, measure) in by_duty.items() if s in duty}
    if Subsystem.DEWATERING in template.required:
        found["D1"] = empty_sump(template, evidence, pack)
    return found


def connected(template: Template, evidence: Evidence) -> Measure:
    """C1: points of the list ÷ expected points [%]; at LOW only those that gave a good value in the window.

    A point that was taken out of the list is open, not lost: nobody can record yet that its removal was accepted.
    `points` names what is not proved connected.
    Source: indicators §2 C1. The signed layout drawing (布置图) is not recorded yet: the template alone counts.
    """
    answered = {point.id for point in template.bound if evidence.of(point).answered}
    count = max(template.count, 1)
    return Measure(
        low=100.0 * len(answered) / count,
        high=100.0 * len(template.expected) / count,
        points=tuple(point.id for point in template.expected if point.id not in answered),
    )


def fresh_data(template: Template, evidence: Evidence) -> Measure:
    """C2: time with good rows ÷ expected points × window [%]. Rows that are not good are lost; no rows are unknown.

    Source: indicators §2 C2.
    """
    window = evidence.window.whole
    shares = {p.id: share(evidence.of(p).valid, window, evidence.of(p).watched) for p in template.expected}
    absent = [share(UNKNOWN, window, NOWHEN)] * len(template.missing)
    together = total([*shares.values(), *absent])
    worst_first = sorted(shares, key=lambda point_id: (shares[point_id].low, point_id))
    return _from_share(together, worst_first)


def monitored_places(gas: Duty, evidence: Evidence) -> Measure:
    """G1: place-hours in which every required methane point of the place is valid ÷ place-hours [%].

    Source: indicators §2 G1.
    """
    window = evidence.window.whole
    together = total([share(place.verdict, window, NOWHEN) for place in gas.places])
    return _from_share(together, [point.id for point in gas.points], gas.verdict, window)


def main_fan_duty(ventilation: Duty, evidence: Evidence) -> Measure:
    """V1: time with at least one main fan proved running by two signals ÷ window [%].

    Source: indicators §2 V1; alarm-logic §5.
    """
    points = [point.id for point in ventilation.points]
    return _from_share(ventilation.share, points, ventilation.verdict, evidence.window.whole)


def empty_sump(template: Template, evidence: Evidence, pack: RulePack) -> Measure:
    """D1: time in which each sump is at least half empty ÷ window, over sumps [%].

    A volume counts against the upper end of its range, else a level against its range. At LOW nothing is given while
    the longest stretch that is not proved half empty is above 8 h: the table names no price for that stretch alone.
    Source: indicators §2 D1; alarm-logic §7 (a share of time, not an instant alarm).
    """
    window = evidence.window.whole
    sumps = _sumps(template)
    verdicts = [_half_empty(point, evidence, pack.number("indicator.D1", "empty_fraction")) for point in sumps]
    together = total([share(verdict, window, NOWHEN) for verdict in verdicts])
    verdict = all_of(verdicts)
    longest_ms = max((end - start for start, end in longest(subtract(window, verdict.proved), 1)), default=0)
    over = longest_ms > pack.number("indicator.D1", "longest_h") * _HOUR_MS
    measured = _from_share(together, [point.id for point in sumps], verdict, window)
    return Measure(
        low=measured.low,
        high=measured.high,
        points=measured.points,
        share=together,
        lost=measured.lost,
        unknown=measured.unknown,
        held_back="long_run" if over else "",
    )


def _sumps(template: Template) -> list[Point]:
    dewatering = [point for point in template.expected if point.subsystem == Subsystem.DEWATERING]
    volumes = [point for point in dewatering if point.role == "sump_volume"]
    return volumes or [point for point in dewatering if point.role == "sump_level"]


def _half_empty(point: Point, evidence: Evidence, empty_fraction: float) -> Verdict:
    if point.range_high is None:
        return UNKNOWN
    bottom = 0.0 if point.role == "sump_volume" or point.range_low is None else point.range_low
    found = evidence.of(point)
    return found.holds(found.value <= bottom + (1.0 - empty_fraction) * (point.range_high - bottom))


def _from_share(
    measured: Share, points: Sequence[str], verdict: Verdict = UNKNOWN, window: Intervals = NOWHEN
) -> Measure:
    return Measure(
        low=100.0 * measured.low,
        high=100.0 * measured.high,
        points=tuple(points),
        share=measured,
        lost=intersection([window, verdict.disproved]),
        unknown=subtract(window, verdict.known),
    )
