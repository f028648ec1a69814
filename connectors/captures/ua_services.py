"""OPC UA services by their type, and what is read of their requests and replies: which nodes, which values. Pure.

Source: OPC UA Part 4, 5 and 7 (parameters), Part 6, 5.2 (encoding), Schema/NodeIds.csv (types).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from connectors.captures.ua_binary import DataValue, DecodeError, Reader
from connectors.opcua.nodes import Node

_REQUESTS: Final = {
    422: "FindServers", 428: "GetEndpoints", 437: "RegisterServer", 446: "OpenSecureChannel", 452: "CloseSecureChannel",
    461: "CreateSession", 467: "ActivateSession", 473: "CloseSession", 479: "Cancel", 488: "AddNodes",
    494: "AddReferences", 500: "DeleteNodes", 506: "DeleteReferences", 527: "Browse", 533: "BrowseNext",
    554: "TranslateBrowsePathsToNodeIds", 560: "RegisterNodes", 566: "UnregisterNodes", 615: "QueryFirst",
    621: "QueryNext", 631: "Read", 664: "HistoryRead", 673: "Write", 700: "HistoryUpdate", 712: "Call",
    751: "CreateMonitoredItems", 763: "ModifyMonitoredItems", 769: "SetMonitoringMode", 775: "SetTriggering",
    781: "DeleteMonitoredItems", 787: "CreateSubscription", 793: "ModifySubscription", 799: "SetPublishingMode",
    826: "Publish", 832: "Republish", 841: "TransferSubscriptions", 847: "DeleteSubscriptions",
}  # fmt: skip
REQUESTS: Final = _REQUESTS | {12208: "FindServersOnNetwork", 12211: "RegisterServer2"}
"""Type of the request's binary encoding → service."""
FAULT: Final = 397
REPLIES: Final = {number + 3: name for number, name in _REQUESTS.items()} | {
    FAULT: "ServiceFault", 12209: "FindServersOnNetwork", 12212: "RegisterServer2",
}  # fmt: skip
"""Type of the reply's binary encoding → service."""

WRITE_SERVICES: Final = frozenset(
    {"Write", "Call", "HistoryUpdate", "AddNodes", "AddReferences", "DeleteNodes", "DeleteReferences"}
)
"""What may change something in the device; a method call may."""

BAD: Final = 0x80000000
_VALUE: Final = 13  # AttributeId
_DATA_CHANGE: Final = 811
NAMESPACE_ARRAY: Final[Node] = (0, 2255)

Handle = tuple[int, int]
"""Subscription and ClientHandle."""


@dataclass(frozen=True, slots=True)
class ReadItem:
    """What is asked for of one node; only the attribute Value is a sample."""

    node: Node
    is_value: bool


@dataclass(frozen=True, slots=True)
class ItemWish:
    """A monitored item as it is asked for: its node is None where only its handle changes."""

    subscription: int
    item: ReadItem | None
    handle: int
    number: int = 0  # MonitoredItemId, of a change


def service_type(body: bytes) -> int | None:
    """The number of the service's type; None where the body does not begin with one, as one that is encrypted."""
    try:
        index, identifier = Reader(body).node()
    except DecodeError:
        return None
    known = index == 0 and (identifier in REQUESTS or identifier in REPLIES)
    return identifier if known and isinstance(identifier, int) else None


def request_reader(body: bytes) -> Reader:
    """Behind the request's header."""
    reader = Reader(body)
    reader.node()
    reader.node()  # authentication token
    reader.raw(16)  # time, handle, diagnostics wanted
    reader.text()
    reader.u32()
    reader.extension()
    return reader


def reply_reader(body: bytes) -> tuple[int, Reader]:
    """The service's result, and behind the reply's header."""
    reader = Reader(body)
    reader.node()
    reader.raw(12)  # time, handle
    result = reader.u32()
    reader.diagnostics()
    for _ in range(reader.length()):
        reader.text()
    reader.extension()
    return result, reader


def read_items(reader: Reader) -> tuple[ReadItem, ...]:
    """Of a Read request."""
    reader.raw(12)
    return tuple(_read_item(reader) for _ in range(reader.length()))


def read_values(reader: Reader) -> tuple[DataValue, ...]:
    """Of a Read reply, in the order of what was asked."""
    return tuple(reader.data_value() for _ in range(reader.length()))


def created_wishes(reader: Reader) -> tuple[ItemWish, ...]:
    """Of a CreateMonitoredItems request."""
    subscription = reader.u32()
    reader.u32()
    wishes = []
    for _ in range(reader.length()):
        item = _read_item(reader)
        reader.u32()
        wishes.append(ItemWish(subscription, item, _parameters(reader)))
    return tuple(wishes)


def modified_wishes(reader: Reader) -> tuple[ItemWish, ...]:
    """Of a ModifyMonitoredItems request."""
    subscription = reader.u32()
    reader.u32()
    wishes = []
    for _ in range(reader.length()):
        number = reader.u32()
        wishes.append(ItemWish(subscription, None, _parameters(reader), number))
    return tuple(wishes)


def created_items(reader: Reader) -> tuple[tuple[int, int], ...]:
    """Of a CreateMonitoredItems reply: status and MonitoredItemId of each."""
    results = []
    for _ in range(reader.length()):
        status, number = reader.u32(), reader.u32()
        reader.raw(12)
        reader.extension()
        results.append((status, number))
    return tuple(results)


def notified(reader: Reader, *, republished: bool = False) -> tuple[tuple[Handle, DataValue], ...]:
    """Of a Publish reply, or of a Republish one, which holds the notification alone."""
    subscription = 0
    if not republished:
        subscription = reader.u32()
        reader.raw(4 * reader.length())
        reader.u8()
    reader.raw(12)  # number and time of the notification
    changes: list[tuple[Handle, DataValue]] = []
    for _ in range(reader.length()):
        node, body = reader.extension()
        if node == (0, _DATA_CHANGE):
            part = Reader(body)
            for _ in range(part.length()):
                handle = part.u32()
                changes.append(((subscription, handle), part.data_value()))
    return tuple(changes)


def republished_subscription(reader: Reader) -> int:
    """Of a Republish request."""
    return reader.u32()


def _read_item(reader: Reader) -> ReadItem:
    node, attribute, part = reader.node(), reader.u32(), reader.text()
    reader.qualified_name()
    return ReadItem(node, attribute == _VALUE and not part)


def _parameters(reader: Reader) -> int:
    handle = reader.u32()
    reader.f64()
    reader.extension()
    reader.raw(5)
    return handle
