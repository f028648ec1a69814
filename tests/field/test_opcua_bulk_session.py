"""Sessions do read in bulk, by subscription and by reads, and a text beside the numbers only costs the speed."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from asyncua import ua
from opcua_mine import MineServer, new_name, the_mine
from opcua_proxy import Proxy

from connectors.opcua.decode import Values
from connectors.opcua.session import Node, Session
from connectors.opcua.settings import OpcUaSettings
from mines.clock import SystemClock


def nodes_of(mine: MineServer, *initial: object) -> list[tuple[int, Node]]:
    """A node for each value, with its point index."""
    names = [new_name() for _ in initial]
    for name, value in zip(names, initial, strict=True):
        mine.add(name, value)
    ids = [mine.node_id(name) for name in names]
    return [(index, (id.NamespaceIndex, id.Identifier)) for index, id in enumerate(ids)]


async def in_session(url: str, work: Callable[[Session], Awaitable[Values]]) -> Values:
    session = Session(OpcUaSettings(url, publishing_ms=50, sampling_ms=50, timeout_s=2.0), [], clock=SystemClock())
    await session.open()
    try:
        async with asyncio.timeout(5):
            return await work(session)
    finally:
        await session.close()


NUMBERS = (1.5, True, ua.Variant(-7, ua.VariantType.Int16), ua.Variant(2**63, ua.VariantType.UInt64))


def test_a_subscription_to_numbers_is_heard_as_arrays():
    mine = the_mine()
    nodes = nodes_of(mine, *NUMBERS)

    async def first(session: Session) -> Values:
        await session.monitor(nodes)
        values = await session.publish()
        while not len(values):
            values = await session.publish()
        return values

    values = asyncio.run(in_session(mine.url, first))
    assert isinstance(values.value, np.ndarray)
    assert dict(zip(values.index.tolist(), values.value.tolist(), strict=True)) == {0: 1.5, 1: 1.0, 2: -7.0, 3: 2.0**63}


def test_a_text_among_the_numbers_is_heard_as_a_text_beside_the_same_numbers():
    mine = the_mine()
    nodes = nodes_of(mine, 1.5, "three", 2.5)

    async def first(session: Session) -> Values:
        await session.monitor(nodes)
        values = await session.publish()
        while not len(values):
            values = await session.publish()
        return values

    values = asyncio.run(in_session(mine.url, first))
    assert sorted(zip(values.index, values.value, strict=True), key=lambda row: row[0]) == [
        (0, 1.5), (1, "three"), (2, 2.5),
    ]  # fmt: skip


def test_a_read_in_parts_puts_texts_and_numbers_in_their_places():
    mine = the_mine()
    nodes = nodes_of(mine, *[float(k) for k in range(4)], "four", 5.0, 6.0)

    async def read(session: Session) -> Values:
        session._reads.at_once = 3  # two parts of numbers, one with the text
        return await session.read(nodes)

    values = asyncio.run(in_session(mine.url, read))
    assert list(values.index) == list(range(7))
    assert list(values.value) == [0.0, 1.0, 2.0, 3.0, "four", 5.0, 6.0]
    numbers = asyncio.run(in_session(mine.url, lambda session: session.read(nodes[:4])))
    assert isinstance(numbers.value, np.ndarray)
    assert numbers.value.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_reads_that_are_encoded_once_ask_for_the_same_nodes_each_time_and_pass_the_one_send_point():
    mine = the_mine()
    nodes = nodes_of(mine, 1.0, 2.0)

    async def scenario() -> tuple[list[Values], list[str]]:
        async with Proxy(mine.port) as proxy:
            answers: list[Values] = []

            async def twice(session: Session) -> Values:
                answers.append(await session.read(nodes))
                answers.append(await session.read(nodes[::-1]))
                return answers[-1]

            await in_session(proxy.url, twice)
            return answers, proxy.requests

    answers, requests = asyncio.run(scenario())
    assert [list(zip(a.index, a.value, strict=True)) for a in answers] == [[(0, 1.0), (1, 2.0)], [(1, 2.0), (0, 1.0)]]
    assert requests.count("Read") >= 2
