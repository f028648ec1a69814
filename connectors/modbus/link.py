"""Modbus TCP: one socket, MBAP framing, with or without TLS."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from pymodbus.client import AsyncModbusTcpClient

from connectors.modbus.engine import PymodbusLink
from connectors.modbus.mbap import Answer, ReplyGuard, Verdict
from mines.clock import Clock
from mines.quality import Reason

_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # [s, s, probes]; project defaults
_LEAST_UNSENT_MS: Final = 3_000
_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})


class TcpLink(PymodbusLink):
    """One connection to one (host, port). Meets `line.Link`.

    Args:
        host: Name or address.
        port: TCP port.
        connect_timeout_s: Until the connection stands.
        clock: Stamps each reply at its arrival.
        tap: Sees every frame: sending, monotonic_ns, bytes.
    """

    _guard: ReplyGuard

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
            partial(AsyncModbusTcpClient, host, port=port),
            ReplyGuard(stamped(tap, clock)),
            connect_timeout_s=connect_timeout_s,
            clock=clock,
        )

    async def _stands(self) -> bool:
        watch_half_open(self._client.ctx.transport)
        return True

    def _word_of(self, err: OSError) -> str:
        return word_of_tcp(err)

    def _before_asking(self) -> None:
        if not self._guard.at_boundary:  # the beginning of a late reply: what follows could not be told from the next
            self.close("out of step")

    def _received(self, data: bytes) -> tuple[Verdict, bytes]:
        verdict, visible = self._guard.received(data)
        if verdict is Verdict.BROKEN:
            self.close(self._guard.complaint)
        return verdict, data if visible else b""

    def _failure(self) -> Answer:
        if self._verdict is Verdict.REFUSED:
            return self._failed(Reason.WRONG_REPLY, "wrong reply", heard=True)
        if self._verdict is Verdict.BROKEN:
            return self._failed(Reason.WRONG_REPLY, "wrong reply")
        if not self.connected:
            return self._failed(Reason.NO_COMMUNICATION, self.error)
        if not self._guard.at_boundary:
            self.close("half a reply")
        return self._failed(Reason.TIMEOUT, "timeout")


def stamped(tap: Callable[[bool, int, bytes], None] | None, clock: Clock) -> Callable[[bool, bytes], None] | None:
    """A tap as guards call it; None stays None."""
    return None if tap is None else lambda sending, frame: tap(sending, clock.monotonic_ns(), frame)


def watch_half_open(transport: asyncio.BaseTransport) -> None:
    """Lets the kernel notice a pulled cable: between polls by keepalive, while asking by unacknowledged data."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in {**_KEEPALIVE, "TCP_USER_TIMEOUT": _LEAST_UNSENT_MS}.items():
        if hasattr(socket, name):  # Linux has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def word_of_tcp(err: OSError) -> str:
    """Why a socket cannot be connected, for people."""
    if isinstance(err, ConnectionRefusedError):
        return "refused"
    if isinstance(err, socket.gaierror):
        return "name unknown"
    if isinstance(err, TimeoutError):
        return "connect timeout"
    return "unreachable" if err.errno in _UNREACHABLE else "cannot connect"
