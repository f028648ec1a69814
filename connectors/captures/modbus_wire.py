"""Modbus TCP on the wire: MBAP framing of a byte stream, and the shapes of requests and replies. Pure.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3; MODBUS Application Protocol V1.1b3, 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connectors.captures.tcp_streams import Chunk

PORT = 502
SECURE_PORT = 802
"""Modbus/TCP Security (TLS)."""
EXCEPTION_BIT = 0x80
WRITE_FUNCTIONS = frozenset({5, 6, 15, 16, 21, 22, 23})

_PREFIX = 6  # transaction, protocol, length
_SHORTEST, _LONGEST = 2, 254  # of the length field: unit and PDU
_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil", 16: "holding"}


@dataclass(frozen=True, slots=True)
class Adu:
    """One message. `time_ns` is when the last of its bytes was captured."""

    side: int
    time_ns: int
    transaction: int
    unit: int
    pdu: bytes


class Framer:
    """Messages of one direction. After an illegal header it drops the rest of that segment and tries the next one.

    After missing bytes a segment may begin anywhere in a message, and register data can look like a header: there a
    segment counts only if it is nothing but whole, plausible messages.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._in_step = True
        self._buffer = b""
        self._time_ns = 0

    def push(self, chunk: Chunk) -> Iterator[Adu]:
        """Takes the next bytes; gives the messages that they complete."""
        if chunk.after_gap:
            self._buffer = b""  # its rest is missing
            self._in_step = False
        if not self._in_step:
            self._in_step = _is_whole(chunk.data)
            if not self._in_step:
                return
        yield from self._framed(chunk)

    def _framed(self, chunk: Chunk) -> Iterator[Adu]:
        self._time_ns = max(self._time_ns, chunk.time_ns) if self._buffer else chunk.time_ns
        data = self._buffer + chunk.data
        at = 0
        while len(data) - at >= _PREFIX:
            if not is_header(data[at : at + _PREFIX]):
                self.malformed += 1
                self._buffer = b""
                return
            end = _end(data, at)
            if end > len(data):
                break
            yield Adu(chunk.side, self._time_ns, _word(data, at), data[at + 6], data[at + 7 : end])
            self._time_ns = chunk.time_ns
            at = end
        self._buffer = data[at:]


def _end(data: bytes, at: int) -> int:
    return at + _PREFIX + _word(data, at + 4)


def _is_whole(data: bytes) -> bool:
    """Whether a segment holds whole messages and nothing else."""
    at = 0
    while at < len(data):
        end = _end(data, at)
        pdu = data[at + 7 : end]
        if not is_header(data[at : at + _PREFIX]) or end > len(data):
            return False
        if not (looks_like_request(pdu) or looks_like_reply(pdu)):
            return False
        at = end
    return True


def is_header(prefix: bytes) -> bool:
    """Whether six bytes can begin a message: protocol 0 and a length of 2 … 254."""
    return prefix[2:4] == b"\0\0" and _SHORTEST <= int.from_bytes(prefix[4:6], "big") <= _LONGEST


@dataclass(frozen=True, slots=True)
class Access:
    """Registers or bits that a request touches: `count` of them in `table` from `first` on, counted from 0."""

    table: str
    first: int
    count: int
    write: bool


def read_access(pdu: bytes) -> Access | None:
    """What a request asks to read; None where it reads no register table or is not whole."""
    if pdu and pdu[0] in (1, 2, 3, 4) and len(pdu) == 5:
        return Access(_TABLES[pdu[0]], _word(pdu, 1), _word(pdu, 3), write=False)
    if pdu and pdu[0] == 23 and len(pdu) >= 10:
        return Access("holding", _word(pdu, 1), _word(pdu, 3), write=False)
    return None


def write_access(pdu: bytes) -> Access | None:
    """What a request asks to write; None where it writes no register table or is not whole."""
    function = pdu[0] if pdu else 0
    if function in (5, 6) and len(pdu) == 5:
        return Access(_TABLES[function], _word(pdu, 1), 1, write=True)
    if function in (15, 16) and len(pdu) >= 6:
        return Access(_TABLES[function], _word(pdu, 1), _word(pdu, 3), write=True)
    if function == 22 and len(pdu) == 7:
        return Access("holding", _word(pdu, 1), 1, write=True)
    if function == 23 and len(pdu) >= 10:
        return Access("holding", _word(pdu, 5), _word(pdu, 7), write=True)
    return None


def reply_data(request: bytes, reply: bytes) -> bytes | None:
    """The data bytes of a reply that fits its read request in function and count; None where it does not."""
    access = read_access(request)
    if access is None or len(reply) < 2 or reply[0] != request[0]:
        return None
    expected = (access.count + 7) // 8 if access.table in ("coil", "discrete") else 2 * access.count
    return reply[2:] if reply[1] == expected == len(reply) - 2 else None


def looks_like_request(pdu: bytes) -> bool:
    """Whether a master can have sent this; many messages can come from both sides."""
    function = pdu[0] if pdu else 0
    if function in (1, 2, 3, 4):
        return len(pdu) == 5 and 1 <= _word(pdu, 3) <= 2000
    if function in (15, 16):
        return len(pdu) >= 6 and len(pdu) == 6 + pdu[5]
    if function == 23:
        return len(pdu) >= 10 and len(pdu) == 10 + pdu[9]
    return 0 < function < EXCEPTION_BIT


def looks_like_reply(pdu: bytes) -> bool:
    """Whether a device can have sent this; many messages can come from both sides."""
    function = pdu[0] if pdu else 0
    if function & EXCEPTION_BIT:
        return len(pdu) == 2
    if function in (1, 2, 3, 4, 23):
        return len(pdu) >= 2 and len(pdu) == 2 + pdu[1]
    if function in (15, 16):
        return len(pdu) == 5
    return function > 0


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
