"""Course: two compressors on one header, 0.72-0.80 MPa. Compressor 1 loads for 3 min and idles for 4; 2 stands by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from connectors.simulator.demo.local_time import MINUTE_MS
from connectors.simulator.scenario import FloatArray, Moments

CYCLE_MS, LOADED_MS = 7 * MINUTE_MS, 3 * MINUTE_MS
LOW, HIGH = 0.724, 0.796  # [MPa]; noise fills the rest of the band

_DISCHARGE, _STANDING = 86.0, 22.0  # [℃]


def compressed_air(moments: Moments) -> Mapping[str, FloatArray]:
    """Both compressors, without noise."""
    t = moments.wall_ms % CYCLE_MS
    loaded = t < LOADED_MS
    header = np.interp(t, (0, LOADED_MS, CYCLE_MS), (LOW, HIGH, LOW))
    none, all_ = np.zeros(len(moments)), np.ones(len(moments))
    return {
        "compressor1.pressure": header,
        "compressor1.temperature": _DISCHARGE * all_,
        "compressor1.current": np.where(loaded, 180.0, 72.0),
        "compressor1.state": np.where(loaded, 2.0, 1.0),
        "compressor1.run": all_,
        "compressor2.pressure": header,
        "compressor2.temperature": _STANDING * all_,
        "compressor2.current": none,
        "compressor2.state": none,
        "compressor2.run": none,
    }
