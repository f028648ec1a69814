"""From captured bytes to TCP segments, over IPv4 and IPv6. Pure; never raises on any bytes."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from connectors.captures.links import ETHERNET, IPV4, ip_in

_TCP = 6
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10

Endpoint = tuple[bytes, int]
"""Address (4 or 16 bytes) and port."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment. `ack` is None where the segment acknowledges nothing; `lost` bytes at the end of its payload
    were on the wire and are not in the capture (snap length)."""

    time_ns: int
    source: Endpoint
    target: Endpoint
    seq: int
    ack: int | None
    syn: bool
    fin: bool
    reset: bool
    payload: bytes
    lost: int


def endpoint_text(end: Endpoint) -> str:
    """`192.168.2.42:502` or `[fe80::1]:502`."""
    address = address_text(end)
    return f"[{address}]:{end[1]}" if len(end[0]) == 16 else f"{address}:{end[1]}"


def address_text(end: Endpoint) -> str:
    """The address alone."""
    return str(ipaddress.ip_address(end[0]))


def tcp_segment(time_ns: int, data: bytes, link_type: int = ETHERNET) -> Segment | None:
    """The TCP segment in a captured packet; None where there is none, a fragment, or not enough of it was captured."""
    found = ip_in(link_type, data)
    if found is None:
        return None
    kind, offset = found
    return _in_ipv4(time_ns, data, offset) if kind == IPV4 else _in_ipv6(time_ns, data, offset)


def _in_ipv4(time_ns: int, data: bytes, at: int) -> Segment | None:
    if len(data) < at + 20 or data[at] >> 4 != 4 or data[at + 9] != _TCP:
        return None
    header = (data[at] & 0x0F) * 4
    fragment = int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF  # offset, and the flag that more follow
    if header < 20 or fragment:
        return None
    total = int.from_bytes(data[at + 2 : at + 4], "big") or len(data) - at  # 0: the card cuts the segments later
    return _in_ip(time_ns, data, at + header, at + total, addresses=(data[at + 12 : at + 16], data[at + 16 : at + 20]))


def _in_ipv6(time_ns: int, data: bytes, at: int) -> Segment | None:
    if len(data) < at + 40 or data[at] >> 4 != 6:
        return None
    end = at + 40 + int.from_bytes(data[at + 4 : at + 6], "big")
    following, offset = data[at + 6], at + 40
    while following in _EXTENSIONS and len(data) >= offset + 2:
        following, offset = data[offset], offset + (data[offset + 1] + 1) * 8
    if following != _TCP:
        return None
    return _in_ip(time_ns, data, offset, end, addresses=(data[at + 8 : at + 24], data[at + 24 : at + 40]))


def _in_ip(time_ns: int, data: bytes, at: int, end: int, *, addresses: tuple[bytes, bytes]) -> Segment | None:
    """The segment at `at`; the packet ends at `end`, which may lie beyond what was captured."""
    if len(data) < at + 20:
        return None
    start = at + (data[at + 12] >> 4) * 4
    if start < at + 20 or start > end or start > len(data):
        return None
    payload = data[start:end]  # without the padding of short Ethernet frames
    flags = data[at + 13]
    return Segment(
        time_ns=time_ns,
        source=(addresses[0], int.from_bytes(data[at : at + 2], "big")),
        target=(addresses[1], int.from_bytes(data[at + 2 : at + 4], "big")),
        seq=int.from_bytes(data[at + 4 : at + 8], "big"),
        ack=int.from_bytes(data[at + 8 : at + 12], "big") if flags & _ACK else None,
        syn=bool(flags & _SYN),
        fin=bool(flags & _FIN),
        reset=bool(flags & _RST),
        payload=payload,
        lost=end - start - len(payload),
    )
