"""What one OPC UA server's monitored items and namespaces are, as the traffic told; the values that were read. Pure.

Subscriptions are the server's, not a connection's: a client may come back and go on with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from connectors.captures.ua_binary import DataValue
from connectors.captures.ua_services import Handle, ItemWish, ReadItem
from connectors.opcua.nodes import OPCUA_NAMESPACE, Node
from connectors.opcua.point_draft import address_text

UNKNOWN_NAMESPACE: Final = "urn:minewatch:unknown-namespace:"
"""With the index behind it: the URI of a namespace whose name was nowhere in the traffic."""


@dataclass(frozen=True, slots=True)
class UaRow:
    """One value of one node."""

    node: Node
    data: DataValue


@dataclass(slots=True)
class UaNodes:
    """Of one server."""

    namespaces: tuple[str, ...] = ()
    unmapped: int = 0
    """Values of monitored items whose creation was not seen, or of reads whose request was not."""
    _items: dict[Handle, ReadItem] = field(default_factory=dict)
    _numbers: dict[tuple[int, int], Handle] = field(default_factory=dict)

    def created(self, wishes: Sequence[ItemWish], results: Sequence[tuple[int, int]]) -> None:
        """Monitored items as they were asked for, and what the server made of each."""
        for wish, (status, number) in zip(wishes, results, strict=False):
            if wish.item is not None and not status >> 31:
                handle = (wish.subscription, wish.handle)
                self._items[handle] = wish.item
                self._numbers[wish.subscription, number] = handle

    def modified(self, wishes: Sequence[ItemWish]) -> None:
        """Monitored items that have got another handle."""
        for wish in wishes:
            old = self._numbers.get((wish.subscription, wish.number))
            if old is not None:
                handle = (wish.subscription, wish.handle)
                self._items[handle] = self._items[old]
                self._numbers[wish.subscription, wish.number] = handle

    def notified(self, changes: Sequence[tuple[Handle, DataValue]]) -> tuple[UaRow, ...]:
        """The rows of a notification."""
        rows = []
        for handle, data in changes:
            item = self._items.get(handle)
            if item is None:
                self.unmapped += 1
            elif item.is_value:
                rows.append(UaRow(item.node, data))
        return tuple(rows)

    def address(self, node: Node) -> str:
        """The address of a point; a namespace whose URI was not read keeps its number, as one that is not known."""
        index = node[0]
        known = list(self.namespaces) or [OPCUA_NAMESPACE]
        while len(known) <= index:
            known.append("")
        known[index] = known[index] or f"{UNKNOWN_NAMESPACE}{index}"
        text = address_text(node, known)
        assert text is not None
        return text

    def is_unknown(self, node: Node) -> bool:
        """Whether the URI of its namespace was not read."""
        return node[0] != 0 and not (node[0] < len(self.namespaces) and self.namespaces[node[0]])
