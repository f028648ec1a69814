"""Capture files: packets with their time. Classic pcap in both byte orders, microseconds and nanoseconds; pcapng."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from connectors.captures.packet import LARGEST_PACKET, Packet
from connectors.captures.pcapng import MAGIC as PCAPNG
from connectors.captures.pcapng import pcapng_packets
from mines.errors import CaptureError

_HEADER = 24
_RECORD = 16

_BYTE_ORDER_AND_TICK_NS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


def read_packets(path: Path) -> Iterator[Packet]:
    """Every packet of a pcap or pcapng file, in file order; whatever can be read comes before the error.

    Raises:
        CaptureError: the file is no pcap, or it is cut or damaged; the message names the file, the number of the
            packet and the byte where it begins.
    """
    try:
        file = path.open("rb")
    except OSError as err:
        raise CaptureError(f"{path}:0: file: {err.strerror}; expected a pcap file") from err
    with file:
        magic = file.read(4)
        file.seek(0)
        yield from pcapng_packets(file, path) if magic == PCAPNG else _packets(file, path)


def _packets(file: BinaryIO, path: Path) -> Iterator[Packet]:
    order, tick_ns, link_type = _file_header(file.read(_HEADER), path)
    record = struct.Struct(order + "IIII")
    number, offset = 0, _HEADER
    while head := file.read(_RECORD):
        number += 1
        if len(head) < _RECORD:
            raise _cut(path, number, offset, _RECORD, len(head))
        seconds, fraction, kept, _ = record.unpack(head)
        if kept > LARGEST_PACKET:
            raise CaptureError(
                f"{path}:{number}: byte {offset}: packet length {kept} is no packet's; "
                f"expected at most {LARGEST_PACKET} bytes"
            )
        data = file.read(kept)
        if len(data) < kept:
            raise _cut(path, number, offset, _RECORD + kept, _RECORD + len(data))
        offset += _RECORD + kept
        yield Packet(seconds * 1_000_000_000 + fraction * tick_ns, link_type, data, offset)


def _file_header(head: bytes, path: Path) -> tuple[str, int, int]:
    """Byte order, length of a tick [ns], link type."""
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
