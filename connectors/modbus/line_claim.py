"""A source's claim to its line: links are made while its lock is held, and a busy one stands in for them otherwise.

So a second `run`, or a run beside a probe, polls every line that is free; of the one that is not, it says so and tries
again as after any failed connect. One bad line stops no neighbour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from connectors.modbus.line import Link
from connectors.modbus.line_lock import LineLock, line_names
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import ReadRequest
from connectors.modbus.transport import Transport

BUSY: Final = "line in use"
"""The word of the link report while another program of this machine has the line."""
_LOG = logging.getLogger("minewatch.modbus")
_RESOLVE_S: Final = 1.0  # names of a host are asked for so long; then its spelling alone is locked


class LineClaim:
    """The claim of one source, from its stream's first attempt to its end."""

    def __init__(self, transport: Transport, holder: str) -> None:
        """Takes nothing yet.

        Args:
            transport: Of the source.
            holder: Who has the line then, e.g. `run MINE SOURCE`.
        """
        self._transport, self._holder = transport, holder
        self._lock: LineLock | None = None
        self._told = ""

    async def prepare(self) -> None:
        """Finds out by which names the line goes; within a second."""
        try:
            async with asyncio.timeout(_RESOLVE_S):
                names = await asyncio.to_thread(line_names, self._transport)
        except TimeoutError:
            names = line_names(self._transport, resolve=False)
        self._lock = LineLock(names, self._holder)

    def open(self, make: Callable[[], Link]) -> Link:
        """A fresh link from `make` where the line is ours, or becomes so; else one that cannot connect."""
        assert self._lock is not None
        other = self._lock.take()
        if other and other != self._told:
            _LOG.warning("%s: line in use by %s", self._transport.endpoint, other)
        self._told = other
        return BusyLink() if other else make()

    async def hold(self) -> None:
        """Takes the line where it is free: for who only listens, and goes on doing so where another has it."""
        await self.prepare()
        assert self._lock is not None
        self._lock.take()

    def release(self) -> None:
        """Lets the next one in."""
        if self._lock is not None:
            self._lock.release()


class BusyLink:
    """Meets `line.Link` for a line that another program has: it never connects and sends nothing."""

    late = 0
    connected = False

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.error = BUSY

    async def connect(self) -> bool:
        """False."""
        self.lost.set()
        return False

    async def read(self, request: ReadRequest, timeout_s: float) -> Answer:
        """Never called: it is not connected."""
        raise AssertionError("a busy link is not asked")

    async def identify(self, unit: int, timeout_s: float) -> Answer:
        """Never called: it is not connected."""
        raise AssertionError("a busy link is not asked")

    def close(self, why: str) -> None:
        """Nothing to release."""
        del why
        self.lost.set()
