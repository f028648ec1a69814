"""A serial line in RTU framing, of which the box is the only master.

A reply is accepted once the line is silent behind it. After a request that got no answer the line is left in silence
for as long as the slowest reply could still take, so that a late one never meets the next request. A unit that was
heard twice for one request is afterwards given the time to be heard twice again.
Source: MODBUS over Serial Line Specification V1.02, 2.4.1 and 2.5.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import termios
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from pymodbus.client import AsyncModbusSerialClient
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from connectors.modbus.engine import PymodbusLink
from connectors.modbus.link import stamped
from connectors.modbus.mbap import Answer, Verdict
from connectors.modbus.rtu import LONGEST_FRAME, RtuGuard
from connectors.modbus.transport import SerialTransport
from mines.clock import Clock
from mines.quality import Reason

_OPEN_S: Final = 3.0
_WORDS: Final = {
    errno.ENOENT: "no such port",
    errno.ENXIO: "no such port",
    errno.ENODEV: "no such port",
    errno.EACCES: "no right to the port",
    errno.EPERM: "no right to the port",
    errno.EAGAIN: "port in use",
    errno.EBUSY: "port in use",
    errno.EINVAL: "port refuses its settings",
}


class SerialLink(PymodbusLink):
    """One serial port. Meets `line.Link`.

    Args:
        transport: The port and its speed; not a passive one.
        clock: Stamps each reply at the arrival of its last byte.
        tap: Sees every request and every answer: sending, monotonic_ns, bytes.
    """

    _guard: RtuGuard

    def __init__(
        self,
        transport: SerialTransport,
        *,
        clock: Clock,
        tap: Callable[[bool, int, bytes], None] | None = None,
    ) -> None:
        make_client = partial(
            AsyncModbusSerialClient,
            transport.device,
            framer=FramerType.RTU,
            baudrate=transport.baud,
            bytesize=transport.data_bits,
            parity=transport.parity,
            stopbits=transport.stop_bits,
        )
        super().__init__(make_client, RtuGuard(stamped(tap, clock)), connect_timeout_s=_OPEN_S, clock=clock)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._last_byte = (0, 0)  # wall [ms], monotonic [ns]
        self._last_byte_s = 0.0  # loop time
        self._settling: asyncio.TimerHandle | None = None
        self._unit = 0  # that is being asked, or was last
        self._was_answered = False  # the last request: what comes now is no late answer to it but a second one
        self._doubles: set[int] = set()  # units that were heard twice for one request
        self._patient = False  # the request in flight is waited for until its answer could have come twice
        self._slowest_s = 0.0  # that a reply may come behind the one in flight
        self._heard_late = asyncio.Event()

    def close(self, why: str) -> None:
        """Releases the port."""
        if self._settling is not None:
            self._settling.cancel()
        super().close(why)

    async def _made(self, create: Callable[..., Awaitable[object]]) -> object:
        try:
            return await create()
        except (termios.error, ValueError) as err:
            raise OSError(errno.EINVAL, "port settings") from err

    async def _stands(self) -> bool:
        """Nobody else may open it any more: a second master would ruin every poll of both."""
        transport: Any = self._client.ctx.transport
        with contextlib.suppress(
            OSError
        ):  # where there is no such thing, the lock that pyserial has taken stands alone
            fcntl.ioctl(transport.sync_serial.fileno(), termios.TIOCEXCL)
        self._last_byte_s = self._loop.time()
        return True

    def _word_of(self, err: OSError) -> str:
        return _WORDS.get(err.errno or 0, "cannot open the port")

    def _word_of_loss(self) -> str:
        return "port gone"

    async def _exchange(self, pdu: ModbusPDU, timeout_s: float) -> Answer:
        if not await self._silent_before(timeout_s):
            return self._failed(Reason.WRONG_REPLY, "never silent")
        self._unit, self._was_answered, self._patient = pdu.dev_id, False, False
        self._slowest_s = timeout_s + self._transport.wire_s(0, LONGEST_FRAME)
        answer = await super()._exchange(pdu, timeout_s)
        self._was_answered = self._verdict is Verdict.ANSWERED
        if answer.reason in (Reason.TIMEOUT, Reason.WRONG_REPLY) and self.connected:
            await self._stay_silent()
        return answer

    async def _silent_before(self, timeout_s: float) -> bool:
        """Waits for the silence that ends a frame; False where the line does not come to it within the timeout."""
        give_up_s = self._loop.time() + timeout_s
        while (wait_s := self._last_byte_s + self._transport.gap_s - self._loop.time()) > 0:
            if self._loop.time() >= give_up_s:
                return False
            await asyncio.sleep(wait_s)
        return True

    async def _stay_silent(self) -> None:
        """Until the slowest reply would be over, or a late one has come whole."""
        self._heard_late.clear()
        try:
            async with asyncio.timeout(self._slowest_s):
                await self._heard_late.wait()
        except TimeoutError:
            pass
        self._guard.flush()

    def _received(self, data: bytes) -> tuple[Verdict, bytes]:
        """Bytes from the port, or, without any, what has become of those that came before."""
        self._client.ctx.recv_buffer = b""  # pymodbus keeps nothing: the guard does
        if not data:
            return self._guard.take()
        self._last_byte = (self._clock.wall_ms(), self._clock.monotonic_ns())
        self._last_byte_s = self._loop.time()
        self._guard.received(data)
        twice = self._unit in self._doubles and self._guard.verdict is Verdict.ANSWERED
        settle_s = self._slowest_s if twice else self._transport.gap_s
        if twice and not self._patient and self._waiting:
            self._patient = True
            self._deadline_s = self._last_byte_s + settle_s + self._transport.gap_s
        if self._settling is not None:
            self._settling.cancel()
        self._settling = self._loop.call_later(settle_s, self._settled)
        return Verdict.PENDING, b""

    def _settled(self) -> None:
        """The line has been silent: the bytes before are judged, through pymodbus, which is shown nothing else."""
        self._settling = None
        asked, late = self._waiting, self._guard.late
        if self.connected:
            self._client.ctx.data_received(b"")
        if asked:
            if self._verdict is Verdict.ANSWERED:
                self._doubles.discard(self._unit)
        elif self._guard.late > late:
            self._heard_late.set()
            if self._was_answered:
                self._doubles.add(self._unit)

    def _arrival(self) -> tuple[int, int]:
        return self._last_byte

    def _failure(self) -> Answer:
        if self._verdict is Verdict.REFUSED or (self.connected and self._guard.garbled()):
            if self._guard.complaint == "two answers":
                self._doubles.add(self._unit)
            return self._failed(Reason.WRONG_REPLY, self._guard.complaint, heard=self._guard.heard)
        if not self.connected:
            return self._failed(Reason.NO_COMMUNICATION, self.error)
        return self._failed(Reason.TIMEOUT, "timeout")
