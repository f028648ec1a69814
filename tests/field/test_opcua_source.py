"""The OPC UA source against a real server: values, quality, times, and one bad node among good ones."""

import asyncio
import itertools
import logging
import math
import time
from datetime import UTC, datetime, timedelta

import pytest
import uvloop
from asyncua import ua
from opcua_mine import MINE_URI, Heard, MineServer, listen, new_name, point, quick_source, settled, spoken, the_mine
from opcua_proxy import Proxy

from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.source import OpcUaSource
from mines.clock import NO_TIME_MS, SystemClock
from mines.model import LinkState, RowKind
from mines.quality import GOOD, Flag, Reason, bad, uncertain


@pytest.fixture
def mine() -> MineServer:
    return the_mine()


def test_values_come_with_quality_and_the_devices_own_time(mine):
    names = [new_name() for _ in range(5)]
    initial = [0.0, 0.0, 0.0, False, ua.Variant(0, ua.VariantType.UInt16)]
    points = [point(name, mine.add(name, value)) for name, value in zip(names, initial, strict=True)]
    source = quick_source(mine.url, [*points[:4], point(names[4], points[4].address, scale=0.1, offset=-1.0)])
    taken = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    mine.write(names[0], 1.5, time=taken)
    mine.write(names[1], 2.5, 0x40900000, time=datetime(2000, 1, 1, tzinfo=UTC))
    mine.write(names[2], 3.5, 0x808C0000, time=taken)
    mine.write(names[3], True, type=ua.VariantType.Boolean)
    mine.write(names[4], 25, type=ua.VariantType.UInt16)
    before_ms = time.time_ns() // 1_000_000
    heard = asyncio.run(listen(source, settled(source)))
    (batch,) = heard.batches(RowKind.SAMPLE)
    by_point = {int(i): row for row, i in enumerate(batch.index)}
    columns = [
        (batch.value[by_point[i]], int(batch.quality[by_point[i]]), int(batch.source_time_ms[by_point[i]]))
        for i in range(5)
    ]
    assert columns[0] == (1.5, GOOD, 1_772_366_400_123)
    assert columns[1] == (2.5, uncertain(Reason.LAST_USABLE_VALUE), 946_684_800_000)
    assert math.isnan(columns[2][0])
    assert columns[2][1:] == (bad(Reason.SENSOR_FAILURE), 1_772_366_400_123)
    assert columns[3][:2] == (1.0, GOOD)
    assert columns[4] == (1.5, GOOD, NO_TIME_MS)
    assert all(before_ms <= ms <= time.time_ns() // 1_000_000 for ms in batch.receive_time_ms)


def test_one_bad_node_never_stops_the_others(mine):
    good, text, gone_text = new_name(), new_name(), new_name()
    source = quick_source(
        mine.url,
        [
            point("good", mine.add(good, 7.0)),
            point("text", mine.add(text, "three")),
            point("missing", f"nsu={MINE_URI};s=is not there"),
            point("namespace", "nsu=urn:nobody;s=x"),
            point("object", "i=2253"),
            point("list", mine.add(gone_text, [1.0, 2.0])),
        ],
    )
    heard = asyncio.run(listen(source, lambda h: len(h.rows(0, RowKind.CONFIRM)) >= 2))
    assert heard.rows(0) == [(7.0, GOOD)]
    for index, reason in (
        (1, Reason.TYPE_MISMATCH),
        (2, Reason.NODE_UNKNOWN),
        (3, Reason.NODE_UNKNOWN),
        (4, Reason.NODE_UNKNOWN),
        (5, Reason.TYPE_MISMATCH),
    ):
        assert {word for _, word in heard.rows(index)} == {bad(reason)}
        assert len(heard.rows(index)) >= 2, "a bad point is said to be bad each period"
    assert heard.links[-1].state == LinkState.DEGRADED


def test_a_value_that_cannot_be_decoded_spoils_its_own_point_only(mine):
    good, spoilt, other = new_name(), new_name(), new_name()
    addresses = [mine.add(good, 7.0), mine.add(spoilt, 1.0), mine.add(other, 8.0)]
    mine.write(spoilt, ua.Variant([1.0], ua.VariantType.Double, [2000, 2000]))  # claims four million elements
    source = quick_source(mine.url, [point(f"p{i}", address) for i, address in enumerate(addresses)])
    heard = asyncio.run(listen(source, settled(source)))
    assert spoken(heard, 0, 7.0)
    assert spoken(heard, 2, 8.0)
    assert {word for _, word in heard.rows(1)} == {bad(Reason.WRONG_REPLY)}


def test_a_value_that_becomes_undecodable_spoils_its_own_point_only(mine):
    good, spoilt = new_name(), new_name()
    source = quick_source(mine.url, [point("good", mine.add(good, 7.0)), point("spoilt", mine.add(spoilt, 1.0))])

    def meanwhile(heard: Heard) -> None:
        if len(heard.batches()) == 1:
            mine.write(spoilt, ua.Variant([1.0], ua.VariantType.Double, [2000, 2000]))
            mine.write(good, 9.0)

    heard = asyncio.run(
        listen(
            source,
            lambda h: (
                h.last(1) == (pytest.approx(math.nan, nan_ok=True), bad(Reason.WRONG_REPLY)) and spoken(h, 0, 9.0)
            ),
            meanwhile=meanwhile,
        )
    )
    assert heard.links[-1].reconnects == 1


def test_a_quiet_subscription_is_confirmed_each_period_and_gives_no_samples(mine):
    source = quick_source(mine.url, [point("p", mine.add(new_name(), 7.0)), point("q", mine.add(new_name(), 8.0))])
    heard = asyncio.run(listen(source, lambda h: len(h.batches(RowKind.CONFIRM)) >= 5))
    assert [b.batch_no for b in heard.batches()] == [1, 2, 3, 4, 5, 6]
    assert len(heard.batches(RowKind.SAMPLE)) == 1
    for batch in heard.batches(RowKind.CONFIRM):
        assert batch.index.tolist() == [0, 1]
        assert all(math.isnan(value) for value in batch.value)
    proofs = [int(b.monotonic_ns[0]) for b in heard.batches(RowKind.CONFIRM)]
    assert all(later > earlier for earlier, later in itertools.pairwise(proofs))


def test_ten_changes_a_second_all_come_through_a_slow_publish(mine):
    name = new_name()
    source = quick_source(mine.url, [point("p", mine.add(name, 0.0), period_s=0.5)], publishing_ms=500)
    sent = [float(i) for i in range(1, 26)]

    async def writing() -> None:
        for value in sent:
            await asyncio.to_thread(mine.write, name, value)
            await asyncio.sleep(0.04)

    async def scenario() -> Heard:
        heard, _ = await asyncio.gather(listen(source, lambda h: spoken(h, 0, sent[-1])), writing())
        return heard

    heard = asyncio.run(scenario())
    values = heard.values(0)
    assert values == [float(i) for i in range(int(values[0]), 26)]
    assert len(values) >= 20
    assert max(len(b) for b in heard.batches(RowKind.SAMPLE)) > 3, "a publish is one batch"


def test_an_overflow_of_the_servers_queue_is_flagged(mine):
    name = new_name()
    source = quick_source(mine.url, [point("p", mine.add(name, 0.0))])
    mine.write(name, 5.0, 0x00000480)
    heard = asyncio.run(listen(source, settled(source)))
    assert heard.rows(0) == [(5.0, int(Flag.QUEUE_OVERFLOW))]


def test_a_node_that_comes_later_is_found(mine):
    late, there = new_name(), mine.add(new_name(), 1.0)
    source = quick_source(
        mine.url, [point("late", f"nsu={MINE_URI};s={late}"), point("there", there)], ask_refused_again_s=0.3
    )

    def meanwhile(heard: Heard) -> None:
        if len(heard.batches()) == 1:
            mine.add(late, 4.0)

    heard = asyncio.run(
        listen(source, lambda h: spoken(h, 0, 4.0) and h.links[-1].state == LinkState.GOOD, meanwhile=meanwhile)
    )
    assert heard.rows(0)[0][1] == bad(Reason.NODE_UNKNOWN)
    assert heard.links[-1].reconnects == 0
    assert len(heard.rows(1)) == 1


def test_the_report_counts_and_tells_the_servers_clock(mine):
    source = quick_source(mine.url, [point("p", mine.add(new_name(), 7.0)), point("q", "i=2253")])
    heard = asyncio.run(
        listen(source, lambda h: len(h.batches(RowKind.CONFIRM)) >= 3 and h.links[-1].state != LinkState.CONNECTING)
    )
    report = heard.links[-1]
    assert report.source == "fan"
    assert report.unit is None
    assert report.endpoint == mine.url
    assert report.polls >= 1
    assert report.duration_ms is not None
    assert report.duration_ms < 1000
    assert report.last_answer_ms is not None
    assert abs(report.counters["skew_ms"]) < 2500  # asyncua's server moves its clock node once a second
    assert timedelta(milliseconds=report.time_ms - report.last_answer_ms) < timedelta(seconds=1)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_tap_sees_whole_chunks_both_ways_in_order(mine, run):
    frames: list[tuple[str, bool, int, bytes]] = []
    settings = OpcUaSettings(mine.url, publishing_ms=50, sampling_ms=50, timeout_s=1.0)
    source = OpcUaSource(
        "fan", [point("p", mine.add(new_name(), 7.0))], settings, SystemClock(), lambda *frame: frames.append(frame)
    )
    run(listen(source, settled(source)))
    assert [(sending, frame[:3]) for _, sending, _, frame in frames[:4]] == [
        (True, b"HEL"),
        (False, b"ACK"),
        (True, b"OPN"),
        (False, b"OPN"),
    ]
    assert frames[-1][3][:3] == b"CLO"
    assert all(len(frame) == int.from_bytes(frame[4:8], "little") for *_, frame in frames)
    assert {name for name, *_ in frames} == {"fan"}


def test_a_channel_is_renewed_without_a_hole(mine):
    points = [point("p", mine.add(new_name(), 7.0), period_s=0.1)]

    async def scenario() -> tuple[Heard, list[str]]:
        async with Proxy(mine.port) as proxy:
            source = quick_source(proxy.url, points, channel_lifetime_s=0.6)
            heard = await listen(source, lambda h: len(h.batches(RowKind.CONFIRM)) >= 13)
            return heard, proxy.requests

    heard, requests = asyncio.run(scenario())
    assert requests.count("OpenSecureChannel") >= 3
    assert requests.count("CreateSession") == 1
    states = [report.state for report in heard.links]
    assert states[:2] == [LinkState.CONNECTING, LinkState.GOOD]
    assert set(states[2:]) <= {LinkState.GOOD}  # a slow machine may bring reports in place of confirmations


def test_nothing_is_left_behind_by_a_closed_stream(mine, caplog):
    source = quick_source(mine.url, [point("p", mine.add(new_name(), 7.0))])
    before = (mine.sessions, mine.subscriptions)

    async def scenario() -> set[asyncio.Task[object]]:
        await listen(source, settled(source))
        return asyncio.all_tasks() - {asyncio.current_task()}

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(scenario()) == set()
    assert (mine.sessions, mine.subscriptions) == before
    assert [record.message for record in caplog.records if record.name.startswith(("asyncio", "asyncua.client"))] == []


def test_a_second_stream_of_the_same_source_goes_on_counting(mine):
    source = quick_source(mine.url, [point("p", mine.add(new_name(), 7.0))])
    first = asyncio.run(listen(source, settled(source)))
    second = asyncio.run(listen(source, settled(source)))
    assert [b.batch_no for b in first.batches() + second.batches()] == [1, 2]


def test_the_servers_own_clock_is_told_with_the_moment_it_was_heard():
    mine = the_mine()
    heard = asyncio.run(
        listen(
            quick_source(mine.url, [point("p", mine.add(new_name(), 1.0))]),
            lambda h: len(h.batches(RowKind.CONFIRM)) >= 2 and h.links[-1].device_time_ms is not None,
            within_s=15,
        )
    )
    report = heard.links[-1]
    assert report.last_answer_ms <= report.time_ms
    assert abs(report.device_time_ms - report.last_answer_ms) < 3000, "this server sets its clock once a second"
    assert heard.links[0].device_time_ms is None
