"""Everything that a capture file says in a protocol that is read: packets become segments, streams, conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.captures.links import READ_LINKS, link_name
from connectors.captures.modbus_traffic import Conversation, Traffic
from connectors.captures.pcap import read_packets
from connectors.captures.registers import RegisterMap
from connectors.captures.report import PacketCount, modbus_report
from connectors.captures.tcp_packets import tcp_segment
from connectors.captures.tcp_streams import ConnectionTable
from connectors.captures.ua_report import opcua_report
from connectors.captures.ua_traffic import UaConversation, UaServers, UaTraffic
from mines.errors import CaptureError

_PROGRESS_PACKETS = 4096

Progress = Callable[[int], None]
"""Told from time to time how many bytes of the file are read."""


@dataclass(frozen=True, slots=True)
class TrafficReading:
    """What a file gave, up to its `problem` if it has one. `unread_links` counts packets by link type."""

    counted: PacketCount
    conversations: Sequence[Conversation]
    registers: RegisterMap
    encrypted: bool
    ua_conversations: Sequence[UaConversation]
    ua_servers: UaServers
    unread_links: Counter[int]
    problem: CaptureError | None

    def report(self) -> dict[str, Any]:
        """The document of `import --json`: of the protocol that said most, with that of the other one in `also`."""
        modbus = modbus_report(self.counted, self.conversations, self.registers, encrypted=self.encrypted)
        if not self.ua_conversations:
            return modbus
        opcua = opcua_report(self.counted, self.ua_conversations, self.ua_servers.nodes)
        if not modbus["connections"]:
            return opcua
        more, less = sorted((modbus, opcua), key=lambda each: -(each["requests"] + each["replies"]))
        return more | {"also": [less]}


def read_traffic(file: Path, progress: Progress | None = None) -> TrafficReading:
    """All of the protocols that a file holds. Never raises for what the file is: the problem is in the result."""
    streams, counted = _Streams(), PacketCount()
    unread: Counter[int] = Counter()
    problem: CaptureError | None = None
    try:
        for packet in read_packets(file):
            counted.add(packet.time_ns)
            if packet.link_type not in READ_LINKS:
                unread[packet.link_type] += 1
                continue
            streams.take(packet.time_ns, packet.data, packet.link_type)
            if progress is not None and counted.packets % _PROGRESS_PACKETS == 0:
                progress(packet.end)
    except CaptureError as err:
        problem = err
    streams.finish()
    if problem is None and unread and unread.total() == counted.packets:
        problem = CaptureError(f"{file}:0: link type: {_links(unread)} is not read; expected {_links(READ_LINKS)}")
    conversations, registers = streams.modbus.recognised(), RegisterMap()
    for conversation in conversations:
        for exchange in conversation.exchanges:
            registers.add(conversation.server, exchange)
    opcua = streams.opcua
    return TrafficReading(
        counted, conversations, registers, streams.modbus.encrypted, opcua.recognised(), opcua.servers, unread, problem
    )


def _links(types: Counter[int] | frozenset[int]) -> str:
    return ", ".join(link_name(number) for number in sorted(types))


class _Streams:
    """One table of connections, and the protocols that listen to it."""

    def __init__(self) -> None:
        self._table = ConnectionTable()
        self.modbus = Traffic()
        self.opcua = UaTraffic()

    def take(self, time_ns: int, data: bytes, link_type: int) -> None:
        segment = tcp_segment(time_ns, data, link_type)
        if segment is not None:
            for connection, chunk in self._table.push(segment):
                self.modbus.take(connection, chunk)
                self.opcua.take(connection, chunk)

    def finish(self) -> None:
        for connection, chunk in self._table.flush():
            self.modbus.take(connection, chunk)
            self.opcua.take(connection, chunk)


def warnings(reading: TrafficReading) -> Iterator[str]:
    """What a person should know of the reading, one line each, without what only the draft site tells."""
    gaps = sum(each.gaps for each in reading.conversations) + sum(each.gaps for each in reading.ua_conversations)
    if gaps:
        yield f"{gaps} holes in the captured TCP streams: some requests or replies are missing from the capture"
    unsure = sum(not each.sure for conversation in reading.conversations for each in conversation.exchanges)
    if unsure:
        yield f"{unsure} replies may belong to another request with the same transaction id: replay marks them bad"
    if reading.unread_links:
        yield f"{reading.unread_links.total()} packets of link type {_links(reading.unread_links)} are not read"
    encrypted = sum(each.encrypted for each in reading.ua_conversations)
    if encrypted:
        yield f"encrypted: {encrypted} OPC UA messages cannot be read (已加密); how often they came is known, not what"
    if reading.encrypted:
        yield "encrypted: a connection of a Modbus port is TLS and cannot be read (已加密)"
    unmapped = sum(each.unmapped for each in reading.ua_servers.nodes.values())
    if unmapped:
        yield f"{unmapped} OPC UA values are of nodes that were named before the capture began: they cannot be placed"
