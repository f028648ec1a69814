"""One connection of a line: made, kept, made again, and used by one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from connectors.modbus.health import delay_s
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import ReadRequest


class Link(Protocol):
    """One connection, from its making to its end; it is never made twice."""

    lost: asyncio.Event
    """Set when the connection is gone or was closed."""
    error: str
    """Why; "" while it stands."""

    @property
    def late(self) -> int:
        """Replies that came after their request had been given up."""
        ...

    @property
    def connected(self) -> bool:
        """True from a successful `connect` until it is lost."""
        ...

    async def connect(self) -> bool:
        """Connects within its timeout; False with `error` set where it cannot."""
        ...

    async def read(self, request: ReadRequest, timeout_s: float) -> Answer:
        """Asks and waits at most `timeout_s` for the whole reply. Never raises for what the field does."""
        ...

    async def identify(self, unit: int, timeout_s: float) -> Answer:
        """Read device identification (43/14): its payload is what stands behind the MEI type. Never raises either."""
        ...

    def close(self, why: str) -> None:
        """Releases the connection."""
        ...


class Connection:
    """Connects and reconnects; every wait in it has an end.

    Args:
        open_link: Makes a fresh, unconnected link.
        backoff_s: First and longest rest after a connection on which nothing was heard.
        came_up: Called when it stands; told whether this ends an outage.
        went_down: Called when it is gone or could not be made.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        backoff_s: tuple[float, float],
        *,
        came_up: Callable[[Connection, bool], None],
        went_down: Callable[[Connection], None],
    ) -> None:
        self.turn = asyncio.Lock()
        """Whoever asks holds it."""
        self.attempted = asyncio.Event()
        """Set when the first attempt to connect has ended."""
        self.link: Link | None = None
        self.failures = 0
        """Connections in a row on which nothing was heard."""
        self.silences = 0
        """Timeouts in a row."""
        self.rests_until_s = 0.0
        """A device that was just asked is left alone until then, loop time."""
        self.late = 0
        """Late replies on links that are gone."""
        self._open_link, self._backoff_s = open_link, backoff_s
        self._came_up, self._went_down = came_up, went_down
        self._error = "connecting"
        self._outage = False

    @property
    def up(self) -> bool:
        """True while it stands."""
        return self.link is not None and self.link.connected

    @property
    def why_down(self) -> str:
        """The newest reason; a connection that has just been lost has not been put away yet."""
        return (self.link.error if self.link is not None else "") or self._error

    def heard(self) -> None:
        """Something was heard on it."""
        self.failures = self.silences = 0

    def give_up(self, why: str) -> None:
        """A fresh connection may do better than this one; afterwards everything is asked afresh."""
        self._outage = True
        if self.link is not None:
            self.link.close(why)

    async def keep(self) -> None:
        """Connects and reconnects for ever; the one owner of the connection."""
        try:
            while True:
                await self._once()
                await asyncio.sleep(delay_s(self.failures, *self._backoff_s))
        finally:
            if self.link is not None:
                self.link.close("source closed")

    async def _once(self) -> None:
        link = self._open_link()
        self.link = link
        connected = await link.connect()
        if connected:
            self.silences, was_out, self._outage = 0, self._outage, False
            self._came_up(self, was_out)
        self.attempted.set()
        self.failures += 1  # until something is heard on it
        if connected:
            await link.lost.wait()
        self.link = None
        self._error = link.error
        self._outage = self._outage or not connected
        self.late += link.late
        self._went_down(self)
