"""Incident: the blast in the 1603 return heading, once a shift (story 3), 5 h 10 min into it: 05:10, 13:10, 21:10.

Return CH4 0.30 → 0.85 in 4 min, half-life 6 min: below every limit. CO to 45 ppm, back below 24 within 18 min: an alarm
that is expected where the blast was registered.
"""

from __future__ import annotations

from connectors.simulator.demo.local_time import MINUTE_MS, clock_ms, shift_ms
from connectors.simulator.scenario import FloatArray, Moments, Picture, TimeArray, decay, ramp

BLAST_MS = clock_ms("05:10")
"""After the shift's begin."""

_CH4 = {  # [%CH4] at the peak, minutes after the blast that the gas arrives
    "gas.h1603r.t1.ch4": (0.44, 0.0),
    "gas.h1603r.machine.ch4": (0.36, 0.0),
    "gas.h1603r.drill.ch4": (0.30, 0.0),
    "gas.h1603r.middle.ch4": (0.48, 0.5),
    "gas.h1603r.t2.ch4": (0.55, 0.0),
    "gas.d16.return.ch4": (0.06, 6.0),
}
_CO = {  # [ppm]
    "gas.h1603r.return.co": (42.5, 0.0),
    "gas.d16.return.co": (6.0, 6.0),
    "gas.main_return.co": (3.0, 12.0),
}


def blast(moments: Moments, picture: Picture) -> None:
    """Adds the gas of the shift's blast."""
    since = shift_ms(moments.wall_ms) - BLAST_MS
    for point, (peak, late_min) in _CH4.items():
        picture.add(point, _cloud(since, peak, late_min, rise_min=4.0, half_life_min=6.0))
    for point, (peak, late_min) in _CO.items():
        picture.add(point, _cloud(since, peak, late_min, rise_min=2.0, half_life_min=14.0))


def _cloud(since: TimeArray, peak: float, late_min: float, *, rise_min: float, half_life_min: float) -> FloatArray:
    t = since / MINUTE_MS - late_min
    return peak * ramp(t, 0.0, rise_min) * decay(t - rise_min, half_life_min)
