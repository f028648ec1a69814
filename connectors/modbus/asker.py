"""Asks a line for a probe: one read at a time, never faster than its rate, on a connection made again where it is lost.

Every request goes out by a `Link`, and so past the one send point that lets only reads through.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from connectors.modbus.line import Link
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import ReadRequest
from mines.errors import LinkLost, SourceError
from mines.quality import Reason

_MOST_FAILED: Final = 5  # connections in a row that could not be made: then the probe ends. Project default


class TimeIsOver(SourceError):
    """The probe has had the time that it was given."""


class Asker:
    """One line, from the first request to `close()`.

    Args:
        open_link: Makes a fresh, unconnected link.
        timeout_s: For one answer.
        rate: Requests a second.
        again_s: Before a connection on which nothing was heard is made again.
        end_s: When it is over, loop time.
    """

    def __init__(
        self, open_link: Callable[[], Link], *, timeout_s: float, rate: float, again_s: float, end_s: float
    ) -> None:
        self._open_link, self._timeout_s, self._pause_s = open_link, timeout_s, 1 / rate
        self._again_s, self._end_s = again_s, end_s
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._unheard = False  # nothing was heard on the last connection: the next is not made at once
        self._next_s = 0.0
        self._late_before = 0
        self.requests = 0
        self.timeouts = 0
        self.connects = 0
        self.lost: Counter[str] = Counter()
        """Why connections ended, by the word for it."""

    @property
    def late(self) -> int:
        """Answers that came after their request had been given up, or a second time."""
        return self._late_before + (self._link.late if self._link is not None else 0)

    async def read(self, request: ReadRequest) -> Answer:
        """The answer to one read.

        Raises:
            TimeIsOver: the probe's time is over.
            LinkLost: the line cannot be reached (any more).
        """
        return await self._ask(lambda link: link.read(request, self._timeout_s))

    async def identify(self, unit: int) -> Answer:
        """The answer to read device identification (43/14). Raises as `read` does."""
        return await self._ask(lambda link: link.identify(unit, self._timeout_s))

    def close(self) -> None:
        """Releases the connection."""
        if self._link is not None:
            self._late_before += self._link.late
            self._link.close("probe over")
            self._link = None

    async def _ask(self, send: Callable[[Link], Awaitable[Answer]]) -> Answer:
        link = await self._connected()
        await self._wait_until(self._next_s)
        self._next_s = self._loop.time() + self._pause_s
        self.requests += 1
        answer = await send(link)
        if answer.heard:
            self._unheard = False
        if answer.reason is Reason.TIMEOUT:
            self.timeouts += 1
        if not link.connected:
            self._put_away(link)
        return answer

    async def _connected(self) -> Link:
        if self._link is not None and self._link.connected:
            return self._link
        if self._link is not None:
            self._put_away(self._link)
        error = ""
        for _ in range(_MOST_FAILED):
            if self._unheard:
                await self._wait_until(self._loop.time() + self._again_s)
            link = self._link = self._open_link()
            self._unheard = True
            if await link.connect():
                self.connects += 1
                return link
            error = link.error
            self._put_away(link)
            if not self.connects:
                break
        raise LinkLost(error)

    def _put_away(self, link: Link) -> None:
        self.lost[link.error] += 1
        self._late_before += link.late
        self._link = None

    async def _wait_until(self, at_s: float) -> None:
        if max(at_s, self._loop.time()) >= self._end_s:
            raise TimeIsOver
        await asyncio.sleep(max(at_s - self._loop.time(), 0.0))
