"""F44: answers that fit and cannot be: the values stay as they came, and the link says what is odd of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_points import listening_source, modbus_point, modbus_source
from modbus_streams import Watch
from probed_device import ProbedDevice, Unit
from rtu_devices import RtuLine, asking

from connectors.modbus.address import Table
from connectors.modbus.health import Inquiry, UnitHealth
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import PlanLimits, ReadRequest
from connectors.modbus.plausibility import ALL_ONES, ALL_ZEROS, FROZEN, LEAST_BYTES, REST_S, Plausibility
from connectors.modbus.unit_settings import UnitSettings
from mines.model import PointKind
from mines.quality import Reason

TEN = range(10)
ZEROS, ONES, SOMETHING = bytes(LEAST_BYTES), b"\xff" * LEAST_BYTES, b"\1" * LEAST_BYTES


def analog(registers=TEN):
    return [modbus_point(f"1/holding/{register}", period_s=0.1) for register in registers]


def alarm_words(registers=TEN):
    return [
        modbus_point(f"1/holding/{register}.{bit}", "bool", period_s=0.1) for register in registers for bit in (0, 15)
    ]


def states(registers=TEN):
    return [replace(point, kind=PointKind.MULTISTATE, states={0: "a", 1: "b"}) for point in analog(registers)]


@pytest.mark.parametrize(
    ("registers", "word"),
    [(0, ALL_ZEROS), (0xFFFF, ALL_ONES), (1, "")],
    ids=["all zeros", "all ones", "something"],
)
def test_what_cannot_be_is_told_by_the_link_and_kept_as_it_came(registers, word):
    async def test() -> None:
        async with ProbedDevice({1: Unit({3: dict.fromkeys(TEN, registers)})}) as device:
            async with Watch(modbus_source(analog(), device.port)) as watch:
                seen = await watch.cycles(3, within_s=8)
            assert seen.last(0)[0] == registers
            assert set(seen.reasons(0)) == {Reason.NONE}
            assert seen.report(1).state.value == ("degraded" if word else "good")
            assert seen.report(1).last_error == word
            assert seen.report(1).counters.get(word, 0) == bool(word)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("points", "registers"),
    [
        (alarm_words(), dict.fromkeys(TEN, 0)),
        (states(), dict.fromkeys(TEN, 0)),
        (analog(range(7)), dict.fromkeys(TEN, 0)),
        (analog([*range(8), *range(20, 28)]), dict.fromkeys(range(20), 0) | {k: k for k in range(20, 28)}),
    ],
    ids=["no alarm stands", "every state is the first", "few registers", "the block that is asked first is zero"],
)
def test_what_may_well_be_zero_is_never_called_odd(points, registers):
    async def test() -> None:
        async with ProbedDevice({1: Unit({3: registers})}) as device:
            async with Watch(modbus_source(points, device.port)) as watch:
                seen = await watch.cycles(5, within_s=8)
            assert seen.states(1) == ["connecting", "good"]

    asyncio.run(test())


def test_where_the_site_says_so_nothing_is_odd():
    async def test() -> None:
        units = {1: UnitSettings(PlanLimits(), timeout_s=0.3, plausibility=False)}
        async with ProbedDevice({1: Unit({3: dict.fromkeys(TEN, 0)})}) as device:
            async with Watch(modbus_source(analog(), device.port, units=units)) as watch:
                seen = await watch.cycles(3, within_s=8)
            assert seen.states(1) == ["connecting", "good"]

    asyncio.run(test())


def test_a_unit_of_a_line_that_is_only_listened_to_is_looked_at_likewise():
    async def test() -> None:
        request = asking(1, 0, len(TEN))
        async with RtuLine() as line, Watch(listening_source(analog(), line.path)) as watch:
            await watch.until(lambda seen: bool(seen.batches))
            line.send(request.raw)
            line.send(request.reply(bytes(2 * len(TEN))))
            seen = await watch.until(lambda seen: "degraded" in seen.states(1))
            assert seen.report(1).last_error == ALL_ZEROS
            assert seen.last(0)[0] == 0.0

    asyncio.run(test())


def test_a_unit_that_comes_to_life_is_plausible_again():
    async def test() -> None:
        registers = dict.fromkeys(TEN, 0)
        async with ProbedDevice({1: Unit({3: registers})}) as device:
            async with Watch(modbus_source(analog(), device.port)) as watch:
                await watch.until(lambda seen: "degraded" in seen.states(1))
                registers[3] = 7
                seen = await watch.until(lambda seen: seen.states(1)[-1] == "good")
            assert seen.states(1) == ["connecting", "degraded", "good"]
            assert seen.report(1).last_error == ""

    asyncio.run(test())


def test_noise_of_one_count_around_zero_does_not_flap():
    async def test() -> None:
        registers = dict.fromkeys(TEN, 0)
        async with ProbedDevice({1: Unit({3: registers})}) as device:
            async with Watch(modbus_source(analog(), device.port)) as watch:
                for count in (0, 1) * 5:
                    registers[3] = count
                    seen = await watch.cycles(2, within_s=8)
            assert seen.states(1) == ["connecting", "degraded", "good"]

    asyncio.run(test())


def test_what_is_odd_is_told_again_when_another_ailment_is_over():
    health = UnitHealth(1, 0, odd=Plausibility())
    inquiry = Inquiry(ReadRequest(1, Table.HOLDING, 0, LEAST_BYTES // 2, ()), health, measures=True)
    health.adopt(inquiry)
    zeros = Answer(ZEROS, Reason.NONE, "", 1, 1, heard=True)
    failure = Answer(None, Reason.DEVICE_FAILURE, "exception 4", 1, 1, heard=True)
    told = []
    for answer in (zeros, failure, zeros, replace(zeros, payload=SOMETHING)):
        health.take(inquiry, answer, 1.0, backoff_s=(1.0, 30.0))
        report = health.report("plc", "", 1, {})
        told.append((report.state.value, report.last_error))
    assert told == [("degraded", ALL_ZEROS), ("degraded", "exception 4"), ("degraded", ALL_ZEROS), ("good", "")]


def test_a_few_registers_of_zero_are_nothing_odd():
    odd = Plausibility()
    assert not odd.take("a", bytes(LEAST_BYTES - 2), 0.0)
    assert odd.take("b", bytes(2), 0.0)
    assert odd.word == ALL_ZEROS
    assert odd.take("a", bytes([1]) + bytes(LEAST_BYTES - 3), 1.0)
    assert odd.word == ""


@pytest.mark.parametrize("last", ["answered", "refused", "forgotten"])
def test_nothing_is_odd_until_every_block_has_been_heard_of(last):
    odd = Plausibility()
    odd.expect("a")
    odd.expect("b")
    assert not odd.take("a", ZEROS, 0.0)
    if last == "answered":
        assert odd.take("b", ZEROS, 1.0)
    else:
        (odd.refused if last == "refused" else odd.forget)("b")
        assert odd.take("a", ZEROS, 1.0)
    assert odd.word == ALL_ZEROS


def test_what_was_taken_back_is_said_again_only_after_a_rest_and_then_without_a_change():
    odd = Plausibility()
    assert odd.take("a", ZEROS, 0.0)
    assert odd.take("a", SOMETHING, 10.0)
    assert not odd.take("a", ZEROS, 11.0)
    assert not odd.take("a", ZEROS, 10.0 + REST_S - 1)
    assert odd.take("a", ZEROS, 10.0 + REST_S)
    assert odd.word == ALL_ZEROS


def test_registers_that_stand_still_are_told_only_where_the_site_asks_for_it():
    for frozen_s, word in ((None, ""), (60.0, FROZEN)):
        odd = Plausibility(frozen_s)
        for second in range(0, 200, 10):
            odd.take("a", b"\1\2\3\4" * 8, float(second))
        assert odd.word == word
        odd.take("a", b"\1\2\3\5" * 8, 200.0)
        assert odd.word == ""


def test_one_block_that_moves_is_enough():
    odd = Plausibility(60.0)
    for second in range(0, 200, 10):
        odd.take("a", b"\1\2\3\4" * 8, float(second))
        odd.take("b", bytes([second // 10]), float(second))
    assert odd.word == ""


def test_a_silence_is_no_standing_still():
    odd = Plausibility(60.0)
    odd.take("a", SOMETHING, 0.0)
    odd.resume(500.0)
    assert not odd.take("a", SOMETHING, 500.0)
    assert odd.take("a", SOMETHING, 561.0)
    assert odd.word == FROZEN


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([ZEROS, ONES, SOMETHING])), max_size=30))
def test_a_unit_is_odd_exactly_while_all_its_blocks_are_alike_and_flat(answers):
    """Seconds lie REST_S apart, so that nothing is held back."""
    odd, last, word = Plausibility(), {}, ""
    for block in "abc":
        odd.expect(block)
    for number, (block, payload) in enumerate(answers):
        last[block] = payload
        flat = {ZEROS: ALL_ZEROS, ONES: ALL_ONES}.get(payload, "") if len(set(last.values())) == 1 else ""
        expected = flat if len(last) == 3 else ""
        assert odd.take(block, payload, number * REST_S) == (word != expected)
        word = expected
        assert odd.word == word


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([ZEROS, ONES, SOMETHING]), max_size=60), st.integers(1, 400))
def test_the_word_changes_at_most_twice_in_a_rest(answers, step_s):
    odd, begun_s = Plausibility(), []
    for number, payload in enumerate(answers):
        before = odd.word
        odd.take("a", payload, float(number * step_s))
        if odd.word and not before:
            begun_s.append(number * step_s)
        assert odd.word in ("", {ZEROS: ALL_ZEROS, ONES: ALL_ONES}.get(payload, "")), "never said of what is not"
    assert all(later - earlier > REST_S - 1 for earlier, later in pairwise(begun_s))
