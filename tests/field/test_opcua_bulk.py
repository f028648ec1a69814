"""The bulk decoder against asyncua's own encoder and decoder: the same values, or None; never another value."""

import itertools
import math
import struct
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import point

from connectors.opcua import bulk
from connectors.opcua.decode import Heard, Values, columns
from connectors.opcua.link import LinkBook
from connectors.opcua.notifications import Notifications
from connectors.opcua.scalars import Scalars, joined
from connectors.opcua.teller import Begun, Teller
from mines.clock import NO_TIME_MS
from mines.errors import LinkLost
from mines.model import Batch
from mines.quality import GOOD, Reason, bad

HERE = Heard(1, 2)
RANGES = {
    "SByte": (-(2**7), 2**7 - 1), "Byte": (0, 2**8 - 1), "Int16": (-(2**15), 2**15 - 1), "UInt16": (0, 2**16 - 1),
    "Int32": (-(2**31), 2**31 - 1), "UInt32": (0, 2**32 - 1), "Int64": (-(2**63), 2**63 - 1), "UInt64": (0, 2**64 - 1),
}  # fmt: skip
BAD_SENSOR = 0x808C0000

numbers = st.one_of(
    st.floats(width=64).map(lambda v: ua.Variant(v, ua.VariantType.Double)),
    st.floats(width=32).map(lambda v: ua.Variant(v, ua.VariantType.Float)),
    st.booleans().map(lambda v: ua.Variant(v, ua.VariantType.Boolean)),
    *(st.integers(*span).map(lambda v, t=t: ua.Variant(v, ua.VariantType[t])) for t, span in RANGES.items()),
)
foreign = st.one_of(
    st.text(max_size=5).map(ua.Variant),
    st.lists(st.floats(width=64), max_size=3).map(lambda v: ua.Variant(v, ua.VariantType.Double, is_array=True)),
    st.just(ua.Variant()),
    st.just(ua.Variant(datetime(2026, 1, 1, tzinfo=UTC))),
)
times = st.one_of(
    st.none(), st.integers(0, 2**38).map(lambda s: datetime(1601, 1, 1, tzinfo=UTC) + timedelta(seconds=s / 7))
)
statuses = st.one_of(st.none(), st.just(ua.StatusCode()), st.integers(0, 2**32 - 1).map(ua.StatusCode))
picoseconds = st.one_of(st.none(), st.integers(0, 9999))


def data_values(variants: st.SearchStrategy[ua.Variant]) -> st.SearchStrategy[ua.DataValue]:
    return st.builds(
        ua.DataValue, variants, statuses, times, ServerTimestamp=times, SourcePicoseconds=picoseconds,
        ServerPicoseconds=picoseconds,
    )  # fmt: skip


def publish_response(*parts: list[tuple[int, ua.DataValue]], more: bool = False, number: int = 7) -> bytes:
    """The body of a PublishResponse; no parts = a keep-alive."""
    message = ua.NotificationMessage(SequenceNumber=number)
    message.NotificationData = [
        ua.DataChangeNotification([ua.MonitoredItemNotification(handle, value) for handle, value in part])
        for part in parts
    ]
    return struct_to_binary(
        ua.PublishResponse(
            Parameters=ua.PublishResult(
                SubscriptionId=5,
                AvailableSequenceNumbers=[6, 7],
                MoreNotifications=more,
                NotificationMessage=message,
                Results=[ua.StatusCode()],
            )
        )
    )


def read_response(*values: ua.DataValue) -> bytes:
    return struct_to_binary(ua.ReadResponse(Results=list(values)))


def by_asyncua(body: bytes) -> tuple[tuple[int, int, bool], Values] | None:
    """What asyncua's decoder makes of a PublishResponse; None = it raises, or there is something else in it."""
    try:
        result = struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters
        items = [(i.ClientHandle, i.Value) for part in result.NotificationMessage.NotificationData for i in
                 part.MonitoredItems]  # fmt: skip
        head = (result.SubscriptionId, result.NotificationMessage.SequenceNumber, result.MoreNotifications)
        return head, columns(items, HERE)
    except Exception:
        return None


def same(bulk_columns: Scalars, values: Values) -> bool:
    """Bit for bit, but that NaN is NaN and stands also where there is no value."""
    expected = np.array([math.nan if v is None else v for v in values.value], dtype=np.float64)
    return (
        np.array_equal(np.isnan(expected), np.isnan(bulk_columns.value))
        and np.array_equal(expected[~np.isnan(expected)].view(np.int64),
                           bulk_columns.value[~np.isnan(expected)].view(np.int64))
        and bulk_columns.status.tolist() == list(values.status)
        and bulk_columns.source_time_ms.tolist() == list(values.source_time_ms)
    )  # fmt: skip


@given(st.lists(st.lists(st.tuples(st.integers(0, 2**32 - 1), data_values(numbers)), max_size=12), max_size=3),
       st.booleans(), st.integers(1, 2**32 - 1))  # fmt: skip
@settings(deadline=None, max_examples=150)
def test_scalar_numbers_of_any_type_and_layout_are_read_as_asyncua_reads_them(parts, more, number):
    body = publish_response(*parts, more=more, number=number)
    answer = bulk.notification(body)
    assert answer is not None
    head, values = by_asyncua(body)
    assert (answer.subscription, answer.number, answer.more) == head == (5, number, more)
    if not parts:
        assert answer.changes is None
    else:
        assert answer.changes.handle.tolist() == list(values.index)
        assert same(answer.changes, values)


@given(st.lists(data_values(numbers), max_size=20))
@settings(deadline=None, max_examples=80)
def test_results_of_a_read_are_read_as_asyncua_reads_them(values):
    body = read_response(*values)
    answer = bulk.results(body)
    assert answer is not None
    assert same(answer, columns(list(enumerate(struct_from_binary(ua.ReadResponse, Buffer(body)).Results)), HERE))


@given(st.lists(data_values(st.one_of(numbers, foreign)), max_size=6))
@settings(deadline=None, max_examples=120)
def test_whatever_else_is_in_a_message_leaves_it_whole_to_asyncua(values):
    body = publish_response(list(enumerate(values)))
    answer = bulk.notification(body)
    alone = [bulk.notification(publish_response([(0, value)])) for value in values]
    assert (answer is None) == (None in alone)
    if answer is not None:
        assert same(answer.changes, by_asyncua(body)[1])


@given(
    st.lists(st.tuples(st.integers(0, 90), data_values(numbers)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=400)
def test_damage_never_gives_a_value_that_asyncua_would_not_give(items, changes, cut):
    body = bytearray(publish_response(items))
    for at, octet in changes:
        body[at % len(body)] = octet
    damaged = bytes(body[: len(body) - cut])
    answer = bulk.notification(damaged)
    if answer is not None:
        head, values = by_asyncua(damaged)
        assert (answer.subscription, answer.number, answer.more) == head
        assert answer.changes is None or answer.changes.handle.tolist() == list(values.index)
        assert same(answer.changes or joined([]), values)


def many(count: int, layouts: int) -> list[tuple[int, ua.DataValue]]:
    """So many values, the layout changing at each of the first `layouts` and then staying."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    kinds = [ua.VariantType.Double, ua.VariantType.Int16, ua.VariantType.Boolean, ua.VariantType.UInt64]
    return [
        (
            handle,
            ua.DataValue(
                ua.Variant(handle % 2 == 1 if (kind := kinds[min(handle, layouts) % 4]) == kinds[2] else handle, kind),
                ua.StatusCode(BAD_SENSOR if min(handle, layouts) % 3 == 1 else 0),
                moment + timedelta(milliseconds=handle),
            ),
        )
        for handle in range(count)
    ]


@pytest.mark.parametrize("layouts", [0, 1, 70, 999], ids=["one layout", "two", "many, then one", "changing all along"])
def test_a_thousand_values_come_in_their_order_however_often_the_layout_changes(layouts):
    body = publish_response(many(1000, layouts))
    answer = bulk.notification(body)
    assert answer.changes.handle.tolist() == list(range(1000))
    assert same(answer.changes, by_asyncua(body)[1])


@pytest.mark.parametrize(
    ("ticks", "ms"),
    [
        (0, NO_TIME_MS),
        (9, NO_TIME_MS),
        (10, -11_644_473_600_000),
        (-1, NO_TIME_MS),
        (116_444_736_000_000_000, 0),
        (116_444_735_999_999_999, -1),
        (2**63 - 1, 253_402_300_799_000),
        (-(2**63), NO_TIME_MS),
    ],
    ids=["null", "no microsecond yet", "first", "before 1601", "1970", "before 1970", "for ever", "lowest"],
)
def test_source_times_at_the_edges_are_those_of_asyncua(ticks, ms):
    body = publish_response([(0, ua.DataValue(1.0, SourceTimestamp=datetime(2026, 1, 1, tzinfo=UTC)))])
    written = struct.pack("<q", ua.datetime_to_win_epoch(datetime(2026, 1, 1, tzinfo=UTC)))
    assert body.count(written) == 1
    body = body.replace(written, struct.pack("<q", ticks))
    answer = bulk.notification(body)
    assert answer.changes.source_time_ms.tolist() == [ms]
    assert same(answer.changes, by_asyncua(body)[1])


def test_a_bad_status_needs_no_value_and_a_good_one_does():
    def alone(status: int) -> bulk.Notification | None:
        return bulk.notification(publish_response([(3, ua.DataValue(None, ua.StatusCode(status)))]))

    answer = alone(BAD_SENSOR)
    assert math.isnan(answer.changes.value[0])
    assert (answer.changes.handle.tolist(), answer.changes.status.tolist()) == ([3], [BAD_SENSOR])
    assert alone(0) is None
    assert alone(0x40900000) is None


def response_header(**fields: object) -> bytes:
    """A good body whose ResponseHeader is another."""
    response = struct_from_binary(ua.PublishResponse, Buffer(publish_response([(0, ua.DataValue(1.0))])))
    for name, value in fields.items():
        setattr(response.ResponseHeader, name, value)
    return struct_to_binary(response)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(response_header(ServiceResult=ua.StatusCode(0x80000000)), id="bad service result"),
        pytest.param(response_header(ServiceDiagnostics=ua.DiagnosticInfo(SymbolicId=1)), id="diagnostics"),
        pytest.param(response_header(StringTable=["x"]), id="string table"),
        pytest.param(publish_response([(0, ua.DataValue(1.0))]) + b"\0", id="a byte too many"),
        pytest.param(publish_response([(0, ua.DataValue(1.0))])[:-1], id="a byte too few"),
        pytest.param(read_response(ua.DataValue(1.0)), id="another answer"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_not_to_the_last_byte_a_plain_answer_is_left_to_asyncua(body):
    assert bulk.notification(body) is None


def test_the_numbers_of_the_messages_are_watched_and_unknown_handles_refused_in_bulk_too():
    notifications = Notifications()
    notifications.expect([0, 2])

    def heard(number: int, *handles: int, keep_alive: bool = False) -> Values:
        parts = [] if keep_alive else [[(handle, ua.DataValue(1.0)) for handle in handles]]
        answer = bulk.notification(publish_response(*parts, number=number, more=True))
        return notifications.take_bulk(answer, HERE)

    values = heard(4, 2, 0)
    assert (values.index.tolist(), values.more, values.heard) == ([2, 0], True, HERE)
    assert len(heard(5, keep_alive=True).index) == 0
    assert len(heard(5, 0).index) == 1
    assert (notifications.to_acknowledge, notifications.ended) == ([4, 5], "")
    assert len(heard(7, 0).index) == 1
    assert notifications.ended == "notification lost"
    for unknown in (1, 3, 2**32 - 1):
        with pytest.raises(LinkLost, match="wrong reply"):
            heard(8, unknown)


def test_damage_of_many_messages_is_noticed_or_harmless():
    """The same as the property above over whole tables, where one damaged byte stands among a thousand alike."""
    random, body = Random(5), publish_response(many(300, 0))
    answers = 0
    for _ in range(150):
        damaged = bytearray(body)
        damaged[random.randrange(len(body))] = random.randrange(256)
        answer = bulk.notification(bytes(damaged))
        if answer is not None and answer.changes is not None:
            answers += 1
            assert same(answer.changes, by_asyncua(bytes(damaged))[1])
    assert answers > 50, "most damage hits a value, and is a value to both"


def test_a_burst_in_pieces_is_one_batch_in_which_each_piece_keeps_its_own_moment():
    points = [point(f"p{i}", f"i={i}", period_s=1.0) for i in range(3)]
    teller = Teller(points, LinkBook("fan", "opc.tcp://mine", 0), itertools.count(1), 0.0)
    notifications = Notifications()
    notifications.expect(range(3))

    def piece(number: int, wall_ms: int, *values: tuple[int, object]) -> Values:
        items = [(handle, ua.DataValue(value)) for handle, value in values]
        body = publish_response(items, number=number)
        heard = Heard(wall_ms, wall_ms * 10**6)
        answer = bulk.notification(body)
        if answer is None:
            return notifications.take(struct_from_binary(ua.PublishResponse, Buffer(body)).Parameters, heard)
        return notifications.take_bulk(answer, heard)

    said = teller.tell(
        [Begun(), piece(1, 100, (0, 1.0), (1, 2.0)), piece(2, 101, (2, "text")), piece(3, 103, (0, 4.0))],
        Heard(103, 103 * 10**6),
        0.1,
    )
    (batch,) = [item for item in said if isinstance(item, Batch)]
    assert batch.index.tolist() == [0, 1, 2, 0]
    assert batch.value[[0, 1, 3]].tolist() == [1.0, 2.0, 4.0]
    assert batch.quality.tolist() == [GOOD, GOOD, bad(Reason.TYPE_MISMATCH), GOOD]
    assert batch.receive_time_ms.tolist() == [100, 100, 101, 103]
    assert (batch.monotonic_ns // 10**6).tolist() == [100, 100, 101, 103]
    assert teller.standing.value[0] == 4.0, "the last one stands"
