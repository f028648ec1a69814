"""The demo mine as running devices on the loopback: Modbus TCP and OPC UA servers driven by the story."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from connectors.simulator.demo.story import DEFAULT_SEED, DemoStory
from connectors.simulator.demo.tables import DEVICES, Device, Tables, points_of
from connectors.simulator.modbus_server import ModbusDevice, ModbusServer, SilentServer
from connectors.simulator.opcua_server import PATH, OpcUaServer
from connectors.simulator.scenario import FloatArray, Moments, Readings, Scenario, StateArray
from mines.clock import Clock
from mines.model import Point

HOST = "127.0.0.1"
REFRESH_S = 0.2
OPCUA_EVERY = 5
"""OPC UA values are written at every fifth refresh: once a second."""

IDENTITY = {0: "minewatch", 1: "demo mine device", 2: "1"}
"""FC 43/14: vendor, product code, revision. A simulator says that it is one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one simulated device listens."""

    kind: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        scheme = "opc.tcp" if self.kind == "opcua" else "modbus.tcp"
        return f"{scheme}://{self.host}:{self.port}{self.path}"


class _Listener(Protocol):
    def start(self, host: str, port: int) -> Awaitable[int]: ...

    def stop(self) -> Awaitable[None]: ...


class DemoMine:
    """All devices of the demo mine: `async with DemoMine(clock) as mine:` and they answer.

    Args:
        clock: Wall time tells the story's time of day; its monotonic side, the time since the start.
        seed: Of the noise.
        ports: Asked for by source id; another port where that one is taken, a free one where it is 0 or not told.
        drive: False = values move only when `refresh` is called.
        devices: Which of the mine's devices there are.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = DEFAULT_SEED,
        ports: Mapping[str, int] | None = None,
        drive: bool = True,
        devices: Sequence[Device] = DEVICES,
    ) -> None:
        tables = Tables()
        self._clock = clock
        self._ports = dict(ports or {})
        self._drive_itself = drive
        self._story: Scenario = DemoStory(tables.points, tables.signals, seed=seed)
        self._spans = _spans(tables)
        self._modbus: dict[str, ModbusServer] = {}
        self._opcua: dict[str, OpcUaServer] = {}
        self._listeners: dict[str, _Listener] = {}
        self._devices = tuple(devices)
        for device in self._devices:
            self._listeners[device.source] = self._make(device, points_of(tables.points, device.source))
        self._started_ns = 0
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.endpoints: dict[str, Endpoint] = {}

    async def __aenter__(self) -> Self:
        try:
            for device in self._devices:
                self.endpoints[device.source] = await self._open(device)
        except BaseException:
            await self._close()
            raise
        self._started_ns = self._clock.monotonic_ns()
        await self.refresh()
        if self._drive_itself:
            self._task = asyncio.create_task(self._drive(), name="demo mine")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._task is not None:
                if self._closing is None:  # else the story broke and closes by itself: its error must not be lost
                    self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
                failed = None if self._task.cancelled() else self._task.exception()
                if failed is not None and error is None:
                    raise failed
        finally:
            await self._close()

    async def refresh(self, *, opcua: bool = True) -> None:
        """Sets every device to what the story says now."""
        wall_ms = self._clock.wall_ms()
        elapsed_ms = (self._clock.monotonic_ns() - self._started_ns) // 1_000_000
        readings = self._story.at(Moments.single(wall_ms, elapsed_ms))
        for source, server in self._modbus.items():
            server.device.write(*self._part(readings, source))
        if opcua:
            for source, opcua_server in self._opcua.items():
                await opcua_server.write(*self._part(readings, source), wall_ms)

    async def _drive(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        turn = 0
        try:
            while True:
                due = max(due + REFRESH_S, loop.time())  # a stall is not made up for: registers show now, not then
                await asyncio.sleep(due - loop.time())
                turn += 1
                await self.refresh(opcua=turn % OPCUA_EVERY == 0)
        finally:
            await self._close()  # frozen registers would look alive: whatever ends the story ends the devices

    def _part(self, readings: Readings, source: str) -> tuple[FloatArray, StateArray]:
        span = self._spans[source]
        return readings.value[0, span], readings.state[0, span]

    def _make(self, device: Device, points: Sequence[Point]) -> _Listener:
        if device.silent:
            return SilentServer()
        if device.kind == "opcua":
            self._opcua[device.source] = OpcUaServer(points, device.name_zh)
            return self._opcua[device.source]
        self._modbus[device.source] = ModbusServer(ModbusDevice(points, IDENTITY))
        return self._modbus[device.source]

    async def _open(self, device: Device) -> Endpoint:
        wanted = self._ports.get(device.source, 0)
        port = await self._listeners[device.source].start(HOST, wanted if _is_free(wanted) else 0)
        return Endpoint(device.kind, HOST, port, PATH if device.kind == "opcua" else "")

    async def _close(self) -> None:
        """Stops every device once, whoever asks first; a caller that is cancelled meanwhile does not interrupt it."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._stop_all(), name="demo mine closing")
        await asyncio.shield(self._closing)

    async def _stop_all(self) -> None:
        for listener in self._listeners.values():
            await listener.stop()


def preferred_ports() -> dict[str, int]:
    """The ports that the demo asks for, so that a foreign client finds the same mine at the same place again."""
    return {device.source: device.port for device in DEVICES}


def _spans(tables: Tables) -> dict[str, slice]:
    """Where each source's points stand among all of them."""
    spans: dict[str, slice] = {}
    begin = 0
    for device in DEVICES:
        end = begin + len(points_of(tables.points, device.source))
        spans[device.source] = slice(begin, end)
        begin = end
    return spans


def _is_free(port: int) -> bool:
    """Asked before a server is built, since an OPC UA server takes seconds to find out by itself."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
