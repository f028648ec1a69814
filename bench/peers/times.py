"""Quantiles, grids and spreads. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def spread(values: npt.NDArray[np.float64] | Sequence[float]) -> dict[str, float]:
    """p50, p99 and max of many values."""
    column = np.asarray(values, dtype=np.float64)
    if not len(column):
        return {}
    p50, p99 = np.percentile(column, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(column.max()), 3)}


def rounds(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum over the rounds, and their noise: (max - min) ÷ median [%]."""
    median = statistics.median(values)
    noise = 100 * (max(values) - min(values)) / median if median else 0.0
    return {
        "min": _short(min(values)),
        "median": _short(median),
        "max": _short(max(values)),
        "noise_pct": round(noise, 1),
        "rounds": len(values),
    }


def grid_deviation_ms(times_ns: npt.NDArray[np.int64], period_s: float) -> npt.NDArray[np.float64]:
    """How far each time is from the nearest slot of its own grid, whose phase is the median one. Shape (n,) [ms]."""
    period_ns = round(period_s * 1e9)
    phase = (times_ns - times_ns[0] + period_ns // 2) % period_ns - period_ns // 2
    off = phase - np.median(phase)
    off = (off + period_ns / 2) % period_ns - period_ns / 2
    return np.asarray(np.abs(off) / 1e6, dtype=np.float64)


def _short(value: float) -> float:
    return round(value, 4) if abs(value) < 1000 else round(value)
