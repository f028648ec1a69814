"""Course: people underground. 87, and 140 from 07:40 to 08:30 while two shifts pass each other on the roads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from connectors.simulator.demo.local_time import clock_ms, day_ms
from connectors.simulator.scenario import FloatArray, Moments

USUAL, PEAK = 87.0, 140.0
CREWS = {"f1602": 24, "h1603b": 11, "h1603r": 11, "chambers": 5}
"""They relieve each other at the place: the number there does not change."""

_TIMES = ("07:10", "07:40", "08:30", "09:00")


def people(moments: Moments) -> Mapping[str, FloatArray]:
    """Head counts; the places add up to the total."""
    knots = [clock_ms(text) for text in _TIMES]
    total = np.rint(np.interp(day_ms(moments.wall_ms), knots, (USUAL, PEAK, PEAK, USUAL)))
    on_the_way = total - sum(CREWS.values())
    transport = np.rint(0.4 * on_the_way)
    return {
        "people.total": total,
        "people.transport": transport,
        "people.other": on_the_way - transport,
        **{f"people.{place}": np.full(len(moments), float(crew)) for place, crew in CREWS.items()},
    }
