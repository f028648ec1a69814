"""The OPC UA source against node-opcua: restarts, namespaces in another order, kills, freezes, quiet times.

Every value that the server sends says whose it is (server.mjs), and every row that is not bad is held against that.
"""

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.x509 import load_pem_x509_certificate
from node_opcua import FAN_URI, OTHER_URI, PUMP_URI, TYPES, NodeServer, all_points, is_own, missing
from opcua_mine import Heard, listen, point, quick_source
from opcua_papers import our_papers, write
from opcua_proxy import Proxy

from connectors.opcua.certificates import fingerprint
from connectors.opcua.security_settings import Security
from connectors.opcua.source import OpcUaSource
from mines.model import Batch, LinkReport, LinkState, RowKind
from mines.quality import GOOD, Reason, Severity, bad, severities

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

PERIOD_S = 0.5
BACKOFF_S = 0.2  # the longest wait of quick_source: part of every bound on the way back
SLACK_S = 1.0  # a fresh node process is slow on its first requests, and the machine is shared


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    """Where node-opcua keeps its own certificate: making one takes it seconds."""
    return tmp_path_factory.mktemp("pki")


class Watch:
    """Holds every row against the point that it stands under, and knows when each point last had a good value."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self.points, self._keys = all_points(period_s)
        self.points.append(point("text", f"nsu={PUMP_URI};s=text", period_s))
        self.good_s = np.full(len(self._keys), -np.inf)  # [s of the loop's clock]
        self.rows = 0

    def source(self, server: NodeServer, **more: Any) -> OpcUaSource:
        return quick_source(server.url, self.points, **more)

    def __call__(self, heard: Heard) -> None:
        batch = heard.items[-1]
        if not isinstance(batch, Batch) or batch.kind != RowKind.SAMPLE:
            return
        usable = severities(batch.quality) != Severity.BAD
        for index, value in zip(batch.index[usable].tolist(), batch.value[usable].tolist(), strict=True):
            assert index < len(self._keys), "the text is no number"
            key, step = self._keys[index]
            boolean = TYPES[index % len(TYPES)] == "Boolean"
            assert is_own(value, key, step, boolean=boolean), (self.points[index].id, value)
            self.good_s[index] = heard.at_s[-1]
            self.rows += 1

    def back_s(self, since_s: float) -> float:
        """When every point had had a good value since a moment; inf = not yet."""
        return float(self.good_s.min()) if (self.good_s >= since_s).all() else np.inf


def counted(server: NodeServer) -> tuple[int, int]:
    """Sessions and subscriptions that the server holds."""
    answer = json.loads(server.ask())
    return answer["sessions"], answer["subscriptions"]


async def until(condition, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


FAN_FIRST, PUMP_FIRST = (FAN_URI, PUMP_URI), (OTHER_URI, PUMP_URI, FAN_URI)
TEN = [FAN_FIRST] * 2 + [PUMP_FIRST] * 3 + [FAN_FIRST] * 3 + [PUMP_FIRST] * 2  # three of them in another order


@pytest.mark.parametrize(
    "orders",
    [[PUMP_FIRST, PUMP_FIRST, FAN_FIRST], pytest.param(TEN, marks=pytest.mark.long)],
    ids=["three times", "ten times"],
)
def test_a_restarted_server_has_its_data_back_within_two_periods_each_under_its_own_point(pki, orders):
    watch = Watch()

    async def scenario(server: NodeServer) -> tuple[list[float], list[tuple[int, int]]]:
        done = asyncio.Event()
        listening = asyncio.create_task(
            listen(watch.source(server), lambda _: done.is_set(), within_s=120, meanwhile=watch)
        )
        took, held = [], []
        await until(lambda: watch.back_s(0) < np.inf)
        for number, order in enumerate(orders):
            ready_s = await server.restart(order, hard=number % 2 == 1)
            await until(lambda since=ready_s: watch.back_s(since) < np.inf)
            took.append(watch.back_s(ready_s) - ready_s)
            held.append(await asyncio.to_thread(counted, server))
        done.set()
        heard = await listening
        assert heard.links[-1].reconnects >= len(orders)
        return took, held

    with NodeServer(pki) as server:
        server.start(FAN_FIRST)
        took, held = asyncio.run(scenario(server))
    assert max(took) <= 2 * PERIOD_S + BACKOFF_S + SLACK_S, took
    assert held == [(1, 1)] * len(orders)


@pytest.fixture(scope="module")
def standing(pki) -> Iterator[NodeServer]:
    """One server for the tests that do not end it."""
    with NodeServer(pki) as server:
        server.start()
        yield server


def test_a_server_frozen_for_seconds_is_lost_at_once_and_back_after_it_with_one_session(standing):
    watch = Watch()

    async def scenario() -> tuple[Heard, float, float]:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        listening = asyncio.create_task(
            listen(watch.source(standing), lambda _: done.is_set(), within_s=60, meanwhile=watch)
        )
        await until(lambda: watch.back_s(0) < np.inf)
        standing.freeze()
        frozen_s = loop.time()
        await asyncio.sleep(2.5)
        standing.thaw()
        thawed_s = loop.time()
        await until(lambda: watch.back_s(thawed_s) < np.inf and counted(standing) == (1, 1))
        done.set()
        return await listening, frozen_s, thawed_s

    heard, frozen_s, thawed_s = asyncio.run(scenario())
    lost = [at_s for item, at_s in told(heard) if item.state == LinkState.LOST]
    assert lost[0] - frozen_s <= 3 * PERIOD_S + SLACK_S
    assert watch.back_s(thawed_s) < np.inf
    assert heard.links[-1].state == LinkState.GOOD
    down = [at_s for at_s, batch in samples(heard) if bad(Reason.NO_COMMUNICATION) in batch.quality]
    assert max(later - earlier for earlier, later in itertools.pairwise(down)) <= PERIOD_S + 0.25


def told(heard: Heard) -> list[tuple[LinkReport, float]]:
    return [(i, at_s) for i, at_s in zip(heard.items, heard.at_s, strict=True) if isinstance(i, LinkReport)]


def samples(heard: Heard) -> list[tuple[float, Batch]]:
    return [
        (at_s, item)
        for item, at_s in zip(heard.items, heard.at_s, strict=True)
        if isinstance(item, Batch) and item.kind == RowKind.SAMPLE
    ]


def test_connections_lost_five_times_leave_one_session_on_the_server(standing):
    watch = Watch()

    async def scenario() -> list[tuple[int, int]]:
        held: list[tuple[int, int]] = []
        async with Proxy(standing.port) as proxy:
            source = quick_source(proxy.url, watch.points)
            done = asyncio.Event()
            listening = asyncio.create_task(listen(source, lambda _: done.is_set(), within_s=60, meanwhile=watch))
            await until(lambda: watch.back_s(0) < np.inf)
            for _ in range(5):
                proxy.cut()
                since_s = asyncio.get_running_loop().time()
                await until(lambda since=since_s: watch.back_s(since) < np.inf)
                held.append(await asyncio.to_thread(counted, standing))
            done.set()
            await listening
        return held

    assert asyncio.run(scenario()) == [(1, 1)] * 5
    assert counted(standing) == (0, 0), "the last session was closed with its stream"


def test_its_limits_of_nodes_in_one_request_are_kept_without_trying(standing):
    watch = Watch()

    async def scenario() -> tuple[Heard, list[str]]:
        async with Proxy(standing.port) as proxy:
            source = quick_source(proxy.url, watch.points)
            heard = await listen(source, lambda _: watch.back_s(0) < np.inf, meanwhile=watch)
            return heard, proxy.requests

    heard, requests = asyncio.run(scenario())
    assert heard.links[-1].reconnects == 0
    assert requests.count("CreateMonitoredItems") == 3, "61 points at 25 in one request"


def test_a_server_with_nothing_to_tell_is_confirmed_each_period_and_not_left(standing):
    watch = Watch(period_s=0.2)

    async def scenario() -> Heard:
        standing.ask("quiet")
        await asyncio.sleep(0.2)
        return await listen(watch.source(standing), lambda h: len(h.batches(RowKind.CONFIRM)) >= 8, meanwhile=watch)

    try:
        heard = asyncio.run(scenario())
    finally:
        standing.ask("loud")
    assert heard.links[-1].reconnects == 0
    assert heard.links[-1].state == LinkState.GOOD
    usable = [index for _, batch in samples(heard) for index in batch.index[batch.quality == GOOD].tolist()]
    assert sorted(usable) == list(range(len(watch.points) - 1)), "one value each and then only confirmations"


def test_a_secured_channel_to_it_brings_the_same_values(standing, pki, tmp_path):
    watch = Watch()
    (own,) = (pki / "own" / "certs").glob("*.pem")
    security = Security(
        "Basic256Sha256",
        "SignAndEncrypt",
        write(tmp_path, "own.pem", our_papers().pem),
        write(tmp_path, "own.key", our_papers().key_pem),
        pin=fingerprint(load_pem_x509_certificate(own.read_bytes())),
    )
    source = watch.source(standing, security=security, timeout_s=3.0)
    heard = asyncio.run(listen(source, lambda _: watch.rows > 4 * len(watch.points), within_s=15, meanwhile=watch))
    assert heard.links[-1].state == LinkState.GOOD
    assert watch.back_s(0) < np.inf
