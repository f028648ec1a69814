"""From a transport to a link: which of the links speaks over it. pymodbus is loaded when one is opened, not before."""

from __future__ import annotations

from collections.abc import Callable

from connectors.modbus.connection import Link
from connectors.modbus.transport import SerialTransport, Transport
from mines.clock import Clock


def open_link(
    transport: Transport,
    *,
    clock: Clock,
    tap: Callable[[bool, int, bytes], None] | None = None,
) -> Link:
    """A fresh, unconnected link.

    Args:
        transport: Where to, and how.
        clock: Stamps each reply at its arrival.
        tap: Sees every frame: sending, monotonic_ns, bytes.
    Raises:
        ValueError: a defect: nobody may speak over a passive transport.
    """
    if isinstance(transport, SerialTransport):
        from connectors.modbus.serial_link import SerialLink

        if transport.passive:
            raise ValueError(f"{transport.device} is only listened to")
        return SerialLink(transport, clock=clock, tap=tap)
    if transport.tls is not None:
        from connectors.modbus.tls import TlsLink

        return TlsLink(transport, clock=clock, tap=tap)
    if transport.framing == "rtu":
        from connectors.modbus.rtu_link import RtuTcpLink as Chosen
    else:
        from connectors.modbus.link import TcpLink as Chosen  # type: ignore[assignment]
    return Chosen(transport.host, transport.port, connect_timeout_s=transport.connect_timeout_s, clock=clock, tap=tap)
