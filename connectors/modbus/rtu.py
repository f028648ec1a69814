"""RTU frames: what may leave, and which bytes may be taken for the answer. Pure.

Nothing in an RTU frame says which request it answers, and nothing marks where it begins. So the bytes between two
silences are judged together: they must hold one frame that fits the request in flight in unit, function, byte count and
CRC. Stray bytes around it and the echo of the request are noise; a second frame, or the beginning of one, spoils both.
Source: MODBUS over Serial Line Specification V1.02, 2.5.1; MODBUS Application Protocol V1.1b3, 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from connectors.modbus.identification import objects_end
from connectors.modbus.mbap import DEVICE_IDENTIFICATION, EXCEPTION_BIT, READ_FUNCTIONS, Verdict, WriteRefused

LONGEST_FRAME: Final = 256
SHORTEST_FRAME: Final = 4
READ_REQUEST_BYTES: Final = 8
_IDENTIFY_REQUEST_BYTES: Final = 7
_EXCEPTION_BYTES: Final = 5
_AROUND_DATA: Final = 5  # unit, function, byte count and CRC
_IDENTIFICATION_HEAD: Final = 8  # unit, function, MEI type, code, conformity, more, next object, number of objects
_FRAMED: Final = frozenset({*READ_FUNCTIONS, 5, 6, 15, 16, 22, 43})
"""Functions whose frames are known here."""
_ECHOED: Final = frozenset({5, 6, 15, 16})  # write replies of 8 bytes
_MASK_WRITE: Final = (22, 10)
_MOST_BURST: Final = 4 * LONGEST_FRAME
_LEADING_NOISE: Final = 3  # bytes; what begins later is not counted as an attempt of the unit to answer


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16 of Modbus; 0 over a frame that ends with its own."""
    crc, table = 0xFFFF, _CRC_TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc


def with_crc(body: bytes) -> bytes:
    """A frame: unit, function and data, and their CRC, its low byte first."""
    return body + crc16(body).to_bytes(2, "little")


def reply_end(data: bytes, at: int) -> int | None:
    """Where a reply that begins at `at` ends by its own words; None where they are not there yet, or say nothing."""
    if len(data) < at + 3:
        return None
    function = data[at + 1]
    if function & EXCEPTION_BIT:
        return at + _EXCEPTION_BYTES
    if function in READ_FUNCTIONS:
        return at + _AROUND_DATA + data[at + 2]
    if function in _ECHOED:
        return at + READ_REQUEST_BYTES
    if function == _MASK_WRITE[0]:
        return at + _MASK_WRITE[1]
    if data[at + 1 : at + 3] == bytes(DEVICE_IDENTIFICATION) and len(data) >= at + _IDENTIFICATION_HEAD:
        end = objects_end(data, at + _IDENTIFICATION_HEAD, data[at + _IDENTIFICATION_HEAD - 1])
        return None if end is None else end + 2
    return None


def whole_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each frame in the data with a fitting CRC, request or reply, one behind the other."""
    at = 0
    while at <= len(data) - SHORTEST_FRAME:
        if data[at + 1] & ~EXCEPTION_BIT not in _FRAMED:  # as most of what is noise
            at += 1
            continue
        ends = (reply_end(data, at), at + READ_REQUEST_BYTES)
        end = next((end for end in ends if end is not None and end <= len(data) and crc16(data[at:end]) == 0), None)
        if end is not None:
            yield at, end
        at = at + 1 if end is None else end


@dataclass(frozen=True, slots=True)
class _Expected:
    request: bytes
    data_bytes: int | None  # of the reply; None = not known beforehand

    @property
    def unit(self) -> int:
        return self.request[0]

    @property
    def function(self) -> int:
        return self.request[1]

    @property
    def heads(self) -> tuple[bytes, ...]:
        """How a reply begins: with data, or with an exception."""
        third = DEVICE_IDENTIFICATION[1] if self.data_bytes is None else self.data_bytes
        return bytes([self.unit, self.function, third]), bytes([self.unit, self.function | EXCEPTION_BIT])

    def end(self, burst: bytes, at: int) -> int | None:
        """Where the fitting reply that begins at `at` ends; None where none does or it is not whole yet."""
        if not burst.startswith(self.heads, at):
            return None
        end = reply_end(burst, at)
        return end if end is not None and end <= len(burst) and crc16(burst[at:end]) == 0 else None

    def stands_in(self, noise: bytes) -> bool:
        """True where the beginning of an answer of the unit, or a whole frame of its, stands there."""
        return any(head[:2] in noise for head in self.heads) or self.stands_whole_in(noise)

    def stands_whole_in(self, burst: bytes) -> bool:
        """True where a whole frame of the unit stands there; those of other units are only late."""
        return any(burst[at] == self.unit for at, _ in whole_frames(burst))

    def may_begin(self, burst: bytes) -> bool:
        """True where one could have begun that is not whole yet."""
        longest = LONGEST_FRAME if self.data_bytes is None else self.data_bytes + _AROUND_DATA
        heads = [(head, longest if head[1] == self.function else _EXCEPTION_BYTES) for head in self.heads]
        return any(
            head.startswith(burst[at : at + len(head)])
            for head, length in heads
            for at in range(max(0, len(burst) - length + 1), len(burst))
        )


class RtuGuard:
    """Everything that crosses one line, with at most one request in flight.

    Args:
        seen: Called with every request, and with the bytes of every burst once it has been judged: sending or not.
    """

    def __init__(self, seen: Callable[[bool, bytes], None] | None = None) -> None:
        self.late = 0
        """Frames that answer nothing that is being asked: late, double, or of another unit."""
        self.noise = 0
        """Bytes that were no frame; the echo of our own requests is not counted."""
        self.complaint = ""
        """What was wrong with the last refused answer."""
        self.heard = False
        """True where the last refused answer was an attempt of the unit that was asked."""
        self._seen = seen
        self._expected: _Expected | None = None
        self._gave_up: _Expected | None = None
        self._burst = b""

    @property
    def clean(self) -> bool:
        """False while bytes lie there that nothing has been made of."""
        return not self._burst

    def sending(self, frame: bytes) -> None:
        """Lets a request pass and expects its answer; what came before it is noise.

        Raises:
            WriteRefused: it is neither a read (functions 1-4) nor read device identification (43/14).
        """
        function = frame[1]
        if function in READ_FUNCTIONS and len(frame) == READ_REQUEST_BYTES:
            count = int.from_bytes(frame[4:6], "big")
            data_bytes: int | None = (count + 7) // 8 if function < 3 else 2 * count
        elif frame[1:3] == bytes(DEVICE_IDENTIFICATION) and len(frame) == _IDENTIFY_REQUEST_BYTES:
            data_bytes = None
        else:
            raise WriteRefused(f"function {function} is not on the read-only list")
        if data_bytes is not None and not 0 < data_bytes < LONGEST_FRAME:
            raise WriteRefused(f"no reply has {data_bytes} bytes of data")
        self.flush()
        self._expected = _Expected(frame, data_bytes)
        if self._seen is not None:
            self._seen(True, frame)

    def given_up(self) -> None:
        """The request in flight has had its time: what still comes is late."""
        self._gave_up, self._expected = self._expected, None

    def flush(self) -> None:
        """What lies there is made nothing of."""
        self._tell(self._burst)
        self._count(self._burst)
        self._burst = b""

    def received(self, data: bytes) -> None:
        """Takes bytes as they arrive."""
        self._burst += data
        if len(self._burst) > _MOST_BURST:  # nothing is ever this long: only its end may still become something
            self.noise += len(self._burst) - LONGEST_FRAME
            self._burst = self._burst[-LONGEST_FRAME:]

    @property
    def verdict(self) -> Verdict:
        """What becomes of the request in flight if nothing follows; BROKEN where there is none."""
        return Verdict.BROKEN if self._expected is None else self._judge(self._expected)[0]

    def take(self) -> tuple[Verdict, bytes]:
        """Nothing followed for long enough: the verdict, and the one frame that answers where it is ANSWERED."""
        if self._expected is None:
            self.flush()
            return Verdict.BROKEN, b""
        verdict, place = self._judge(self._expected)
        if verdict is Verdict.PENDING:
            return verdict, b""
        burst = self._without_echo(self._expected.request)
        at, end = place
        self._expected = None
        self._tell(self._burst)
        for beside in (burst[:at], burst[end:]):
            self._count(beside)
        self._burst = b""
        return verdict, burst[at:end]

    def garbled(self) -> bool:
        """True where something came for the request that was given up which is no answer; `complaint` says so."""
        if self._gave_up is None:
            return False
        burst = self._without_echo(self._gave_up.request)
        self._refused(self._gave_up, burst, "garbled reply")
        frames = sum(end - begin for begin, end in whole_frames(burst))  # late, or of other units
        self._gave_up = None
        self.flush()
        return len(burst) - frames >= SHORTEST_FRAME

    def _judge(self, expected: _Expected) -> tuple[Verdict, tuple[int, int]]:
        """The verdict, and where in the burst without its echo the answer lies."""
        burst = self._without_echo(expected.request)
        for at in range(len(burst) - SHORTEST_FRAME + 1):
            end = expected.end(burst, at)
            if end is not None:
                alone = not (expected.stands_in(burst[:at]) or expected.stands_in(burst[end:]))
                return (Verdict.ANSWERED, (at, end)) if alone else self._refused(expected, burst, "two answers")
        if expected.stands_whole_in(burst):
            return self._refused(expected, burst, "wrong reply")
        least = _EXCEPTION_BYTES if expected.data_bytes is None else expected.data_bytes + _AROUND_DATA
        rest = burst[max((end for _, end in whole_frames(burst)), default=0) :]  # behind late ones of other units
        if len(rest) >= least and not expected.may_begin(rest):
            return self._refused(expected, burst, "bad CRC")
        return Verdict.PENDING, (0, 0)

    def _refused(self, expected: _Expected, burst: bytes, complaint: str) -> tuple[Verdict, tuple[int, int]]:
        heads = tuple(head[:2] for head in expected.heads)
        self.complaint = complaint
        self.heard = any(burst.startswith(heads, at) for at in range(_LEADING_NOISE + 1))
        return Verdict.REFUSED, (0, 0)

    def _without_echo(self, request: bytes) -> bytes:
        """The burst without our own request, which an adapter of two wires hears itself send."""
        at = self._burst.find(request, 0, len(request) + _LEADING_NOISE)
        return self._burst if at < 0 else self._burst[:at] + self._burst[at + len(request) :]

    def _count(self, burst: bytes) -> None:
        """Counts what answers nothing: whole frames as late, the rest as noise."""
        at = 0
        for begin, end in whole_frames(burst):
            self.late += 1
            self.noise += begin - at
            at = end
        self.noise += len(burst) - at

    def _tell(self, burst: bytes) -> None:
        if burst and self._seen is not None:
            self._seen(False, burst)
