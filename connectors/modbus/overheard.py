"""A serial line that another system polls, from its bytes alone: which request, and what was answered. Pure.

A reply belongs to the request right before it, of the same unit and function, with as many bytes as were asked for; any
other is nobody's. Requests and replies look alike, and one may be the other (8 bytes of function 1 or 2): it is the
reply where it came sooner than any master asks again. A reply that could as well be a late one to an earlier request is
none. Where there is a doubt there is no value.
Source: MODBUS over Serial Line Specification V1.02; MODBUS Application Protocol V1.1b3, 6.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from connectors.modbus.address import Table
from connectors.modbus.mbap import DEVICE_IDENTIFICATION, EXCEPTION_BIT, READ_FUNCTIONS, Answer, reason_of_exception
from connectors.modbus.plan import MAX_BITS, MAX_REGISTERS, ReadRequest
from connectors.modbus.rtu import LONGEST_FRAME, READ_REQUEST_BYTES, SHORTEST_FRAME, crc16, reply_end
from mines.quality import Reason

LATEST_REPLY_S: Final = 5.0
"""A reply comes within this time of its request, or it is not believed to be one: the ceiling of a poll's timeout."""
WRITES: Final = frozenset({5, 6, 15, 16, 21, 22, 23})
_TABLES: Final = {table.function: table for table in Table}
_LENGTHS: Final = {7: (4, 5), 11: (4, 8), 12: (4,), 17: (4,), 22: (10,), 24: (6,)}
_COUNTED: Final = {12: 2, 17: 2, 20: 2, 21: 2, 23: 2}  # where the byte count of a reply, or of either, stands
PROMPT_S: Final = 0.05
"""No master gives a request up so soon (project default; the standard names one second and more at 9,600 baud)."""
_GARBLED_BYTES: Final = SHORTEST_FRAME  # so much noise between a request and the next one was a reply

Stamp = tuple[int, int]
"""Wall [ms], monotonic [ns]."""
Heard = tuple[ReadRequest, Answer]


@dataclass(frozen=True, slots=True)
class _Asked:
    request: ReadRequest
    stamp: Stamp
    frame: bytes
    sure: bool = True  # False where it may have been a reply: then its points are not told of silence

    @property
    def reply_bytes(self) -> int:
        count = self.request.count
        return (count + 7) // 8 if self.request.table.of_bits else 2 * count

    @property
    def key(self) -> tuple[int, int, int]:
        """All that a reply tells of its request."""
        return self.request.unit, self.request.table.function, self.reply_bytes

    def begins(self, data: bytes) -> bool:
        """True where the data begin like its reply."""
        return data.startswith(bytes(self.key))


class LineEar:
    """Listens to one line; never says a word.

    Args:
        character_s: One character on the wire [s].
    """

    def __init__(self, character_s: float) -> None:
        self.counters: Counter[str] = Counter()
        """Requests heard, writes seen, noise bytes, unmatched replies, doubtful replies."""
        self._prompt_s = PROMPT_S + READ_REQUEST_BYTES * character_s
        self._buffer = b""
        self._arrivals: deque[tuple[int, Stamp]] = deque()  # of the bytes in it, piece by piece
        self._asked: _Asked | None = None  # the request whose reply comes next
        self._missed: dict[tuple[int, int, int], _Asked] = {}  # by unit, function and bytes: may still be answered late
        self._written = b""  # a write request, whose echo follows
        self._noise = 0  # bytes since the request

    def heard(self, data: bytes, stamp: Stamp) -> list[Heard]:
        """Takes bytes as they arrive; what has become of requests by them.

        Args:
            data: As they were on the line.
            stamp: When the last of them came.
        """
        self._buffer += data
        self._arrivals.append((len(data), stamp))
        return self._frames(silent=False)

    def silent(self, stamp: Stamp) -> list[Heard]:
        """The line has been silent: what has begun like a frame is none. As `heard` otherwise."""
        return self._frames(silent=True) + self._overdue(stamp)

    def _frames(self, *, silent: bool) -> list[Heard]:
        found: list[Heard] = []
        while self._buffer:
            end = self._frame_end()
            if end:
                frame = self._buffer[:end]
                found += self._take(frame, self._cut(end))
            elif end is None and not silent:
                break
            else:
                self._cut(1)
                self._noise += 1
                self.counters["noise bytes"] += 1
        return found

    def _cut(self, size: int) -> Stamp:
        """Takes bytes from the head of the buffer; when the last of them came."""
        self._buffer = self._buffer[size:]
        while True:
            there, stamp = self._arrivals[0]
            if there > size:
                self._arrivals[0] = there - size, stamp
                return stamp
            self._arrivals.popleft()
            size -= there
            if not size:
                return stamp

    def _frame_end(self) -> int | None:
        """Where the frame ends that begins with the first byte; 0 where none does, None where one might."""
        buffer = self._buffer
        ends = frame_ends(buffer)
        if self._asked is not None and self._asked.begins(buffer):
            end = self._asked.reply_bytes + 5
            if end > len(buffer):
                return None
            ends.insert(0, end)
        whole = next((end for end in ends if 0 < end <= len(buffer) and crc16(buffer[:end]) == 0), 0)
        more = len(buffer) < LONGEST_FRAME and any(end < 0 or end > len(buffer) for end in ends)
        return whole or (None if more else 0)

    def _take(self, frame: bytes, stamp: Stamp) -> list[Heard]:
        found = self._overdue(stamp)
        asked, request = self._asked, _read_request(frame)
        doubtful = False
        if asked is not None and asked.begins(frame) and len(frame) == asked.reply_bytes + 5:
            garbled = self._noise >= _GARBLED_BYTES  # perhaps another request, whose reply this is
            prompt = asked.sure and _between_s(asked.stamp, stamp) <= self._prompt_s
            if not garbled and (request is None or prompt):
                return found + self._answered(asked, frame, stamp)
            doubtful = True
            self._missed[asked.key] = asked
            found += self._doubtful(asked, stamp)
        if request is not None:
            self.counters["requests heard"] += 1
            found += self._unanswered(stamp)
            self._asked = _Asked(request, stamp, frame, sure=not doubtful)
            self._noise, self._written = 0, b""
        elif asked is not None and frame[:2] == bytes([asked.frame[0], asked.frame[1] | EXCEPTION_BIT]):
            found.append(self._refused(asked, frame[2], stamp))
        else:
            found += self._other(frame, stamp)
        return found

    def _other(self, frame: bytes, stamp: Stamp) -> list[Heard]:
        """A write, a frame that does not fit, or one that nobody here has a use for."""
        asked, function = self._asked, frame[1]
        found: list[Heard] = []
        if function & ~EXCEPTION_BIT in WRITES:
            if function & EXCEPTION_BIT or (self._written and self._written[:2] == frame[:2]):
                self._written = b""  # the echo, or the short reply
            else:
                self.counters["writes seen"] += 1
                self._written = frame
            found += self._unanswered(stamp)
        elif asked is not None and frame[:1] == asked.frame[:1] and function & ~EXCEPTION_BIT in READ_FUNCTIONS:
            found += self._unanswered(stamp, Reason.WRONG_REPLY, "wrong reply")
        elif function & ~EXCEPTION_BIT in READ_FUNCTIONS:
            self.counters["unmatched replies"] += 1
        return found

    def _answered(self, asked: _Asked, frame: bytes, stamp: Stamp) -> list[Heard]:
        missed = self._missed.get(asked.key)
        if missed is not None and missed.request != asked.request:
            if _between_s(missed.stamp, stamp) <= LATEST_REPLY_S:
                self._missed[asked.key] = _Asked(asked.request, missed.stamp, asked.frame)  # its own may come yet
                return self._doubtful(asked, stamp)
        self._forget(asked, any_key=missed is None)
        duration_ms = self._ended(asked, stamp)
        answer = Answer(frame[3:-2], Reason.NONE, "", *stamp, heard=True, duration_ms=duration_ms)
        return [(asked.request, answer)]

    def _refused(self, asked: _Asked, code: int, stamp: Stamp) -> Heard:
        word, duration_ms = f"exception {code}", self._ended(asked, stamp)
        return asked.request, Answer(None, reason_of_exception(code), word, *stamp, heard=True, duration_ms=duration_ms)

    def _doubtful(self, asked: _Asked, stamp: Stamp) -> list[Heard]:
        self.counters["doubtful replies"] += 1
        self._ended(asked, stamp)
        answer = Answer(None, Reason.WRONG_REPLY, "doubtful reply", *stamp, heard=True)
        return [(asked.request, answer)] if asked.sure else []

    def _unanswered(self, stamp: Stamp, reason: Reason = Reason.TIMEOUT, word: str = "timeout") -> list[Heard]:
        asked = self._asked
        if asked is None:
            return []
        if reason is Reason.TIMEOUT:
            self._missed[asked.key] = asked
            if self._noise >= _GARBLED_BYTES:
                reason, word = Reason.WRONG_REPLY, "garbled reply"
        self._ended(asked, stamp)
        answer = Answer(None, reason, word, *stamp, heard=reason is Reason.WRONG_REPLY)
        return [(asked.request, answer)] if asked.sure else []

    def _overdue(self, stamp: Stamp) -> list[Heard]:
        overdue = self._asked is not None and _between_s(self._asked.stamp, stamp) > LATEST_REPLY_S
        return self._unanswered(stamp) if overdue else []

    def _ended(self, asked: _Asked, stamp: Stamp) -> float:
        """The request is no longer waited for; how long it took [ms]."""
        self._asked, self._noise = None, 0
        return 1000 * _between_s(asked.stamp, stamp)

    def _forget(self, asked: _Asked, *, any_key: bool) -> None:
        """A device answers in turn: behind an answer that is surely its own nothing older can come."""
        unit = asked.request.unit
        keys = [key for key in self._missed if key == asked.key or (any_key and key[0] == unit)]
        for key in keys:
            del self._missed[key]


def _between_s(before: Stamp, after: Stamp) -> float:
    return (after[1] - before[1]) / 1e9


def frame_ends(data: bytes) -> list[int]:
    """Where a frame, request or reply, that begins with the data may end; -1 where more bytes must come to tell."""
    if len(data) < 2:
        return [-1]
    function = data[1]
    ends = list(_LENGTHS.get(function, ()))
    if function in READ_FUNCTIONS or function in (5, 6, 15, 16):
        ends.append(READ_REQUEST_BYTES)
    if function & EXCEPTION_BIT:
        ends.append(5)
    elif function in READ_FUNCTIONS:
        ends.append(reply_end(data, 0) or -1)
    elif function in _COUNTED:
        ends.append(_counted(data, _COUNTED[function]))
    if function in (15, 16):
        ends.append(_counted(data, 6))
    if function == 23:
        ends.append(_counted(data, 10))
    if function == DEVICE_IDENTIFICATION[0]:
        ends += [7, reply_end(data, 0) or -1]
    if function == 8:
        ends.append(READ_REQUEST_BYTES)
    return [end for end in ends if end <= LONGEST_FRAME]


def _counted(data: bytes, at: int) -> int:
    """End of a frame whose byte count stands at `at`."""
    return at + 1 + data[at] + 2 if len(data) > at else -1


def _read_request(frame: bytes) -> ReadRequest | None:
    """The request that a frame is, or could be; None where it is none."""
    table = _TABLES.get(frame[1])
    if table is None or len(frame) != READ_REQUEST_BYTES:
        return None
    first, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
    most = MAX_BITS if table.of_bits else MAX_REGISTERS
    return ReadRequest(frame[0], table, first, count, ()) if 0 < count <= most and first + count <= 0x10000 else None
