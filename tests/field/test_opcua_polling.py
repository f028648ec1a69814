"""A server that is polled instead of subscribed to: a row each period, on the grid, within the server's limits."""

import asyncio
import itertools
from random import Random

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import Heard, MineServer, listen, new_name, point, quick_source, the_mine
from opcua_proxy import Proxy

from connectors.opcua.rota import Rota
from connectors.opcua.session import Session
from connectors.opcua.settings import OpcUaSettings
from mines.clock import SystemClock
from mines.model import Batch, LinkState, RowKind
from mines.quality import GOOD, Reason, bad

PERIOD_S = 0.2
SLACK_S = 0.4  # two shared cores


def polled(url: str, points, **more):
    return quick_source(url, points, read="poll", **({"timeout_s": 2.0} | more))


def spoken_s(heard: Heard, index: int) -> list[float]:
    return [
        at_s
        for item, at_s in zip(heard.items, heard.at_s, strict=True)
        if isinstance(item, Batch) and index in item.index
    ]


def test_every_point_is_read_each_of_its_periods_and_an_unchanged_value_is_a_sample_too():
    mine = the_mine()
    points = [point("fast", mine.add(new_name(), 1.0), 0.2), point("slow", mine.add(new_name(), 2.0), 0.6)]
    heard = asyncio.run(listen(polled(mine.url, points), lambda h: len(h.rows(1)) >= 4, within_s=10))
    assert heard.batches(RowKind.CONFIRM) == []
    assert {(value, word) for value, word in heard.rows(0)} == {(1.0, GOOD)}
    assert {(value, word) for value, word in heard.rows(1)} == {(2.0, GOOD)}
    # Both are read at once at the start; between the first and the fourth slow poll lie two whole slow periods or more.
    assert 7 <= len(heard.rows(0)) <= 14
    for index, period_s in ((0, 0.2), (1, 0.6)):
        waits = np.diff(spoken_s(heard, index))
        assert waits.max() <= period_s + SLACK_S
        assert np.median(waits[1:]) == pytest.approx(period_s, abs=0.1)


def test_what_is_sent_is_reads_and_no_subscription():
    mine = the_mine()
    points = [point("p", mine.add(new_name(), 1.0), PERIOD_S)]

    async def scenario() -> tuple[Heard, list[str]]:
        async with Proxy(mine.port) as proxy:
            heard = await listen(polled(proxy.url, points), lambda h: len(h.rows(0)) >= 5)
            return heard, proxy.requests

    heard, requests = asyncio.run(scenario())
    assert {"CreateSubscription", "Publish", "CreateMonitoredItems"}.isdisjoint(requests)
    assert requests.count("Read") >= 5
    assert heard.links[-1].state == LinkState.GOOD


def test_a_change_is_seen_at_the_next_poll_with_its_source_time():
    mine = the_mine()
    name = new_name()
    points = [point("p", mine.add(name, 1.0), PERIOD_S)]
    steps = iter([lambda: mine.write(name, 2.0)])

    def meanwhile(heard: Heard) -> None:
        if len(heard.rows(0)) >= 2:
            next(steps, lambda: None)()

    source = polled(mine.url, points)
    heard = asyncio.run(listen(source, lambda h: h.last(0) == (2.0, GOOD), meanwhile=meanwhile))
    assert [value for value, _ in itertools.groupby(heard.values(0))] == [1.0, 2.0]


def test_a_node_that_is_not_there_is_bad_each_period_and_costs_the_others_nothing():
    mine = the_mine()
    name = new_name()
    there = mine.add(new_name(), 1.0)
    points = [
        point("there", there, PERIOD_S),
        point("comes", f"{there.rpartition('=')[0]}={name}", PERIOD_S),
        point("nobody", "nsu=urn:nobody;s=x", PERIOD_S),
    ]
    steps = iter([lambda: mine.add(name, 5.0)])

    def meanwhile(heard: Heard) -> None:
        if len(heard.rows(1)) >= 4:
            next(steps, lambda: None)()

    source = polled(mine.url, points, ask_refused_again_s=0.3)
    heard = asyncio.run(listen(source, lambda h: h.last(1) == (5.0, GOOD), within_s=10, meanwhile=meanwhile))
    assert {word for _, word in heard.rows(2)} == {bad(Reason.NODE_UNKNOWN)}
    assert heard.rows(1)[0][1] == bad(Reason.NODE_UNKNOWN)
    assert {word for _, word in heard.rows(0)} == {GOOD}
    for index in range(3):
        assert np.diff(spoken_s(heard, index)).max() <= PERIOD_S + SLACK_S
    assert {r.state for r in heard.links} <= {LinkState.CONNECTING, LinkState.DEGRADED}


def test_while_the_server_is_away_every_point_is_bad_each_period_and_it_comes_back():
    mine = the_mine()
    points = [point("p", mine.add(new_name(), 1.0), PERIOD_S)]

    async def scenario() -> Heard:
        async with Proxy(mine.port) as proxy:

            def meanwhile(heard: Heard) -> None:
                down = [word for _, word in heard.rows(0) if word == bad(Reason.NO_COMMUNICATION)]
                proxy.frozen = len(heard.rows(0)) >= 3 and len(down) < 4

            return await listen(
                polled(proxy.url, points, timeout_s=0.4),
                lambda h: h.links[-1].reconnects == 1 and h.last(0) == (1.0, GOOD),
                within_s=10,
                meanwhile=meanwhile,
            )

    heard = asyncio.run(scenario())
    assert [r.last_error for r in heard.links if r.state == LinkState.LOST] == ["timeout"]
    words = [word for word, _ in itertools.groupby(word for _, word in heard.rows(0))]
    assert words == [GOOD, bad(Reason.NO_COMMUNICATION), GOOD]
    assert np.diff(spoken_s(heard, 0)).max() <= PERIOD_S + 0.4 + SLACK_S
    assert [batch.batch_no for batch in heard.batches()] == list(range(1, len(heard.batches()) + 1))


def test_a_poll_that_takes_longer_than_its_period_is_counted_and_never_overlaps_the_next():
    mine = the_mine()
    points = [point("p", mine.add(new_name(), 1.0), PERIOD_S)]

    async def scenario() -> tuple[Heard, int]:
        most = 0
        async with Proxy(mine.port) as proxy:
            source = polled(proxy.url, points)
            real, under_way = Session.read, 0

            async def slow(self: Session, nodes):
                nonlocal under_way, most
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(2.5 * PERIOD_S)
                under_way -= 1
                return await real(self, nodes)

            Session.read = slow
            try:
                return await listen(source, lambda h: len(h.values(0)) >= 4, within_s=10), most
            finally:
                Session.read = real

    heard, most = asyncio.run(scenario())
    assert most == 1
    assert heard.links[-1].counters["overruns"] >= 4
    assert {r.state for r in heard.links} == {LinkState.CONNECTING, LinkState.GOOD}, "slow is not lost"
    begun = [word for _, word in heard.rows(0)].index(GOOD)
    assert {word for _, word in heard.rows(0)[begun:]} == {GOOD}
    assert np.diff(heard.at_s).max() <= PERIOD_S + SLACK_S, "a report stands in for what there is nothing to say of"


class LimitedServer(MineServer):
    """Refuses what is more than its limits, and tells them or not."""

    def limit(self, nodes: int, *, tell: bool) -> None:
        self.largest_read = 0
        service = self._server.iserver.attribute_service
        read = service.read

        def limited(params: ua.ReadParameters):
            if len(params.NodesToRead) > nodes:
                raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)
            self.largest_read = max(self.largest_read, len(params.NodesToRead))
            return read(params)

        service.read = limited
        if tell:
            told = ua.DataValue(ua.Variant(nodes, ua.VariantType.UInt32))
            self.run(self._server.write_attribute_value(ua.NodeId(11705), told))


@pytest.mark.parametrize("tell", [True, pytest.param(False, marks=pytest.mark.long)], ids=["told", "found out"])
def test_a_servers_limit_of_nodes_a_read_is_kept(tell):
    mine = LimitedServer().start()
    try:
        points = [point(f"p{n}", mine.add(new_name(), float(n)), PERIOD_S) for n in range(23)]
        mine.limit(5, tell=tell)
        heard = asyncio.run(listen(polled(mine.url, points), lambda h: len(h.rows(22)) >= 3, within_s=10))
        assert mine.largest_read <= 5
        assert [heard.last(n) for n in range(23)] == [(float(n), GOOD) for n in range(23)]
    finally:
        mine.stop()


def test_limits_of_zero_are_no_limits():
    async def scenario() -> tuple[int, int]:
        session = Session(OpcUaSettings(the_mine().url, timeout_s=2.0), [], clock=SystemClock())
        await session.open()
        sizes = (session._reads.at_once, session._items.at_once)
        await session.close()
        return sizes

    assert asyncio.run(scenario()) == (500, 500)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0, 60.0]), min_size=1, max_size=12),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_each_point_is_due_once_in_each_of_its_slots_or_the_slot_is_counted_as_missed(periods, phase, seed):
    random, now_s = Random(seed), 1000.0
    rota = Rota(periods, phase, now_s)
    polls: dict[int, list[float]] = {n: [] for n in range(len(periods))}
    missed: dict[float, int] = dict.fromkeys(periods, 0)
    for _ in range(200):
        begin_s, points = rota.due(0.0)
        assert {periods[n] for n in points} == {periods[points[0]]}
        now_s = max(now_s, begin_s)
        for n in points:
            polls[n].append(begin_s)
        now_s += random.choice([0.001, 0.1, 0.9])
        missed[periods[points[0]]] += rota.done(now_s)
    for n, times in polls.items():
        slots = [round((t - phase * periods[n]) / periods[n]) for t in times[1:]]  # the first is at once
        assert len(set(slots)) == len(slots)
        if len(slots) > 1:
            assert slots[-1] - slots[0] + 1 - len(slots) <= missed[periods[n]]
