"""Status codes and variant values → quality words and values."""

import csv
import math
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import point

from connectors.opcua.decode import Heard, ValueDecoder, Values, quality_of, quality_words, time_ms
from mines.clock import NO_TIME_MS
from mines.quality import GOOD, Flag, Reason, Severity, bad, flags_of, reason_of, severity_of, uncertain

REFERENCE = Path(os.environ.get("MINEWATCH_REFERENCE_DATA", Path(__file__).parents[2] / "../shared/data"))
STATUS_CODES = REFERENCE / "opcua-nodesets/Schema/StatusCode.csv"
needs_reference = pytest.mark.skipif(not STATUS_CODES.exists(), reason="reference data not at hand")

GOOD_CODE, UNCERTAIN_CODE, BAD_CODE = 0x00000000, 0x40000000, 0x80000000
OVERFLOW = 0x0480  # InfoType DataValue + overflow


def reference_codes() -> dict[str, int]:
    with STATUS_CODES.open(encoding="utf-8") as file:
        return {row[0]: int(row[1], 16) for row in csv.reader(file)}


@needs_reference
def test_severity_of_every_standard_code_is_that_of_its_name():
    wrong = [
        name
        for name, code in reference_codes().items()
        if severity_of(quality_of(code))
        != (Severity.BAD if name.startswith("Bad") else Severity[name[: 9 if name[0] == "U" else 4].upper()])
    ]
    assert wrong == []
    assert len(reference_codes()) > 250


@needs_reference
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("BadNoCommunication", Reason.NO_COMMUNICATION),
        ("BadCommunicationError", Reason.NO_COMMUNICATION),
        ("BadServerNotConnected", Reason.NO_COMMUNICATION),
        ("BadTimeout", Reason.TIMEOUT),
        ("BadRequestTimeout", Reason.TIMEOUT),
        ("BadWaitingForInitialData", Reason.WAITING_FOR_INITIAL_DATA),
        ("BadNodeIdInvalid", Reason.NODE_UNKNOWN),
        ("BadNodeIdUnknown", Reason.NODE_UNKNOWN),
        ("BadAttributeIdInvalid", Reason.NODE_UNKNOWN),
        ("BadObjectDeleted", Reason.NODE_UNKNOWN),
        ("BadUserAccessDenied", Reason.ACCESS_DENIED),
        ("BadNotReadable", Reason.ACCESS_DENIED),
        ("BadSecurityModeInsufficient", Reason.ACCESS_DENIED),
        ("BadOutOfRange", Reason.OUT_OF_RANGE),
        ("BadTypeMismatch", Reason.TYPE_MISMATCH),
        ("BadConfigurationError", Reason.CONFIGURATION_ERROR),
        ("BadNotConnected", Reason.NOT_CONNECTED),
        ("BadDeviceFailure", Reason.DEVICE_FAILURE),
        ("BadSensorFailure", Reason.SENSOR_FAILURE),
        ("BadOutOfService", Reason.OUT_OF_SERVICE),
        ("BadServerTooBusy", Reason.DEVICE_BUSY),
        ("BadDecodingError", Reason.WRONG_REPLY),
        ("BadAggregateListMismatch", Reason.BAD_OTHER),
        ("UncertainNoCommunicationLastUsableValue", Reason.LAST_USABLE_VALUE),
        ("UncertainLastUsableValue", Reason.LAST_USABLE_VALUE),
        ("UncertainSubstituteValue", Reason.SUBSTITUTE_VALUE),
        ("UncertainSimulatedValue", Reason.SUBSTITUTE_VALUE),
        ("UncertainTransducerInManual", Reason.SUBSTITUTE_VALUE),
        ("UncertainInitialValue", Reason.WAITING_FOR_INITIAL_DATA),
        ("UncertainSensorNotAccurate", Reason.SENSOR_NOT_ACCURATE),
        ("UncertainSensorCalibration", Reason.SENSOR_NOT_ACCURATE),
        ("UncertainEngineeringUnitsExceeded", Reason.OUT_OF_RANGE),
        ("UncertainSubNormal", Reason.SUB_NORMAL),
        ("UncertainDataSubNormal", Reason.SUB_NORMAL),
        ("UncertainConfigurationError", Reason.CONFIGURATION_ERROR),
        ("UncertainDominantValueChanged", Reason.UNCERTAIN_OTHER),
        ("GoodClamped", Reason.NONE),
        ("GoodLocalOverride", Reason.NONE),
    ],
)
def test_well_known_codes_have_their_reason(name, reason):
    assert reason_of(quality_of(reference_codes()[name])) == reason


def test_calibration_of_a_sensor_is_flagged():
    assert flags_of(quality_of(0x420A0000)) == Flag.CALIBRATING


def test_reserved_severity_counts_as_bad():
    assert quality_of(0xC0000000) == bad(Reason.BAD_OTHER)


@pytest.mark.parametrize(
    ("bits", "flags"),
    [
        pytest.param(0x0480, Flag.QUEUE_OVERFLOW, id="overflow"),
        pytest.param(0x0500, Flag.UNDER_RANGE, id="limit low"),
        pytest.param(0x0600, Flag.OVER_RANGE, id="limit high"),
        pytest.param(0x0700, Flag(0), id="limit constant"),
        pytest.param(0x0680, Flag.OVER_RANGE | Flag.QUEUE_OVERFLOW, id="limit high and overflow"),
        pytest.param(0x0080, Flag(0), id="overflow bit without info type"),
        pytest.param(0x0A80, Flag(0), id="bits of another info type"),
        pytest.param(0xC000, Flag(0), id="structure and semantics changed"),
    ],
)
@pytest.mark.parametrize("severity", [GOOD_CODE, UNCERTAIN_CODE, BAD_CODE], ids=["good", "uncertain", "bad"])
def test_info_bits_become_flags_and_leave_the_severity(severity, bits, flags):
    word = quality_of(severity | bits)
    assert flags_of(word) == flags
    assert severity_of(word) == severity_of(quality_of(severity))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=40))
@settings(deadline=None, max_examples=60)
def test_whole_blocks_are_judged_like_single_codes(codes):
    words = quality_words(np.array(codes, dtype=np.uint32))
    assert words.tolist() == [quality_of(code) for code in codes]


def decoded(value: object, status: int = 0, **point_settings: object) -> tuple[float, int]:
    decoder = ValueDecoder([point("other", "i=1", scale=99.0), point("p", "i=2", **point_settings)])
    values, words = decoder.decode(Values([1], [value], [status], [NO_TIME_MS], Heard(0, 0)))
    return float(values[0]), int(words[0])


@pytest.mark.parametrize(
    ("raw", "value"),
    [(True, 1.0), (False, 0.0), (7, 7.0), (-3, -3.0), (2**64 - 1, float(2**64 - 1)), (1.5, 1.5), (5e-324, 5e-324)],
    ids=["true", "false", "int", "negative int", "largest uint64", "float", "denormal"],
)
def test_scalar_numbers_are_read_as_they_are(raw, value):
    assert decoded(raw) == (value, GOOD)


@pytest.mark.parametrize(
    "raw",
    ["12.5", b"\x01", None, [1.0], [], (1.0,), [[1.0]], datetime(2026, 1, 1, tzinfo=UTC), object()],
    ids=["text", "bytes", "null", "list", "empty list", "tuple", "matrix", "date", "structure"],
)
def test_what_is_no_number_is_bad_for_its_type(raw):
    value, word = decoded(raw)
    assert math.isnan(value)
    assert word == bad(Reason.TYPE_MISMATCH)


def test_a_float_that_is_no_number_is_bad():
    value, word = decoded(math.nan)
    assert math.isnan(value)
    assert word == bad(Reason.NOT_A_NUMBER)


@pytest.mark.parametrize(("raw", "flag"), [(math.inf, Flag.OVER_RANGE), (-math.inf, Flag.UNDER_RANGE)], ids=["+", "-"])
def test_infinity_is_a_value_that_may_raise_and_never_clears(raw, flag):
    assert decoded(raw, scale=0.5) == (raw, uncertain(Reason.OUT_OF_RANGE, flag))
    assert decoded(raw, 0x40900000) == (raw, uncertain(Reason.LAST_USABLE_VALUE, flag))


def test_a_value_that_scaling_makes_infinite_is_out_of_range():
    assert decoded(1e308, scale=100.0) == (math.inf, uncertain(Reason.OUT_OF_RANGE, Flag.OVER_RANGE))


@pytest.mark.parametrize(
    ("raw", "scale", "value"), [(57, 0.01, 0.57), (3, 0.1, 0.3), (-57, 0.01, -0.57), (57, -0.01, -0.57), (1, 0.3, 0.3)]
)
def test_a_scaled_value_is_the_double_next_to_the_decimal_that_the_device_meant(raw, scale, value):
    assert decoded(raw, scale=scale) == (value, GOOD)


def test_negative_zero_stays_negative_zero():
    value, word = decoded(-0.0)
    assert (math.copysign(1, value), word) == (-1.0, GOOD)


def test_scale_and_offset_give_engineering_units():
    assert decoded(250, scale=0.01, offset=-1.0) == (1.5, GOOD)


@pytest.mark.parametrize(
    ("raw", "sentinel"),
    [(-32768, -32768.0), (-9999.900390625, -9999.9), (True, 1.0)],
    ids=["int", "written short, held as Float on the wire", "bool"],
)
def test_a_sentinel_is_compared_raw_and_means_a_broken_sensor(raw, sentinel):
    value, word = decoded(raw, scale=0.1, offset=5.0, sentinels=(123.0, sentinel))
    assert math.isnan(value)
    assert word == bad(Reason.SENSOR_FAILURE)


def test_a_scaled_value_equal_to_a_sentinel_is_no_sentinel():
    assert decoded(100, scale=0.5, sentinels=(50.0,)) == (50.0, GOOD)


def test_a_bad_status_outranks_everything_and_carries_no_value():
    value, word = decoded("text", 0x808C0000, sentinels=(0.0,))
    assert math.isnan(value)
    assert word == bad(Reason.SENSOR_FAILURE)
    assert decoded(4.5, 0x808A0000)[1] == bad(Reason.NOT_CONNECTED)
    assert math.isnan(decoded(4.5, 0x808A0000)[0])


def test_an_uncertain_value_is_kept():
    assert decoded(4.5, 0x40900000) == (4.5, uncertain(Reason.LAST_USABLE_VALUE))


def test_overflow_is_kept_beside_a_value_that_is_bad_for_another_reason():
    assert decoded("text", OVERFLOW)[1] == bad(Reason.TYPE_MISMATCH, Flag.QUEUE_OVERFLOW)
    assert decoded(2.0, OVERFLOW) == (2.0, int(Flag.QUEUE_OVERFLOW))


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.none(), st.text(max_size=3)),
            st.integers(0, 2**32 - 1),
        ),
        max_size=30,
    )
)
@settings(deadline=None, max_examples=80)
def test_bad_rows_and_only_bad_rows_are_without_a_value(rows):
    decoder = ValueDecoder([point("p", "i=1", scale=0.1, sentinels=(7.0,))])
    raws, codes = [raw for raw, _ in rows], [code for _, code in rows]
    values, words = decoder.decode(Values([0] * len(rows), raws, codes, [0] * len(rows), Heard(0, 0)))
    assert [math.isnan(v) for v in values] == [severity_of(int(w)) == Severity.BAD for w in words]


@pytest.mark.parametrize(
    ("moment", "ms"),
    [
        (None, NO_TIME_MS),
        (datetime(1601, 1, 1, tzinfo=UTC), NO_TIME_MS),
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_900, tzinfo=UTC), -1),
        (datetime(2026, 3, 1, 12, 0, 0, 123_999, tzinfo=UTC), 1_772_366_400_123),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 253_402_300_799_000),
    ],
    ids=["none", "null time", "1970", "before 1970 rounds down", "fraction is cut", "year 9999 is kept"],
)
def test_source_times_are_whole_milliseconds_or_none(moment, ms):
    assert time_ms(moment) == ms
