"""Points that have history and stand in the site no longer: told at `check`, so that none goes unseen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mines.errors import Problem
from mines.site.problems import POINTS_CSV, shown

if TYPE_CHECKING:
    from mines.site.site_file import Site


def vanished_points(known_ids: Iterable[str], site: Site) -> tuple[Problem, ...]:
    """A warning for every id with history that no row has, neither as its id nor as what it was called formerly.

    Args:
        known_ids: Ids that the data folder has samples of.
        site: The site as it is now.
    Returns:
        Warnings in the order of the ids.
    Source: design §4, Point: `check` lists ids that have history and have vanished.
    """
    here = {name for point in site.points for name in (point.id, point.formerly)}
    file = site.points[0].file if site.points else POINTS_CSV
    expected = "its row, or its new row with formerly set to it"
    return tuple(
        Problem(file, 0, "id", f"{shown(name)} has history and stands in no row", expected)
        for name in sorted(set(known_ids) - here)
    )
