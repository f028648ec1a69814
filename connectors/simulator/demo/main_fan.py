"""Course: main fans 1 and 2 (story 12), and the incident of the false stop (story 13).

Fan 1 on duty: 5,100 m³/min, 1,650 Pa, 8.1 A a motor at 10 kV, bearings 46-58 ℃, 1.8-2.6 mm/s. Planned change-over to
fan 2 daily at 09:30, back at 10:00; each time the drift dips to 310 Pa for 70 s and the other fan is up in 48 s.
The false stop: at 15:05 the run state of fan 1 reads 0 for six minutes, while current and pressure stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from connectors.simulator.demo.local_time import MINUTE_MS, SECOND_MS, clock_ms, since, warmth
from connectors.simulator.scenario import FloatArray, Moments, Picture, TimeArray, piecewise, ramp, smoothstep

CHANGE_OVER_MS, CHANGE_BACK_MS = clock_ms("09:30"), clock_ms("10:00")
PRESSURE, DIP_PRESSURE = 1650.0, 310.0  # [Pa]
FLOW = 5100.0  # [m³/min]
CURRENT = 8.1  # [A] a motor
START_AFTER_S, RUN_UP_S = 22.0, 48.0
FALSE_STOP_MS, FALSE_STOP_LASTS_MS = clock_ms("15:05"), 6 * MINUTE_MS

_DIP_S = ((0.0, 0.0), (6.0, 1.0), (66.0, 1.0), (80.0, 0.0))  # 70 s at half of it or deeper
_FAN_ROOM = 22.0  # [℃]
_BEARINGS = (52.0, 55.0, 50.0, 48.0)  # [℃] warm
_WINDING, _VIBRATION = 78.0, 2.2  # [℃], [mm/s]
_HALF_LIFE_MS = 20.0 * MINUTE_MS


def main_fans(moments: Moments) -> Mapping[str, FloatArray]:
    """Both fans and the drift, without noise."""
    wall = moments.wall_ms
    over, back = since(wall, CHANGE_OVER_MS) / SECOND_MS, since(wall, CHANGE_BACK_MS) / SECOND_MS
    second_on_duty = over < back  # the change-over is the later of the two
    t = np.where(second_on_duty, over, back)
    drift = PRESSURE - (PRESSURE - DIP_PRESSURE) * piecewise(t, _DIP_S)
    warm_second = warmth(wall, CHANGE_OVER_MS, CHANGE_BACK_MS, _HALF_LIFE_MS)
    first = _fan(t, ~second_on_duty, drift, 1.0 - warm_second)
    second = _fan(t, second_on_duty, drift, warm_second)
    current = first["current"] + second["current"]
    return {
        **{f"fan1.{name}": value for name, value in first.items()},
        **{f"fan2.{name}": value for name, value in second.items()},
        "fan_house.pressure": drift,
        "fan_house.velocity": 10.0 * np.sqrt(drift / PRESSURE),
        "feeder.fan": 2.0 * current,
    }


def _fan(t: FloatArray, on_duty: np.ndarray, drift: FloatArray, warm: FloatArray) -> dict[str, FloatArray]:
    """One fan, `t` [s] after the last change-over; `on_duty` = it was the one to start then."""
    speed = np.where(on_duty, smoothstep((t - START_AFTER_S) / RUN_UP_S), 1.0 - ramp(t, 0.0, 15.0))
    run = np.where(on_duty, t >= START_AFTER_S, False)
    powered = np.where(run, speed, 0.0)
    seen = np.where(on_duty, ramp(t, 15.0, 20.0), 1.0 - ramp(t, 20.0, 26.0))  # the damper shuts the pressure out
    return {
        "run": run.astype(np.float64),
        "damper": np.where(on_duty, t >= 15.0, t < 20.0).astype(np.float64),
        "current": CURRENT * powered,
        "power": 2.0 * 119.0 * powered**3,
        "frequency": 50.0 * powered,
        "pressure": drift * seen,
        "flow": FLOW * np.sqrt(drift / PRESSURE) * seen,
        "vibration": _VIBRATION * speed,
        "winding": _FAN_ROOM + (_WINDING - _FAN_ROOM) * warm,
        **{f"bearing{n}": _FAN_ROOM + (hot - _FAN_ROOM) * warm for n, hot in enumerate(_BEARINGS, start=1)},
    }


def false_stop(moments: Moments, picture: Picture) -> None:
    """One dissenting signal: the run state alone says stopped."""
    picture.put("vent.fan1.run", 0.0, _within(moments.wall_ms, FALSE_STOP_MS, FALSE_STOP_LASTS_MS))


def _within(wall_ms: TimeArray, begin_ms: int, lasts_ms: int) -> np.ndarray:
    return since(wall_ms, begin_ms) < lasts_ms
