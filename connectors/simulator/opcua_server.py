"""An OPC UA server with the points of one device: the simulator's only door to asyncua. Anonymous, no security.

Values carry a status and the time they were made; only what changed is written, as a server does that samples a PLC.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC

import numpy as np
from asyncua import ua
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes

from connectors.simulator.scenario import FloatArray, SignalState, StateArray
from mines.model import Point

PATH = "/minewatch/demo"
_APPLICATION_URI = "urn:minewatch:simulator"
_OTHER_URI = "urn:minewatch:simulator:other"
"""Registered first and empty: an index that a client hard-coded would be wrong here, as it is after a real update."""

_VARIANT = {
    "bool": ua.VariantType.Boolean,
    "int16": ua.VariantType.Int16,
    "uint16": ua.VariantType.UInt16,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "int64": ua.VariantType.Int64,
    "uint64": ua.VariantType.UInt64,
    "float32": ua.VariantType.Float,
    "float64": ua.VariantType.Double,
}
_STATUS = {
    SignalState.GOOD: ua.UInt32(StatusCodes.Good),
    SignalState.LOST: ua.UInt32(StatusCodes.BadSensorFailure),
    SignalState.OVER_RANGE: ua.UInt32(StatusCodes.UncertainEngineeringUnitsExceeded),
}


class OpcUaServer:
    """A device that speaks OPC UA.

    Args:
        points: Its nodes, by addresses `nsu=URI;s=…` or `nsu=URI;i=…`, in the order of the values that `write` takes.
        name: What the server calls itself.
    Raises:
        ValueError: an address is of another form.
    """

    def __init__(self, points: Sequence[Point], name: str = "minewatch demo") -> None:
        self._points = tuple(points)
        self._name = name
        self._server: Server | None = None
        self._nodes: list[ua.NodeId] = []
        self._addresses = [_parsed(point.address) for point in points]
        self._types = [_VARIANT[point.data_type] for point in points]
        self._value = np.full(len(points), np.nan)
        self._state = np.zeros(len(points), dtype=np.uint8)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Builds the address space, listens, and returns the port; 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        _quieten()
        server = Server()
        await server.init()
        await server.set_application_uri(_APPLICATION_URI)
        server.set_server_name(self._name)
        server.set_endpoint(f"opc.tcp://{host}:{port}{PATH}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken])
        await server.register_namespace(_OTHER_URI)
        for point, (uri, identifier) in zip(self._points, self._addresses, strict=True):
            self._nodes.append(await _add_node(server, point, uri, identifier))
        await server.start()
        self._server = server
        assert server.bserver is not None
        return int(server.bserver.port)

    async def write(self, value: FloatArray, state: StateArray, wall_ms: int) -> int:
        """Writes what changed, stamped with `wall_ms` as source time; returns how many nodes that were.

        Args:
            value: Engineering values, shape (points,).
            state: `SignalState`, shape (points,).
            wall_ms: When the values were made [ms UTC].
        """
        assert self._server is not None
        changed = np.flatnonzero((value != self._value) | (state != self._state))
        made = ua.DateTime.fromtimestamp(wall_ms / 1000.0, UTC)
        for column in changed.tolist():
            data = self._data_value(column, float(value[column]), SignalState(int(state[column])), made)
            await self._server.write_attribute_value(self._nodes[column], data)
        self._value, self._state = value.copy(), state.copy()
        return len(changed)

    async def stop(self) -> None:
        """Ends every session and closes the port."""
        if self._server is not None:
            await self._server.stop()
            self._server = None

    def _data_value(self, column: int, value: float, state: SignalState, made: ua.DateTime) -> ua.DataValue:
        point, variant_type = self._points[column], self._types[column]
        return ua.DataValue(
            ua.Variant(_raw((value - point.offset) / point.scale, variant_type), variant_type),
            ua.StatusCode(_STATUS[state]),
            SourceTimestamp=made,
            ServerTimestamp=made,
        )


def _raw(value: float, variant_type: ua.VariantType) -> bool | int | float:
    if variant_type == ua.VariantType.Boolean:
        return value != 0.0
    if variant_type in (ua.VariantType.Float, ua.VariantType.Double):
        return value
    return round(value)


async def _add_node(server: Server, point: Point, uri: str, identifier: ua.String | ua.Int32) -> ua.NodeId:
    index = await server.register_namespace(uri)
    node_id = ua.NodeId(identifier, ua.Int16(index))
    variant_type = _VARIANT[point.data_type]
    first = ua.Variant(_raw(0.0, variant_type), variant_type)
    # The browse name is in English: the point's own name would have to change with the language of the client.
    name = ua.QualifiedName(point.name_en or point.id, index)
    await server.nodes.objects.add_variable(node_id, name, first)
    waiting = ua.DataValue(first, ua.StatusCode(ua.UInt32(StatusCodes.BadWaitingForInitialData)))
    await server.write_attribute_value(node_id, waiting)
    return node_id


def _parsed(address: str) -> tuple[str, ua.String | ua.Int32]:
    """URI and identifier of `nsu=URI;s=…` or `nsu=URI;i=…`."""
    head, _, tail = address.partition(";")
    kind, _, identifier = tail.partition("=")
    if not head.startswith("nsu=") or kind not in ("s", "i") or not identifier:
        raise ValueError(f"no address of a simulated node: {address}")
    return head.removeprefix("nsu="), ua.Int32(identifier) if kind == "i" else ua.String(identifier)


def _quieten() -> None:
    """asyncua's server logs every session and address-space detail; what matters here are its errors."""
    logging.getLogger("asyncua.server").setLevel(logging.ERROR)
