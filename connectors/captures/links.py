"""Where the IP packet begins behind a link header: Ethernet, BSD NULL and LOOP, raw IP, Linux cooked. Pure.

Source: the list of link-layer header types of tcpdump.org; IEEE 802.1Q (tags, one or several).
"""

from __future__ import annotations

from typing import Final

IPV4, IPV6 = 0x0800, 0x86DD
"""EtherTypes."""

ETHERNET: Final = 1
_NULL, _LOOP = 0, 108
_RAW: Final = frozenset({12, 14, 101, 228, 229})
_ETHERTYPE_AT: Final = {ETHERNET: 12, 113: 14, 276: 0}
_HEADER: Final = {ETHERNET: 14, 113: 16, 276: 20}

READ_LINKS: Final = frozenset({_NULL, _LOOP, *_RAW, *_ETHERTYPE_AT})
"""The link types that are read."""

LINK_NAMES: Final = {
    0: "BSD NULL",
    1: "Ethernet",
    9: "PPP",
    101: "raw IP",
    105: "IEEE 802.11",
    108: "BSD LOOP",
    113: "Linux cooked",
    127: "IEEE 802.11 radio",
    189: "USB",
    276: "Linux cooked 2",
}

_VLAN_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_FAMILY_IPV4: Final = 2
_FAMILIES_IPV6: Final = frozenset({10, 23, 24, 28, 30})  # Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS


def link_name(link_type: int) -> str:
    """As a person knows it: `1 (Ethernet)`."""
    return f"{link_type} ({LINK_NAMES.get(link_type, 'unknown')})"


def ip_in(link_type: int, data: bytes) -> tuple[int, int] | None:
    """EtherType of the packet and where it begins [byte]; None where it is no IP, or the link type is not read."""
    if link_type in _ETHERTYPE_AT:
        return _in_frame(data, _ETHERTYPE_AT[link_type], _HEADER[link_type])
    if link_type in (_NULL, _LOOP):
        return _in_family(data)
    if link_type in _RAW and data:
        return _by_version(data, 0)
    return None


def _in_frame(data: bytes, type_at: int, offset: int) -> tuple[int, int] | None:
    kind = int.from_bytes(data[type_at : type_at + 2], "big")
    while kind in _VLAN_TAGS:
        kind = int.from_bytes(data[offset + 2 : offset + 4], "big")
        offset += 4
    return (kind, offset) if kind in (IPV4, IPV6) else None


def _in_family(data: bytes) -> tuple[int, int] | None:
    """Four bytes of address family, in the byte order of the machine that captured: only small numbers are families."""
    family = min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
    if family == _FAMILY_IPV4:
        return IPV4, 4
    return (IPV6, 4) if family in _FAMILIES_IPV6 else None


def _by_version(data: bytes, at: int) -> tuple[int, int] | None:
    version = data[at] >> 4
    return (IPV4, at) if version == 4 else (IPV6, at) if version == 6 else None
