"""Points and sources of Modbus for tests."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from connectors.modbus.listening import ListeningSource
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.source import ModbusSource
from connectors.modbus.transport import SerialTransport, TcpTransport, Transport
from mines.clock import SystemClock
from mines.model import Point, PointKind, Subsystem
from mines.source import FrameTap


def modbus_point(address: str, data_type: str = "uint16", *, id: str = "", period_s: float = 1.0, **more) -> Point:
    """A point of which a test only says what it is about."""
    return Point(
        id=id or "p." + address.replace("/", "_").replace(".", "_"),
        name_zh="测点",
        name_en="point",
        subsystem=Subsystem.DEWATERING,
        area="",
        kind=PointKind.ANALOG,
        unit="",
        source="plc",
        address=address,
        period_s=period_s,
        data_type=data_type,
        **more,
    )


def modbus_settings(host: str = "127.0.0.1", port: int = 502, *, transport: Transport | None = None, **settings):
    """Settings of a TCP line, or of another one; keys of the transport and of the source alike."""
    of_line = {key: settings.pop(key) for key in ("connect_timeout_s", "framing", "tls") if key in settings}
    return ModbusSettings(transport or TcpTransport(host, port, **of_line), **settings)


def modbus_source(
    points: Sequence[Point], port: int = 0, *, id: str = "plc", tap: FrameTap | None = None, **settings
) -> ModbusSource:
    """A source on loopback; quick by default."""
    quick = {"timeout_s": 0.3, "connect_timeout_s": 1.0, "backoff_s": 0.1, "backoff_max_s": 0.4}
    return ModbusSource(id, points, modbus_settings(port=port, **{**quick, **settings}), SystemClock(), tap)


def listening_source(points: Sequence[Point], device: str, *, id: str = "tap", tap: FrameTap | None = None):
    """A source that listens to a serial line; quick to come back."""
    transport = SerialTransport(device, baud=115_200, parity="N", passive=True)
    settings = ModbusSettings(transport, backoff_s=0.1, backoff_max_s=0.4)
    return ListeningSource(id, points, settings, SystemClock(), tap)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
