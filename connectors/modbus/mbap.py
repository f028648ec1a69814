"""Modbus TCP on one connection: what may leave, and what may be taken for the answer. Pure.

pymodbus matches a reply by unit and transaction only, takes transaction 0 for any request, and checks neither function
nor count (libraries P1, P3). So every byte passes the guard first: a reply that does not fit is never a number, and a
stream that has lost its frame boundary is closed, not searched.
Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3; MODBUS Application Protocol V1.1b3, 6 and 7.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mines.errors import SourceError
from mines.quality import Reason

EXCEPTION_BIT: Final = 0x80
READ_FUNCTIONS: Final = frozenset({1, 2, 3, 4})
DEVICE_IDENTIFICATION: Final = (43, 14)
"""Function and MEI type: the one other thing that may be asked."""

_HEADER = struct.Struct(">HHHBB")  # transaction, protocol, length, unit, function
_PREFIX = 6  # bytes before the length begins to count
_SHORTEST, _LONGEST = 3, 254  # of the length field: unit, function and at least one byte; unit and 253 bytes

_EXCEPTIONS: Final = {
    1: Reason.ILLEGAL_FUNCTION,
    2: Reason.ILLEGAL_ADDRESS,
    3: Reason.ILLEGAL_VALUE,
    4: Reason.DEVICE_FAILURE,
    5: Reason.DEVICE_BUSY,  # accepted, takes long
    6: Reason.DEVICE_BUSY,
    8: Reason.DEVICE_FAILURE,  # memory parity error
    10: Reason.GATEWAY_PATH,
    11: Reason.GATEWAY_NO_RESPONSE,
}


class WriteRefused(SourceError):
    """Something that is no read was about to leave the box: a defect of ours, stopped at the single send point."""


class Verdict(Enum):
    """What the guard makes of the bytes that have arrived."""

    PENDING = auto()  # nothing for the request in flight yet
    ANSWERED = auto()  # a fitting reply or an exception stands in the buffer
    REFUSED = auto()  # an answer to the request in flight that does not fit it
    BROKEN = auto()  # no Modbus, or an answer that cannot be told from another: close the connection


@dataclass(frozen=True, slots=True)
class _Expected:
    transaction: int
    unit: int
    function: int
    data_bytes: int | None  # of the reply; None = not known beforehand
    head: bytes  # what a fitting reply begins with, up to its byte count
    size: int  # of a fitting reply; 0 = not known beforehand


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one read: its data bytes, or the reason why there are none.

    `heard` is True where the other side said anything that belongs to the request, even an exception: the link lives.
    `word` is for people: timeout, exception 2, wrong reply …; `duration_ms` is the round trip.
    """

    payload: bytes | None
    reason: Reason
    word: str
    receive_time_ms: int
    monotonic_ns: int
    heard: bool = False
    duration_ms: float | None = None


def reason_of_exception(code: int) -> Reason:
    """The reason for an exception code; BAD_OTHER for one that the protocol does not know."""
    return _EXCEPTIONS.get(code, Reason.BAD_OTHER)


class ReplyGuard:
    """Everything that crosses one connection, with at most one request in flight.

    Args:
        seen: Called with every whole frame: sending or not, and its bytes.
    """

    def __init__(self, seen: Callable[[bool, bytes], None] | None = None) -> None:
        self.late = 0
        """Replies that came after their request was given up: told by their transaction and dropped."""
        self.at_boundary = True
        """False while the last bytes received are the beginning of a frame."""
        self.complaint = ""
        """What was wrong with the last refused or broken answer."""
        self._seen = seen
        self._expected: _Expected | None = None
        self._judged = 0  # bytes at the head of the receiver's buffer that have been judged before

    def sending(self, frame: bytes) -> None:
        """Lets a request pass and expects its answer.

        Raises:
            WriteRefused: it is neither a read (functions 1-4) nor read device identification (43/14).
        """
        transaction, _, _, unit, function = _HEADER.unpack_from(frame)
        if function in READ_FUNCTIONS and len(frame) == 12:
            count = int.from_bytes(frame[10:12], "big")
            data_bytes = (count + 7) // 8 if function < 3 else 2 * count
        elif function == DEVICE_IDENTIFICATION[0] and frame[8:9] == bytes(DEVICE_IDENTIFICATION[1:]):
            data_bytes = None
        else:
            raise WriteRefused(f"function {function} is not on the read-only list")
        head, size = b"", 0
        if data_bytes is not None and data_bytes <= _LONGEST - 3 and transaction:
            head = _HEADER.pack(transaction, 0, 3 + data_bytes, unit, function) + bytes((data_bytes,))
            size = len(head) + data_bytes
        self._expected = _Expected(transaction, unit, function, data_bytes, head, size)
        self._judged = 0  # the receiver empties its buffer with every send
        if self._seen is not None:
            self._seen(True, frame)

    def given_up(self) -> None:
        """The request in flight has had its time: what still comes is late."""
        self._expected = None

    def received(self, buffer: bytes) -> tuple[Verdict, bool]:
        """Judges what has arrived.

        Args:
            buffer: All bytes that the receiver holds, those it was given before included.
        Returns:
            The verdict, and whether the receiver may look at the buffer: it may not where it would make
            something else of it than the guard does.
        """
        expected = self._expected
        if expected is not None and len(buffer) == expected.size and not self._judged:
            if buffer.startswith(expected.head):  # the fitting reply, whole and alone: nearly always so
                self.at_boundary = True
                if self._seen is not None:
                    self._seen(False, buffer)
                return self._answered(), True
        verdict, consumed, at = Verdict.PENDING, 0, self._judged
        if at > len(buffer):  # the receiver has thrown bytes away
            return self._broken("bytes lost"), False
        while (end := self._frame_end(buffer, at)) > at:
            frame, at = buffer[at:end], end
            if self._seen is not None:
                self._seen(False, frame)
            judged = self._judge(frame)
            if judged is Verdict.BROKEN:
                return judged, False
            if verdict is Verdict.PENDING:
                verdict, consumed = judged, end
        self.at_boundary = at == len(buffer)
        if end < 0:
            return self._broken("no Modbus TCP header", buffer[at:]), False
        visible = verdict is Verdict.ANSWERED or (verdict is Verdict.PENDING and self._expected is not None)
        self._judged = at - (consumed if visible else 0)
        return verdict, visible

    def _frame_end(self, buffer: bytes, at: int) -> int:
        """End of the frame that begins at `at`; `at` where it is not whole yet, -1 where it is none."""
        if len(buffer) - at < _HEADER.size:
            return at
        _, protocol, length, _, _ = _HEADER.unpack_from(buffer, at)
        if protocol or not _SHORTEST <= length <= _LONGEST:
            return -1
        end = at + _PREFIX + int(length)
        return end if end <= len(buffer) else at

    def _judge(self, frame: bytes) -> Verdict:
        transaction, _, _, unit, function = _HEADER.unpack_from(frame)
        expected = self._expected
        if transaction == 0:
            return self._broken("transaction 0")  # may answer any request: never matched (P3)
        if expected is None or transaction != expected.transaction:
            self.late += 1
            return Verdict.PENDING
        if unit != expected.unit:
            return self._refused(f"unit {unit} answered for {expected.unit}")
        if function == expected.function | EXCEPTION_BIT:
            return self._answered() if len(frame) == _HEADER.size + 1 else self._broken("length of an exception")
        if function != expected.function:
            return self._refused(f"function {function} answered {expected.function}")
        if expected.data_bytes is None:
            mei = frame[_HEADER.size]
            return self._answered() if mei == DEVICE_IDENTIFICATION[1] else self._refused(f"MEI type {mei}")
        stated, found = frame[_HEADER.size], len(frame) - _HEADER.size - 1
        if stated != found:
            return self._broken(f"byte count {stated} with {found} bytes")
        return self._answered() if found == expected.data_bytes else self._refused(f"{found} bytes of data")

    def _answered(self) -> Verdict:
        self._expected = None
        return Verdict.ANSWERED

    def _refused(self, complaint: str) -> Verdict:
        self._expected = None
        self.complaint = complaint
        return Verdict.REFUSED

    def _broken(self, complaint: str, rest: bytes = b"") -> Verdict:
        self._expected = None
        self.complaint = complaint
        if rest and self._seen is not None:
            self._seen(False, rest)
        return Verdict.BROKEN
