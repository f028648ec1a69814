"""Incident: the pure flow of gas drainage is what the meters beside it say, mixed flow times concentration ."""

from __future__ import annotations

from connectors.simulator.scenario import Moments, Picture


def pure_flow(moments: Moments, picture: Picture) -> None:
    """Pure flow [m³/min] = mixed flow [m³/min] x concentration [%] / 100."""
    mixed = picture.value("drain.main.mixed_flow")
    picture.value("drain.main.pure_flow")[:] = mixed * picture.value("drain.main.concentration") / 100.0
