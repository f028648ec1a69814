"""The port of a line that is only listened to: opened for reading only, opened again when it comes back."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable
from typing import Final

from connectors.modbus.health import delay_s
from connectors.modbus.overheard import Heard, LineEar, Stamp
from connectors.modbus.transport import SerialTransport
from mines.clock import Clock

_CHUNK: Final = 4096
_SILENCE_S: Final = 0.05
"""After which a frame that has begun is given up: adapters on USB hold bytes back for up to 16 ms (project default)."""
_MOST_WAITING: Final = 10_000
_WORDS: Final = {
    errno.ENOENT: "no such port",
    errno.ENXIO: "no such port",
    errno.EACCES: "no right to the port",
    errno.EAGAIN: "port in use",
    errno.EBUSY: "port in use",
    errno.EINVAL: "port refuses its settings",
}


class TappedPort:
    """One port and the ear behind it.

    Args:
        transport: The port and its speed.
        clock: Stamps what is heard.
        backoff_s: First and longest rest before it is opened again.
        tap: Sees every byte: monotonic_ns, bytes.
    """

    def __init__(
        self,
        transport: SerialTransport,
        clock: Clock,
        *,
        backoff_s: tuple[float, float],
        tap: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self.error = ""
        """Why it is not open."""
        self.tried = False
        """True once it was opened, or could not be."""
        self._transport, self._clock, self._backoff_s, self._tap = transport, clock, backoff_s, tap
        self._loop = asyncio.get_running_loop()
        self._ear = LineEar(transport.character_s)
        self._heard: list[Heard] = []
        self._told: Counter[str] = Counter()  # by ears of earlier openings
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._port: int | None = None
        self._opened = 0
        self._failures = 0  # openings in a row after which nothing was heard
        self._silence: asyncio.TimerHandle | None = None

    @property
    def endpoint(self) -> str:
        """The device."""
        return self._transport.endpoint

    @property
    def is_open(self) -> bool:
        """True while bytes can come."""
        return self._port is not None

    def counted(self) -> dict[str, int]:
        """What was heard besides answers, since the start."""
        return {**(self._told + self._ear.counters), "reconnects": max(self._opened - 1, 0)}

    async def wait(self, until_s: float) -> None:
        """Until something has changed, at most to a time of the loop."""
        try:
            async with asyncio.timeout_at(until_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def taken(self) -> list[Heard]:
        """What was heard since the last call."""
        heard, self._heard = self._heard, []
        return heard

    async def keep_open(self) -> None:
        """Opens it again and again, for ever."""
        from connectors.modbus.read_only_port import open_read_only  # there are systems without such ports

        try:
            while True:
                try:
                    self._begin(open_read_only(self._transport))
                except OSError as err:
                    self.error = _WORDS.get(err.errno or 0, "cannot open the port")
                self.tried = True
                self._changed.set()
                self._failures += 1
                if self._port is not None:
                    await self._gone.wait()
                await asyncio.sleep(delay_s(self._failures, *self._backoff_s))
        finally:
            self._end("source closed")

    def _begin(self, port: int) -> None:
        self._told += self._ear.counters
        self._ear = LineEar(self._transport.character_s)
        self._gone.clear()
        self._port, self.error = port, ""
        self._opened += 1
        self._loop.add_reader(port, self._readable)

    def _end(self, why: str) -> None:
        if self._silence is not None:
            self._silence.cancel()
        if self._port is None:
            return
        self._loop.remove_reader(self._port)
        os.close(self._port)
        self._port, self.error = None, why
        self._gone.set()
        self._changed.set()

    def _readable(self) -> None:
        assert self._port is not None
        try:
            data = os.read(self._port, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end("port gone")
            return
        stamp = self._stamp()
        if self._tap is not None:
            self._tap(stamp[1], data)
        self._add(self._ear.heard(data, stamp))
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(max(_SILENCE_S, self._transport.gap_s), self._silent)

    def _silent(self) -> None:
        self._add(self._ear.silent(self._stamp()))

    def _add(self, heard: list[Heard]) -> None:
        if heard:
            self._failures = 0
            self._heard += heard
            lost = max(len(self._heard) - _MOST_WAITING, 0)  # nobody took them for minutes, and the line does not wait
            self._told["not taken in time"] += lost
            del self._heard[:lost]
            self._changed.set()

    def _stamp(self) -> Stamp:
        return self._clock.wall_ms(), self._clock.monotonic_ns()
