"""What a frame tap sees: whole OPC UA chunks out of a byte stream, both ways. Looks at lengths only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

WireTap = Callable[[bool, bytes], None]  # (sending, one whole chunk)

_HEADER: Final = 8  # type (3), chunk mark (1), size of the whole chunk (4, little-endian)
_LARGEST: Final = 16 * 1024 * 1024  # project default: more is a stream of something else


class ChunkSplitter:
    """One direction of one connection."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The chunks that are whole now. A stream that is no OPC UA comes out as it went in."""
        self._rest += data
        chunks: list[bytes] = []
        while len(self._rest) >= _HEADER:
            size = int.from_bytes(self._rest[4:8], "little")
            if not _HEADER <= size <= _LARGEST:
                size = len(self._rest)
            if len(self._rest) < size:
                break
            chunks.append(self._rest[:size])
            self._rest = self._rest[size:]
        return chunks


class TappedTransport(asyncio.Transport):
    """A transport that shows every chunk to a tap before it is sent."""

    def __init__(self, inner: asyncio.Transport, tap: WireTap) -> None:
        super().__init__()
        self._inner, self._tap = inner, tap
        self._sent = ChunkSplitter()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        for chunk in self._sent.feed(bytes(data)):
            self._tap(True, chunk)
        self._inner.write(data)

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        self._inner.abort()
