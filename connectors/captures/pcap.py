"""Classic pcap files: packets with their capture time. Both byte orders, microseconds and nanoseconds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mines.errors import CaptureError

_HEADER = 24
_RECORD = 16
_LARGEST_PACKET = 262_144
"""No capture program keeps more of one packet (libpcap's largest snap length): a larger length is damage."""

_BYTE_ORDER_AND_TICK_NS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as captured: time [ns since 1970 UTC], link type of the file, bytes from the link header on; `end` is
    where the next one begins in the file."""

    time_ns: int
    link_type: int
    data: bytes
    end: int


def read_packets(path: Path) -> Iterator[Packet]:
    """Every packet of a pcap file, in file order; whatever can be read comes before the error.

    Raises:
        CaptureError: the file is no pcap, or it is cut or damaged; the message names the file, the number of the
            packet and the byte where it begins.
    """
    try:
        file = path.open("rb")
    except OSError as err:
        raise CaptureError(f"{path}:0: file: {err.strerror}; expected a pcap file") from err
    with file:
        yield from _packets(file, path)


def _packets(file: BinaryIO, path: Path) -> Iterator[Packet]:
    order, tick_ns, link_type = _file_header(file.read(_HEADER), path)
    record = struct.Struct(order + "IIII")
    number, offset = 0, _HEADER
    while head := file.read(_RECORD):
        number += 1
        if len(head) < _RECORD:
            raise _cut(path, number, offset, _RECORD, len(head))
        seconds, fraction, kept, _ = record.unpack(head)
        if kept > _LARGEST_PACKET:
            raise CaptureError(
                f"{path}:{number}: byte {offset}: packet length {kept} is no packet's; "
                f"expected at most {_LARGEST_PACKET} bytes"
            )
        data = file.read(kept)
        if len(data) < kept:
            raise _cut(path, number, offset, _RECORD + kept, _RECORD + len(data))
        offset += _RECORD + kept
        yield Packet(seconds * 1_000_000_000 + fraction * tick_ns, link_type, data, offset)


def _file_header(head: bytes, path: Path) -> tuple[str, int, int]:
    """Byte order, length of a tick [ns], link type."""
    if head[:4] == _PCAPNG:
        raise CaptureError(f"{path}:0: byte 0: a pcapng file; expected a classic pcap file (editcap -F pcap converts)")
    if len(head) >= 4 and head[:4] not in _BYTE_ORDER_AND_TICK_NS:
        raise CaptureError(f"{path}:0: byte 0: not a pcap file; expected a pcap magic number, found {head[:4].hex()}")
    if len(head) < _HEADER:
        raise CaptureError(f"{path}:0: byte 0: cut in the file header; expected {_HEADER} bytes, found {len(head)}")
    order, tick_ns = _BYTE_ORDER_AND_TICK_NS[head[:4]]
    (link_field,) = struct.unpack_from(order + "I", head, 20)
    return order, tick_ns, link_field & 0xFFFF  # the upper half tells of a frame check sequence


def _cut(path: Path, number: int, offset: int, expected: int, found: int) -> CaptureError:
    return CaptureError(
        f"{path}:{number}: byte {offset}: the file is cut in this packet; expected {expected} bytes, found {found}"
    )
