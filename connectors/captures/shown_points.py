"""Points of a served capture on the simulator's servers: Modbus registers and OPC UA nodes that follow its ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from connectors.captures.tick_values import TickValues
from connectors.simulator.modbus_server import ModbusDevice, ModbusServer
from connectors.simulator.opcua_server import OpcUaServer
from connectors.simulator.register_image import read_place
from connectors.simulator.scenario import SignalState
from mines.model import Point

_EXACT: Final = 2.0**53
_WIDTHS: Final = {"int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
"""Registers of a type; one of all others."""


class Shown(Protocol):
    """A server of the simulator, and what it shows."""

    values: TickValues

    async def show(self, *, bad: bool, wall_ms: int) -> None:
        """Shows what the values are now; `bad` = none of it is to be had."""
        ...


class ModbusPoints:
    """A Modbus source of a live capture: the points' registers, as its point list lays them out.

    A point that was bad and has no sentinel to say so is refused (exception 2): its register would read 0, which is a
    value.
    """

    def __init__(self, points: Sequence[Point], values: TickValues) -> None:
        self.values = values
        self._device = ModbusDevice(points)
        self._mute = np.array([not point.sentinels for point in points], dtype=np.bool_)
        self._places = [(read_place(point.address), _WIDTHS.get(point.data_type, 1)) for point in points]
        self.server = ModbusServer(self._device)

    async def show(self, *, bad: bool, wall_ms: int) -> None:
        self._device.write(self.values.value, self.values.state)
        gone = (self._mute & (self.values.state == SignalState.LOST)) | bad
        for there in (False, True):  # a register that any of its points still has stays
            for column in np.flatnonzero(gone != there).tolist():
                place, width = self._places[column]
                exists = self._device.units[place.unit].exists[place.table]
                exists[place.register : place.register + width] = there


class OpcUaPoints:
    """An OPC UA source: those of its nodes that the simulator can have."""

    def __init__(self, points: Sequence[Point], values: TickValues) -> None:
        self.values = values
        self._columns = [column for column, point in enumerate(points) if is_servable(point)]
        largest = values.largest()
        typed = [_typed(points[column], float(largest[column])) for column in self._columns]
        self.server = OpcUaServer(typed, "minewatch serve")

    async def show(self, *, bad: bool, wall_ms: int) -> None:
        state = self.values.state[self._columns]
        if bad:
            state[:] = SignalState.LOST
        await self.server.write(self.values.value[self._columns], state, wall_ms)


def _typed(point: Point, largest: float) -> Point:
    """The point with the type that it is served as: whole numbers that a sample cannot hold exactly are doubles."""
    inexact = point.data_type in ("int64", "uint64") and largest * abs(1.0 / point.scale) > _EXACT
    return replace(point, data_type="float64" if inexact or not point.data_type else point.data_type)


def is_servable(point: Point) -> bool:
    """Whether the simulator's OPC UA server can have the node: a text or a number, in a namespace of its own."""
    head, _, tail = point.address.partition(";")
    return head.startswith("nsu=") and tail[:2] in ("s=", "i=")
