"""The running demo mine: every device answers with the story's values, through foreign clients and through our own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import aclosing

import numpy as np
import pytest
from asyncua import Client, ua
from pymodbus.client import AsyncModbusTcpClient

from connectors.simulator.demo.mine import DemoMine, preferred_ports
from connectors.simulator.demo.site import write_demo_site
from connectors.simulator.demo.story import DemoStory
from connectors.simulator.demo.tables import DEVICES, Tables, points_of
from connectors.simulator.opcua_server import OpcUaServer
from connectors.simulator.scenario import Moments, SignalState
from connectors.sources import build_sources
from mines.clock import ManualClock, SystemClock
from mines.model import Batch, Point, PointKind, RowKind, Subsystem
from mines.quality import Severity, severities
from mines.site.site_file import load_site

TABLES = Tables()
WALL_MS = 1_795_600_000_000
DEAD = next(device.source for device in DEVICES if device.silent)


def story_at(elapsed_ms: int) -> dict[str, float]:
    story = DemoStory(TABLES.points, TABLES.signals)
    row = story.at(Moments.single(WALL_MS + elapsed_ms, elapsed_ms)).value[0]
    return dict(zip(story.ids, row.tolist(), strict=True))


async def _first_values(source, seconds: float) -> dict[str, float]:
    """The latest good value of each point within the time, or as soon as all have one."""
    seen: dict[str, float] = {}

    async def listen():
        async with aclosing(source.stream()) as stream:
            async for item in stream:
                if isinstance(item, Batch) and item.kind == RowKind.SAMPLE:
                    good = severities(item.quality) == Severity.GOOD
                    for index, value in zip(item.index[good].tolist(), item.value[good].tolist(), strict=True):
                        seen[source.points[index].id] = value
                if len(seen) == len(source.points):
                    return

    try:
        await asyncio.wait_for(listen(), seconds)
    except TimeoutError:
        pass
    return seen


class RunningMine:
    """A demo mine in a loop and thread of its own, on a clock that the test moves."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.clock = ManualClock(WALL_MS)
        self.mine = DemoMine(self.clock, ports=ports)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def advance_to(self, elapsed_ms: int) -> dict[str, float]:
        """What the story says then; the mine is given the time, and drives itself there."""
        self.clock.advance_ms(WALL_MS + elapsed_ms - self.clock.wall_ms())
        return story_at(elapsed_ms)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def running():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = RunningMine({"main_fan": taken.getsockname()[1]})
        running.run(running.mine.__aenter__())
        assert running.mine.endpoints["main_fan"].port != taken.getsockname()[1]
    yield running
    running.run(running.mine.__aexit__(None, None, None))
    running.close()


def test_a_device_answers_on_another_port_where_its_own_is_taken(running):
    with socket.create_connection(("127.0.0.1", running.mine.endpoints["main_fan"].port), timeout=5):
        pass


def test_a_foreign_modbus_client_sees_the_mine_drive_itself_by_its_clock(running):
    async def until(client, expected: list[float]) -> None:
        while True:
            registers = (await client.read_holding_registers(0, count=8, device_id=1)).registers
            floats = client.convert_from_registers(registers, client.DATATYPE.FLOAT32, word_order="big")
            if floats == pytest.approx(expected):
                return
            await asyncio.sleep(0.02)

    async def reads():
        client = AsyncModbusTcpClient("127.0.0.1", port=running.mine.endpoints["main_fan"].port, timeout=2, retries=0)
        assert await client.connect()
        shown = []
        for elapsed_ms in (0, 60_000, 110_000):
            expected = running.advance_to(elapsed_ms)
            shown.append([expected[f"vent.fan1.{name}"] for name in ("current_a", "current_b", "pressure", "flow")])
            await until(client, shown[-1])
        bits = (await client.read_discrete_inputs(0, count=1, device_id=1)).bits
        assert bits[0] == expected["vent.fan1.run"]
        client.close()
        return shown

    shown = asyncio.run(asyncio.wait_for(reads(), 10))
    assert len({tuple(row) for row in shown}) == 3


def test_a_foreign_opcua_client_reads_values_with_the_time_they_were_made_and_cannot_write(running):
    async def reads():
        expected = running.advance_to(120_000)
        running.run(running.mine.refresh())
        async with Client(str(running.mine.endpoints["drainage"])) as client:
            uris = await client.get_namespace_array()
            node = client.get_node(ua.NodeId("Main.Pressure", uris.index("urn:minewatch:demo:drainage")))
            data = await node.read_data_value()
            assert data.Value.Value == pytest.approx(expected["drain.main.pressure"])
            assert data.SourceTimestamp.timestamp() * 1000 <= WALL_MS + 120_000
            people = client.get_node(ua.NodeId(1, uris.index("urn:minewatch:demo:personnel")))
            assert (await people.read_data_type_as_variant_type()) == ua.VariantType.Int32
            assert await people.read_value() == expected["people.total"]
            with pytest.raises(ua.UaStatusCodeError):
                await people.write_value(ua.Variant(0, ua.VariantType.Int32))

    asyncio.run(asyncio.wait_for(reads(), 10))


def test_the_dead_device_accepts_and_stays_silent(running):
    with socket.create_connection(("127.0.0.1", running.mine.endpoints[DEAD].port), timeout=5) as line:
        line.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 1))
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)


def test_our_own_sources_read_every_living_point_as_the_story_says_and_nothing_of_the_dead_device(running, tmp_path):
    expected = running.advance_to(130_000)
    running.run(running.mine.refresh())
    write_demo_site(tmp_path, running.mine.endpoints, data=tmp_path / "data", web_port=0)

    async def reads():
        sources = build_sources(load_site(tmp_path), SystemClock())
        deadlines = [1.5 if source.id == DEAD else 15.0 for source in sources]
        return await asyncio.gather(*map(_first_values, sources, deadlines))

    seen = {name: value for part in asyncio.run(asyncio.wait_for(reads(), 30)) for name, value in part.items()}
    dead = {point.id for point in points_of(TABLES.points, DEAD)}
    assert seen.keys() == expected.keys() - dead
    wrong = {k: (v, expected[k]) for k, v in seen.items() if v != pytest.approx(expected[k], rel=1e-6, abs=1e-4)}
    assert wrong == {}
    assert seen["gas.f1602.t1.ch4"] >= 1.0  # 130 s after the start: the surge


class BreakingClock(SystemClock):
    """Fails from the third question on: the story cannot go on."""

    asked = 0

    def wall_ms(self) -> int:
        self.asked += 1
        return super().wall_ms() // (self.asked < 3)


def test_devices_whose_story_broke_are_gone_rather_than_frozen():
    async def run():
        fan = [device for device in DEVICES if device.source == "main_fan"]
        async with DemoMine(BreakingClock(), devices=fan) as mine:
            port = mine.endpoints["main_fan"].port
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                except ConnectionError:
                    return
                await asyncio.sleep(0.1)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(asyncio.wait_for(run(), 15))


def node(address: str, data_type: str) -> Point:
    return Point(
        id=address, name_zh="", name_en=address, subsystem=Subsystem.GAS, area="", kind=PointKind.ANALOG, unit="",
        source="s", address=address, period_s=1.0, data_type=data_type,
    )  # fmt: skip


def test_an_opcua_server_writes_only_what_changed_and_says_lost_and_over_range_in_the_status():
    async def run():
        server = OpcUaServer([node("nsu=urn:t;s=A", "float64"), node("nsu=urn:t;i=7", "bool")])
        port = await server.start()
        zeros = np.zeros(2, dtype=np.uint8)
        assert await server.write(np.array([1.5, 1.0]), zeros, WALL_MS) == 2
        assert await server.write(np.array([1.5, 1.0]), zeros, WALL_MS + 1_000) == 0
        assert await server.write(np.array([9.5, 1.0]), np.array([2, 1], dtype=np.uint8), WALL_MS + 2_000) == 2
        async with Client(f"opc.tcp://127.0.0.1:{port}/minewatch/demo") as client:
            index = (await client.get_namespace_array()).index("urn:t")
            a = await client.get_node(ua.NodeId("A", index)).read_data_value(raise_on_bad_status=False)
            b = await client.get_node(ua.NodeId(7, index)).read_data_value(raise_on_bad_status=False)
        await server.stop()
        return a, b

    a, b = asyncio.run(asyncio.wait_for(run(), 20))
    assert (a.StatusCode.name, a.Value.Value) == ("UncertainEngineeringUnitsExceeded", 9.5)
    assert b.StatusCode.name == "BadSensorFailure"
    assert a.SourceTimestamp.timestamp() * 1000 == pytest.approx(WALL_MS + 2_000)


def test_states_are_numbered_as_the_servers_read_them():
    assert [state.value for state in (SignalState.GOOD, SignalState.LOST, SignalState.OVER_RANGE)] == [0, 1, 2]


@pytest.mark.parametrize("address", ["i=1", "nsu=urn:t", "nsu=urn:t;g=x", "nsu=urn:t;s="])
def test_a_text_that_is_no_simulated_node_is_refused(address):
    with pytest.raises(ValueError, match="no address"):
        OpcUaServer([node(address, "bool")])


def test_preferred_ports_are_distinct():
    ports = preferred_ports()
    assert len(set(ports.values())) == len(DEVICES)
