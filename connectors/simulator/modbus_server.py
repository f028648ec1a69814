"""A Modbus TCP device in asyncio: answers functions 1-4 and 43/14 from a memory image. No pymodbus.

pymodbus' own server rebuilds Python lists for every reply; here a read is one slice of bytes, so that a demo of
hundreds of points leaves the machine to what is demonstrated.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import cast

import numpy as np

from connectors.simulator.register_image import Table, UnitImage, unit_images
from connectors.simulator.scenario import FloatArray, StateArray
from mines.model import Point

MAX_REGISTERS = 125
MAX_BITS = 2000
MAX_LENGTH = 254
"""Longest length field of an MBAP header: unit id and a PDU of 253 bytes."""


class Refusal(IntEnum):
    """Exception codes that a device here gives."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    GATEWAY_NO_RESPONSE = 11


_TABLES = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
_READ_DEVICE_IDENTIFICATION = (0x2B, 0x0E)


class ModbusDevice:
    """One device: its units' memory and what it says of itself.

    Args:
        points: What it holds, in the order of the values that `write` takes.
        identity: Objects of FC 43/14 by id: 0 vendor, 1 product code, 2 revision …
    """

    def __init__(self, points: Sequence[Point], identity: Mapping[int, str] | None = None) -> None:
        self.units = unit_images(points)
        self._identity = dict(identity or {})

    def write(self, value: FloatArray, state: StateArray) -> None:
        """Sets every point at once; shapes (points,)."""
        for image in self.units.values():
            image.write(value, state)

    def answer(self, unit: int, request: bytes) -> bytes:
        """The reply PDU to a request PDU; an exception PDU where it cannot be had."""
        image = self.units.get(unit)
        function = request[0]
        if image is None:
            return _refused(function, Refusal.GATEWAY_NO_RESPONSE)
        if function in _TABLES:
            return _read(image, function, request)
        if tuple(request[:2]) == _READ_DEVICE_IDENTIFICATION:
            return _identification(self._identity, request)
        return _refused(function, Refusal.ILLEGAL_FUNCTION)


class SilentServer:
    """A dead device behind a living socket: accepts, reads, never answers (F35)."""

    def __init__(self) -> None:
        self._listening: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listens and returns the port; 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self._listening = await asyncio.get_running_loop().create_server(self._connection, host, port)
        number: int = self._listening.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._listening is None:
            return
        self._listening.close()
        for transport in list(self._connections):
            transport.abort()
        await self._listening.wait_closed()
        self._listening = None

    def _connection(self) -> asyncio.Protocol:
        return _Silence(self._connections)


class ModbusServer(SilentServer):
    """A device on a TCP port that answers."""

    def __init__(self, device: ModbusDevice) -> None:
        super().__init__()
        self.device = device

    def _connection(self) -> asyncio.Protocol:
        return _Answers(self._connections, self.device)


class _Silence(asyncio.Protocol):
    """Swallows what it is sent."""

    def __init__(self, connections: set[asyncio.Transport]) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.discard(self._transport)


class _Answers(_Silence):
    """Cuts the stream into frames and answers each in turn."""

    def __init__(self, connections: set[asyncio.Transport], device: ModbusDevice) -> None:
        super().__init__(connections)
        self._device = device
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while len(self._pending) >= 8:
            transaction, protocol, length, unit = struct.unpack_from(">HHHB", self._pending)
            if protocol != 0 or not 2 <= length <= MAX_LENGTH:
                self._hang_up()  # no Modbus: nothing after it can be trusted
                return
            if len(self._pending) < 6 + length:
                return
            request, self._pending = self._pending[7 : 6 + length], self._pending[6 + length :]
            reply = self._device.answer(unit, request)
            self._send(struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit) + reply)

    def _send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _refused(function: int, code: Refusal) -> bytes:
    return bytes([function | 0x80, code])


def _read(image: UnitImage, function: int, request: bytes) -> bytes:
    if len(request) != 5:
        return _refused(function, Refusal.ILLEGAL_VALUE)
    table = _TABLES[function]
    first, count = struct.unpack_from(">HH", request, 1)
    if not 1 <= count <= (MAX_BITS if table.of_bits else MAX_REGISTERS):
        return _refused(function, Refusal.ILLEGAL_VALUE)
    exists = image.exists[table][first : first + count]
    if len(exists) < count or not exists.all():
        return _refused(function, Refusal.ILLEGAL_ADDRESS)
    if table.of_bits:
        data = np.packbits(image.bits[table][first : first + count], bitorder="little").tobytes()
    else:
        data = bytes(image.registers[table][2 * first : 2 * (first + count)])
    return bytes([function, len(data)]) + data


def _identification(identity: Mapping[int, str], request: bytes) -> bytes:
    """Read device identification, basic category and single objects, in one reply.

    Source: MODBUS Application Protocol Specification V1.1b3, 6.21.
    """
    if len(request) != 4 or request[2] not in (1, 4):
        return _refused(request[0], Refusal.ILLEGAL_VALUE)
    category, wanted = request[2], request[3]
    if category == 4 and wanted not in identity:
        return _refused(request[0], Refusal.ILLEGAL_ADDRESS)
    first = wanted if wanted in identity else 0
    chosen = [wanted] if category == 4 else [number for number in sorted(identity) if first <= number <= 2]
    texts = [(number, identity[number].encode("ascii")) for number in chosen]
    objects = b"".join(bytes([number, len(text)]) + text for number, text in texts)
    conformity = 0x81  # basic, stream and individual access
    return bytes([*_READ_DEVICE_IDENTIFICATION, category, conformity, 0, 0, len(texts)]) + objects
