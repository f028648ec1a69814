"""Keeps one OPC UA server connected: the one owner of reconnect. A new session an attempt, everything resolved anew.

It runs beside the stream and hands over, in order, what happened: a session began, values came, the link was lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Iterable, Sequence
from typing import Final

from connectors.opcua.decode import BAD_DECODING_ERROR, quality_of
from connectors.opcua.link import LinkBook
from connectors.opcua.nodes import AddressFault, NodeAddress, namespace_index, parse_address
from connectors.opcua.second_look import SecondLook
from connectors.opcua.session import Node, Orphan, Session
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.standing import Standing
from connectors.opcua.tap import WireTap
from connectors.opcua.teller import Begun, Happening, Lost, Refused
from mines.clock import NO_TIME_MS, Clock
from mines.errors import LinkLost
from mines.model import LinkState
from mines.quality import Reason, bad

_LOG = logging.getLogger("minewatch.opcua")
_FROZEN_AGAIN_S: Final = 300.0  # project default: a server whose reads and changes never agree is not renewed for ever
_SOLID_S: Final = 10.0  # project default: a session that stood shorter does not bring the back-off down again
_INBOX: Final = 256  # happenings that nobody reads hold up the publishes; the server's queues flag what they lose


def quiet_library() -> None:
    """Stops asyncua's own log: while a server is away it prints a traceback a second (U6); link reports say it once.

    A level that an engineer has set by hand stands.
    """
    for name in ("asyncua.client", "asyncua.uaprotocol"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL + 1)


class Keeper:
    """Runs until cancelled; what happened waits in order for `happened()`."""

    def __init__(
        self, settings: OpcUaSettings, book: LinkBook, standing: Standing, *, clock: Clock, tap: WireTap | None = None
    ) -> None:
        """For one stream.

        Args:
            settings: Where the server is and how fast it is read.
            book: Written here: state, last word, counters.
            standing: What the stream last said of each point; read here, for the second look.
            clock: Stamps what is heard.
            tap: Sees every chunk.
        """
        self._settings, self._book, self._clock, self._tap = settings, book, clock, tap
        self._addresses = [parse_address(point.address) for point in standing.points]
        self._look = SecondLook(standing)
        self._beat_s = standing.beat_s  # how often the session must prove itself
        # Found dead within three periods: one until the next heartbeat, two for its answer.
        self._answer_s = min(settings.timeout_s, max(2 * self._beat_s, 1.0))
        self._inbox: list[Happening] = []
        self._wake = asyncio.Event()
        self._asked_s: float | None = None  # since when a publish is awaited
        self._refused: dict[int, int] = {}  # point index → quality word
        self._nodes: dict[int, Node] = {}  # point index → node of today
        self._frozen_s = -math.inf  # when a subscription was last found frozen
        self._orphans: list[Orphan] = []
        self._stood_since_s: float | None = None

    def happened(self) -> list[Happening]:
        """Everything since the last call, oldest first."""
        happened, self._inbox = self._inbox, []
        return happened

    def wake(self) -> None:
        """Ends a `woken()`."""
        self._wake.set()

    async def woken(self, at_s: float) -> None:
        """Returns when something happened, at the latest at `at_s` on the loop's clock."""
        try:
            async with asyncio.timeout_at(at_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def run(self) -> None:
        """Connects, and connects again after a wait that doubles with every failure, for ever."""
        quiet_library()
        loop = asyncio.get_running_loop()
        wait_s = self._settings.backoff_s
        while True:
            self._stood_since_s = None
            await self._one_session()
            if self._stood_since_s is not None and loop.time() - self._stood_since_s > _SOLID_S:
                wait_s = self._settings.backoff_s
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.0))  # many boxes must not come back in step
            wait_s = min(2 * wait_s, self._settings.backoff_max_s)

    async def _one_session(self) -> None:
        session = Session(self._settings, self._orphans, clock=self._clock, tap=self._tap)
        try:
            await session.open()
            await self._begin(session)
            publishing = asyncio.create_task(self._publish(session))
            try:
                await self._watch(session, publishing)
            finally:
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)
        except LinkLost as error:
            self._lose(error)  # said before the close, which may take its time
        finally:
            await session.close()

    async def _begin(self, session: Session) -> None:
        self._look.forget()
        self._nodes = {}
        self._book.counts["short_queues"] = 0
        self._refused = await self._subscribe(session, range(len(self._addresses)))
        await self._heartbeat(session)
        self._stood_since_s = asyncio.get_running_loop().time()
        self._book.begun(whole=not self._refused, time_ms=self._clock.wall_ms())
        _LOG.info("%s: connected, %d points refused", self._settings.url, len(self._refused))
        self._tell(Begun(tuple(self._refused.items())))

    def _lose(self, error: LinkLost) -> None:
        if self._book.state != LinkState.LOST:
            _LOG.warning("%s: link lost: %s", self._settings.url, error)
            self._tell(Lost())
        self._book.lost(str(error), self._clock.wall_ms())
        self.wake()

    def _tell(self, what: Happening) -> None:
        self._inbox.append(what)
        self.wake()

    async def _subscribe(self, session: Session, wanted: Iterable[int]) -> dict[int, int]:
        """Subscribes to points by their namespace of today; the quality word of each that cannot be had."""
        namespaces = await session.namespaces()
        resolved = {index: _resolved(self._addresses[index], namespaces) for index in wanted}
        refused = {index: node for index, node in resolved.items() if isinstance(node, int)}
        nodes = [(index, node) for index, node in resolved.items() if not isinstance(node, int)]
        seen = await session.read(nodes)  # a value that cannot be decoded would spoil every publish it is in
        spoilt = {i for i, status in zip(seen.index, seen.status, strict=True) if status == BAD_DECODING_ERROR}
        not_created, short = await session.monitor([(i, node) for i, node in nodes if i not in spoilt])
        self._book.counts["short_queues"] += short
        refused.update({index: quality_of(BAD_DECODING_ERROR) for index in spoilt})
        refused.update({index: quality_of(status) for index, status in not_created.items()})
        self._nodes.update({index: node for index, node in nodes if index not in refused})
        return refused

    async def _publish(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while len(self._inbox) > _INBOX:
                await asyncio.sleep(self._beat_s)
            self._asked_s = loop.time()
            values = await session.publish()
            self._asked_s = None
            self._book.heard = values.heard
            self._book.counts["publishes"] += 1
            if len(values.index):
                self._inbox.append(values)
            if not values.more:
                self.wake()

    async def _watch(self, session: Session, publishing: asyncio.Task[None]) -> None:
        """Holds the session up as long as it proves itself: publishes, heartbeats, the channel's renewal."""
        loop = asyncio.get_running_loop()
        beat_at_s = asked_again_s = looked_s = loop.time()
        while True:
            beat_at_s = max(beat_at_s + self._beat_s, loop.time())
            await asyncio.wait({publishing}, timeout=beat_at_s - loop.time())
            if publishing.done():
                publishing.result()
            await session.renew_channel(loop.time())  # first: the heartbeat then takes the new keys into use
            await self._heartbeat(session)
            if self._asked_s is not None and loop.time() - self._asked_s > session.silence_s:
                raise LinkLost("subscription silent")
            if self._refused and loop.time() - asked_again_s > self._settings.ask_refused_again_s:
                asked_again_s = loop.time()
                await self._retry_refused(session)
            if loop.time() - looked_s > self._settings.second_look_s:
                looked_s = loop.time()
                await self._look_again(session)

    async def _heartbeat(self, session: Session) -> None:
        beat = await session.heartbeat(self._answer_s)
        self._book.heard, self._book.duration_ms = beat.heard, beat.duration_ms
        self._book.counts["heartbeats"] += 1
        if beat.server_time_ms != NO_TIME_MS:
            self._book.counts["skew_ms"] = beat.server_time_ms - beat.heard.wall_ms

    async def _retry_refused(self, session: Session) -> None:
        before = self._refused
        self._refused = await self._subscribe(session, tuple(before))
        if self._refused != before:
            self._book.mended(whole=not self._refused, time_ms=self._clock.wall_ms())
            self._tell(Refused(tuple(self._refused.items())))

    async def _look_again(self, session: Session) -> None:
        values = await session.read([(i, self._nodes[i]) for i in self._look.choose(list(self._nodes))])
        now_s = asyncio.get_running_loop().time()
        if self._inbox:
            return  # what stands is behind what came: no ground to compare
        if self._look.frozen(values, now_s, session.lag_s) and now_s - self._frozen_s > _FROZEN_AGAIN_S:
            self._frozen_s = now_s
            raise LinkLost("subscription frozen")


def _resolved(address: NodeAddress | AddressFault, namespaces: Sequence[str]) -> Node | int:
    """The node that an address means on this server today, or the quality word of a point that means none."""
    if isinstance(address, AddressFault):
        return bad(Reason.CONFIGURATION_ERROR)
    index = namespace_index(address, namespaces)
    return bad(Reason.NODE_UNKNOWN) if index is None else (index, address.identifier)
