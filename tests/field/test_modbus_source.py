"""The Modbus source as a whole: its grid, its batches, its reports, and what a proxy before the device sees of it."""

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_devices import Connection, Device, Request, answer, bit_content, content
from modbus_points import modbus_point, modbus_source
from modbus_proxy import DecodingProxy
from modbus_servers import CountingServer
from modbus_streams import Watch

from connectors.grid import LATE_START_FRACTION, Grid
from connectors.modbus import outbox, polling
from connectors.modbus.source import ModbusSource
from mines.clock import NO_TIME_MS
from mines.model import Batch
from mines.quality import Reason, Severity


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 15)

    asyncio.run(bounded())


def test_points_of_every_kind_are_read_with_their_values():
    points = [
        modbus_point("2/input/8", "uint32", period_s=0.05),
        modbus_point("1/holding/20", scale=0.1, offset=-5.0, period_s=0.05),
        modbus_point("1/holding/21.2", "bool", period_s=0.05),
        modbus_point("1/coil/77", "bool", period_s=0.05),
        modbus_point("1/discrete/78", "bool", period_s=0.05),
    ]

    async def test() -> None:
        async with Device() as device, Watch(modbus_source(points, device.port)) as watch:
            seen = await watch.cycles(2)
            values = [seen.last(point)[0] for point in range(5)]
            assert values == [
                (content(2, 4, 8) << 16) | content(2, 4, 9),
                content(1, 3, 20) / 10 - 5,
                content(1, 3, 21) >> 2 & 1,
                bit_content(1, 1, 77),
                bit_content(1, 2, 78),
            ]
            assert {seen.last(point)[1] for point in range(5)} == {Severity.GOOD}
            assert all((batch.source_time_ms == NO_TIME_MS).all() for batch in seen.batches)

    run(test())


def test_each_period_is_a_group_with_one_batch_a_cycle_and_all_its_points():
    points = [modbus_point(f"1/holding/{n}", period_s=0.05 if n % 2 else 0.2) for n in range(10)]

    async def test() -> None:
        async with Device() as device, Watch(modbus_source(points, device.port)) as watch:
            await asyncio.sleep(0.65)
            batches = watch.seen.batches
            fast = [batch for batch in batches if 1 in batch.index]
            slow = [batch for batch in batches if 0 in batch.index]
            assert all(sorted(batch.index) == [1, 3, 5, 7, 9] for batch in fast)
            assert all(sorted(batch.index) == [0, 2, 4, 6, 8] for batch in slow)
            assert len(fast) + len(slow) == len(batches)
            assert 8 <= len(fast) <= 14
            assert 2 <= len(slow) <= 5

    run(test())


def test_cycles_keep_to_the_grid_and_do_not_drift():
    async def test() -> None:
        async with Device() as device:
            async with Watch(modbus_source([modbus_point("1/holding/1", period_s=0.05)], device.port)) as watch:
                seen = await watch.cycles(14)
                stamps = np.array([batch.monotonic_ns[0] for batch in seen.batches[1:]]) / 1e6
                late_ms = (stamps - stamps[0] + 25) % 50 - 25  # off the slot of its own
                assert np.median(np.abs(late_ms)) < 10
                assert abs((stamps[-1] - stamps[0]) - 50 * (len(stamps) - 1)) < 100

    run(test())


def test_rows_are_stamped_when_their_own_reply_came():
    async def slow_unit(request: Request, connection: Connection) -> None:
        if request.unit == 2:
            await asyncio.sleep(0.05)
        answer(request, connection)

    async def test() -> None:
        points = [modbus_point("1/holding/1", period_s=0.2), modbus_point("2/holding/1", period_s=0.2)]
        async with Device(slow_unit) as device, Watch(modbus_source(points, device.port)) as watch:
            batch = (await watch.cycles(2)).batches[-1]
            first, second = batch.monotonic_ns[np.argsort(batch.index)]
            assert 30e6 < second - first < 150e6
            assert batch.receive_time_ms[batch.index == 1] > batch.receive_time_ms[batch.index == 0]

    run(test())


def test_a_device_slower_than_the_period_is_read_with_slots_skipped_counted_and_never_overlapping():
    busy = [0, 0]

    async def slow(request: Request, connection: Connection) -> None:
        busy[0] += 1
        busy[1] = max(busy)
        await asyncio.sleep(0.13)
        connection.send(request.reply())
        busy[0] -= 1

    async def test() -> None:
        async with Device(slow) as device:
            async with Watch(modbus_source([modbus_point("1/holding/1", period_s=0.1)], device.port)) as watch:
                seen = await watch.until(lambda seen: len(seen.batches) >= 5)
                assert set(seen.reasons(0)) == {Reason.NONE}
                await watch.until(lambda seen: seen.report(1).counters.get("overruns", 0) >= 3)
                gaps_s = [after - before for before, after in pairwise(seen.yields_s)]
                assert max(gaps_s) < 0.2, "something is yielded each period, if only a report"
                assert busy[1] == 1

    run(test())


@settings(deadline=None, max_examples=200)
@given(
    st.floats(0.05, 60),
    st.floats(0, 0.999),
    st.integers(0, 100_000),
    st.floats(0, 5),
    st.floats(0, LATE_START_FRACTION),
)
def test_the_next_slot_is_on_the_grid_later_than_the_last_and_not_long_past(period_s, phase, k, lasted, late):
    grid = Grid(period_s, phase)
    slot_s = period_s * phase + k * period_s
    now_s = slot_s + (lasted + late) * period_s
    next_s, skipped = grid.next_slot(slot_s, now_s)
    assert next_s - slot_s == pytest.approx((skipped + 1) * period_s, rel=1e-6)
    assert skipped >= 0
    assert next_s >= now_s - LATE_START_FRACTION * period_s - 1e-3 * period_s
    if skipped:
        assert next_s - period_s <= now_s - LATE_START_FRACTION * period_s + 1e-3 * period_s


@pytest.mark.parametrize(("name", "other"), [("fan", "pump"), ("kj", "hoist")])
def test_a_source_polls_at_a_phase_that_its_name_decides(name, other):
    def phase(id: str) -> float:
        return modbus_source([modbus_point("1/holding/1")], 502, id=id)._parts.phase_fraction

    assert phase(name) == phase(name)
    assert phase(name) != phase(other)


def test_a_source_keeps_to_its_phase():
    period_s = 0.4

    async def test() -> None:
        async with Device() as device:
            source = modbus_source([modbus_point("1/holding/1", period_s=period_s)], device.port, id="fan")
            async with Watch(source) as watch:
                seen = await watch.cycles(3)
        phase_s = period_s * source._parts.phase_fraction
        late_s = (float(seen.batches[-1].monotonic_ns[0]) / 1e9 - phase_s) % period_s
        assert late_s < period_s / 2

    run(test())


def test_a_slow_consumer_is_waited_for_and_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 2)

    async def test() -> None:
        async with Device() as device:
            source = modbus_source([modbus_point("1/holding/1", period_s=0.02)], device.port)
            stream = source.stream()
            numbers: list[int] = []
            async for item in stream:
                if isinstance(item, Batch):
                    numbers.append(item.batch_no)
                    if len(numbers) == 1:
                        await asyncio.sleep(0.4)
                        assert len(device.requests) <= 5, "polling waits too"
                    if len(numbers) == 8:
                        break
            await stream.aclose()
            assert numbers == list(range(1, 9))

    run(test())


def test_a_second_stream_goes_on_counting_where_the_first_ended():
    async def test() -> None:
        async with Device() as device:
            source = modbus_source([modbus_point("1/holding/1", period_s=0.02)], device.port)
            async with Watch(source) as watch:
                last = (await watch.cycles(3)).batches[-1].batch_no
            async with Watch(source) as watch:
                assert (await watch.cycles(1)).batches[0].batch_no == last + 1

    run(test())


def test_every_unit_is_reported_regularly(monkeypatch):
    monkeypatch.setattr(polling, "REPORT_EVERY_S", 0.1)

    async def test() -> None:
        points = [modbus_point(f"{unit}/holding/1", period_s=0.05) for unit in (1, 2)]
        async with Device() as device, Watch(modbus_source(points, device.port)) as watch:
            await asyncio.sleep(0.55)
            good = [report for report in watch.seen.reports if report.unit == 2 and report.state == "good"]
            assert 4 <= len(good) <= 8
            last = good[-1]
            assert last.endpoint == f"127.0.0.1:{device.port}"
            assert 5 <= last.polls == last.good <= len(device.asked(2))
            assert (last.bad, last.last_error, last.reconnects) == (0, "", 0)
            assert last.last_answer_ms is not None
            assert last.since_ms <= last.last_answer_ms <= last.time_ms
            assert last.duration_ms is not None

    run(test())


def test_a_defect_in_a_task_comes_out_of_the_stream(monkeypatch):
    def fails(self, block, answer):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("connectors.modbus.cycle.CycleRows.fill", fails)

    async def test() -> None:
        async with Device() as device:
            stream = modbus_source([modbus_point("1/holding/1", period_s=0.05)], device.port).stream()
            with pytest.raises(ZeroDivisionError):
                async for _ in stream:
                    pass
            await stream.aclose()
            assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("plc: ")]

    run(test())


def test_no_task_goes_on_polling_when_the_consumer_is_cancelled_again_and_again():
    async def consume(source: ModbusSource) -> None:
        async for _ in source.stream():
            pass

    async def test() -> None:
        async with Device() as device:
            for impatience in range(4):
                source = modbus_source([modbus_point("1/holding/1", period_s=0.02)], device.port)
                consumer = asyncio.create_task(consume(source))
                await asyncio.sleep(0.1)
                for _ in range(impatience + 1):
                    consumer.cancel()
                    await asyncio.sleep(0)
                await asyncio.wait({consumer})
                assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("plc: ")]

    run(test())


def test_a_source_without_points_connects_nowhere_and_can_be_closed():
    async def test() -> None:
        async with Device() as device:
            stream = modbus_source([], device.port).stream()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.1)
            await stream.aclose()
            assert device.connections == 0

    run(test())


def test_every_frame_goes_through_the_tap_with_the_sources_id():
    seen: list[tuple[str, bool]] = []

    def tap(source_id: str, sending: bool, monotonic_ns: int, frame: bytes) -> None:
        assert monotonic_ns > 0
        seen.append((source_id, sending))

    async def test() -> None:
        async with Device() as device:
            points = [modbus_point("1/holding/1", period_s=0.05)]
            async with Watch(modbus_source(points, device.port, id="fan", tap=tap)) as watch:
                await watch.cycles(3)
            pattern = [("fan", True), ("fan", False)] * len(device.requests)
            assert seen == pattern[: len(seen)]  # the last request may have been on its way when the source closed
            assert len(seen) >= 6

    run(test())


def test_a_decoding_proxy_sees_reads_only():
    """R10. All four tables, a unit that refuses, one that is silent, a lost link in between."""

    def mixed(request: Request, connection: Connection) -> None:
        if request.unit == 2:
            connection.send(request.refusal(2))
        elif request.unit == 1:
            answer(request, connection)

    points = [
        modbus_point(f"{unit}/{table}/5", "bool" if table in ("coil", "discrete") else "uint16", period_s=0.05)
        for unit in (1, 2, 3)
        for table in ("holding", "input", "coil", "discrete")
    ]

    async def test(port: int, device: Device) -> None:
        async with Watch(modbus_source(points, port, timeout_s=0.05)) as watch:
            await watch.cycles(4)
            device.reset_all()
            await watch.cycles(6)
            assert set(watch.seen.reasons(0)) >= {Reason.NONE}

    async def with_proxy() -> None:
        async with Device(mixed) as device:
            with DecodingProxy("127.0.0.1", device.port) as proxy:
                await test(proxy.port, device)
            assert proxy.functions.keys() == {1, 2, 3, 4}
            assert set(proxy.units) == {1, 2, 3}
            assert proxy.read_only
            assert proxy.undecodable == proxy.unfinished == 0
            assert sum(proxy.functions.values()) >= len(device.requests) > 20

    run(with_proxy())


def test_the_proxy_does_see_a_write():
    """The check can fail: a client that writes is found out."""

    async def test() -> None:
        async with Device() as device:
            with DecodingProxy("127.0.0.1", device.port) as proxy:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                for byte in bytes.fromhex("000100000006 01 06 0001 0002".replace(" ", "")):
                    writer.write(bytes([byte]))
                    await writer.drain()
                await reader.readexactly(8)
                writer.close()
            assert proxy.functions == {6: 1}
            assert not proxy.read_only

    run(test())


def test_two_thousand_points_a_second_are_read_without_a_hole():
    points = [modbus_point(f"{u}/holding/{2 * n}", "uint32", period_s=0.25) for u in range(1, 21) for n in range(100)]

    async def test(port: int) -> None:
        async with Watch(modbus_source(points, port, timeout_s=0.5)) as watch:
            seen = await watch.cycles(4)
            for number, batch in enumerate(seen.batches, start=1):
                assert sorted(batch.index) == list(range(2000))
                assert (batch.value == number).all()
                assert (batch.quality == 0).all()

    with CountingServer() as server:
        run(test(server.port))
    assert server.connections == 1
    assert len(server.served) == 40


def test_neither_check_nor_building_a_source_loads_pymodbus():
    code = (
        "import sys, connectors.modbus.settings, connectors.modbus.source as s;"
        "from connectors.modbus.settings import ModbusSettings; from connectors.modbus.transport import TcpTransport;"
        "from mines.clock import SystemClock;"
        "s.ModbusSource('plc', [], ModbusSettings(TcpTransport('x')), SystemClock());"
        "sys.exit('pymodbus' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_source_says_what_it_is():
    source: ModbusSource = modbus_source([modbus_point("1/holding/1")], 1502, id="fan")
    assert (source.id, source.kind, source.endpoint, len(source.points)) == ("fan", "modbus_tcp", "127.0.0.1:1502", 1)
