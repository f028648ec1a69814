"""`/systems/ID`: every point of a subsystem, the worst first."""

from __future__ import annotations

from typing import Any

from mines.model import Subsystem
from web.pages.masthead import masthead
from web.pages.points import badness, point_document, worst_first
from web.readers import NotHere, Picture


def subsystem(picture: Picture, subsystem_id: str) -> dict[str, Any]:
    """All points of one subsystem.

    Raises:
        NotHere: the site has no such subsystem.
    """
    if subsystem_id not in picture.index.subsystems:  # its members are the texts of the addresses
        raise NotHere(subsystem_id)
    chosen = Subsystem(subsystem_id)
    ids = picture.index.subsystems[chosen]
    points = worst_first(picture, badness(picture), ids, len(ids))
    return {
        "page": "subsystem",
        "head": masthead(picture),
        "subsystem": chosen.value,
        "points": [point_document(picture, point) for point in points],
    }
