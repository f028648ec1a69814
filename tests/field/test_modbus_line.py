"""A line of several units: a dead or lying one never stops its neighbours, and is left in peace."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from modbus_devices import Connection, Device, Request, answer, content
from modbus_points import free_port, modbus_point, modbus_source
from modbus_streams import Seen, Watch

from connectors.modbus.health import UnitHealth, delay_s
from connectors.modbus.line import Cycle, LineTimes
from mines.quality import Reason, Severity

PERIOD_S = 0.06


def run(coroutine: Coroutine[Any, Any, None], within_s: float = 15) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, within_s)

    asyncio.run(bounded())


def three_units() -> list:
    return [modbus_point(f"{unit}/holding/10", period_s=PERIOD_S) for unit in (1, 2, 3)]


class Dead:
    """Units that do not answer; all others do."""

    def __init__(self, *units: int) -> None:
        self.units = set(units)

    def __call__(self, request: Request, connection: Connection) -> None:
        if request.unit not in self.units:
            answer(request, connection)


def good(seen: Seen, point: int) -> int:
    return seen.reasons(point).count(Reason.NONE)


def test_a_dead_unit_among_three_leaves_its_neighbours_on_time():
    async def test() -> None:
        async with Device(Dead(2)) as device, Watch(modbus_source(three_units(), device.port, timeout_s=0.05)) as watch:
            await watch.until(lambda seen: seen.states(2)[-1:] == ["lost"])
            before = len(watch.seen.batches)
            seen = await watch.cycles(8)
            assert seen.reasons(0)[before:] == seen.reasons(2)[before:] == [Reason.NONE] * (len(seen.batches) - before)
            assert set(seen.reasons(1)) == {Reason.TIMEOUT}
            assert seen.states(1)[-1] == seen.states(3)[-1] == "good"
            assert device.connections == 1

    run(test())


def test_a_dead_unit_is_asked_once_per_step_of_its_rest():
    async def test() -> None:
        settings = {"backoff_s": 0.1, "backoff_max_s": 0.4, "timeout_s": 0.05}
        async with Device(Dead(2)) as device, Watch(modbus_source(three_units(), device.port, **settings)) as watch:
            await asyncio.sleep(1.0)
            # Rests of 0.1, 0.2, 0.4 … s after each try: 4 tries in 1 s; its neighbours are asked 16 times.
            assert 2 <= len(device.asked(2)) <= 5
            assert len(device.asked(1)) > 8
            assert set(watch.seen.reasons(1)) == {Reason.TIMEOUT}

    run(test())


def test_a_unit_that_comes_back_is_read_again_without_a_new_connection():
    async def test() -> None:
        dead = Dead(2)
        async with Device(dead) as device, Watch(modbus_source(three_units(), device.port, timeout_s=0.05)) as watch:
            await watch.until(lambda seen: seen.states(2)[-1:] == ["lost"])
            dead.units.clear()
            seen = await watch.until(lambda seen: seen.states(2)[-1:] == ["good"])
            await watch.cycles(2)
            assert seen.last(1) == (content(2, 3, 10), Severity.GOOD, Reason.NONE)
            assert device.connections == 1

    run(test())


def test_one_lost_reply_of_a_good_unit_costs_one_sample():
    lost: list[int] = []

    def loses_one(request: Request, connection: Connection) -> None:
        if request.unit == 2 and request.number > 12 and not lost:
            lost.append(request.number)
        else:
            answer(request, connection)

    async def test() -> None:
        async with Device(loses_one) as device:
            # One timeout is as long as a period at most, so that no slot is lost to it either.
            async with Watch(modbus_source(three_units(), device.port, timeout_s=0.03)) as watch:
                await watch.until(lambda seen: Reason.TIMEOUT in seen.reasons(1))
                seen = await watch.cycles(4)
                assert [reason for reason in seen.reasons(1) if reason is not Reason.NONE] == [Reason.TIMEOUT]
                assert seen.states(2) == ["connecting", "good", "degraded", "good"]

    run(test())


def test_nineteen_dead_units_of_twenty_leave_the_live_one_on_time():
    """F47: a gateway with 20 units, 19 of them dead."""

    async def test() -> None:
        points = [modbus_point(f"{unit}/holding/10", period_s=0.1) for unit in range(1, 21)]
        settings = {"timeout_s": 0.05, "backoff_s": 1.0, "backoff_max_s": 5.0}
        async with Device(Dead(*range(1, 20))) as device:
            async with Watch(modbus_source(points, device.port, **settings)) as watch:
                await watch.until(lambda seen: good(seen, 19) > 0, within_s=9)
                before = len(watch.seen.batches)
                seen = await watch.cycles(5)
                assert set(seen.reasons(19)[before:]) == {Reason.NONE}
                assert device.connections == 1

    run(test(), 20)


def test_a_request_that_its_unit_never_answers_rests_while_the_others_go_on():
    def ignores(request: Request, connection: Connection) -> None:
        if request.first != 500:
            answer(request, connection)

    async def test() -> None:
        points = [modbus_point(f"1/holding/{register}", period_s=PERIOD_S) for register in (0, 500, 900)]
        settings = {"timeout_s": 0.05, "backoff_s": 0.5, "backoff_max_s": 2.0}
        async with Device(ignores) as device, Watch(modbus_source(points, device.port, **settings)) as watch:
            await watch.cycles(4)
            before = len(watch.seen.batches)
            seen = await watch.cycles(8)
            assert set(seen.reasons(0)[before:]) == set(seen.reasons(2)[before:]) == {Reason.NONE}
            assert set(seen.reasons(1)) == {Reason.TIMEOUT}
            assert sum(request.first == 500 for request in device.requests) <= 5
            assert seen.states(1)[-1] == "degraded"

    run(test())


@pytest.mark.parametrize(
    ("code", "reason", "state"),
    [
        (2, Reason.ILLEGAL_ADDRESS, "degraded"),
        (6, Reason.DEVICE_BUSY, "degraded"),
        (11, Reason.GATEWAY_NO_RESPONSE, "lost"),
    ],
    ids=["illegal address", "busy", "no response behind the gateway"],
)
def test_an_exception_never_costs_the_connection_or_the_neighbours(code, reason, state):
    def refuses(request: Request, connection: Connection) -> None:
        connection.send(request.refusal(code) if request.unit == 2 else request.reply())

    async def test() -> None:
        async with Device(refuses) as device, Watch(modbus_source(three_units(), device.port)) as watch:
            seen = await watch.cycles(7)
            assert set(seen.reasons(1)) == {reason}
            assert set(seen.reasons(0)) == set(seen.reasons(2)) == {Reason.NONE}
            assert seen.states(2)[-1] == state
            assert seen.report(2).last_error == f"exception {code}"
            assert device.connections == 1

    run(test())


def test_a_busy_device_is_left_alone_for_longer_and_longer():
    def busy(request: Request, connection: Connection) -> None:
        connection.send(request.refusal(6))

    async def test() -> None:
        points = [modbus_point("1/holding/10", period_s=0.05)]
        async with Device(busy) as device:
            async with Watch(modbus_source(points, device.port, backoff_s=0.1, backoff_max_s=5.0)) as watch:
                await watch.cycles(16)
                assert len(device.requests) <= 5
                assert device.connections == 1

    run(test())


def test_a_unit_that_breaks_the_stream_is_left_out_before_it_ruins_the_line():
    def babbles(request: Request, connection: Connection) -> None:
        connection.send(b"garbage garbage garbage" if request.unit == 2 else request.reply())

    async def test() -> None:
        settings = {"backoff_s": 5.0, "backoff_max_s": 5.0}
        async with Device(babbles) as device, Watch(modbus_source(three_units(), device.port, **settings)) as watch:
            await watch.cycles(5)
            before, connections = len(watch.seen.batches), device.connections
            seen = await watch.cycles(10)
            assert set(seen.reasons(0)[before:]) == set(seen.reasons(2)[before:]) == {Reason.NONE}
            assert Reason.NONE not in seen.reasons(1)
            assert device.connections == connections <= 3

    run(test())


def test_a_line_on_which_every_unit_is_silent_is_connected_afresh_and_not_in_a_storm():
    async def test() -> None:
        settings = {"timeout_s": 0.03, "backoff_s": 0.1, "backoff_max_s": 0.4}
        dead = Dead(1, 2, 3)
        async with Device(dead) as device, Watch(modbus_source(three_units(), device.port, **settings)) as watch:
            await asyncio.sleep(1.0)
            assert 2 <= device.connections <= 5
            assert all(Reason.NONE not in watch.seen.reasons(point) for point in range(3))
            dead.units.clear()
            await watch.until(lambda seen: all(seen.states(unit)[-1] == "good" for unit in (1, 2, 3)))

    run(test())


def test_a_server_that_accepts_and_hangs_up_is_not_stormed():
    def hangs_up(request: Request, connection: Connection) -> None:
        connection.close()

    async def test() -> None:
        settings = {"backoff_s": 0.1, "backoff_max_s": 0.4}
        async with Device(hangs_up) as device, Watch(modbus_source(three_units(), device.port, **settings)) as watch:
            await asyncio.sleep(0.6)
            assert 2 <= device.connections <= 5
            assert Reason.NONE not in watch.seen.reasons(0)

    run(test())


def test_units_of_the_same_number_on_two_lines_know_nothing_of_each_other():
    async def test() -> None:
        async with Device(Dead(1)) as dead, Device() as alive:
            point = [modbus_point("1/holding/10", period_s=PERIOD_S)]
            one, other = modbus_source(point, dead.port, id="a"), modbus_source(point, alive.port, id="b")
            async with Watch(one) as silent, Watch(other) as watch:
                await silent.until(lambda seen: seen.states(1)[-1:] == ["lost"])
                seen = await watch.cycles(5)
                assert set(seen.reasons(0)) == {Reason.NONE}
                assert seen.states(1) == ["connecting", "good"]

    run(test())


def test_nobody_there_is_told_each_period_and_tried_again_ever_less_often():
    async def test() -> None:
        source = modbus_source([modbus_point("1/holding/10", period_s=0.05)], free_port(), backoff_max_s=0.4)
        async with Watch(source) as watch:
            seen = await watch.cycles(10)
            assert set(seen.reasons(0)) == {Reason.NO_COMMUNICATION}
            assert seen.states(1) == ["connecting", "lost"]
            assert seen.report(1).last_error == "refused"

    run(test())


def test_a_connection_that_the_device_closes_between_polls_is_made_again_without_a_fuss():
    async def closes_when_idle(request: Request, connection: Connection) -> None:
        answer(request, connection)
        await asyncio.sleep(0.01)
        connection.close()

    async def test() -> None:
        source_points = [modbus_point("1/holding/10", period_s=0.3)]
        async with Device(closes_when_idle) as device, Watch(modbus_source(source_points, device.port)) as watch:
            seen = await watch.cycles(6)
            assert set(seen.reasons(0)) == {Reason.NONE}
            assert seen.states(1) == ["connecting", "good"]
            assert device.connections >= 5

    run(test())


def test_an_answer_to_a_request_of_the_last_connection_is_not_taken_on_the_new_one():
    """A gateway that lost its client answers the next one (F36): both requests may have been the first of theirs."""
    held: list[bytes] = []

    def answers_the_next(request: Request, connection: Connection) -> None:
        if not held:
            held.append(request.reply())
            connection.close()
        else:
            connection.send(held[0] + request.reply())

    async def test() -> None:
        points = [modbus_point(f"1/holding/{register}", period_s=PERIOD_S) for register in (10, 500)]
        async with Device(answers_the_next) as device, Watch(modbus_source(points, device.port)) as watch:
            await watch.until(lambda seen: good(seen, 0) > 2 and good(seen, 1) > 2)
            for row, register in enumerate((10, 500)):
                read = [batch.value[batch.index == row][0] for batch in watch.seen.batches]
                assert {value for value in read if value == value} == {content(1, 3, register)}
            assert device.connections == 2
            assert len({request.transaction for request in device.requests}) == len(device.requests)

    run(test())


def takes(time_s: float, *units: int):
    async def slow(request: Request, connection: Connection) -> None:
        if request.unit in units:
            await asyncio.sleep(time_s)
        answer(request, connection)

    return slow


def test_a_line_that_is_slow_all_over_is_read_whole_and_overruns():
    async def test() -> None:
        points = [modbus_point(f"{unit}/holding/{10 * n}", period_s=PERIOD_S) for unit in (1, 2, 3) for n in (1, 2)]
        async with Device(takes(0.03, 1, 2, 3)) as device, Watch(modbus_source(points, device.port)) as watch:
            seen = await watch.cycles(4)
            assert {reason for point in range(6) for reason in seen.reasons(point)} == {Reason.NONE}
            await watch.until(lambda seen: seen.report(1).counters.get("overruns", 0) > 0)

    run(test())


def test_a_slow_unit_of_many_requests_delays_its_neighbour_by_a_period_at_most():
    async def test() -> None:
        points = [modbus_point(f"2/holding/{10 * n}", period_s=0.1) for n in range(12)]
        points.append(modbus_point("1/holding/10", period_s=0.1))
        async with Device(takes(0.04, 2)) as device, Watch(modbus_source(points, device.port)) as watch:
            await watch.cycles(2)
            since = len(watch.seen.batches)
            seen = await watch.cycles(8)
            rows = seen.batches[since:]
            assert {reason for reason in seen.reasons(12)} == {Reason.NONE}
            times_s = [batch.monotonic_ns[batch.index == 12][0] / 1e9 for batch in rows]
            assert max(np.diff(times_s)) < 0.1 + 0.1 + 0.08
            for point in range(12):  # in turn, every one of the slow unit's points is read
                assert set(seen.reasons(point)) == {Reason.NONE, Reason.BLOCK_NOT_READ}

    run(test())


def test_a_cycle_goes_on_past_its_end_unless_silence_or_a_greedy_unit_has_eaten_the_time():
    unit, other = UnitHealth(1, 0), UnitHealth(2, 0)
    slow = Cycle(start_s=10.0, period_s=1.0)
    slow.used(unit, 0.6, heard=True)
    slow.used(other, 0.6, heard=True)
    assert not slow.leaves(unit, 11.2, alone=False)
    slow.used(unit, 0.5, heard=True)
    assert not slow.leaves(unit, 10.9, alone=False)
    assert slow.leaves(unit, 11.7, alone=False)
    assert not slow.leaves(other, 11.7, alone=False)
    assert not slow.leaves(unit, 11.7, alone=True)
    dying = Cycle(start_s=10.0, period_s=1.0)
    dying.used(unit, 1.0, heard=False)
    assert not dying.leaves(other, 11.0, alone=False), "one silence makes the others late, not unread"
    dying.used(other, 1.0, heard=False)
    assert dying.leaves(UnitHealth(3, 0), 12.0, alone=False)


def test_the_rest_doubles_from_its_first_step_to_its_longest():
    assert [delay_s(failures, 1.0, 30.0) for failures in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    assert delay_s(10_000, 1.0, 30.0) == 30


@pytest.mark.parametrize(
    ("units", "period_s", "expected"),
    [(1, 0.2, (5.0, 5.0)), (2, 1.0, (1.0, 1.0)), (20, 1.0, (1.0, 0.4)), (2, 0.1, (0.3, 0.3)), (2, 10.0, (5.0, 4.0))],
    ids=["alone", "two", "twenty", "two, fast", "two, slow"],
)
def test_a_silent_unit_may_not_cost_its_neighbours_more_than_a_period(units, period_s, expected):
    times = LineTimes.of(5.0, units, period_s)
    assert (times.timeout_s, times.first_pass_s) == expected
