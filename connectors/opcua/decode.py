"""OPC UA status codes and variant values become values and quality words, whole blocks at a time.

Pure: knows no OPC UA library, no socket and no clock. Names in the tables are as in the standard's StatusCode.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mines.clock import NO_TIME_MS
from mines.model import IndexArray, Point, TimeArray, ValueArray
from mines.quality import Flag, QualityArray, Reason, Severity, bad, quality, severities, uncertain

StatusArray = npt.NDArray[np.uint32]
BoolArray = npt.NDArray[np.bool_]

BAD_DECODING_ERROR: Final = 0x80070000
"""What stands for a node whose value came and could not be decoded."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME: Final = datetime(1601, 1, 1, tzinfo=UTC)  # the protocol's null DateTime

_REASONS: Final = {
    0x8005: Reason.NO_COMMUNICATION,  # BadCommunicationError
    0x8007: Reason.WRONG_REPLY,  # BadDecodingError
    0x800A: Reason.TIMEOUT,  # BadTimeout
    0x800D: Reason.NO_COMMUNICATION,  # BadServerNotConnected
    0x801F: Reason.ACCESS_DENIED,  # BadUserAccessDenied
    0x8031: Reason.NO_COMMUNICATION,  # BadNoCommunication
    0x8032: Reason.WAITING_FOR_INITIAL_DATA,  # BadWaitingForInitialData
    0x8033: Reason.NODE_UNKNOWN,  # BadNodeIdInvalid
    0x8034: Reason.NODE_UNKNOWN,  # BadNodeIdUnknown
    0x8035: Reason.NODE_UNKNOWN,  # BadAttributeIdInvalid: a node, but no variable
    0x803A: Reason.ACCESS_DENIED,  # BadNotReadable
    0x803C: Reason.OUT_OF_RANGE,  # BadOutOfRange
    0x803F: Reason.NODE_UNKNOWN,  # BadObjectDeleted
    0x8074: Reason.TYPE_MISMATCH,  # BadTypeMismatch
    0x8085: Reason.TIMEOUT,  # BadRequestTimeout
    0x8089: Reason.CONFIGURATION_ERROR,  # BadConfigurationError
    0x808A: Reason.NOT_CONNECTED,  # BadNotConnected
    0x808B: Reason.DEVICE_FAILURE,  # BadDeviceFailure
    0x808C: Reason.SENSOR_FAILURE,  # BadSensorFailure
    0x808D: Reason.OUT_OF_SERVICE,  # BadOutOfService
    0x80E6: Reason.ACCESS_DENIED,  # BadSecurityModeInsufficient
    0x80EE: Reason.DEVICE_BUSY,  # BadServerTooBusy
    0x408F: Reason.LAST_USABLE_VALUE,  # UncertainNoCommunicationLastUsableValue
    0x4090: Reason.LAST_USABLE_VALUE,  # UncertainLastUsableValue
    0x4091: Reason.SUBSTITUTE_VALUE,  # UncertainSubstituteValue
    0x4092: Reason.WAITING_FOR_INITIAL_DATA,  # UncertainInitialValue
    0x4093: Reason.SENSOR_NOT_ACCURATE,  # UncertainSensorNotAccurate
    0x4094: Reason.OUT_OF_RANGE,  # UncertainEngineeringUnitsExceeded
    0x4095: Reason.SUB_NORMAL,  # UncertainSubNormal
    0x40A4: Reason.SUB_NORMAL,  # UncertainDataSubNormal
    0x4208: Reason.SUBSTITUTE_VALUE,  # UncertainTransducerInManual
    0x4209: Reason.SUBSTITUTE_VALUE,  # UncertainSimulatedValue
    0x420A: Reason.SENSOR_NOT_ACCURATE,  # UncertainSensorCalibration
    0x420F: Reason.CONFIGURATION_ERROR,  # UncertainConfigurationError
}
_SENSOR_CALIBRATION: Final = 0x420A

# Info bits of a data value (Part 4, 7.39.1): they mean this only where InfoType is DataValue.
_INFO_TYPE: Final = 0x0C00
_INFO_DATA_VALUE: Final = 0x0400
_LIMIT: Final = 0x0300
_LIMIT_LOW: Final = 0x0100
_LIMIT_HIGH: Final = 0x0200  # both bits: the value is a constant, which is no side of a range
_OVERFLOW: Final = 0x0080

_NO_ROW: Final = np.zeros(1, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Heard:
    """When the box heard something: box time [ms] and monotonic time [ns]."""

    wall_ms: int
    monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Values:
    """Raw values as one reply brought them: columns of equal length n, all heard at one moment.

    Arrays where the reply was read in bulk; then every value is a number, or NaN beside a status that is bad.
    """

    index: Sequence[int] | IndexArray  # into the source's points
    value: Sequence[object] | ValueArray  # as the variant held it: number, bool, text, list, None …
    status: Sequence[int] | StatusArray  # StatusCode, uint32
    source_time_ms: Sequence[int] | TimeArray  # NO_TIME_MS = the server gave none
    heard: Heard
    more: bool = False  # the server has more of the same burst ready

    def __len__(self) -> int:
        return len(self.status)


def columns(items: Sequence[tuple[int, Any]], heard: Heard, *, more: bool = False) -> Values:
    """Columns out of (point index, DataValue) pairs; a DataValue is whatever has the standard's field names."""
    return Values(
        index=[index for index, _ in items],
        value=[data.Value.Value if data.Value is not None else None for _, data in items],
        status=[data.StatusCode.value if data.StatusCode is not None else 0 for _, data in items],
        source_time_ms=[time_ms(data.SourceTimestamp) for _, data in items],
        heard=heard,
        more=more,
    )


def joined(blocks: Sequence[Values], heard: Heard) -> Values:
    """The rows of several replies as those of one, arrays where all of them are."""
    if not blocks:
        return columns([], heard)
    index = np.concatenate([np.asarray(block.index, dtype=np.int32) for block in blocks])
    status = np.concatenate([np.asarray(block.status, dtype=np.uint32) for block in blocks])
    times = np.concatenate([np.asarray(block.source_time_ms, dtype=np.int64) for block in blocks])
    arrays = [block.value for block in blocks if isinstance(block.value, np.ndarray)]
    if len(arrays) == len(blocks):
        return Values(index, np.concatenate(arrays), status, times, heard)
    return Values(index, [value for block in blocks for value in _objects(block.value)], status, times, heard)


def _objects(values: Sequence[object] | ValueArray) -> Sequence[object]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def quality_of(status: int) -> int:
    """The quality word of one StatusCode: severity from its two top bits, a reason, flags from the info bits.

    Args:
        status: StatusCode as on the wire, uint32.
    Returns:
        A word of `mines.quality`. Good codes carry no reason; a bad or uncertain code that is in no table is
        BAD_OTHER or UNCERTAIN_OTHER; the reserved severity 11 counts as bad.
    Source: OPC UA Part 4, 7.39.1; Schema/StatusCode.csv.
    """
    code = status >> 16
    flags = _info_flags(status) | (Flag.CALIBRATING if code == _SENSOR_CALIBRATION else Flag(0))
    match status >> 30:
        case 0:
            return quality(Severity.GOOD, Reason.NONE, flags)
        case 1:
            return quality(Severity.UNCERTAIN, _REASONS.get(code, Reason.UNCERTAIN_OTHER), flags)
        case _:
            return quality(Severity.BAD, _REASONS.get(code, Reason.BAD_OTHER), flags)


def _info_flags(status: int) -> Flag:
    if status & _INFO_TYPE != _INFO_DATA_VALUE:
        return Flag(0)
    flags = Flag.QUEUE_OVERFLOW if status & _OVERFLOW else Flag(0)
    if status & _LIMIT == _LIMIT_HIGH:
        return flags | Flag.OVER_RANGE
    if status & _LIMIT == _LIMIT_LOW:
        return flags | Flag.UNDER_RANGE
    return flags


def quality_words(status: StatusArray) -> QualityArray:
    """Quality word of each StatusCode. Shape (n,) in, (n,) out."""
    if len(status) and (status == status[0]).all():  # the usual case, and sorting is half the cost of a value
        return np.full(len(status), quality_of(int(status[0])), dtype=np.uint16)
    codes, where = np.unique(status, return_inverse=True)
    words = np.array([quality_of(int(code)) for code in codes], dtype=np.uint16)
    return words[where.reshape(-1)]


def time_ms(moment: datetime | None) -> int:
    """A source timestamp in whole milliseconds since 1970 UTC; NO_TIME_MS where the server gave none or the null time.

    What a device's clock says is kept, however wrong: 1970, 2000 and the year 9999 are times.
    """
    if moment is None or moment <= _NO_TIME:
        return NO_TIME_MS
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class ValueDecoder:
    """Turns raw values of one source's points into engineering units: value = raw × scale + offset."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._divisor = np.array([_divisor(p.scale) for p in points], dtype=np.float64)
        self._factor = np.where(self._divisor == 1.0, np.array([p.scale for p in points], dtype=np.float64), 1.0)
        # -0.0 is the number that changes nothing when it is added, -0.0 included.
        self._offset = np.array([p.offset or -0.0 for p in points], dtype=np.float64)
        self._unscaled = bool((self._divisor == 1.0).all() and (self._factor == 1.0).all() and not self._offset.any())
        self._sentinels = _sentinel_table(points)

    def decode(self, values: Values) -> tuple[ValueArray, QualityArray]:
        """Value and quality of each row, both of shape (n,).

        The status stands first: a bad row is NaN with the status' reason. Then, with bad quality: text, lists, null and
        whatever else is no number (TYPE_MISMATCH); a sentinel of the point, compared with the raw value
        (SENSOR_FAILURE); NaN (NOT_A_NUMBER). ±Inf is a value, outside every span: good becomes uncertain with the side
        flagged, as `mines.quality.judge_range` would have it. An uncertain value is kept.
        """
        index: IndexArray = np.asarray(values.index, dtype=np.int32)
        words = quality_words(np.asarray(values.status, dtype=np.uint32))
        raw, numeric = _numbers(values.value)
        value = raw.copy() if self._unscaled else self._scaled(raw, index)
        open_rows = severities(words) != Severity.BAD
        sentinel = (raw[:, np.newaxis] == self._sentinels[index]).any(axis=1) if self._sentinels.size else _NO_ROW
        for fault, reason in (
            (~numeric, Reason.TYPE_MISMATCH),
            (sentinel, Reason.SENSOR_FAILURE),
            (np.isnan(value), Reason.NOT_A_NUMBER),
        ):
            if not fault.any():
                continue
            hit = open_rows & fault
            words[hit] = np.uint16(bad(reason)) | (words[hit] & np.uint16(0xFF))
            open_rows &= ~fault
        value[~open_rows] = np.nan
        return value, _flag_infinite(value, words)

    def _scaled(self, raw: ValueArray, index: IndexArray) -> ValueArray:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled: ValueArray = raw * self._factor[index] / self._divisor[index] + self._offset[index]
        return scaled


def _numbers(values: Sequence[object] | ValueArray) -> tuple[ValueArray, BoolArray]:
    """Values as numbers, NaN where one is none, and which are numbers."""
    if isinstance(values, np.ndarray):
        return values, np.ones(len(values), dtype=np.bool_)
    numeric = np.array([isinstance(v, int | float) for v in values], dtype=np.bool_)
    return np.array([v if isinstance(v, int | float) else np.nan for v in values], dtype=np.float64), numeric


def _flag_infinite(value: ValueArray, words: QualityArray) -> QualityArray:
    infinite = np.isinf(value)
    if not infinite.any():
        return words
    words[infinite & (severities(words) == Severity.GOOD)] |= np.uint16(uncertain(Reason.OUT_OF_RANGE))
    words[infinite & (value > 0)] |= np.uint16(Flag.OVER_RANGE)
    words[infinite & (value < 0)] |= np.uint16(Flag.UNDER_RANGE)
    return words


def _divisor(scale: float) -> float:
    """The whole number whose reciprocal a scale is, 1.0 where there is none.

    Raw 57 with scale 0.01 is then 57 / 100 = 0.57, which equals a limit written as 0.57; 57 × 0.01 does not.
    """
    if not 1e-9 <= abs(scale) < 1.0:
        return 1.0
    whole = float(round(1.0 / scale))
    return whole if 1.0 / whole == scale else 1.0


def _sentinel_table(points: Sequence[Point]) -> ValueArray:
    """Sentinels of each point, (points, k), NaN where it has fewer.

    Each stands twice: as written, and as a Float on the wire holds it (-9999.9 is -9999.900390625 there).
    """
    width = 2 * max((len(p.sentinels) for p in points), default=0)
    table = np.full((len(points), width), np.nan)
    for row, point in enumerate(points):
        both = [*point.sentinels, *(float(np.float32(s)) for s in point.sentinels)]
        table[row, : len(both)] = both
    return table
