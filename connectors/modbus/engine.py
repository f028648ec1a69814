"""One connection through pymodbus, whatever it runs over.

pymodbus connects, frames and decodes; what it would decide by itself is taken from it: it does not reconnect, does not
retry, has no say in timeouts, sends nothing that the guard's read-only list refuses, and is shown no byte that it could
take for an answer where the guard does not (libraries §2, P1-P9). Contract tests hold these for the pinned version.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from pymodbus.client import ModbusBaseClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from connectors.modbus.identification import MOST_PARTS, IdentificationPart, joined, parse_part
from connectors.modbus.mbap import Answer, Verdict, reason_of_exception
from connectors.modbus.pdus import REPLIES, BytesPdu, IdentifyPdu, ReadPdu
from connectors.modbus.plan import ReadRequest
from mines.clock import Clock
from mines.quality import Reason

NEVER_S: Final = 3600.0
"""pymodbus' own timeout, never reached: it counts unanswered requests and closes the line for everybody (P7)."""
_MOST_BUFFERED: Final = 1 << 20
_TRANSACTIONS: Final = 65_000
"""pymodbus counts transactions from 1 to this."""


class _NoAnswer(Exception):
    """Ends pymodbus' wait for an answer: neither its own timeout nor a cancellation, which mean something to it."""


class Guard(Protocol):
    """What may leave, and what is an answer."""

    late: int
    complaint: str

    def sending(self, frame: bytes) -> None:
        """Lets a request pass and expects its answer; raises WriteRefused for anything that is no read."""
        ...

    def given_up(self) -> None:
        """The request in flight has had its time."""
        ...


class PymodbusLink(ABC):
    """One connection, made once. Meets `line.Link`.

    Args:
        make_client: Makes the pymodbus client of this connection; takes pymodbus' own options.
        guard: Of the connection's framing.
        connect_timeout_s: Until the connection stands.
        clock: Stamps each reply at its arrival.
    """

    def __init__(
        self, make_client: Callable[..., ModbusBaseClient], guard: Guard, *, connect_timeout_s: float, clock: Clock
    ) -> None:
        self.lost = asyncio.Event()
        self.error = ""
        self._guard = guard
        self._connect_timeout_s = connect_timeout_s
        self._clock = clock
        self._verdict = Verdict.PENDING
        self._arrived = (0, 0)  # wall [ms], monotonic [ns]
        self._waiting = False  # for the answer to a request
        self._deadline_s = 0.0  # of the request in flight, loop time
        self._timer: asyncio.TimerHandle | None = None  # one for many requests: a new one costs more than to ask
        self._make_client = make_client
        self._client = self._new_client()

    @property
    def connected(self) -> bool:
        """True from a successful `connect` until it is lost."""
        return bool(self._client.connected) and not self.lost.is_set()

    @property
    def late(self) -> int:
        """Replies that came after their request had been given up."""
        return self._guard.late

    async def connect(self) -> bool:
        """Connects within its timeout; False with `error` set where it cannot."""
        create: Callable[[], Awaitable[object]] = self._client.ctx.call_create

        async def create_and_keep_the_reason() -> object:  # pymodbus says only that it failed
            try:
                return await self._made(create)
            except OSError as err:
                self.error = self._word_of(err)
                raise

        self._client.ctx.call_create = create_and_keep_the_reason
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connected = bool(await self._client.connect()) and await self._stands()
        except TimeoutError:
            connected, self.error = False, "connect timeout"
        heed_cancellation()
        if connected:
            # A gateway may send the answer to a request of the last connection on this one: its number must not be one
            # of ours. By the millisecond they go on from connection to connection; pymodbus would begin anew at 1.
            self._client.ctx.next_tid = self._clock.monotonic_ns() // 1_000_000 % _TRANSACTIONS
        else:
            self.close(self.error or "cannot connect")
        return connected

    async def read(self, request: ReadRequest, timeout_s: float) -> Answer:
        """Asks and waits at most `timeout_s` for the whole reply; never raises for what the field does.

        Raises:
            WriteRefused: a defect: the request is no read.
        """
        return await self._exchange(ReadPdu(request), timeout_s)

    async def identify(self, unit: int, timeout_s: float) -> Answer:
        """Who the device says it is (43/14, basic objects); as many replies as it takes, joined into one.

        Args:
            unit: Who is asked.
            timeout_s: For each reply.
        Returns:
            The bytes behind the MEI type, or why there are none.
        """
        parts: list[IdentificationPart] = []
        next_object: int | None = 0
        while next_object is not None and len(parts) < MOST_PARTS:
            answer = await self._exchange(IdentifyPdu(unit, next_object), timeout_s)
            if answer.payload is None:
                return answer
            part = parse_part(answer.payload)
            if part is None or (part.next_object is not None and part.next_object <= next_object):
                return self._failed(Reason.WRONG_REPLY, "wrong reply", heard=True)
            parts.append(part)
            next_object = part.next_object
        return Answer(
            joined(parts),
            Reason.NONE,
            "",
            answer.receive_time_ms,
            answer.monotonic_ns,
            heard=True,
            duration_ms=answer.duration_ms,
        )

    def close(self, why: str) -> None:
        """Releases the connection."""
        if not self.lost.is_set():
            self.error = why
            self.lost.set()
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
        self._client.close()

    @abstractmethod
    def _received(self, data: bytes) -> tuple[Verdict, bytes]:
        """Judges what pymodbus holds; the verdict, and what pymodbus is shown of it."""

    @abstractmethod
    def _failure(self) -> Answer:
        """What a request is answered with that got no fitting reply; closes the connection where it must."""

    def _before_asking(self) -> None:
        """Closes the connection where an answer to the next request could not be told from another."""
        return

    def _word_of(self, err: OSError) -> str:
        """Why it cannot be made, for people."""
        del err
        return "cannot connect"

    async def _made(self, create: Callable[..., Awaitable[object]]) -> object:
        """Makes it as pymodbus would."""
        return await create()

    async def _stands(self) -> bool:
        """What is left to do on a fresh connection; False where it does not stand after all."""
        return True

    def _new_client(self) -> ModbusBaseClient:
        client: ModbusBaseClient = self._make_client(
            timeout=NEVER_S,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._packet,
            trace_connect=self._connection,
        )
        client.ctx.comm_params.timeout_connect = None  # type: ignore[assignment]  # no timer of its own for each answer
        for reply in REPLIES:
            client.register(reply)
        _let_guard_see_everything(client)
        return client

    async def _exchange(self, pdu: ModbusPDU, timeout_s: float) -> Answer:
        self._before_asking()
        if not self.connected:
            return self._failed(Reason.NO_COMMUNICATION, self.error)
        start_ns = self._clock.monotonic_ns()
        self._verdict = Verdict.PENDING
        response: ModbusPDU | None = None
        self._wait_at_most(timeout_s)
        try:
            response = await self._client.execute(False, pdu)
        except (_NoAnswer, ModbusException):
            pass  # told by the verdict
        finally:
            self._waiting = False
            self._guard.given_up()
        heed_cancellation()
        if self._verdict is Verdict.ANSWERED and response is not None:
            return self._answered(response, start_ns)
        return self._failure()

    def _answered(self, response: ModbusPDU, start_ns: int) -> Answer:
        wall_ms, monotonic_ns = self._arrived
        duration_ms = (monotonic_ns - start_ns) / 1e6
        if isinstance(response, BytesPdu):
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
        verdict, shown = self._received(data)
        if verdict is Verdict.ANSWERED:
            self._arrived = self._arrival()
        if verdict is not Verdict.PENDING:
            self._verdict = verdict
        if verdict in (Verdict.BROKEN, Verdict.REFUSED):
            self._end_wait()
        return shown

    def _arrival(self) -> tuple[int, int]:
        """When the answer that has just been accepted came: wall [ms], monotonic [ns]."""
        return self._clock.wall_ms(), self._clock.monotonic_ns()

    def _connection(self, made: bool) -> None:
        if not made:
            if not self.lost.is_set():
                self.error = self._word_of_loss()
                self.lost.set()
            self._end_wait()

    def _word_of_loss(self) -> str:
        return "closed by the device"

    def _wait_at_most(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiting, self._deadline_s = True, loop.time() + timeout_s
        if self._timer is not None and self._timer.when() > self._deadline_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._deadline_s, self._time_is_up)

    def _time_is_up(self) -> None:
        """The timer has run out: of the request in flight, or of one that was answered long ago."""
        self._timer, loop = None, asyncio.get_running_loop()
        if self._waiting and self._deadline_s > loop.time():
            self._timer = loop.call_at(self._deadline_s, self._time_is_up)
        else:
            self._end_wait()

    def _end_wait(self) -> None:
        """The request in flight will get no answer: its time ends now."""
        answer = self._client.ctx.response_future
        if self._waiting and not answer.done():
            answer.set_exception(_NoAnswer())


def heed_cancellation() -> None:
    """`asyncio.wait_for` of Python 3.11, which pymodbus uses, forgets a cancellation that comes with the result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _let_guard_see_everything(client: ModbusBaseClient) -> None:
    """pymodbus drops a buffer of more than 264 bytes whole, e.g. a late reply and the next in one segment (P9)."""
    client.ctx.max_buffer_size = _MOST_BUFFERED
    logger = logging.getLogger("pymodbus.logging")
    if logger.level == logging.NOTSET:  # it would log every lost reply; loss and recovery are told once, by LinkReport
        logger.setLevel(logging.CRITICAL)
