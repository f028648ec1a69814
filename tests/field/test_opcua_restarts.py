"""An asyncua server restarted over and over, its namespaces now in this order and now in that (Shows 4).

The same against node-opcua, in processes that are killed, stands in tests/peers. Here a restart is a new server behind
the same address. Key k of round n holds k + 1000 × n, in both namespaces under the same names with other keys.
"""

import asyncio
from collections.abc import Sequence

import pytest
from opcua_mine import MINE_URI, OTHER_URI, Heard, MineServer, listen, point, quick_source
from opcua_proxy import Proxy

from mines.model import Batch, RowKind
from mines.quality import GOOD

PERIOD_S = 0.25
BACKOFF_S = 0.2  # the longest wait of quick_source
SLACK_S = 0.5  # two shared cores, and client and server in one process
NAMES = 5
MINE_FIRST, OTHER_FIRST = (MINE_URI, OTHER_URI), ("urn:mine:first", OTHER_URI, MINE_URI)
TEN = [MINE_FIRST] * 2 + [OTHER_FIRST] * 3 + [MINE_FIRST] * 3 + [OTHER_FIRST] * 2  # three of them in another order


def started(order: Sequence[str], number: int) -> MineServer:
    """The server of one round."""
    server = MineServer(uris=tuple(order)).start()
    for first, uri in ((0, MINE_URI), (NAMES, OTHER_URI)):
        for k in range(NAMES):
            server.add(f"n{k}", float(first + k + 1000 * number), uri=uri)
    return server


@pytest.mark.long
def test_ten_restarts_bring_the_data_back_within_two_periods_each_and_hold_one_session():
    keys = [(uri, k) for uri in (MINE_URI, OTHER_URI) for k in range(NAMES)]
    points = [point(f"p{i}", f"nsu={uri};s=n{k}", PERIOD_S) for i, (uri, k) in enumerate(keys)]
    rounds = dict.fromkeys(range(len(points)), -1)  # of each point's last good value

    def meanwhile(heard: Heard) -> None:
        batch = heard.items[-1]
        if not isinstance(batch, Batch) or batch.kind != RowKind.SAMPLE:
            return
        for index, value, word in zip(batch.index.tolist(), batch.value, batch.quality, strict=True):
            if word == GOOD:
                assert value % 1000 == index, points[index].id
                rounds[index] = int(value // 1000)

    async def scenario() -> tuple[list[float], list[tuple[int, int]]]:
        server = await asyncio.to_thread(started, MINE_FIRST, 0)
        loop, took, held, done = asyncio.get_running_loop(), [], [], asyncio.Event()
        async with Proxy(server.port) as proxy:
            source = quick_source(proxy.url, points)
            listening = asyncio.create_task(listen(source, lambda _: done.is_set(), within_s=180, meanwhile=meanwhile))
            await all_at(rounds, 0)
            for number, order in enumerate(TEN, start=1):
                await asyncio.to_thread(server.stop)
                server = await asyncio.to_thread(started, order, number)
                proxy.target = server.port
                since_s = loop.time()
                await all_at(rounds, number)
                took.append(loop.time() - since_s)
                held.append((server.sessions, server.subscriptions))
            done.set()
            await listening
        await asyncio.to_thread(server.stop)
        return took, held

    took, held = asyncio.run(scenario())
    assert max(took) <= 2 * PERIOD_S + BACKOFF_S + SLACK_S, took
    assert held == [(1, 1)] * len(TEN)


async def all_at(rounds: dict[int, int], number: int) -> None:
    async with asyncio.timeout(15):
        while set(rounds.values()) != {number}:
            await asyncio.sleep(0.01)
