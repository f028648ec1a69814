"""A recorded Modbus device on a TCP port: any client can talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable

from connectors.captures.fault_script import DELAY, EXCEPTION, HANGUP, SILENCE, FaultScript
from connectors.captures.modbus_wire import EXCEPTION_BIT, is_header
from connectors.captures.playback import Playback
from connectors.captures.recorded_device import Outcome, RecordedDevice

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


class RecordedServer:
    """Answers one client after the other, and the requests of each in turn, as a device does.

    Args:
        device: What was recorded.
        playback: Of the whole capture.
        faults: On top.
        elapsed_ns: How long it has been served [ns].
        delays: Whether it takes as long to answer as it did.
    """

    def __init__(
        self,
        device: RecordedDevice,
        playback: Playback,
        *,
        elapsed_ns: Callable[[], int],
        faults: FaultScript | None = None,
        delays: bool = False,
    ) -> None:
        self._device = device
        self._playback = playback
        self._elapsed_ns = elapsed_ns
        self._faults = faults or FaultScript()
        self._delays = delays
        self._listening: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port; 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self._listening = await asyncio.start_server(self._client, host, port)
        number: int = self._listening.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._listening is None:
            return
        self._listening.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await self._listening.wait_closed()
        self._listening = None

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            del self._clients[task]
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and what follows it; False where the connection is over."""
        head = await reader.readexactly(7)
        if not is_header(head[:6]):
            return False  # no Modbus: nothing after it can be trusted
        transaction, _, length, unit = struct.unpack(">HHHB", head)
        request = await reader.readexactly(length - 1)
        if self._faults.standing(HANGUP, self._elapsed_ns()):
            return False
        outcome = self.answer(unit, request)
        if outcome.delay_ns:
            await asyncio.sleep(outcome.delay_ns / _NS_PER_S)
        if outcome.reply is not None:
            writer.write(struct.pack(">HHHB", transaction, 0, len(outcome.reply) + 1, unit) + outcome.reply)
            await writer.drain()
        return True

    def answer(self, unit: int, request: bytes) -> Outcome:
        """What happens now to a request PDU, faults included; the delay is what is to be waited."""
        elapsed_ns = self._elapsed_ns()
        self._device.run_to(self._playback.place(elapsed_ns))
        outcome = self._device.answer(unit, request)
        delay = self._faults.standing(DELAY, elapsed_ns)
        delay_ns = (outcome.delay_ns if self._delays else 0) + (delay.value * _NS_PER_MS if delay else 0)
        if self._faults.standing(SILENCE, elapsed_ns):
            return Outcome(None)
        refusal = self._faults.standing(EXCEPTION, elapsed_ns)
        if refusal is not None:
            return Outcome(bytes([request[0] | EXCEPTION_BIT, refusal.value]), delay_ns)
        return Outcome(outcome.reply, delay_ns)
