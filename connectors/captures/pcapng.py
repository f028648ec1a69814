"""pcapng files: packets of every section and interface with their capture time.

Source: the IETF draft draft-ietf-opsawg-pcapng; section header, interface description, enhanced and the obsolete packet
block. A simple packet block carries no time, and a packet without one is of no use here: that is said, never guessed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from connectors.captures.packet import LARGEST_PACKET, Packet
from mines.errors import CaptureError

MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_SECTION: Final = 0x0A0D0D0A
_INTERFACE, _OBSOLETE, _SIMPLE, _ENHANCED = 1, 2, 3, 6
_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_FRAME: Final = 12  # type, length, and the length once more at the end
_LARGEST_BLOCK: Final = 1 << 24
_RESOLUTION, _OFFSET, _END_OF_OPTIONS = 9, 14, 0
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Interface:
    """Link type, ticks of its clock in a second, and what is to be added to its times [s]."""

    link_type: int
    ticks: int = 1_000_000
    offset_s: int = 0

    def time_ns(self, stamp: int) -> int:
        return self.offset_s * _NS + stamp * _NS // self.ticks


def pcapng_packets(file: BinaryIO, path: Path) -> Iterator[Packet]:
    """Every packet of an open pcapng file, in file order; whatever can be read comes before the error.

    Raises:
        CaptureError: cut or damaged; the message names the file, the number of the block and the byte where it begins.
    """
    yield from _Blocks(file, path).packets()


class _Blocks:
    """Goes through the blocks of one file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._number = 0
        self._offset = 0  # where the block at hand begins
        self._end = 0
        self._order = "<"
        self._interfaces: list[_Interface] = []

    def packets(self) -> Iterator[Packet]:
        while (block := self._next()) is not None:
            kind, body = block
            if kind == _SECTION:
                self._interfaces = []
            elif kind == _INTERFACE:
                self._interfaces.append(self._interface(body))
            elif kind == _SIMPLE:
                raise self._error("a packet without a time; expected enhanced packet blocks")
            elif kind in (_ENHANCED, _OBSOLETE):
                yield self._packet(kind, body)

    def _next(self) -> tuple[int, bytes] | None:
        """Type and body of the next block; None at the end of the file."""
        self._offset = self._end
        head = self._file.read(8)
        if not head:
            return None
        self._number += 1
        begin = b""
        if head[:4] == MAGIC:
            begin = self._file.read(4)
            if len(begin) == 4 and begin not in _ORDERS:
                raise self._error(f"a pcapng section of no byte order ({begin.hex()}); expected 1a2b3c4d")
            self._order = _ORDERS.get(begin, self._order)
        if len(head) < 8 or (head[:4] == MAGIC and len(begin) < 4):
            raise self._cut(_FRAME, len(head) + len(begin))
        kind, length = struct.unpack(self._order + "II", head)
        if not _FRAME + len(begin) <= length <= _LARGEST_BLOCK or length % 4:
            raise self._error(f"block length {length} is no block's; expected {_FRAME} to {_LARGEST_BLOCK}, by fours")
        rest = self._file.read(length - 8 - len(begin))
        if len(rest) < length - 8 - len(begin):
            raise self._cut(length, 8 + len(begin) + len(rest))
        self._end += length
        return kind, begin + rest[:-4]

    def _interface(self, body: bytes) -> _Interface:
        if len(body) < 8:
            raise self._error("a short interface description")
        (link_type,) = struct.unpack_from(self._order + "H", body)
        options = dict(self._options(body[8:]))
        resolution = options.get(_RESOLUTION, b"\x06")[:1] or b"\x06"
        exponent = resolution[0] & 0x7F
        ticks = 2**exponent if resolution[0] & 0x80 else 10**exponent
        offset = options.get(_OFFSET, b"")
        offset_s = struct.unpack(self._order + "q", offset)[0] if len(offset) == 8 else 0
        return _Interface(link_type, ticks, offset_s)

    def _options(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        at = 0
        while at + 4 <= len(data):
            code, length = struct.unpack_from(self._order + "HH", data, at)
            if code == _END_OF_OPTIONS:
                return
            yield code, data[at + 4 : at + 4 + length]
            at += 4 + (length + 3) // 4 * 4

    def _packet(self, kind: int, body: bytes) -> Packet:
        if len(body) < 20:
            raise self._error("a short packet block")
        shape = "IIIII" if kind == _ENHANCED else "HHIIII"
        numbers = struct.unpack_from(self._order + shape, body)
        interface, (high, low, kept) = numbers[0], numbers[-4:-1]
        if interface >= len(self._interfaces):
            raise self._error(f"a packet of interface {interface}, which the section does not describe")
        if kept > LARGEST_PACKET or kept > len(body) - 20:
            raise self._error(f"packet length {kept} is no packet's; expected at most {len(body) - 20} bytes")
        of = self._interfaces[interface]
        return Packet(of.time_ns(high << 32 | low), of.link_type, body[20 : 20 + kept], self._end)

    def _cut(self, expected: int, found: int) -> CaptureError:
        return self._error(f"the pcapng file is cut in this block; expected {expected} bytes, found {found}")

    def _error(self, what: str) -> CaptureError:
        return CaptureError(f"{self._path}:{self._number}: byte {self._offset}: {what}")
