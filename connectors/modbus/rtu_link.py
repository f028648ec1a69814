"""RTU frames through TCP: what a serial gateway without a protocol of its own lets pass.

No frame says which request it answers. So after a timeout, and wherever bytes come that nothing was asked for, the
socket is closed and a new one opened: what is still under way on the old one can reach nobody (libraries P2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from connectors.modbus.engine import PymodbusLink
from connectors.modbus.link import stamped, watch_half_open, word_of_tcp
from connectors.modbus.mbap import Answer, Verdict
from connectors.modbus.rtu import RtuGuard
from mines.clock import Clock
from mines.quality import Reason


class RtuTcpLink(PymodbusLink):
    """One connection to one (host, port). Meets `line.Link`.

    Args:
        host: Name or address.
        port: TCP port.
        connect_timeout_s: Until the connection stands.
        clock: Stamps each reply at its arrival.
        tap: Sees every request and every answer: sending, monotonic_ns, bytes.
    """

    _guard: RtuGuard

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout_s: float,
        clock: Clock,
        tap: Callable[[bool, int, bytes], None] | None = None,
    ) -> None:
        super().__init__(
            partial(AsyncModbusTcpClient, host, port=port, framer=FramerType.RTU),
            RtuGuard(stamped(tap, clock)),
            connect_timeout_s=connect_timeout_s,
            clock=clock,
        )
        self._astray = False  # what comes on this socket could be taken for what it is not

    async def _stands(self) -> bool:
        watch_half_open(self._client.ctx.transport)
        return True

    def _word_of(self, err: OSError) -> str:
        return word_of_tcp(err)

    async def _exchange(self, pdu: ModbusPDU, timeout_s: float) -> Answer:
        if self._astray and self.connected:  # by what came between two requests
            await self._renew()
        answer = await super()._exchange(pdu, timeout_s)
        if self._astray and self.connected:
            await self._renew()
        return answer

    async def _renew(self) -> None:
        """The same link on a socket of its own; lost where none can be had."""
        self._client.close()
        self._guard.flush()
        self._astray = False
        self._client = self._new_client()
        await self.connect()

    def _received(self, data: bytes) -> tuple[Verdict, bytes]:
        self._client.ctx.recv_buffer = b""  # pymodbus keeps nothing: the guard does
        self._guard.received(data)
        verdict, frame = self._guard.take()
        if verdict not in (Verdict.ANSWERED, Verdict.PENDING):
            self._astray = True
        return verdict, frame

    def _failure(self) -> Answer:
        if self._verdict is Verdict.REFUSED or (self.connected and self._guard.garbled()):
            self._astray = True
            return self._failed(Reason.WRONG_REPLY, self._guard.complaint, heard=self._guard.heard)
        if not self.connected:
            return self._failed(Reason.NO_COMMUNICATION, self.error)
        self._astray = True
        return self._failed(Reason.TIMEOUT, "timeout")
