"""The wire: one Modbus TCP connection through pymodbus. The only import of pymodbus on the client's side.

pymodbus connects, frames and decodes; what it would decide by itself is taken from it: it does not reconnect, does not
retry, has no say in timeouts, sends nothing that the guard's read-only list refuses, and is shown no byte that it could
take for an answer where the guard does not (libraries §2, P1-P9). Contract tests hold these for the pinned version.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from connectors.modbus.mbap import Answer, ReplyGuard, Verdict, reason_of_exception
from connectors.modbus.plan import ReadRequest
from mines.clock import Clock
from mines.quality import Reason

_NEVER_S: Final = 3600.0
"""pymodbus' own timeout, never reached: it counts unanswered requests and closes the line for everybody (P7)."""
_ADDRESS_AND_COUNT = struct.Struct(">HH")
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # [s, s, probes]; project defaults
_LEAST_UNSENT_MS: Final = 3_000
_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})


class _Read(ModbusPDU):
    """A read request of any of the four tables."""

    def __init__(self, request: ReadRequest) -> None:
        super().__init__(dev_id=request.unit, address=request.first, count=request.count)
        self.function_code = request.table.function

    def encode(self) -> bytes:
        return _ADDRESS_AND_COUNT.pack(self.address, self.count)


class _Bytes(ModbusPDU):
    """A reply that keeps its data as bytes: no list of registers is built (libraries §13). The guard has checked it."""

    payload = b""

    def __init__(self) -> None:  # not the base's: it would fill a dozen attributes for every reply
        self.dev_id = self.transaction_id = self.retries = 0

    def decode(self, data: bytes) -> None:
        self.payload = data[1:]  # behind the byte count

    def __str__(self) -> str:  # pymodbus formats every reply for a debug log, on or off
        return "reply"


class _Coils(_Bytes):
    function_code = 1


class _DiscreteInputs(_Bytes):
    function_code = 2


class _HoldingRegisters(_Bytes):
    function_code = 3


class _InputRegisters(_Bytes):
    function_code = 4


class TcpLink:
    """One connection to one (host, port). Meets `line.Link`.

    Args:
        host: Name or address.
        port: TCP port.
        connect_timeout_s: Until the connection stands.
        clock: Stamps each reply at its arrival.
        tap: Sees every frame: sending, monotonic_ns, bytes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout_s: float,
        clock: Clock,
        tap: Callable[[bool, int, bytes], None] | None = None,
    ) -> None:
        self.lost = asyncio.Event()
        self.error = ""
        self._connect_timeout_s = connect_timeout_s
        self._clock = clock
        self._tap = tap
        self._guard = ReplyGuard(self._seen if tap is not None else None)
        self._verdict = Verdict.PENDING
        self._arrived = (0, 0)  # wall [ms], monotonic [ns]
        self._deadline: asyncio.Timeout | None = None
        self._client = AsyncModbusTcpClient(
            host,
            port=port,
            timeout=_NEVER_S,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._packet,
            trace_connect=self._connection,
        )
        for reply in (_Coils, _DiscreteInputs, _HoldingRegisters, _InputRegisters):
            self._client.register(reply)
        _let_guard_see_everything(self._client)

    @property
    def connected(self) -> bool:
        """True from a successful `connect` until it is lost."""
        return self._client.connected and not self.lost.is_set()

    @property
    def late(self) -> int:
        """Replies that came after their request had been given up."""
        return self._guard.late

    async def connect(self) -> bool:
        """Connects within its timeout; False with `error` set where it cannot."""
        create: Callable[[], Awaitable[object]] = self._client.ctx.call_create

        async def create_and_keep_the_reason() -> object:  # pymodbus says only that it failed
            try:
                return await create()
            except OSError as err:
                self.error = _word_of(err)
                raise

        self._client.ctx.call_create = create_and_keep_the_reason
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connected = await self._client.connect()
        except TimeoutError:
            connected, self.error = False, "connect timeout"
        _heed_cancellation()
        if connected:
            _watch_half_open(self._client.ctx.transport)
        else:
            self.close(self.error or "cannot connect")
        return connected

    async def read(self, request: ReadRequest, timeout_s: float) -> Answer:
        """Asks and waits at most `timeout_s` for the whole reply; never raises for what the field does.

        Raises:
            WriteRefused: a defect: the request is no read.
        """
        if not self._guard.at_boundary:  # the beginning of a late reply: what follows could not be told from the next
            self.close("out of step")
        if not self.connected:
            return self._failed(Reason.NO_COMMUNICATION, self.error)
        start_ns = self._clock.monotonic_ns()
        self._verdict = Verdict.PENDING
        response: ModbusPDU | None = None
        try:
            async with asyncio.timeout(timeout_s) as self._deadline:
                response = await self._client.execute(False, _Read(request))
        except (TimeoutError, ModbusException):
            pass  # told by the verdict
        finally:
            self._deadline = None
            self._guard.given_up()
        _heed_cancellation()
        return self._answer(response, start_ns)

    def close(self, why: str) -> None:
        """Releases the connection."""
        if not self.lost.is_set():
            self.error = why
            self.lost.set()
        self._client.close()

    def _answer(self, response: ModbusPDU | None, start_ns: int) -> Answer:
        if self._verdict is Verdict.ANSWERED and response is not None:
            return self._answered(response, start_ns)
        if self._verdict is Verdict.REFUSED:
            return self._failed(Reason.WRONG_REPLY, "wrong reply", heard=True)
        if self._verdict is Verdict.BROKEN:
            return self._failed(Reason.WRONG_REPLY, "wrong reply")
        if not self.connected:
            return self._failed(Reason.NO_COMMUNICATION, self.error)
        if not self._guard.at_boundary:
            self.close("half a reply")
        return self._failed(Reason.TIMEOUT, "timeout")

    def _answered(self, response: ModbusPDU, start_ns: int) -> Answer:
        wall_ms, monotonic_ns = self._arrived
        duration_ms = (monotonic_ns - start_ns) / 1e6
        if isinstance(response, _Bytes):
            return Answer(response.payload, Reason.NONE, "", wall_ms, monotonic_ns, True, duration_ms)
        code = response.exception_code
        reason = reason_of_exception(code)
        return Answer(None, reason, f"exception {code}", wall_ms, monotonic_ns, True, duration_ms)

    def _failed(self, reason: Reason, word: str, *, heard: bool = False) -> Answer:
        return Answer(None, reason, word, self._clock.wall_ms(), self._clock.monotonic_ns(), heard)

    def _packet(self, sending: bool, data: bytes) -> bytes:
        """Every byte, in both directions: the single send point, and the gate before pymodbus' decoder."""
        if sending:
            self._guard.sending(data)
            return data
        verdict, visible = self._guard.received(data)
        if verdict is Verdict.ANSWERED:
            self._arrived = (self._clock.wall_ms(), self._clock.monotonic_ns())
        if verdict is not Verdict.PENDING:
            self._verdict = verdict
        if verdict is Verdict.BROKEN:
            self.close(self._guard.complaint)
        if verdict in (Verdict.BROKEN, Verdict.REFUSED):
            self._end_wait()
        return data if visible else b""

    def _connection(self, made: bool) -> None:
        if not made:
            if not self.lost.is_set():
                self.error = "closed by the device"
                self.lost.set()
            self._end_wait()

    def _end_wait(self) -> None:
        """The request in flight will get no answer: its time ends now."""
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())
            self._deadline = None

    def _seen(self, sending: bool, frame: bytes) -> None:
        if self._tap is not None:
            self._tap(sending, self._clock.monotonic_ns(), frame)


def _heed_cancellation() -> None:
    """`asyncio.wait_for` of Python 3.11, which pymodbus uses, forgets a cancellation that comes with the result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _let_guard_see_everything(client: AsyncModbusTcpClient) -> None:
    """pymodbus drops a buffer of more than 264 bytes whole, e.g. a late reply and the next in one segment (P9)."""
    client.ctx.max_buffer_size = 1 << 20
    logger = logging.getLogger("pymodbus.logging")
    if logger.level == logging.NOTSET:  # it would log every lost reply; loss and recovery are told once, by LinkReport
        logger.setLevel(logging.CRITICAL)


def _watch_half_open(transport: asyncio.BaseTransport) -> None:
    """Lets the kernel notice a pulled cable: between polls by keepalive, while asking by unacknowledged data."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {**_KEEPALIVE, "TCP_USER_TIMEOUT": _LEAST_UNSENT_MS}.items():
        if hasattr(socket, name):  # Linux has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _word_of(err: OSError) -> str:
    if isinstance(err, ConnectionRefusedError):
        return "refused"
    if isinstance(err, socket.gaierror):
        return "name unknown"
    if isinstance(err, TimeoutError):
        return "connect timeout"
    return "unreachable" if err.errno in _UNREACHABLE else "cannot connect"
