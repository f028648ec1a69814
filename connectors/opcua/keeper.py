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
from zlib import crc32

from connectors.opcua.backfill import Backfill
from connectors.opcua.decode import BAD_DECODING_ERROR, Values, quality_of
from connectors.opcua.gaps import Gaps
from connectors.opcua.link import LinkBook
from connectors.opcua.nodes import AddressFault, NodeAddress, namespace_index, parse_address
from connectors.opcua.rota import Rota
from connectors.opcua.second_look import SecondLook
from connectors.opcua.session import Node, Session
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.standing import Standing
from connectors.opcua.tap import WireTap
from connectors.opcua.teller import Begun, Happening, Lost, Refused
from connectors.opcua.wire import Orphan
from mines.clock import NO_TIME_MS, Clock
from mines.errors import LinkLost
from mines.model import LinkState
from mines.quality import Reason, bad, reason_of

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
        self,
        settings: OpcUaSettings,
        book: LinkBook,
        standing: Standing,
        gaps: Gaps,
        *,
        clock: Clock,
        tap: WireTap | None = None,
    ) -> None:
        """For one stream.

        Args:
            settings: Where the server is and how fast it is read.
            book: Written here: state, last word, counters.
            standing: What the stream last said of each point; read here, for the second look.
            gaps: What the stream has missed; filled here where the server has a history.
            clock: Stamps what is heard.
            tap: Sees every chunk.
        """
        self._settings, self._book, self._clock, self._tap = settings, book, clock, tap
        self._addresses = [parse_address(point.address) for point in standing.points]
        self._periods_s = [point.period_s for point in standing.points]
        self._look = SecondLook(standing)
        self._backfill = Backfill(gaps, book, clock, self._tell)
        self._polled = settings.read == "poll"
        self._phase_fraction = crc32(settings.url.encode()) / 2**32  # servers must not be polled in step
        self._turn = asyncio.Lock()  # a heartbeat does not count against a server that is busy with a poll
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
            hearing = asyncio.create_task(self._poll(session) if self._polled else self._publish(session))
            tasks = [hearing]
            if self._settings.history:
                filling = self._backfill.run(session, self._nodes, self._settings.ask_refused_again_s)
                tasks.append(asyncio.create_task(filling))
            try:
                await self._watch(session, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except LinkLost as error:
            self._lose(error)  # said before the close, which may take its time
        finally:
            await session.close()

    async def _begin(self, session: Session) -> None:
        self._look.forget()
        self._nodes = {}
        self._asked_s = None
        self._book.facts = session.facts
        self._book.counts["short_queues"] = 0
        self._refused = await self._subscribe(session, range(len(self._addresses)))
        await self._heartbeat(session)
        self._stood_since_s = asyncio.get_running_loop().time()
        self._book.begun(whole=not self._refused, time_ms=self._clock.wall_ms())
        _LOG.info("%s: connected, %d points refused", self._settings.url, len(self._refused))
        if session.facts.host_kept:
            _LOG.info("%s: its endpoint names another host; the one of site.toml is kept", self._settings.url)
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
        """Subscribes to points (unless they are polled) by their namespace of today; the quality word of each that
        cannot be had.
        """
        namespaces = await session.namespaces()
        resolved = {index: _resolved(self._addresses[index], namespaces) for index in wanted}
        refused = {index: node for index, node in resolved.items() if isinstance(node, int)}
        nodes = [(index, node) for index, node in resolved.items() if not isinstance(node, int)]
        seen = await session.read(nodes)  # a value that cannot be decoded would spoil every publish it is in
        spoilt = {i for i, status in zip(seen.index, seen.status, strict=True) if status == BAD_DECODING_ERROR}
        if self._polled:
            not_created, short = _cannot_be_read(seen), 0
        else:
            not_created, short = await session.monitor([(i, node) for i, node in nodes if i not in spoilt])
        self._book.counts["short_queues"] += short
        refused.update({index: quality_of(BAD_DECODING_ERROR) for index in spoilt})
        refused.update({index: quality_of(status) for index, status in not_created.items()})
        self._nodes.update({index: node for index, node in nodes if index not in refused})
        return refused

    async def _publish(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._inbox_read()
            self._asked_s = loop.time()
            values = await session.publish()
            self._asked_s = None
            self._book.heard = values.heard
            self._book.counts["publishes"] += 1
            if len(values.index):
                self._inbox.append(values)
            if not values.more:
                self.wake()

    async def _poll(self, session: Session) -> None:
        """Reads each point each period, one poll after the other; what a slow server makes miss is counted."""
        loop = asyncio.get_running_loop()
        rota = Rota(self._periods_s, self._phase_fraction, loop.time())
        while True:
            await self._inbox_read()
            begin_s, points = rota.due(loop.time() + self._beat_s)
            await asyncio.sleep(begin_s - loop.time())
            if not points:
                continue
            async with self._turn:
                values = await session.read([(i, node) for i in points if (node := self._nodes.get(i)) is not None])
            self._book.heard = values.heard
            self._book.counts["polls"] += 1
            self._book.counts["overruns"] += rota.done(loop.time())
            if len(values.index):
                self._tell(values)

    async def _inbox_read(self) -> None:
        while len(self._inbox) > _INBOX:
            await asyncio.sleep(self._beat_s)

    async def _watch(self, session: Session, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Holds the session up as long as it proves itself: publishes, heartbeats, the channel's renewal."""
        loop = asyncio.get_running_loop()
        beat_at_s = asked_again_s = looked_s = loop.time()
        while True:
            beat_at_s = max(beat_at_s + self._beat_s, loop.time())
            await asyncio.wait(tasks, timeout=beat_at_s - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            async with self._turn:
                # First the channel: the heartbeat then takes its new keys into use.
                await session.renew_channel(loop.time(), self._answer_s)
                await self._heartbeat(session)
            if self._asked_s is not None and loop.time() - self._asked_s > session.silence_s:
                raise LinkLost("subscription silent")
            if self._refused and loop.time() - asked_again_s > self._settings.ask_refused_again_s:
                asked_again_s = loop.time()
                await self._retry_refused(session)
            if not self._polled and loop.time() - looked_s > self._settings.second_look_s:
                looked_s = loop.time()
                await self._look_again(session)

    async def _heartbeat(self, session: Session) -> None:
        beat = await session.heartbeat(self._answer_s)
        self._book.heard, self._book.duration_ms = beat.heard, beat.duration_ms
        self._book.counts["heartbeats"] += 1
        self._book.told = None if beat.server_time_ms == NO_TIME_MS else (beat.server_time_ms, beat.heard)
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


def _cannot_be_read(values: Values) -> dict[int, int]:
    """StatusCode of each point that is no variable or not for this user: it is asked for again, but not each period."""
    reasons = (Reason.NODE_UNKNOWN, Reason.ACCESS_DENIED)
    hopeless = {status for status in set(values.status) if reason_of(quality_of(status)) in reasons}
    return {index: status for index, status in zip(values.index, values.status, strict=True) if status in hopeless}


def _resolved(address: NodeAddress | AddressFault, namespaces: Sequence[str]) -> Node | int:
    """The node that an address means on this server today, or the quality word of a point that means none."""
    if isinstance(address, AddressFault):
        return bad(Reason.CONFIGURATION_ERROR)
    index = namespace_index(address, namespaces)
    return bad(Reason.NODE_UNKNOWN) if index is None else (index, address.identifier)
