"""OPC UA conversations of a capture: who is the server, which services were asked for, what was read. Pure.

A conversation is told by its first chunk, at any port. Whether it is encrypted is told by its bytes, never by the name
of its policy: under a policy that only signs, all can be read.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from connectors.captures.tcp_packets import Endpoint
from connectors.captures.tcp_streams import Chunk, Connection
from connectors.captures.ua_binary import DecodeError, Reader
from connectors.captures.ua_nodes import UaNodes, UaRow
from connectors.captures.ua_services import (
    NAMESPACE_ARRAY,
    REPLIES,
    REQUESTS,
    ReadItem,
    created_items,
    created_wishes,
    modified_wishes,
    notified,
    read_items,
    read_values,
    reply_reader,
    republished_subscription,
    request_reader,
    service_type,
)
from connectors.captures.ua_wire import NO_SECURITY, PORT, Assembler, ChunkFramer, UaMessage, is_header

_TRIES = 8
"""Segments that begin no chunk after which a connection is taken for another protocol."""


@dataclass(slots=True, eq=False)
class UaExchange:
    """A service request and its reply; `asked` is what was read of the request where its reply needs it.

    `request` is None for a reply whose request was not seen: `time_ns` is then its own. Bodies are as on the wire, of
    services that carry values or say of which nodes they are; those of others, which may hold a password, are not kept.
    """

    service: str
    request_id: int
    time_ns: int
    has_request: bool = True
    request: bytes | None = None
    reply: bytes | None = None
    reply_time_ns: int | None = None
    result: int = 0
    asked: Any = None
    rows: tuple[UaRow, ...] = ()

    @property
    def rtt_ns(self) -> int | None:
        """From the request's last byte to the reply's [ns]; None where one of them is missing."""
        return None if self.reply_time_ns is None or not self.has_request else self.reply_time_ns - self.time_ns


_KEPT = frozenset({"Read", "Publish", "Republish", "CreateMonitoredItems", "ModifyMonitoredItems"})


@dataclass(slots=True)
class UaServers:
    """What is known of every server of the capture."""

    nodes: dict[Endpoint, UaNodes] = field(default_factory=dict)

    def of(self, server: Endpoint) -> UaNodes:
        return self.nodes.setdefault(server, UaNodes())


class UaConversation:
    """What one connection said."""

    def __init__(self, connection: Connection, servers: UaServers) -> None:
        self._connection = connection
        self._servers = servers
        self._framers = (ChunkFramer(), ChunkFramer())
        self._assembler = Assembler()
        self._open: dict[tuple[int, int], deque[UaExchange]] = {}
        self._server: int | None = None
        self._tries = 0
        self._undecodable = 0
        self.foreign = False
        self._begun = False
        self.exchanges: list[UaExchange] = []
        self.messages: Counter[str] = Counter()
        self.closings = 0
        self.errors: Counter[int] = Counter()
        self.policies: list[str] = []
        self.encrypted = 0
        self.url = ""

    @property
    def server(self) -> Endpoint:
        """The server's end; only of a recognised conversation."""
        return self._connection.ends[self._server_side()]

    @property
    def client(self) -> Endpoint:
        """The client's end; only of a recognised conversation."""
        return self._connection.ends[1 - self._server_side()]

    @property
    def gaps(self) -> int:
        """Holes in the captured bytes."""
        return self._connection.gaps

    @property
    def malformed(self) -> int:
        """Illegal headers, chunks too short for theirs, and bodies that are not what their type says."""
        return sum(framer.malformed for framer in self._framers) + self._assembler.malformed + self._undecodable

    def push(self, chunk: Chunk) -> None:
        """Takes the next bytes of one side."""
        if self.foreign:
            return
        if not self._begun:
            self._begun = is_header(chunk.data)
            if not self._begun:
                self._tries += 1
                self.foreign = self._tries >= _TRIES
                return
        for part in self._framers[chunk.side].push(chunk):
            message = self._assembler.push(part)
            if message is not None:
                self._take(message)

    def _server_side(self) -> int:
        if self._server is not None:
            return self._server
        on_port = [side for side in (0, 1) if self._connection.ends[side][1] == PORT]
        if len(on_port) == 1:
            return on_port[0]
        return 1 - (self._connection.opener or 0)

    def _take(self, message: UaMessage) -> None:
        kind = message.kind.decode("ascii")
        self.messages[kind] += 1
        if kind in ("HEL", "ACK", "RHE", "ERR"):
            self._begin(kind, message)
        elif kind == "OPN":
            if message.policy and message.policy not in self.policies:
                self.policies.append(message.policy)
        else:
            self._serve(kind, message)

    def _begin(self, kind: str, message: UaMessage) -> None:
        if kind in ("ACK", "RHE"):
            self._server = message.side
        elif kind == "HEL":
            self._server = 1 - message.side
        reader = Reader(message.body)
        try:
            if kind == "HEL":
                reader.raw(20)
                self.url = reader.text()
            elif kind == "ERR":
                self.errors[reader.u32()] += 1
        except DecodeError:
            self._undecodable += 1

    def _serve(self, kind: str, message: UaMessage) -> None:
        if kind == "CLO":
            self.closings += 1
            return
        number = service_type(message.body)
        if number is None:
            if message.policy == NO_SECURITY:
                self._undecodable += 1
            else:
                self.encrypted += 1
            return
        self._server = message.side if number in REPLIES else 1 - message.side
        try:
            if number in REQUESTS:
                self._request(REQUESTS[number], message)
            else:
                self._reply(REPLIES[number], message)
        except DecodeError:
            self._undecodable += 1

    def _request(self, service: str, message: UaMessage) -> None:
        kept = message.body if service in _KEPT else None
        exchange = UaExchange(service, message.request_id, message.time_ns, request=kept)
        self.exchanges.append(exchange)
        self._open.setdefault((message.channel, message.request_id), deque()).append(exchange)
        reader = request_reader(message.body)
        match service:
            case "Read":
                exchange.asked = read_items(reader)
            case "CreateMonitoredItems":
                exchange.asked = created_wishes(reader)
            case "ModifyMonitoredItems":
                exchange.asked = modified_wishes(reader)
            case "Republish":
                exchange.asked = republished_subscription(reader)

    def _reply(self, service: str, message: UaMessage) -> None:
        waiting = self._open.get((message.channel, message.request_id))
        if waiting:
            exchange = waiting.popleft()
            if not waiting:
                del self._open[message.channel, message.request_id]
        else:
            exchange = UaExchange(service, message.request_id, message.time_ns, has_request=False)
            self.exchanges.append(exchange)
        exchange.reply_time_ns = message.time_ns
        exchange.reply = message.body if exchange.service in _KEPT else None
        exchange.result, reader = reply_reader(message.body)
        if service != "ServiceFault":
            exchange.rows = self._rows(exchange, reader)

    def _rows(self, exchange: UaExchange, reader: Reader) -> tuple[UaRow, ...]:
        nodes = self._servers.of(self.server)
        match exchange.service:
            case "Read":
                return _read_rows(nodes, exchange.asked, reader)
            case "Publish":
                return nodes.notified(notified(reader)) if not exchange.result >> 31 else ()
            case "Republish" if exchange.asked is not None and not exchange.result >> 31:
                changes = notified(reader, republished=True)
                return nodes.notified([((exchange.asked, handle), data) for (_, handle), data in changes])
            case "CreateMonitoredItems" if exchange.asked is not None:
                nodes.created(exchange.asked, created_items(reader))
            case "ModifyMonitoredItems" if exchange.asked is not None:
                nodes.modified(exchange.asked)
        return ()


def _read_rows(nodes: UaNodes, asked: tuple[ReadItem, ...] | None, reader: Reader) -> tuple[UaRow, ...]:
    values = read_values(reader)
    if asked is None or len(asked) != len(values):
        nodes.unmapped += len(values)
        return ()
    for item, data in zip(asked, values, strict=True):
        if item.node == NAMESPACE_ARRAY and isinstance(data.value, tuple):
            nodes.namespaces = data.value
    return tuple(UaRow(item.node, data) for item, data in zip(asked, values, strict=True) if item.is_value)


class UaTraffic:
    """Every connection of a capture that speaks OPC UA."""

    def __init__(self) -> None:
        self._conversations: dict[Connection, UaConversation] = {}
        self.servers = UaServers()

    def take(self, connection: Connection, chunk: Chunk) -> None:
        """The next bytes of a connection."""
        conversation = self._conversations.get(connection)
        if conversation is None:
            conversation = self._conversations[connection] = UaConversation(connection, self.servers)
        conversation.push(chunk)

    def recognised(self) -> list[UaConversation]:
        """Those with a whole message, in the order in which their first bytes came."""
        return [each for each in self._conversations.values() if each.messages]
