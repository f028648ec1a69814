"""Quality of a sample: one uint16 = severity (2 bits), one reason (6 bits), flags that may stand together (8 bits).

Severities and reasons are named after OPC UA status codes (Part 4, 7.39); the numbers are ours and are on disk:
a number once given is never given again. 报警, 断电 and 馈电异常 are alarm facts and have no place here.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import numpy as np
import numpy.typing as npt

QualityArray = npt.NDArray[np.uint16]

_SEVERITY_SHIFT: Final = 14
_REASON_SHIFT: Final = 8
_REASON_MASK: Final = 0x3F
_FLAGS_MASK: Final = 0xFF


class Severity(IntEnum):
    """How far a value may be trusted."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class Reason(IntEnum):
    """The one reason why a value is not plainly good. 0 … 63, on disk: never renumber, only add."""

    NONE = 0
    NO_COMMUNICATION = 1  # no connection to the device
    TIMEOUT = 2  # connected, asked, no answer in time
    ILLEGAL_FUNCTION = 3  # Modbus exception 1
    ILLEGAL_ADDRESS = 4  # Modbus exception 2
    ILLEGAL_VALUE = 5  # Modbus exception 3
    DEVICE_FAILURE = 6  # Modbus exception 4, BadDeviceFailure
    DEVICE_BUSY = 7  # Modbus exceptions 5 and 6
    GATEWAY_PATH = 8  # Modbus exception 10
    GATEWAY_NO_RESPONSE = 9  # Modbus exception 11
    WRONG_REPLY = 10  # wrong function, count, unit or protocol id in the reply
    SENSOR_FAILURE = 11  # 断线, 故障: a sentinel on the wire, BadSensorFailure
    NOT_A_NUMBER = 12  # NaN on the wire
    OUT_OF_RANGE = 13  # outside the instrument's span; the flags say on which side
    WAITING_FOR_INITIAL_DATA = 14
    CONFIGURATION_ERROR = 15
    NODE_UNKNOWN = 16  # BadNodeIdUnknown, BadNoSuchNode…
    ACCESS_DENIED = 17  # BadUserAccessDenied, BadNotReadable
    TYPE_MISMATCH = 18  # the value is no number
    LAST_USABLE_VALUE = 19
    SUBSTITUTE_VALUE = 20
    SENSOR_NOT_ACCURATE = 21
    SUB_NORMAL = 22
    OUT_OF_SERVICE = 23
    NOT_CONNECTED = 24  # BadNotConnected: the server's own link to the sensor
    SOURCE_DEFECT = 25  # an exception out of a source: our defect, said as one
    UNKNOWN_UNIT_STATE = 26  # e.g. a switch value that is none of the point's states
    BAD_OTHER = 27  # any other bad status
    UNCERTAIN_OTHER = 28  # any other uncertain status
    BLOCK_NOT_READ = 29  # a request was not sent: its line was busy or closing
    WRONG_DEVICE = 30  # what answers is not the device that the site means


class Flag(IntFlag):
    """Facts that may stand together, beside severity and reason."""

    CALIBRATING = 0x01  # 标校
    OVER_RANGE = 0x02  # 溢出 / 超量程
    UNDER_RANGE = 0x04  # 负漂
    BACKFILLED = 0x08  # 补录
    LATE = 0x10
    QUEUE_OVERFLOW = 0x20
    CLOCK_UNSURE = 0x40
    SPARE = 0x80


def quality(severity: Severity, reason: Reason = Reason.NONE, flags: Flag | int = 0) -> int:
    """One quality word."""
    return (severity << _SEVERITY_SHIFT) | (reason << _REASON_SHIFT) | int(flags)


GOOD: Final = quality(Severity.GOOD)


def bad(reason: Reason, flags: Flag | int = 0) -> int:
    """A bad quality word with its reason."""
    return quality(Severity.BAD, reason, flags)


def uncertain(reason: Reason, flags: Flag | int = 0) -> int:
    """An uncertain quality word with its reason."""
    return quality(Severity.UNCERTAIN, reason, flags)


def severities(words: QualityArray) -> npt.NDArray[np.uint8]:
    """Severity of each word, as in `Severity`. Shape (n,) in, (n,) out."""
    return (words >> _SEVERITY_SHIFT).astype(np.uint8)


def reasons(words: QualityArray) -> npt.NDArray[np.uint8]:
    """Reason of each word, as in `Reason`. Shape (n,) in, (n,) out."""
    return ((words >> _REASON_SHIFT) & _REASON_MASK).astype(np.uint8)


def severity_of(word: int) -> Severity:
    """Severity of one word."""
    return Severity(word >> _SEVERITY_SHIFT)


def reason_of(word: int) -> Reason:
    """Reason of one word."""
    return Reason((word >> _REASON_SHIFT) & _REASON_MASK)


def flags_of(word: int) -> Flag:
    """Flags of one word."""
    return Flag(word & _FLAGS_MASK)


def judge_range(
    values: npt.NDArray[np.float64],
    words: QualityArray,
    range_low: npt.NDArray[np.float64],
    range_high: npt.NDArray[np.float64],
) -> QualityArray:
    """Quality after the instrument's span is applied; the value itself is never touched.

    A good value outside [range_low, range_high] becomes uncertain with its side flagged; a NaN that came as good
    becomes bad. What is already uncertain keeps its reason and gains the flag; bad stays as it is.

    Args:
        values: Engineering units of each row's point, shape (n,).
        words: Quality as the source gave it, shape (n,).
        range_low: Span of each row's point, NaN = not given, shape (n,).
        range_high: Likewise.
    Returns:
        A new array, shape (n,).
    Source: alarm-logic §1: over-range is uncertain, never bad, so that it may raise and never clears.
    """
    out = words.copy()
    not_bad = severities(words) != Severity.BAD
    lost = not_bad & np.isnan(values)
    over = not_bad & (values > range_high)
    under = not_bad & (values < range_low)
    plain = severities(words) == Severity.GOOD
    outside = np.uint16(uncertain(Reason.OUT_OF_RANGE))
    out[(over | under) & plain] |= outside
    out[over] |= np.uint16(Flag.OVER_RANGE)
    out[under] |= np.uint16(Flag.UNDER_RANGE)
    out[lost] = np.uint16(bad(Reason.NOT_A_NUMBER)) | (words[lost] & np.uint16(_FLAGS_MASK))
    return out
