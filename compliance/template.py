"""What a mine must have connected: required subsystems, required points, roles that have no point. Pure.

Expected points = required points of the site ∪ required points that it once had and has no longer: taking a point out
of the list takes nothing out of what is expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compliance.rule_pack import RulePack
from mines.model import Point, Subsystem
from mines.site.tables import SubsystemTable


@dataclass(frozen=True, slots=True)
class MissingRole:
    """A required subsystem has no point of any of these roles."""

    subsystem: Subsystem
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """What is expected of one mine. `bound` stand in its list now, `vanished` did once."""

    required: tuple[Subsystem, ...]
    bound: tuple[Point, ...]
    vanished: tuple[Point, ...]
    missing: tuple[MissingRole, ...]

    @property
    def expected(self) -> tuple[Point, ...]:
        """Every point that is expected, in the list or not."""
        return self.bound + self.vanished

    @property
    def count(self) -> int:
        """Expected points, a role without any counted as one."""
        return len(self.expected) + len(self.missing)

    def of(self, subsystem: Subsystem) -> Template:
        """The part of one subsystem."""
        return Template(
            required=tuple(s for s in self.required if s == subsystem),
            bound=tuple(p for p in self.bound if p.subsystem == subsystem),
            vanished=tuple(p for p in self.vanished if p.subsystem == subsystem),
            missing=tuple(m for m in self.missing if m.subsystem == subsystem),
        )


def required_subsystems(subsystems: Mapping[Subsystem, SubsystemTable]) -> tuple[Subsystem, ...]:
    """Every subsystem that site.toml does not declare as not required: what it does not mention is required.

    Source: indicators §1, required set.
    """
    return tuple(s for s in Subsystem if s not in subsystems or subsystems[s].required)


def make_template(
    points: Sequence[Point], earlier: Iterable[Point], required: Sequence[Subsystem], pack: RulePack
) -> Template:
    """What is expected of a mine.

    Args:
        points: The site's list.
        earlier: Points of sites that were accepted before, oldest first. One that is required no longer, because it
            left the list or changed its role there, stays expected as it last was; a rename (`formerly`) is no loss.
        required: Subsystems that count.
        pack: Names the roles that a required subsystem must have.
    Returns:
        Points of required roles, once each, and the roles that have no point.
    Source: indicators §1, expected points; compliance/rules/duty.toml "required.*".
    """
    latest = {point.id: point for point in earlier}
    ruled_places = {p.area for p in (*points, *latest.values()) if p.role == "methane" and p.rule}
    bound = [p for p in points if p.subsystem in required and _is_required(p, ruled_places, pack)]
    known = {name for point in bound for name in (point.id, point.formerly)}
    vanished = [
        p
        for p in latest.values()
        if p.id not in known and p.subsystem in required and _is_required(p, ruled_places, pack)
    ]
    present = {(point.subsystem, point.role) for point in (*bound, *vanished)}
    return Template(
        required=tuple(required),
        bound=tuple(bound),
        vanished=tuple(vanished),
        missing=tuple(
            MissingRole(subsystem, choice)
            for subsystem in required
            for choice in pack.required_roles[subsystem]
            if not any((subsystem, role) in present for role in choice)
        ),
    )


def _is_required(point: Point, ruled_places: set[str], pack: RulePack) -> bool:
    """Methane beside a sensor that the regulation demands is an extra: more sensors than required cost nothing."""
    if point.role == "methane" and not point.rule and point.area in ruled_places:
        return False
    return any(point.role in choice for choice in pack.required_roles[point.subsystem])
