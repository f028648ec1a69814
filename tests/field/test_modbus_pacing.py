"""How gently a line is asked: rests, waits by wire and unit, several connections, and what is told of it."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from modbus_devices import Connection, Device, Request, answer, content
from modbus_points import modbus_point, modbus_settings, modbus_source
from modbus_streams import Watch

from connectors import profile_file
from connectors.grid import PHASES, phase_fraction
from connectors.modbus.address import Table
from connectors.modbus.health import Inquiry, UnitHealth
from connectors.modbus.line import Cycle, Line
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import Need, PlanLimits, ReadRequest, plan_reads
from connectors.modbus.polling import shares
from connectors.modbus.refusal import Family
from connectors.modbus.settings import ModbusSettings, read_settings
from connectors.modbus.transport import SerialTransport
from connectors.modbus.unit_settings import MOST_WAIT_S, UnitSettings
from connectors.profile_file import Profile, RegisterRange
from mines.clock import ManualClock
from mines.quality import Reason
from mines.site.source_table import SourceTable


def run(coroutine: Coroutine[Any, Any, None], within_s: float = 15) -> None:
    asyncio.run(asyncio.wait_for(coroutine, within_s))


class Busy:
    """Answers after a while, and notes which requests are under way at the same time."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.most_at_once = 0
        self.overlaps: Counter[tuple[int, int]] = Counter()
        self._under_way: list[tuple[int, int]] = []

    async def __call__(self, request: Request, connection: Connection) -> None:
        block = (request.unit, request.first)
        self.overlaps[block] += block in self._under_way
        self._under_way.append(block)
        self.most_at_once = max(self.most_at_once, len(self._under_way))
        await asyncio.sleep(self.takes_s)
        self._under_way.remove(block)
        answer(request, connection)


class AskedLink:
    """A link that answers at once and notes how long it was to wait."""

    late, error, connected = 0, "", True

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.waits_s: list[float] = []

    async def connect(self) -> bool:
        return True

    async def read(self, request: ReadRequest, timeout_s: float) -> Answer:
        self.waits_s.append(timeout_s)
        return Answer(bytes(request.data_bytes), Reason.NONE, "", 0, 0, heard=True)

    async def identify(self, unit: int, timeout_s: float) -> Answer:
        raise NotImplementedError

    def close(self, why: str) -> None:
        pass


def waits_of(settings: ModbusSettings, unit: int, *, registers: int, period_s: float = 10.0) -> list[float]:
    """How long the first and the second answer of a unit are waited for; it is alone on its line."""

    async def test() -> list[float]:
        link, health = AskedLink(), UnitHealth(unit, 0)
        line = Line(
            [health], settings, period_s, clock=ManualClock(), open_link=lambda: link, changed=lambda unit: None
        )
        jobs = [asyncio.create_task(job) for job in line.jobs]
        await line.attempted()
        inquiry = Inquiry(ReadRequest(unit, Table.HOLDING, 0, registers, ()), health)
        for _ in range(2):
            await line.read(inquiry, Cycle(asyncio.get_running_loop().time(), period_s), line.standing()[0])
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        return link.waits_s

    return asyncio.run(test())


def test_on_tcp_an_answer_is_waited_for_as_long_as_its_unit_may_take():
    settings = modbus_settings(timeout_s=2.0, units={3: UnitSettings(timeout_s=0.4)})
    assert waits_of(settings, 3, registers=100) == [0.4, 0.4]
    assert waits_of(settings, 4, registers=100) == [2.0, 2.0]


@pytest.mark.parametrize(
    ("baud", "timeout_s", "registers"),
    [(9600, 1.0, 1), (9600, 1.0, 125), (1200, 0.5, 125), (9600, 5.0, 125), (300, 1.0, 125)],
    ids=["short", "long", "slow", "at the ceiling", "slower than the ceiling"],
)
def test_on_a_wire_an_answer_is_waited_for_longer_by_what_the_wire_takes(baud, timeout_s, registers):
    transport = SerialTransport("/dev/ttyS1", baud=baud)
    wire_s = transport.wire_s(8, 5 + 2 * registers)
    expected = min(timeout_s + wire_s, max(MOST_WAIT_S, wire_s + 0.3))
    waits_s = waits_of(modbus_settings(transport=transport, timeout_s=timeout_s), 3, registers=registers)
    assert waits_s == pytest.approx([expected, expected])
    assert waits_s[0] > wire_s, "no reply is given up while it may still be on the wire"


@dataclass
class Rested:
    """Notes how long after the answer to one request the next one came."""

    rests_s: list[float]
    last_s: float = 0.0

    def __call__(self, request: Request, connection: Connection) -> None:
        now_s = asyncio.get_running_loop().time()
        self.rests_s.append(now_s - self.last_s)
        answer(request, connection)
        self.last_s = asyncio.get_running_loop().time()


def test_a_device_is_left_in_peace_between_two_requests():
    async def test() -> None:
        device_rests = Rested([])
        async with Device(device_rests) as device:
            points = [modbus_point(f"1/holding/{register}", period_s=0.3) for register in (0, 100, 200)]
            async with Watch(modbus_source(points, device.port, delay_ms=40.0)) as watch:
                seen = await watch.cycles(3)
        assert min(device_rests.rests_s[1:]) > 0.036  # the timer may be a little early
        assert {reason for point in range(3) for reason in seen.reasons(point)} == {Reason.NONE}

    run(test())


def test_only_the_unit_that_wants_a_rest_has_one():
    async def test() -> None:
        settings = {"units": {2: UnitSettings(delay_ms=150.0, timeout_s=0.3)}}
        points = [modbus_point(f"{unit}/holding/{at}", period_s=1.0) for unit in (1, 2) for at in (0, 100)]
        asked_s: list[tuple[int, float]] = []

        def behave(request: Request, connection: Connection) -> None:
            asked_s.append((request.unit, asyncio.get_running_loop().time()))
            answer(request, connection)

        async with Device(behave) as device, Watch(modbus_source(points, device.port, **settings)) as watch:
            await watch.cycles(1)
        rests = {after[0]: after[1] - before[1] for before, after in pairwise(asked_s)}
        by_unit = [unit for unit, _ in asked_s[:4]]
        assert by_unit == [1, 1, 2, 2]
        assert rests[2] > 0.14

    run(test())


def test_units_behind_a_gateway_are_spread_over_its_connections_and_none_is_asked_twice_at_once():
    async def test() -> None:
        busy = Busy(0.02)
        async with Device(busy) as device:
            points = [modbus_point(f"{unit}/holding/{at}", period_s=0.2) for unit in (1, 2, 3, 4) for at in (0, 100)]
            async with Watch(modbus_source(points, device.port, connections=2)) as watch:
                await watch.until(lambda seen: device.connections == 2)
                seen = await watch.cycles(4)
                for row, point in enumerate(points):
                    unit, _, register = point.address.split("/")
                    assert seen.last(row)[0] == content(int(unit), 3, int(register))
                assert {reason for row in range(8) for reason in seen.reasons(row)} == {Reason.NONE}
                assert {seen.states(unit)[-1] for unit in (1, 2, 3, 4)} == {"good"}
            assert busy.most_at_once == 2
            assert busy.overlaps.total() == 0
            assert device.connections == 2

    run(test())


def test_a_unit_alone_has_its_requests_on_all_connections():
    async def test() -> None:
        busy = Busy(0.02)
        async with Device(busy) as device:
            points = [modbus_point(f"1/holding/{at}", period_s=0.2) for at in range(0, 800, 100)]
            async with Watch(modbus_source(points, device.port, connections=4)) as watch:
                seen = await watch.cycles(4)
                assert {reason for row in range(8) for reason in seen.reasons(row)} == {Reason.NONE}
                report = await watch.until(lambda seen: "cycle ms" in seen.report(1).counters, within_s=12)
                assert report.report(1).polls == report.report(1).good
            assert busy.most_at_once == 4
            assert busy.overlaps.total() == 0

    run(test(), 20)


def test_a_device_that_takes_one_connection_of_two_is_read_whole_on_it():
    """F48: its other connections are taken by somebody else."""

    async def test() -> None:
        async with Device() as device:
            standing: list[int] = []

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if standing:
                    device.connections += 1
                    writer.close()
                    return
                standing.append(1)
                await device.serve(reader, writer)

            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                points = [modbus_point(f"{unit}/holding/10", period_s=0.1) for unit in (1, 2, 3)]
                async with Watch(modbus_source(points, port, connections=2)) as watch:
                    await watch.until(lambda seen: all("good" in seen.states(unit) for unit in (1, 2, 3)))
                    before = len(watch.seen.batches)
                    seen = await watch.cycles(8)
                    read = [reason for row in range(3) for reason in seen.reasons(row)[before:]]
                    assert read.count(Reason.NONE) >= len(read) - 2, "a connection that is lost in use costs one sample"
                    assert {seen.states(unit)[-1] for unit in (1, 2, 3)} == {"good"}
            assert device.connections > 2

    run(test())


def test_blocks_are_shared_among_connections_by_unit():
    health = {unit: UnitHealth(unit, 0) for unit in (1, 2, 3)}

    def blocks(units: Sequence[int]) -> list:
        requests = [ReadRequest(unit, Table.HOLDING, 0, 1, ()) for unit in units]
        return [Family(it, {}, health[it.unit], first_row=0, quarantine_s=1).whole for it in requests]

    shared = shares(blocks([1, 2, 3, 1, 3]), 2)
    assert [[block.inquiry.request.unit for block in share] for share in shared] == [[1, 3, 1, 3], [2]]
    alone = shares(blocks([2, 2, 2]), 2)
    assert alone[0] is alone[1], "whoever is free takes the next"


def test_how_long_a_cycle_took_and_how_many_were_missed_is_counted():
    async def slow(request: Request, connection: Connection) -> None:
        await asyncio.sleep(0.15)
        answer(request, connection)

    async def test() -> None:
        points = [modbus_point("1/holding/0", period_s=0.1), modbus_point("1/holding/9", period_s=0.5)]
        async with Device(slow) as device, Watch(modbus_source(points, device.port)) as watch:
            await watch.cycles(8)
            source = watch.seen
            await watch.until(lambda seen: "overruns" in seen.report(1).counters, within_s=12)
            counters = source.report(1).counters
            assert counters["cycle ms"] >= 149
            assert counters["cycle ms of 0.5 s"] >= 149
            assert counters["overruns"] >= 1

    run(test(), 20)


def test_a_hole_that_must_never_be_read_is_not_bridged():
    needs = [Need(at, parsed, 1, 1.0) for at, parsed in enumerate(_addresses("1/holding/0", "1/holding/10"))]

    def asked(limits: PlanLimits) -> int:
        return len(plan_reads(needs, limits)[0].requests)

    assert asked(PlanLimits(max_gap=20)) == 1
    for first, last in ((5, 5), (1, 9), (0, 1), (9, 40)):
        assert asked(PlanLimits(max_gap=20, never_read=(never("holding", first, last),))) == 2
    assert asked(PlanLimits(max_gap=20, never_read=(never("input", 5, 5), never("holding", 11, 20)))) == 1


@pytest.fixture
def profiles(monkeypatch):
    """Two devices, and a server, as the only profiles there are."""
    known = {
        "meter": _profile("meter", max_gap=20, timeout_s=0.7, delay_ms=30.0, never_read=(never("holding", 5, 6),)),
        "drive": _profile("drive", max_registers=60, response_ms=80.0, identity={"vendor": "ACME"}),
        "server": _profile("server", kind="opcua"),
    }
    monkeypatch.setattr(profile_file, "profile_names", lambda: tuple(known))
    monkeypatch.setattr(profile_file, "load_profile", known.__getitem__)


@pytest.mark.usefixtures("profiles")
def test_a_units_own_key_comes_before_its_profile_and_that_before_the_source_and_its_profile():
    own = {"2": {"profile": "drive", "max_registers": 30}, "3": {"timeout_s": 0.2}}
    written = SourceTable("plc", "modbus_tcp", {"host": "plc", "profile": "meter", "delay_ms": 5, "unit": own})
    settings, problems = read_settings(written, [modbus_point(f"{unit}/holding/0") for unit in (1, 2, 3)])
    assert problems == []
    said = {
        n: (u.limits.max_registers, u.limits.max_gap, u.timeout_s, u.delay_ms, u.response_ms)
        for n, u in ((n, settings.unit(n)) for n in (1, 2, 3))
    }
    assert said == {1: (125, 20, 0.7, 5, 10.0), 2: (30, 20, 0.7, 5, 80.0), 3: (125, 20, 0.2, 5, 10.0)}
    assert settings.unit(2).identity == {"vendor": "ACME"}
    assert [len(settings.unit(n).never_read) for n in (1, 2, 3)] == [1, 0, 1], "another device has its own registers"


@pytest.mark.usefixtures("profiles")
@pytest.mark.parametrize("name", ["pump", "server", 5], ids=["unknown", "of another kind", "no name"])
def test_a_profile_that_does_not_fit_is_a_problem_of_its_key(name):
    lines = {"profile": 7, "unit.2.profile": 9}
    settings = {"host": "plc", "profile": name, "unit": {"2": {"profile": name}}}
    read, problems = read_settings(SourceTable("plc", "modbus_tcp", settings, lines=lines), [])
    assert read is None
    assert [(it.line, it.key) for it in problems] == [(7, "source.plc.profile"), (9, "source.plc.unit.2.profile")]


@pytest.mark.usefixtures("profiles")
def test_a_point_in_a_place_that_reading_changes_is_refused():
    written = SourceTable("plc", "modbus_tcp", {"host": "plc", "profile": "meter"})
    points = [modbus_point("1/holding/4", "uint32", line=3), modbus_point("1/input/5", line=4)]
    read, problems = read_settings(written, points)
    assert read is None
    assert [(it.line, it.key) for it in problems] == [(3, "address")]
    assert "reading clears it" in problems[0].what


def test_each_unit_is_planned_within_its_own_limits():
    written = SourceTable("plc", "modbus_tcp", {"host": "plc", "max_gap": 5, "unit": {"2": {"max_gap": 0}}})
    points = [modbus_point(f"{unit}/holding/{register}") for unit in (1, 2) for register in (0, 4)]
    settings, problems = read_settings(written, points)
    assert problems == []
    needs = [Need(at, parsed, 1, 1.0) for at, parsed in enumerate(_addresses(*(point.address for point in points)))]
    requests = plan_reads(needs, settings.limits)[0].requests
    assert [(request.unit, request.count) for request in requests] == [(1, 5), (2, 1), (2, 1)]


def test_sources_spread_evenly_over_a_period_and_away_from_its_ticks():
    places = [phase_fraction(place) for place in range(40)]
    assert sorted(Counter(places).values()) == [5] * 8
    assert sorted(PHASES) == list(range(8))
    two = sorted(places[:2])
    assert two[1] - two[0] == 0.5
    assert all(abs(fraction * 4 - round(fraction * 4)) > 0.2 for fraction in places), "ticks fall on quarters of 1 s"


def never(table: str, first: int, last: int) -> RegisterRange:
    return RegisterRange(table, first, last, "reading clears it")


def _profile(name: str, kind: str = "modbus", **more: Any) -> Profile:
    return Profile(name, title_zh="设备", title_en="device", kind=kind, source="made up", verified=False, **more)


def _addresses(*texts: str) -> list:
    from connectors.modbus.address import parse_address

    return [parse_address(text) for text in texts]
