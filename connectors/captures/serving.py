"""A capture as live devices: every recorded server on a port of its own, at the pace of the capture."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from connectors.captures.capture_ticks import capture_ticks, wire_record
from connectors.captures.fault_script import EXCEPTION, Fault, FaultScript
from connectors.captures.folder import SITE_FOLDER, CaptureKind, read_header
from connectors.captures.modbus_wire import PORT as MODBUS_PORT
from connectors.captures.playback import Playback
from connectors.captures.recorded_device import RecordedDevice
from connectors.captures.recorded_server import RecordedServer
from connectors.captures.shown_points import ModbusPoints, OpcUaPoints, Shown, is_servable
from connectors.captures.tick_values import TickValues
from connectors.captures.wire_frames import WireFrame
from connectors.simulator.opcua_server import PATH
from mines.clock import Clock
from mines.errors import CaptureError
from mines.model import Point, Tick
from mines.site.site_file import SourceTable

REFRESH_S = 0.1
"""How often what the simulator's servers show is set anew."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a capture is served. `port` 0 = free ones; else that one and those behind it. `faults` act on Modbus; on OPC
    UA an exception makes every value bad."""

    host: str = "127.0.0.1"
    port: int = 0
    speed: float = 1.0
    loop: bool = False
    delays: bool = False
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """Where a recorded server (`address:port`, or a source's id of a live capture) can be talked to."""

    kind: str
    recorded: str
    url: str


class _Listener(Protocol):
    async def start(self, host: str, port: int) -> int: ...

    async def stop(self) -> None: ...


class CaptureServer:
    """`async with CaptureServer(folder, options, clock) as server:` and it answers at `server.served`.

    Raises:
        CaptureError: the capture is damaged, or holds nothing that can be served.
        OSError: a port is taken.
    """

    def __init__(self, folder: Path, options: ServeOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._script = FaultScript(options.faults)
        self._begun_ns = clock.monotonic_ns()
        self._listeners: list[tuple[str, str, _Listener]] = []
        self._shown: list[Shown] = []
        self._task: asyncio.Task[None] | None = None
        self.served: tuple[Served, ...] = ()
        self.warnings: list[str] = []
        devices = self._read(folder)
        times = [time_ns for shown in self._shown for time_ns in shown.values.times_ns]
        self.playback = Playback(
            [*times, *(time_ns for device in devices.values() for time_ns in device.times_ns)],
            speed=options.speed,
            loop=options.loop,
        )
        self._listeners += [("modbus", name, self._recorded(device)) for name, device in devices.items()]
        if not self._listeners:
            raise CaptureError(f"{folder}:0: capture: holds no value that can be served; expected values of a device")

    async def __aenter__(self) -> Self:
        try:
            self.served = tuple([await self._open(n, *item) for n, item in enumerate(self._listeners)])
            self._begun_ns = self._clock.monotonic_ns()
            await self.show()
        except BaseException:
            await self._close()
            raise
        if self._shown:
            self._task = asyncio.create_task(self._drive(), name="serve")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._close()

    async def show(self) -> None:
        """Sets what the simulator's servers show to what the capture says now."""
        elapsed_ns = self._elapsed_ns()
        place = self.playback.place(elapsed_ns)
        bad = self._script.standing(EXCEPTION, elapsed_ns) is not None
        for shown in self._shown:
            shown.values.run_to(place)
            await shown.show(bad=bad, wall_ms=self._clock.wall_ms())

    async def _drive(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.show()

    def _elapsed_ns(self) -> int:
        return self._clock.monotonic_ns() - self._begun_ns

    def _recorded(self, device: RecordedDevice) -> RecordedServer:
        return RecordedServer(
            device,
            self.playback,
            elapsed_ns=self._elapsed_ns,
            faults=self._script,
            delays=self._options.delays,
        )

    async def _open(self, number: int, kind: str, recorded: str, listener: _Listener) -> Served:
        host = self._options.host
        port = await listener.start(host, self._options.port + number if self._options.port else 0)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return Served(kind, recorded, f"opc.tcp://{place}{PATH}" if kind == "opcua" else f"tcp://{place}")

    async def _close(self) -> None:
        for _, _, listener in self._listeners:
            await listener.stop()

    def _read(self, folder: Path) -> dict[str, RecordedDevice]:
        """Recorded Modbus devices of an import by their address; what is served from ticks goes to `_shown`."""
        header = read_header(folder)
        imported = header.kind == CaptureKind.IMPORT
        devices: dict[str, RecordedDevice] = {}
        if imported:
            frames, _ = wire_record(folder, header)
            devices = _devices(frames)
        if (folder / SITE_FOLDER).is_dir():
            opened = capture_ticks(folder)
            ticks = ([] if opened.picture is None else [opened.picture]) + list(opened.ticks)
            for position, table in enumerate(opened.site.sources):
                self._show(position, table, opened.site.points_of(table.id), ticks, imported=imported)
        return devices

    def _show(
        self, position: int, table: SourceTable, points: Sequence[Point], ticks: Sequence[Tick], *, imported: bool
    ) -> None:
        values = TickValues(position, len(points), ticks)
        if table.kind == "opcua":
            left_out = [point.id for point in points if not is_servable(point)]
            self.warnings += [f"{name}: such a node is not served; expected nsu=URI;s=… or i=…" for name in left_out]
            if len(left_out) < len(points):
                shown = OpcUaPoints(points, values)
                self._shown.append(shown)
                self._listeners.append(("opcua", urlsplit(str(table.settings["url"])).netloc, shown.server))
        elif not imported:
            registers = ModbusPoints(points, values)
            self._shown.append(registers)
            self._listeners.append(("modbus", _recorded_place(table), registers.server))


def _recorded_place(table: SourceTable) -> str:
    """Where the source of a live capture was; its id where that was no socket."""
    settings = table.settings
    return f"{settings['host']}:{settings.get('port', MODBUS_PORT)}" if "host" in settings else table.id


def _devices(frames: Iterable[WireFrame]) -> dict[str, RecordedDevice]:
    by_server: dict[str, list[WireFrame]] = {}
    for frame in frames:
        by_server.setdefault(frame.server, []).append(frame)
    devices = {server: RecordedDevice(of_server) for server, of_server in sorted(by_server.items())}
    return {server: device for server, device in devices.items() if device.times_ns}
