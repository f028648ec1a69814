"""The promises of `mines.source.Source`, held by the OPC UA source against a real server."""

import asyncio
import itertools
import time
from contextlib import aclosing

import numpy as np
import pytest
from opcua_mine import Heard, listen, new_name, point, quick_source, settled, the_mine
from opcua_proxy import Proxy

from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.source import OpcUaSource
from mines.clock import NO_TIME_MS, ManualClock
from mines.model import Batch, LinkReport, LinkState, Point, RowKind
from mines.quality import Severity, severities
from mines.source import Source

PERIOD_S = 0.2
SLACK_S = 0.25  # two shared cores


def three_points() -> list[Point]:
    mine = the_mine()
    return [
        point("first", mine.add(new_name(), 1.0), PERIOD_S),
        point("missing", "nsu=urn:nobody;s=x", PERIOD_S),
        point("last", mine.add(new_name(), 3.0), PERIOD_S),
    ]


@pytest.fixture(scope="module")
def life() -> Heard:
    """What a source says of three points in a life with one loss in it."""

    async def lived() -> Heard:
        async with Proxy(the_mine().port) as proxy:
            source = quick_source(proxy.url, three_points(), timeout_s=0.3)

            def meanwhile(heard: Heard) -> None:
                proxy.frozen = len(heard.batches(RowKind.CONFIRM)) >= 3 and heard.links[-1].state != LinkState.LOST
                if heard.links[-1].reconnects:
                    proxy.frozen = False

            return await listen(
                source,
                lambda h: h.links[-1].reconnects == 1 and len(h.batches(RowKind.CONFIRM)) >= 6,
                within_s=8,
                meanwhile=meanwhile,
            )

    return asyncio.run(lived())


def test_it_is_a_source():
    source: Source = quick_source("opc.tcp://127.0.0.1:1", points := three_points())
    assert (source.id, tuple(source.points)) == ("fan", tuple(points))
    assert isinstance(source, OpcUaSource)
    assert (source.kind, source.endpoint) == ("opcua", "opc.tcp://127.0.0.1:1")


def test_nothing_is_connected_before_the_first_use():
    async def scenario() -> int:
        async with Proxy(the_mine().port) as proxy:
            stream = quick_source(proxy.url, three_points()).stream()
            await asyncio.sleep(0.1)
            await stream.aclose()
            return proxy.connections

    assert asyncio.run(scenario()) == 0


def test_it_yields_batches_and_link_reports_only(life):
    assert {type(item) for item in life.items} == {Batch, LinkReport}


def test_batch_numbers_have_no_gap_over_samples_and_confirmations(life):
    assert [batch.batch_no for batch in life.batches()] == list(range(1, len(life.batches()) + 1))
    assert {batch.kind for batch in life.batches()} == {RowKind.SAMPLE, RowKind.CONFIRM}


def test_every_point_is_in_the_first_batch_read_or_not(life):
    first = life.batches()[0]
    assert sorted(first.index.tolist()) == [0, 1, 2]
    assert severities(first.quality)[first.index == 1].tolist() == [Severity.BAD]


def test_bad_rows_and_confirmations_carry_no_value(life):
    for batch in life.batches():
        without = np.isnan(batch.value)
        assert (
            without.tolist() == ((severities(batch.quality) == Severity.BAD) | (batch.kind == RowKind.CONFIRM)).tolist()
        )


def test_a_bad_row_has_a_reason(life):
    for batch in life.batches(RowKind.SAMPLE):
        is_bad = severities(batch.quality) == Severity.BAD
        assert ((batch.quality[is_bad] >> 8) & 0x3F).all()


def test_times_of_rows_never_go_back(life):
    times = np.concatenate([batch.monotonic_ns for batch in life.batches()])
    assert (np.diff(times) >= 0).all()


def test_it_never_waits_longer_than_its_period_without_yielding(life):
    assert max(later - earlier for earlier, later in itertools.pairwise(life.at_s)) <= PERIOD_S + SLACK_S


def test_no_point_is_silent_for_longer_than_its_period(life):
    for index in range(3):
        spoken = [
            at_s
            for item, at_s in zip(life.items, life.at_s, strict=True)
            if isinstance(item, Batch) and index in item.index
        ]
        silent = max(later - earlier for earlier, later in itertools.pairwise(spoken))
        assert silent <= PERIOD_S + 0.5 + SLACK_S, "until a frozen server is found out; else a period"


def test_every_change_of_the_link_is_reported(life):
    states = [state for state, _ in itertools.groupby(report.state for report in life.links)]
    assert states == [LinkState.CONNECTING, LinkState.DEGRADED, LinkState.LOST, LinkState.DEGRADED]


def test_it_ends_on_aclose_wherever_it_is_and_releases_everything():
    mine = the_mine()
    before = (mine.sessions, mine.subscriptions)

    async def scenario() -> tuple[float, int]:
        source, longest_s = quick_source(mine.url, three_points()), 0.0
        for items in (1, 2, 3, 5):
            async with aclosing(source.stream()) as stream:
                for _ in range(items):
                    await asyncio.wait_for(anext(stream), 5)
                begun_s = time.monotonic()
            longest_s = max(longest_s, time.monotonic() - begun_s)
        return longest_s, len(asyncio.all_tasks())

    longest_s, tasks = asyncio.run(scenario())
    assert longest_s < 1.0
    assert tasks == 1
    assert (mine.sessions, mine.subscriptions) == before


def test_a_cancelled_consumer_releases_everything_too():
    mine = the_mine()
    before = (mine.sessions, mine.subscriptions)

    async def scenario() -> int:
        async def consume() -> None:
            async with aclosing(quick_source(mine.url, three_points()).stream()) as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.4)
        assert mine.sessions == before[0] + 1
        task.cancel()
        await asyncio.wait({task}, timeout=3)
        assert task.cancelled()
        return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == 1
    assert (mine.sessions, mine.subscriptions) == before


def test_rows_are_stamped_by_the_clock_that_was_handed_in():
    clock = ManualClock(wall_ms=1_000_000, monotonic_ns=5_000)
    settings = OpcUaSettings(the_mine().url, publishing_ms=50, sampling_ms=50, timeout_s=1.0)
    source = OpcUaSource("fan", three_points(), settings, clock)
    heard = asyncio.run(listen(source, settled(source)))
    (batch,) = heard.batches()
    assert set(batch.receive_time_ms.tolist()) == {1_000_000}
    assert set(batch.monotonic_ns.tolist()) == {5_000}
    assert batch.source_time_ms[batch.index == 1].tolist() == [NO_TIME_MS]
    assert {report.time_ms for report in heard.links} == {1_000_000}
