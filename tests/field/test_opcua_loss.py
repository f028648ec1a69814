"""What a source says while its server restarts, freezes, lies or is not there, and how it comes back."""

import asyncio
import itertools
import math
import socket
import time
from contextlib import asynccontextmanager
from random import Random

import pytest
from opcua_mine import (
    MINE_URI,
    OTHER_URI,
    Heard,
    MineServer,
    listen,
    new_name,
    point,
    quick_source,
    spoken,
    the_mine,
)
from opcua_proxy import Proxy

from mines.model import Batch, LinkState, RowKind
from mines.quality import Reason, bad

NO_COMMUNICATION = bad(Reason.NO_COMMUNICATION)
PERIOD_S = 0.25
SLACK_S = 0.25  # two shared cores


def moments(heard: Heard, index: int, word: int) -> list[float]:
    """When a point was said to be of this quality [s of the loop's clock]."""
    return [
        at_s
        for item, at_s in zip(heard.items, heard.at_s, strict=True)
        if isinstance(item, Batch) and item.kind == RowKind.SAMPLE and word in item.quality[item.index == index]
    ]


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


class Script:
    """Does things one after the other, each as soon as its moment has come."""

    def __init__(self, *steps) -> None:
        self._steps = list(steps)
        self.done_s: list[float] = []

    def __call__(self, heard: Heard) -> None:
        if self._steps and self._steps[0][0](heard):
            self._steps.pop(0)[1]()
            self.done_s.append(heard.at_s[-1])


def lost(heard: Heard) -> bool:
    return heard.links[-1].state == LinkState.LOST


def confirmed(times: int):
    return lambda heard: len(heard.batches(RowKind.CONFIRM)) >= times


def test_a_restart_with_another_namespace_order_brings_each_value_back_under_its_own_point():
    before, after = MineServer(uris=(MINE_URI, OTHER_URI)).start(), the_mine()
    name, gone = new_name(), new_name()
    addresses = [before.add(name, 1.0), before.add(name, 2.0, uri=OTHER_URI), before.add(gone, 3.0)]
    after.add(name, 11.0)
    after.add(name, 12.0, uri=OTHER_URI)
    assert before.node_id(name, OTHER_URI) == after.node_id(name, OTHER_URI)
    assert before.node_id(name).NamespaceIndex + 2 == after.node_id(name).NamespaceIndex
    points = [point(f"p{i}", address, PERIOD_S) for i, address in enumerate(addresses)]

    async def scenario() -> tuple[Heard, float]:
        async with Proxy(before.port) as proxy:
            tasks: list[asyncio.Task[float]] = []

            async def restart() -> float:
                await asyncio.to_thread(before.stop)
                await asyncio.sleep(2 * PERIOD_S)
                proxy.target = after.port
                return asyncio.get_running_loop().time()

            script = Script((confirmed(1), lambda: tasks.append(asyncio.create_task(restart()))))
            source = quick_source(proxy.url, points)
            heard = await listen(source, lambda h: spoken(h, 0, 11.0), within_s=10, meanwhile=script)
            return heard, await tasks[0]

    heard, up_s = asyncio.run(scenario())
    assert heard.values(0) == [1.0, 11.0]
    assert heard.values(1) == [2.0, 12.0]
    assert heard.values(2) == [3.0]
    assert heard.last(2) == (pytest.approx(math.nan, nan_ok=True), bad(Reason.NODE_UNKNOWN))
    down = moments(heard, 0, NO_COMMUNICATION)
    assert len(down) >= 3
    assert max(gaps(down)) <= PERIOD_S + SLACK_S
    assert heard.at_s[-1] - up_s <= 2 * PERIOD_S + 0.2 + SLACK_S, "two periods and the longest back-off"


@asynccontextmanager
async def proxied(*, period_s: float = PERIOD_S, points: int = 1, **more: float):
    """A source that reaches the mine through a proxy, and the names of its nodes."""
    mine = the_mine()
    names = [new_name() for _ in range(points)]
    listed = [point(name, mine.add(name, 1.0), period_s) for name in names]
    async with Proxy(mine.port) as proxy:
        yield proxy, quick_source(proxy.url, listed, **more), names


def test_a_frozen_server_is_noticed_within_three_periods_and_every_point_is_bad_each_period():
    async def scenario() -> tuple[Heard, list[float]]:
        async with proxied(points=2) as (proxy, source, _):
            script = Script(
                (confirmed(2), lambda: setattr(proxy, "frozen", True)),
                (lambda h: len(moments(h, 0, NO_COMMUNICATION)) >= 3, lambda: setattr(proxy, "frozen", False)),
            )
            heard = await listen(
                source,
                lambda h: h.links[-1].reconnects == 1 and spoken(h, 1, 1.0),
                within_s=8,
                meanwhile=script,
            )
            return heard, script.done_s

    heard, (frozen_s, _) = asyncio.run(scenario())
    assert heard.links[-1].reconnects == 1
    assert {r.last_error for r in heard.links if r.state == LinkState.LOST} == {"timeout"}
    down = moments(heard, 0, NO_COMMUNICATION)
    assert down == moments(heard, 1, NO_COMMUNICATION)
    assert down[0] - frozen_s <= 3 * PERIOD_S + SLACK_S
    assert max(gaps(down)) <= PERIOD_S + SLACK_S
    assert heard.values(0) == heard.values(1) == [1.0, 1.0], "no row is usable while the link is lost"
    vouched_s = [b.monotonic_ns[0] / 1e9 for b in heard.batches(RowKind.CONFIRM)]
    assert max(vouched_s) < frozen_s + 0.05, "nothing rests on a frozen server but what was under way"


def test_five_lost_connections_leave_no_session_behind():
    mine = the_mine()
    before = (mine.sessions, mine.subscriptions)

    async def scenario() -> tuple[Heard, list[int], int]:
        held: list[int] = []
        async with proxied() as (proxy, source, _):

            def cut() -> None:
                held.append(mine.sessions - before[0])
                proxy.cut()

            script = Script(*[(lambda h, n=n: len(h.values(0)) == n, cut) for n in range(1, 6)])
            heard = await listen(source, lambda h: len(h.values(0)) == 6, meanwhile=script)
            return heard, held, proxy.connections

    heard, held, connections = asyncio.run(scenario())
    assert max(held) == 1  # a session that an earlier test left may end meanwhile: never more than one of ours
    assert mine.sessions <= before[0]
    assert mine.subscriptions <= before[1]
    assert 6 <= connections <= 9  # an attempt may meet the cut that is still going on, and is made again
    assert heard.links[-1].reconnects >= 5
    assert heard.values(0) == [1.0] * 6, "each session gives the value again"
    assert [b.batch_no for b in heard.batches()] == list(range(1, len(heard.batches()) + 1))


@pytest.mark.parametrize(
    ("fault", "error", "second_look_s"),
    [
        pytest.param(MineServer.mute, "subscription silent", 10.0, id="falls silent while reads work"),
        pytest.param(MineServer.numb, "subscription frozen", 0.2, id="goes on with keep-alives but tells no change"),
        pytest.param(
            lambda _, subscription: setattr(subscription, "_notification_seq", subscription._notification_seq + 1),
            "notification lost",
            10.0,
            id="skips a number",
        ),
    ],
)
def test_a_subscription_is_begun_anew_when_it(fault, error, second_look_s):
    mine = the_mine()

    async def scenario() -> Heard:
        async with proxied(second_look_s=second_look_s) as (_, source, names):

            def harm() -> None:
                fault(mine, mine.newest_subscription)
                mine.write(names[0], 2.0)

            return await listen(
                source,
                lambda h: h.links[-1].reconnects == 1 and spoken(h, 0, 2.0),
                meanwhile=Script((confirmed(1), harm)),
            )

    heard = asyncio.run(scenario())
    assert [r.last_error for r in heard.links if r.state == LinkState.LOST] == [error]
    twice, once = [1.0, 2.0, 2.0], [1.0, 2.0]  # on a slow machine the change may get through before the fault
    assert heard.values(0) in ([twice] if error == "notification lost" else [once, twice]), "kept, and told again"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_refused_connection_is_told_at_once_and_tried_again_with_longer_waits():
    source = quick_source(f"opc.tcp://127.0.0.1:{free_port()}", [point("p", "i=1", PERIOD_S)], backoff_max_s=60.0)
    heard = asyncio.run(listen(source, lambda h: len(moments(h, 0, NO_COMMUNICATION)) >= 3))
    assert [(r.state, r.last_error) for r in heard.links] == [
        (LinkState.CONNECTING, ""),
        (LinkState.LOST, "refused"),
    ]
    down = moments(heard, 0, NO_COMMUNICATION)
    assert down[0] - heard.at_s[0] < 0.2
    assert max(gaps(down)) <= PERIOD_S + SLACK_S


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(None, "timeout", id="accepts and never answers"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "closed", id="a web server"),
        pytest.param(b"ERRF\x10\x00\x00\x00\x00\x00\x7d\x80\xff\xff\xff\xff", "BadTcpServerTooBusy", id="too busy"),
    ],
)
def test_what_is_no_working_server_is_told_by_a_word_and_a_stop_is_quick(answer, error):
    async def scenario() -> tuple[Heard, float]:
        async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                if answer is not None:
                    writer.write(answer)
                    break
            writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            source = quick_source(f"opc.tcp://127.0.0.1:{port}", [point("p", "i=1", PERIOD_S)], timeout_s=0.3)
            heard = await listen(source, lost)
            closed_s = time.monotonic()
            stream = source.stream()
            await anext(stream)
            await asyncio.sleep(0.05)
            await stream.aclose()
            return heard, time.monotonic() - closed_s

    heard, stop_s = asyncio.run(scenario())
    assert heard.links[-1].last_error == error
    assert stop_s < 1.0


def garbled(chunk: bytes, random: Random) -> bytes:
    """A chunk with a few bytes of its body changed, or cut short with a fitting length."""
    out = bytearray(chunk)
    for _ in range(random.randrange(1, 6)):
        out[random.randrange(min(24, len(out) - 1), len(out))] = random.choice([0, 1, 127, 128, 255])
    if random.random() < 0.2:
        out = out[: random.randrange(8, len(out) + 1)]
        out[4:8] = len(out).to_bytes(4, "little")
    return bytes(out)


@pytest.mark.parametrize(
    "seeds", [range(3), pytest.param(range(3, 100), marks=pytest.mark.long)], ids=["a few", "many"]
)
def test_whatever_a_reply_is_garbled_into_costs_a_session_at_most(seeds):
    async def scenario(seed: int) -> None:
        random = Random(seed)
        at = random.randrange(11)
        async with proxied(period_s=0.1, timeout_s=0.3, ask_refused_again_s=0.2, second_look_s=0.3) as (
            proxy,
            source,
            _,
        ):
            chunks = itertools.count()
            proxy.rewrite = lambda chunk: garbled(chunk, random) if next(chunks) == at else chunk
            await listen(source, lambda h: len(h.batches(RowKind.CONFIRM)) >= 2, within_s=8)

    for seed in seeds:
        asyncio.run(scenario(seed))
