"""A proxy before a Modbus TCP device that decodes every ADU on its way there (R10: no write ever leaves the box).

    with DecodingProxy("127.0.0.1", device_port) as proxy:
        ...  # let minewatch poll 127.0.0.1:proxy.port
    assert proxy.functions.keys() <= {1, 2, 3, 4}
    assert proxy.undecodable == 0

Bytes go through unchanged in both directions, in a thread of the proxy's own. It shares no code with the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field

READ_ONLY = frozenset({1, 2, 3, 4})
DEVICE_IDENTIFICATION = (43, 14)


@dataclass
class _Decoder:
    """Cuts one client's stream into ADUs."""

    proxy: DecodingProxy
    pending: bytes = b""
    lost: bool = field(default=False)

    def feed(self, data: bytes) -> None:
        self.pending += data
        while len(self.pending) >= 8 and not self.lost:
            _, protocol, length, unit, function = struct.unpack_from(">HHHBB", self.pending)
            if protocol != 0 or not 2 <= length <= 254:
                self.lost = True
                self.proxy.undecodable += 1
            elif len(self.pending) < 6 + length:
                return
            else:
                self.proxy.note(unit, function, self.pending[8 : 6 + length])
                self.pending = self.pending[6 + length :]


class DecodingProxy:
    """Listens on a free port of loopback and forwards to one device.

    `functions` counts requests by function code, `units` by unit, `undecodable` counts streams that were no Modbus TCP,
    `mei_types` the second byte of function 43 requests, `connections` those accepted.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.functions: Counter[int] = Counter()
        self.units: Counter[int] = Counter()
        self.mei_types: Counter[int] = Counter()
        self.undecodable = 0
        self.unfinished = 0
        self.connections = 0
        self._upstream = (host, port)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="decoding proxy", daemon=True)

    def __enter__(self) -> DecodingProxy:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def read_only(self) -> bool:
        """True where something was asked, all of it could be decoded, and all of it was a read or 43/14."""
        others = set(self.functions) - READ_ONLY - {DEVICE_IDENTIFICATION[0]}
        identification = set(self.mei_types) <= {DEVICE_IDENTIFICATION[1]}
        return bool(self.functions) and not others and identification and self.undecodable == 0

    def start(self) -> int:
        """Listens; returns the port."""
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy did not start")
        return self.port

    def stop(self) -> None:
        """Closes everything; the counts stand."""
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def note(self, unit: int, function: int, body: bytes) -> None:
        """Counts one ADU on its way to the device."""
        self.functions[function] += 1
        self.units[unit] += 1
        if function == DEVICE_IDENTIFICATION[0] and body:
            self.mei_types[body[0]] += 1

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        decoder = _Decoder(self)
        device_writer: asyncio.StreamWriter | None = None
        try:
            device_reader, device_writer = await asyncio.open_connection(*self._upstream)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, device_writer, decoder))
                both.create_task(_pump(device_reader, writer, None))
        except (OSError, asyncio.CancelledError, BaseExceptionGroup):
            pass
        finally:
            self.unfinished += bool(decoder.pending)
            for end in (writer, device_writer):
                if end is not None:
                    end.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()
            self._tasks.discard(task)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: _Decoder | None) -> None:
    """Forwards until one side ends, which ends the other too."""
    while data := await reader.read(65_536):
        if decoder is not None:
            decoder.feed(data)
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError("one side has closed")
