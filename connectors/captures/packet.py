"""A captured packet, whatever the file that holds it."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_PACKET = 262_144
"""No capture program keeps more of one packet (libpcap's largest snap length): a larger length is damage."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as captured: time [ns since 1970 UTC], link type of its interface, bytes from the link header on;
    `end` is where the next one begins in the file."""

    time_ns: int
    link_type: int
    data: bytes
    end: int
