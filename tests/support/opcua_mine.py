"""A real OPC UA server of a small mine in a thread of its own, and how to listen to a source until it shows a thing."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

import numpy as np
from asyncua import Server, ua

from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.source import OpcUaSource
from mines.clock import SystemClock
from mines.model import Batch, LinkReport, LinkState, Point, PointKind, RowKind, Subsystem
from mines.quality import GOOD
from mines.source import Source

MINE_URI = "urn:mine:fan"
OTHER_URI = "urn:mine:other"


class MineServer:
    """An asyncua server on loopback. Every method may be called from any thread; nodes live in `MINE_URI`."""

    def __init__(self, *, uris: tuple[str, ...] = (MINE_URI,)) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="opcua server", daemon=True)
        self._thread.start()
        self._port = 0
        self._uris = uris
        self._server = self.run(self._made())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the server's loop and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _made(self) -> Server:
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{self._port}/mine")
        for uri in self._uris:
            await server.register_namespace(uri)
        return server

    def start(self) -> MineServer:
        """Opens the port."""
        self.run(self._server.start())
        self._port = self._server.bserver.port
        return self

    def stop(self) -> None:
        """Closes the port and every connection, and ends the thread."""
        self.run(self._stopped())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stopped(self) -> None:
        await self._server.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # asyncua leaves the upkeep of sessions running whose clients are gone
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self._port}/mine"

    @property
    def sessions(self) -> int:
        """How many sessions clients hold on the server."""
        return len(self._server.iserver._external_sessions)

    @property
    def subscriptions(self) -> int:
        """How many subscriptions clients hold on the server."""
        return len(self._server.iserver.subscription_service.subscriptions)

    @property
    def newest_subscription(self) -> Any:
        """The server's own object for the subscription made last, for a test that breaks it."""
        return list(self._server.iserver.subscription_service.subscriptions.values())[-1]

    def numb(self, subscription: Any) -> None:
        """The subscription goes on with its keep-alives and hears of no change any more."""
        for item in subscription.monitored_item_srv._monitored_items.values():
            self._server.iserver.aspace.delete_datachange_callback(item.callback_handle)

    def mute(self, subscription: Any) -> None:
        """The subscription publishes nothing any more, keep-alives included; reads work."""
        self._loop.call_soon_threadsafe(subscription._task.cancel)

    def node_id(self, name: str, uri: str = MINE_URI) -> ua.NodeId:
        return ua.NodeId(name, self.run(self._server.get_namespace_index(uri)))

    def add(self, name: str, value: Any = 0.0, *, uri: str = MINE_URI, type: Any = None) -> str:
        """Adds a variable and returns the address of a point for it."""
        node = self.node_id(name, uri)

        async def added() -> None:
            await self._server.nodes.objects.add_variable(node, ua.QualifiedName(name, 0), value, type)

        self.run(added())
        return f"nsu={uri};s={name}"

    async def set_value(self, name: str, value: float) -> None:
        """A good Double, written in the server's own loop."""
        index = await self._server.get_namespace_index(MINE_URI)
        data = ua.DataValue(Value=ua.Variant(value, ua.VariantType.Double))
        await self._server.write_attribute_value(ua.NodeId(name, index), data)

    def write(self, name: str, value: Any, status: int = 0, time: datetime | None = None, type: Any = None) -> None:
        """Writes as the server's own device would: value, StatusCode, source time."""
        node = self.node_id(name)
        data = ua.DataValue(
            Value=value if isinstance(value, ua.Variant) else ua.Variant(value, type or ua.VariantType.Double),
            StatusCode=ua.StatusCode(status),
            SourceTimestamp=time,
        )
        self.run(self._server.write_attribute_value(node, data))


@functools.cache
def the_mine() -> MineServer:
    """One server for every test that only adds nodes to it: asyncua needs seconds to start one."""
    server = MineServer(uris=("urn:mine:first", OTHER_URI, MINE_URI)).start()
    atexit.register(server.stop)
    return server


_NAMES = itertools.count()


def new_name() -> str:
    """A node name that no other test uses."""
    return f"n{next(_NAMES)}"


def quick_source(url: str, points: Sequence[Point], **more: Any) -> OpcUaSource:
    """A source at the pace of a test."""
    quick = {
        "publishing_ms": 50,
        "sampling_ms": 50,
        "timeout_s": 0.5,
        "backoff_s": 0.1,
        "backoff_max_s": 0.2,
        "keep_alive_s": 0.1,
    }
    return OpcUaSource("fan", points, OpcUaSettings(url, **(quick | more)), SystemClock())


def point(name: str, address: str, period_s: float = 0.2, **more: Any) -> Point:
    """A point with what matters here."""
    return Point(
        id=name,
        name_zh=name,
        name_en=name,
        subsystem=Subsystem.VENTILATION,
        area="",
        kind=PointKind.ANALOG,
        unit="",
        source="fan",
        address=address,
        period_s=period_s,
        **more,
    )


class Heard:
    """Everything a stream yielded so far, in order."""

    def __init__(self, points: int) -> None:
        self.items: list[Batch | LinkReport] = []
        self.at_s: list[float] = []
        self._points = points

    def batches(self, kind: RowKind | None = None) -> list[Batch]:
        return [b for b in self.items if isinstance(b, Batch) and (kind is None or b.kind == kind)]

    @property
    def links(self) -> list[LinkReport]:
        return [item for item in self.items if isinstance(item, LinkReport)]

    def rows(self, index: int, kind: RowKind = RowKind.SAMPLE) -> list[tuple[float, int]]:
        """(value, quality) of each row of one point, in order."""
        return [
            (float(value), int(word))
            for batch in self.batches(kind)
            for value, word in zip(batch.value[batch.index == index], batch.quality[batch.index == index], strict=True)
        ]

    def last(self, index: int) -> tuple[float, int] | None:
        rows = self.rows(index)
        return rows[-1] if rows else None

    def values(self, index: int) -> list[float]:
        """Values of a point's rows that have one."""
        return [value for value, _ in self.rows(index) if not np.isnan(value)]


async def listen(
    source: Source,
    until: Callable[[Heard], bool],
    *,
    within_s: float = 5.0,
    meanwhile: Callable[[Heard], None] | None = None,
) -> Heard:
    """Listens to a new stream of a source until something is seen; fails loudly where it is not seen in time."""
    heard = Heard(len(source.points))
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within_s), aclosing(source.stream()) as stream:
            async for item in stream:
                heard.items.append(item)
                heard.at_s.append(loop.time())
                if meanwhile is not None:
                    meanwhile(heard)
                if until(heard):
                    break
    except TimeoutError:
        raise AssertionError(f"not seen within {within_s} s; the last words were {heard.items[-5:]}") from None
    return heard


def spoken(heard: Heard, index: int, value: float) -> bool:
    """The last row of a point is good and has this value."""
    return heard.last(index) == (value, GOOD)


def settled(source: Source) -> Callable[[Heard], bool]:
    """Every point has been spoken of since a session stands."""
    return lambda heard: any(
        len(batch) >= len(source.points) and link.state in (LinkState.GOOD, LinkState.DEGRADED)
        for batch in heard.batches(RowKind.SAMPLE)
        for link in heard.links[-1:]
    )
