"""A fast Modbus TCP server in a thread of its own whose values count: nothing that was polled can be missing unseen.

`CountingServer` answers functions 3 and 4. The two registers at an even address and the one after it hold one uint32
(ABCD), the same all over a reply: how many times this very request (unit, function, first, count) has been answered,
from 1. So the stored values of a point must be 1, 2, 3 … without a hole. Where `step_s` is given they hold instead the
number of steps of the monotonic clock since the start, from 1.

    with CountingServer() as server:
        ...  # host "127.0.0.1", port server.port; points 1/holding/0, 1/holding/2, … of type uint32
    server.served[1, 3, 0, 124]  # how often that request was answered

It shares no code with the client.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections import Counter
from collections.abc import Collection

_HEADER = struct.Struct(">HHHBBHH")
_COUNT = struct.Struct(">I")


class CountingServer:
    """See the module.

    Args:
        port: 0 takes a free one.
        units: Which units answer; all others are silent. None = all.
        step_s: Count steps of time instead of answers.
    """

    def __init__(self, port: int = 0, *, units: Collection[int] | None = None, step_s: float | None = None) -> None:
        self.port = port
        self.served: Counter[tuple[int, int, int, int]] = Counter()
        self.connections = 0
        self._units = None if units is None else frozenset(units)
        self._step_s = step_s
        self._start_s = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._transports: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="counting server", daemon=True)

    def __enter__(self) -> CountingServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> int:
        """Listens; returns the port."""
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the counting server did not start")
        return self.port

    def stop(self) -> None:
        """Closes the port and every connection; `served` stands."""
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def answer(self, unit: int, function: int, first: int, count: int) -> bytes | None:
        """The reply PDU; None where the unit is silent."""
        if self._units is not None and unit not in self._units:
            return None
        if function not in (3, 4):
            return bytes([function | 0x80, 1])
        if not 1 <= count <= 125:
            return bytes([function | 0x80, 3])
        key = (unit, function, first, count)
        self.served[key] += 1
        number = self.served[key]
        if self._step_s is not None:
            number = int((time.monotonic() - self._start_s) / self._step_s) + 1
        odd = first % 2
        words = _COUNT.pack(number & 0xFFFFFFFF) * ((count + odd + 1) // 2)
        return bytes([function, 2 * count]) + words[2 * odd : 2 * (odd + count)]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for transport in list(self._transports):
            transport.abort()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, server: CountingServer) -> None:
        self._server = server
        self._pending = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1
        self._server._transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while len(self._pending) >= _HEADER.size:
            transaction, _, length, unit, function, first, count = _HEADER.unpack_from(self._pending)
            self._pending = self._pending[6 + length :]
            pdu = self._server.answer(unit, function, first, count)
            if pdu is not None:
                self._transport.write(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)
