"""Modbus conversations of a capture: which connections speak Modbus, who is the server, what was said. Pure.

Port 502 outranks everything; elsewhere a connection is Modbus once a reply has fitted a request, and its server is the
side that did not open it, or else the side whose messages can only be replies; so are other connections to that server,
answered or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from connectors.captures.modbus_pairs import Exchange, Pairs
from connectors.captures.modbus_wire import (
    EXCEPTION_BIT,
    PORT,
    SECURE_PORT,
    Adu,
    Framer,
    looks_like_reply,
    looks_like_request,
)
from connectors.captures.tcp_packets import Endpoint, Segment
from connectors.captures.tcp_streams import Chunk, Connection, ConnectionTable

_TRIES = 8
"""Illegal headers after which a connection of an unknown port is taken for another protocol."""
_MOST_UNDECIDED = 64
"""Messages after which it is taken for one if none of them answered another."""


class Conversation:
    """What one connection said."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._framers = (Framer(), Framer())
        self._pairs = Pairs()
        self._undecided: list[Adu] = []
        self._server = _well_known(connection.ends)
        self._illegal_pdus = 0
        self._foreign = False
        self._started = False
        self.recognised = self._server is not None
        self.encrypted = False

    @property
    def server(self) -> Endpoint:
        """The device's end; only of a recognised conversation."""
        assert self._server is not None
        return self._connection.ends[self._server]

    @property
    def client(self) -> Endpoint:
        """The master's end; only of a recognised conversation."""
        assert self._server is not None
        return self._connection.ends[1 - self._server]

    @property
    def exchanges(self) -> list[Exchange]:
        """In the order of requests, orphan replies where they came."""
        return self._pairs.exchanges

    @property
    def malformed(self) -> int:
        """Illegal headers, and messages whose function code their sender cannot use."""
        return sum(framer.malformed for framer in self._framers) + self._illegal_pdus

    @property
    def gaps(self) -> int:
        """Holes in the captured bytes."""
        return self._connection.gaps

    def push(self, chunk: Chunk) -> None:
        """Takes the next bytes of one side."""
        if not self._started:
            self._started = True
            self.encrypted = self._foreign = self._begins_encrypted(chunk.data)
        if self._foreign:
            return
        for adu in self._framers[chunk.side].push(chunk):
            if self.recognised:
                self._take(adu)
            else:
                self._undecided.append(adu)
                self._recognise()
        if not self.recognised and (self.malformed >= _TRIES or len(self._undecided) > _MOST_UNDECIDED):
            self._foreign = True
            self._undecided.clear()

    def _begins_encrypted(self, data: bytes) -> bool:
        """A TLS handshake record where Modbus is expected."""
        ports = {end[1] for end in self._connection.ends}
        return bool(ports & {PORT, SECURE_PORT}) and data[:2] == b"\x16\x03"

    def _take(self, adu: Adu) -> None:
        from_server = adu.side == self._server
        function = adu.pdu[0]
        if function & ~EXCEPTION_BIT == 0 or (function & EXCEPTION_BIT and (not from_server or len(adu.pdu) < 2)):
            self._illegal_pdus += 1
        elif from_server:
            self._pairs.reply(adu)
        else:
            self._pairs.request(adu)

    def _recognise(self) -> None:
        server = self._server_by_opening()
        if server is not None and _answers_something(self._undecided, server):
            self._begin(server)

    def adopt(self, servers: Set[Endpoint]) -> None:
        """Recognises it where one of its ends is a known device: one that answered nothing here did so elsewhere."""
        known = [side for side in (0, 1) if self._connection.ends[side] in servers]
        if not self.recognised and self._undecided and len(known) == 1:
            self._begin(known[0])

    def _begin(self, server: int) -> None:
        self._server, self.recognised = server, True
        for adu in self._undecided:
            self._take(adu)
        self._undecided.clear()

    def _server_by_opening(self) -> int | None:
        if self._connection.opener is not None:
            return 1 - self._connection.opener
        for adu in self._undecided:
            request, reply = looks_like_request(adu.pdu), looks_like_reply(adu.pdu)
            if request != reply:
                return adu.side if reply else 1 - adu.side
        sides = {adu.side for adu in self._undecided}
        return 1 - self._undecided[0].side if len(sides) == 2 else None  # who speaks first asks


def _well_known(ends: tuple[Endpoint, Endpoint]) -> int | None:
    on_port = [side for side in (0, 1) if ends[side][1] == PORT]
    return on_port[0] if len(on_port) == 1 else None


def _answers_something(adus: Iterable[Adu], server: int) -> bool:
    """Whether one of these is the reply of `server` to one before it."""
    asked: set[tuple[int, int, int]] = set()
    for adu in adus:
        key = (adu.transaction, adu.unit, adu.pdu[0] & ~EXCEPTION_BIT)
        if adu.side != server and looks_like_request(adu.pdu):
            asked.add(key)
        elif adu.side == server and looks_like_reply(adu.pdu) and key in asked:
            return True
    return False


class Traffic:
    """Takes the segments of a capture; afterwards `conversations` holds every connection that carried Modbus."""

    def __init__(self) -> None:
        self._table = ConnectionTable()
        self._conversations: dict[Connection, Conversation] = {}

    @property
    def encrypted(self) -> bool:
        """Whether a connection on a Modbus port was seen that cannot be read."""
        return any(each.encrypted for each in self._conversations.values())

    def push(self, segment: Segment) -> None:
        """Takes one segment."""
        for connection, chunk in self._table.push(segment):
            self.take(connection, chunk)

    def finish(self) -> list[Conversation]:
        """What was recognised, after all that still waits."""
        for connection, chunk in self._table.flush():
            self.take(connection, chunk)
        return self.recognised()

    def take(self, connection: Connection, chunk: Chunk) -> None:
        """The next bytes of a connection whose segments are put together elsewhere."""
        conversation = self._conversations.get(connection)
        if conversation is None:
            conversation = self._conversations[connection] = Conversation(connection)
        conversation.push(chunk)

    def recognised(self) -> list[Conversation]:
        """The recognised conversations, in the order in which their first bytes came. Nothing more is to come."""
        servers = {each.server for each in self._conversations.values() if each.recognised}
        for each in self._conversations.values():
            each.adopt(servers)
        return [each for each in self._conversations.values() if each.recognised]
