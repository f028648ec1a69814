"""Publish and Read, asked in bytes where that saves encoding and answered as columns where the reply allows it.

What `bulk` does not read, asyncua's own decoder does: slower, and with the same outcome.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from connectors.opcua import bulk
from connectors.opcua.decode import Heard, Values, columns
from connectors.opcua.nodes import Node
from connectors.opcua.wire import EncodedRead, ReadOnlySession
from mines.errors import LinkLost

_FROM_CACHE_MS: Final = 2.0**31 - 1  # MaxAge: what the server has; a read must not make it poll its devices
_NO_HEARD: Final = Heard(0, 0)


def node_id(node: Node) -> ua.NodeId:
    """A node as the protocol library names it."""
    identifier: Any = node[1]  # asyncua tells the kinds apart by the type: int, str, UUID, bytes
    return ua.NodeId(identifier, ua.Int16(node[0]))


class BulkServices:
    """The two services that values come by, of one session. Raises what asyncua raises."""

    def __init__(self, services: ReadOnlySession) -> None:
        self._services = services
        self._encoded: dict[Node, bytes] = {}  # a ReadValueId each: a node is encoded once a session

    async def publish(
        self, acknowledged: Iterable[ua.SubscriptionAcknowledgement]
    ) -> bulk.Notification | ua.PublishResult:
        """The next answer of the subscription, as columns or as asyncua's PublishResult."""
        request = ua.PublishRequest()
        request.Parameters.SubscriptionAcknowledgements = list(acknowledged)
        body = await self._services.ask(request, timeout_s=0)  # no deadline: an answer may take as long as it likes
        return bulk.notification(body) or struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters

    async def read(self, nodes: Sequence[tuple[int, Node]]) -> Values:
        """The values that the server holds for nodes, one request; `heard` is the caller's to fill in.

        Args:
            nodes: (point index, node) pairs.
        Raises:
            LinkLost: the reply holds another number of results than was asked for.
        """
        body = await self._services.ask(EncodedRead(self._parameters([node for _, node in nodes])))
        index = [index for index, _ in nodes]
        scalars = bulk.results(body)
        if scalars is not None:
            _require(len(scalars.value) == len(index))
            return Values(index, scalars.value, scalars.status, scalars.source_time_ms, _NO_HEARD)
        response = struct_from_binary(ua.ReadResponse, Buffer(body))
        response.ResponseHeader.ServiceResult.check()
        _require(len(response.Results) == len(index))
        return columns(list(zip(index, response.Results, strict=True)), _NO_HEARD)

    def _parameters(self, nodes: Sequence[Node]) -> bytes:
        """ReadParameters of the nodes' values. Part 4, 5.11.2."""
        for node in nodes:
            if node not in self._encoded:
                value_of = ua.ReadValueId(NodeId=node_id(node), AttributeId=AttributeIds.Value)
                self._encoded[node] = struct_to_binary(value_of)
        head = struct.pack("<dii", _FROM_CACHE_MS, ua.TimestampsToReturn.Source, len(nodes))
        return head + b"".join([self._encoded[node] for node in nodes])


def _require(as_many_as_asked: bool) -> None:
    if not as_many_as_asked:
        raise LinkLost("wrong reply")
