"""Duty: is a subsystem doing its job, and for which share of the time in which it must. Pure.

A required role that has no point is unknown for the whole window; so is a point without rows. Places are the `area`s of
the site's list; what a point does there is its `role`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compliance.evidence import Evidence
from compliance.intervals import Intervals, union
from compliance.rule_pack import RulePack
from compliance.template import Template
from compliance.verdicts import UNKNOWN, Share, Verdict, all_of, any_of, at_least_of, share
from mines.model import Point, Subsystem

FAN_SIGNALS = ("main_fan_run", "main_fan_current", "main_fan_pressure", "main_fan_flow")
"""What a main fan shows itself running by (alarm-logic §5)."""

_SUMP_ROLES = ("sump_level", "sump_volume")
_PUMP_ROLES = {"pump_mode": "auto_mode", "pump_available": "available"}  # role → number of duty.dewatering
_HOIST_ROLES = {"hoist_ready": "ready", "hoist_protection": "live"}  # role → number of duty.hoisting


@dataclass(frozen=True, slots=True, eq=False)
class PlaceDuty:
    """Duty at one place, and the points it was judged by."""

    area: str
    points: tuple[Point, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Duty:
    """Duty of one subsystem: over its places together, and each place for itself."""

    subsystem: Subsystem
    places: tuple[PlaceDuty, ...]
    verdict: Verdict
    share: Share

    @property
    def points(self) -> tuple[Point, ...]:
        """Every point it was judged by."""
        return tuple(point for place in self.places for point in place.points)


def duties(template: Template, evidence: Evidence, pack: RulePack) -> dict[Subsystem, Duty]:
    """Duty of every required subsystem that has a measured duty: gas, ventilation, dewatering, hoisting.

    Args:
        template: Expected points; those no longer in the list count as unknown.
        evidence: Of the window in which the duty is required.
        pack: What proves duty.
    Source: indicators §1, duty rate; compliance/rules/duty.toml "duty.*".
    """
    judges: Mapping[Subsystem, Callable[[Template, Evidence, RulePack], Duty]] = {
        Subsystem.GAS: gas_duty,
        Subsystem.VENTILATION: ventilation_duty,
        Subsystem.DEWATERING: dewatering_duty,
        Subsystem.HOISTING: hoisting_duty,
    }
    return {s: judge(template, evidence, pack) for s, judge in judges.items() if s in template.required}


def gas_duty(template: Template, evidence: Evidence, pack: RulePack) -> Duty:
    """Every required place has a valid reading of every methane point it must have.

    A reading that is not good is missing, not disproved: it is unknown whether the place was safe.
    Source: indicators §1 and §2 G1; compliance/rules/duty.toml "duty.gas".
    """
    groups = _by_area(template, Subsystem.GAS, ("methane",))
    places = [
        PlaceDuty(area, tuple(points), all_of([_only_proved(evidence.of(p).valid) for p in points]))
        for area, points in groups.items()
    ]
    return _duty(Subsystem.GAS, places, all_of, evidence)


def ventilation_duty(template: Template, evidence: Evidence, pack: RulePack) -> Duty:
    """At least one main fan is proved running by two or more of its signals.

    A fan is an area; several points of one role there (two motor currents) are one signal.
    Source: alarm-logic §5; indicators §1; compliance/rules/duty.toml "duty.ventilation".
    """
    needed = round(pack.number("duty.ventilation", "signals"))
    places = []
    for area, points in _by_area(template, Subsystem.VENTILATION, FAN_SIGNALS).items():
        signals = [
            any_of([running(point, evidence, pack) for point in points if point.role == role])
            for role in FAN_SIGNALS
            if any(point.role == role for point in points)
        ]
        places.append(PlaceDuty(area, tuple(points), at_least_of(needed, signals)))
    return _duty(Subsystem.VENTILATION, places, any_of, evidence)


def running(point: Point, evidence: Evidence, pack: RulePack) -> Verdict:
    """Whether one signal of a main fan shows it running.

    A run state by its value; current, pressure and flow by being above the point's own low limit (`low_cut`, else
    `low_alarm`), else by their magnitude above a fraction of the range. Without either the signal proves nothing.
    Source: compliance/rules/duty.toml "duty.ventilation" (project default).
    """
    found = evidence.of(point)
    if point.role == "main_fan_run":
        return found.holds(found.value == pack.number("duty.ventilation", "run_state"))
    limit = point.low_alarm if point.low_cut is None else point.low_cut
    if limit is not None:
        return found.holds(found.value > limit)
    ends = [abs(end) for end in (point.range_low, point.range_high) if end is not None]
    if not ends:
        return UNKNOWN
    return found.holds(abs(found.value) > pack.number("duty.ventilation", "range_fraction") * max(ends))


def dewatering_duty(template: Template, evidence: Evidence, pack: RulePack) -> Duty:
    """At every station the level is in its band and at least one pump is available in auto. A pump at rest is normal.

    A station is an area with a sump and pumps; sumps and pumps in areas of their own are one station together.
    Source: indicators §1; compliance/rules/duty.toml "duty.dewatering".
    """
    places = []
    for area, points in _stations(template).items():
        sumps = _one_role(points, _SUMP_ROLES)
        pumps = [point for point in points if point.role in _PUMP_ROLES]
        level = all_of([in_band(point, evidence) for point in sumps])
        pump = any_of(
            [
                _each_role_equals(parts, _PUMP_ROLES, "duty.dewatering", evidence=evidence, pack=pack)
                for parts in _devices(pumps)
            ]
        )
        places.append(PlaceDuty(area, (*sumps, *pumps), all_of([level, pump])))
    return _duty(Subsystem.DEWATERING, places, all_of, evidence)


def in_band(point: Point, evidence: Evidence) -> Verdict:
    """Whether a sump's level is between the point's own limits; a level without a high limit proves nothing.

    Source: compliance/rules/duty.toml "duty.dewatering" (project default).
    """
    high = point.high_cut if point.high_alarm is None else point.high_alarm
    low = point.low_cut if point.low_alarm is None else point.low_alarm
    if high is None:
        return UNKNOWN
    found = evidence.of(point)
    inside = found.value < high
    return found.holds(inside if low is None else inside & (found.value > low))


def hoisting_duty(template: Template, evidence: Evidence, pack: RulePack) -> Duty:
    """Every hoist is ready and each of its protections is live.

    Source: indicators §1; alarm-logic §8 (live, bypassed, trip, test); compliance/rules/duty.toml "duty.hoisting".
    """
    places = []
    for area, points in _by_area(template, Subsystem.HOISTING, tuple(_HOIST_ROLES)).items():
        verdict = _each_role_equals(points, _HOIST_ROLES, "duty.hoisting", evidence=evidence, pack=pack)
        places.append(PlaceDuty(area, tuple(points), verdict))
    return _duty(Subsystem.HOISTING, places, all_of, evidence)


def watched(points: Sequence[Point], evidence: Evidence) -> Intervals:
    """Time in which the box had rows of any of the points, good or not.

    Source: project default; what the observed rate of a young box is measured against.
    """
    return union([evidence.of(point).watched for point in points])


def _duty(
    subsystem: Subsystem,
    places: Sequence[PlaceDuty],
    together: Callable[[Sequence[Verdict]], Verdict],
    evidence: Evidence,
) -> Duty:
    verdict = together([place.verdict for place in places])
    points = [point for place in places for point in place.points]
    measured = share(verdict, evidence.window.whole, watched(points, evidence))
    return Duty(subsystem, tuple(places), verdict, measured)


def _by_area(template: Template, subsystem: Subsystem, roles: Sequence[str]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in template.expected:
        if point.subsystem == subsystem and point.role in roles:
            groups.setdefault(point.area, []).append(point)
    return groups


def _one_role(points: Sequence[Point], roles: Sequence[str]) -> list[Point]:
    """The points of the first role that has any."""
    return next((found for role in roles if (found := [p for p in points if p.role == role])), [])


def _stations(template: Template) -> dict[str, list[Point]]:
    areas = _by_area(template, Subsystem.DEWATERING, (*_SUMP_ROLES, *_PUMP_ROLES))
    kinds = {area: {point.role in _SUMP_ROLES for point in points} for area, points in areas.items()}
    stations = {area: points for area, points in areas.items() if len(kinds[area]) == 2}
    apart = [area for area in areas if area not in stations]
    if apart:
        stations[" + ".join(apart)] = [point for area in apart for point in areas[area]]
    return stations


def _devices(points: Sequence[Point]) -> list[list[Point]]:
    """Points of one device: one area, one id up to the last dot (`water.pump1.auto`, `water.pump1.available`)."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.area, point.id.rpartition(".")[0]), []).append(point)
    return list(groups.values())


def _each_role_equals(
    points: Sequence[Point], roles: Mapping[str, str], rule_id: str, *, evidence: Evidence, pack: RulePack
) -> Verdict:
    """Every point of each role has the value that the rule names; unknown where a role has no point."""
    return all_of(
        [
            all_of(
                [
                    evidence.of(p).holds(evidence.of(p).value == pack.number(rule_id, name))
                    for p in points
                    if p.role == role
                ]
            )
            for role, name in roles.items()
        ]
    )


def _only_proved(verdict: Verdict) -> Verdict:
    return Verdict(verdict.proved, UNKNOWN.disproved)
