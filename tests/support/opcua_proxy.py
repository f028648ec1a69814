"""A TCP proxy that decodes unencrypted OPC UA binary on its way: which requests leave the client, and faults at will.

It shares no code with what it watches: chunks, channel headers and request types are taken from the bytes by the rules
of OPC UA Part 6. Request numbers are those of Opc.Ua.NodeIds.csv (…Request_Encoding_DefaultBinary).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

REQUESTS = {
    422: "FindServers",
    428: "GetEndpoints",
    446: "OpenSecureChannel",
    452: "CloseSecureChannel",
    461: "CreateSession",
    467: "ActivateSession",
    473: "CloseSession",
    479: "Cancel",
    488: "AddNodes",
    494: "AddReferences",
    500: "DeleteNodes",
    506: "DeleteReferences",
    527: "Browse",
    533: "BrowseNext",
    554: "TranslateBrowsePathsToNodeIds",
    560: "RegisterNodes",
    566: "UnregisterNodes",
    631: "Read",
    664: "HistoryRead",
    673: "Write",
    700: "HistoryUpdate",
    712: "Call",
    751: "CreateMonitoredItems",
    763: "ModifyMonitoredItems",
    769: "SetMonitoringMode",
    775: "SetTriggering",
    781: "DeleteMonitoredItems",
    787: "CreateSubscription",
    793: "ModifySubscription",
    799: "SetPublishingMode",
    826: "Publish",
    832: "Republish",
    841: "TransferSubscriptions",
    847: "DeleteSubscriptions",
}


class ChunkReader:
    """Whole chunks out of one direction of a stream."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._rest += data
        chunks = []
        while len(self._rest) >= 8 and len(self._rest) >= struct.unpack_from("<I", self._rest, 4)[0]:
            (size,) = struct.unpack_from("<I", self._rest, 4)
            chunks.append(self._rest[:size])
            self._rest = self._rest[size:]
        return chunks


def message_type(chunk: bytes) -> str:
    """HEL, ACK, ERR, OPN, MSG or CLO."""
    return chunk[:3].decode("ascii")


def message_body(chunk: bytes) -> bytes:
    """What follows the sequence header of an unencrypted OPN, MSG or CLO chunk."""
    at = 12  # header, channel id
    if message_type(chunk) == "OPN":
        for _ in range(3):  # policy URI, certificate, thumbprint
            (length,) = struct.unpack_from("<i", chunk, at)
            at += 4 + max(length, 0)
    else:
        at += 4  # token id
    return chunk[at + 8 :]


def type_number(body: bytes) -> int:
    """The numeric node id that a message body begins with."""
    match body[0]:
        case 0:
            return body[1]
        case 1:
            return int(struct.unpack_from("<H", body, 2)[0])
        case 2:
            return int(struct.unpack_from("<I", body, 3)[0])
        case other:
            raise AssertionError(f"a request type of encoding {other}")


class Proxy:
    """`async with Proxy(port) as proxy`: connect to `proxy.url`, read `proxy.requests`, and break what you like."""

    def __init__(self, port: int) -> None:
        self.target = port  # of the server; may change, for connections to come
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[str] = []  # by name, a number where it has none here
        self.kinds: list[str] = []  # of every chunk that the client sent
        self.connections = 0
        self.note = True  # False: requests cannot be read under security
        self.refusing = False  # hangs up on whoever connects
        self.frozen = False  # takes everything, passes nothing on
        self.rewrite: Callable[[bytes], bytes] = lambda data: data  # what the server sent

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/mine"

    def cut(self) -> None:
        """Closes every connection at once."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.close()
            return
        self._writers.append(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        self._writers.append(server_writer)
        for coroutine in (self._upstream(reader, server_writer), self._downstream(server_reader, writer)):
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _upstream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunks = ChunkReader()
        while data := await _read(reader):
            for chunk in chunks.feed(data):
                if self.note:
                    self._note(chunk)
                if not self.frozen:
                    writer.write(chunk)
        writer.close()

    async def _downstream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chunks = ChunkReader()
        while data := await _read(reader):
            for chunk in chunks.feed(data):
                if not self.frozen:
                    writer.write(self.rewrite(chunk))
        writer.close()

    def _note(self, chunk: bytes) -> None:
        kind = message_type(chunk)
        self.kinds.append(kind)
        if kind != "HEL":
            number = type_number(message_body(chunk))
            self.requests.append(REQUESTS.get(number, str(number)))


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except OSError:
        return b""
