"""Plain asyncua, as its documentation uses it: a subscription with a handler, or a read of all nodes a second.

`sized` is the subscription with a queue and a sampling interval that lose nothing: its defaults keep one value a node.
`python -m peers.client_asyncua subscribe|sized|poll URL POINTS WARM_S WINDOW_S` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import Any

import numpy as np
from asyncua import Client, ua
from peers.layout import IDENTITIES, OPCUA_FIRST_NODE, OPCUA_NAMESPACE

_IN_ONE_CALL = 1000


class Handler:
    """What asyncua calls with every change; keeps point, value, quality and time."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float, int, Any]] = []

    def datachange_notification(self, node: Any, val: float, data: Any) -> None:  # noqa: ANN401 - asyncua's own types
        """One value of one node."""
        told = data.monitored_item.Value
        self.rows.append((node.nodeid.Identifier, val, told.StatusCode.value, told.SourceTimestamp))


async def poll(client: Client, nodes: list[Any], handler: Handler) -> None:
    """Reads every node once a second, a thousand a request."""
    loop = asyncio.get_running_loop()
    slot_s = loop.time()
    while True:
        for first in range(0, len(nodes), _IN_ONE_CALL):
            part = nodes[first : first + _IN_ONE_CALL]
            for node, told in zip(part, await client.read_attributes(part, ua.AttributeIds.Value), strict=True):
                handler.rows.append(
                    (node.nodeid.Identifier, told.Value.Value, told.StatusCode.value, told.SourceTimestamp)
                )
        slot_s += 1
        await asyncio.sleep(max(slot_s - loop.time(), 0))


async def measure(way: str, url: str, points: int, warm_s: float, window_s: float) -> None:
    """Prints what was told within the window, and what it cost."""
    handler, polling = Handler(), None
    async with Client(url, timeout=30) as client:
        index = await client.get_namespace_index(OPCUA_NAMESPACE)
        nodes = [client.get_node(ua.NodeId(OPCUA_FIRST_NODE + i, index)) for i in range(points)]
        if way != "poll":
            subscription = await client.create_subscription(500, handler)
            size = {"queuesize": 100, "sampling_interval": 250} if way == "sized" else {}
            for first in range(0, points, _IN_ONE_CALL):
                await subscription.subscribe_data_change(nodes[first : first + _IN_ONE_CALL], **size)
        else:
            polling = asyncio.create_task(poll(client, nodes, handler))
        await asyncio.sleep(warm_s)
        handler.rows = []
        begun, used = time.monotonic(), _cpu_s()
        await asyncio.sleep(window_s)
        taken, handler.rows = handler.rows, []
        cpu_s, wall_s = _cpu_s() - used, time.monotonic() - begun
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        print(json.dumps(judged(taken, points) | {"cpu_s": cpu_s, "wall_s": wall_s}), flush=True)


def judged(rows: list[tuple[int, float, int, Any]], points: int) -> dict[str, Any]:
    """As `client_ours.judge_opcua`."""
    from peers.client_ours import lost_ticks

    good = [row for row in rows if row[2] == 0]
    index = np.array([row[0] for row in good], dtype=np.int64) - OPCUA_FIRST_NODE
    value = np.array([row[1] for row in good], dtype=np.int64)
    wrong = int((value % IDENTITIES != index).sum())
    return {"points": len(good), "bad": len(rows) - len(good), "wrong": wrong} | lost_ticks(
        index, value // IDENTITIES, points
    )


def main() -> None:
    """See the module."""
    way, url, points, warm_s, window_s = sys.argv[1:6]
    asyncio.run(measure(way, url, int(points), float(warm_s), float(window_s)))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
