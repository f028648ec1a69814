"""Incident: the gas surge at T1 of face 1602 that every demo begins with (story 4). Counts from the start.

T1 0.42 → 1.06 in 95 s, 70 s at or above 1.00, then falling; the shearer stops at 1.00 and stays stopped for 20 min.
Times from the start of the simulation: begins at 4 s, raises at 89 s, clears at 159 s, is the face's own breathing
again at 295 s. The return sees it diluted and late, and stays below its limits.
"""

from __future__ import annotations

import numpy as np

from connectors.simulator.demo.face import SENSORS, cutting_effect
from connectors.simulator.scenario import FloatArray, Moments, Picture, piecewise, ramp, smoothstep

BEGIN_S, RISE_S = 4.0, 95.0
LOW, PEAK = 0.42, 1.06  # [%CH4]
SHOWN_AS_LIMIT = 0.995  # [%CH4] what an instrument of 0.01 resolution shows as 1.00
ALARM_S = 70.0
CROSS_S = BEGIN_S + RISE_S * (SHOWN_AS_LIMIT - LOW) / (PEAK - LOW)
CLEAR_S = CROSS_S + ALARM_S
BLEND_S = (175.0, 295.0)  # from the surge back to the face's own breathing
HELD_S = 1200.0
"""How long the shearer stays stopped: a project choice, long enough to look at the place."""

_T1 = (
    (0.0, LOW),
    (BEGIN_S, LOW),
    (BEGIN_S + RISE_S, PEAK),
    (CLEAR_S, SHOWN_AS_LIMIT),
    (BLEND_S[0], 0.90),
    (235.0, 0.55),
    (BLEND_S[1], LOW),
)
_ELSEWHERE = {  # what it adds at other sensors: (seconds since start, %CH4)
    "gas.f1602.t0.ch4": ((10.0, 0.0), (110.0, 0.25), (175.0, 0.20), (300.0, 0.0)),
    "gas.f1602.shearer.ch4": ((4.0, 0.0), (99.0, 0.45), (160.0, 0.40), (280.0, 0.0)),
    "gas.f1602.t2m.ch4": ((240.0, 0.0), (340.0, 0.18), (460.0, 0.10), (620.0, 0.0)),
    "gas.f1602.t2.ch4": ((480.0, 0.0), (600.0, 0.12), (760.0, 0.06), (960.0, 0.0)),
}
_MACHINES = ("gas.f1602.shearer.run", "gas.f1602.afc.run", "gas.f1602.stage_loader.run")


def surge(moments: Moments, picture: Picture) -> None:
    """Puts the surge over the face's course."""
    elapsed_s = moments.elapsed_ms / 1000.0
    _take_away_cutting_gas(moments, elapsed_s, picture)
    for point, knots in _ELSEWHERE.items():
        picture.add(point, piecewise(elapsed_s, knots))
    t1 = picture.value("gas.f1602.t1.ch4")
    share = 1.0 - smoothstep((elapsed_s - BLEND_S[0]) / (BLEND_S[1] - BLEND_S[0]))
    t1 += share * (piecewise(elapsed_s, _T1) - t1)
    for machine in _MACHINES:
        running = (elapsed_s < CROSS_S).astype(np.float64)
        picture.put(machine, running, elapsed_s < HELD_S)


def _take_away_cutting_gas(moments: Moments, elapsed_s: FloatArray, picture: Picture) -> None:
    """A shearer that stands makes no gas, whatever the timetable says."""
    for sensor in SENSORS:
        lag_s = sensor.lag_ms / 1000.0
        held = 1.0 - ramp(elapsed_s, HELD_S + lag_s, HELD_S + lag_s + 60.0)
        picture.add(sensor.point, -sensor.gain * cutting_effect(moments.wall_ms, sensor.lag_ms) * held)
