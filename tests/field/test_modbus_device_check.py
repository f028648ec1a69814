"""F44 and F45: a device that is not the one that the site means gives no value; answers that cannot be are told."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_points import modbus_point, modbus_source
from modbus_streams import Watch
from probed_device import ProbedDevice, Unit

from connectors.modbus.device_check import device_check, identity_problem, signature_problem
from connectors.modbus.plan import PlanLimits
from connectors.modbus.plausibility import ALL_ONES, ALL_ZEROS, FROZEN, LEAST_BYTES, Plausibility
from connectors.modbus.unit_settings import UnitSettings
from mines.quality import Reason, Severity

MAKER, OTHER = {0: b"KJ Works", 1: b"S-77", 2: b"2.1"}, {0: b"Other", 1: b"S-77", 2: b"2.1"}
IDENTITY = {"vendor": "KJ Works", "product_code": "S-77"}
SIGNATURE = {"address": "holding/90", "data_type": "uint16", "value": 4711}
REGISTERS = {register: 1000 + register for register in range(20)} | {90: 4711}


def unit(identity=MAKER, registers=REGISTERS) -> Unit:
    return Unit({3: registers}, identity)


def checked(number: int = 1, **tables) -> dict:
    return {"units": {number: UnitSettings(PlanLimits(), timeout_s=0.3, **tables)}}


async def values_of(source, device, *, change=None, cycles=3):
    """Rows of point 0 as (value, reason), before and after a change of the device."""
    async with Watch(source) as watch:
        seen = await watch.cycles(cycles, within_s=8)
        before = len(seen.batches)
        if change is not None:
            change()
            seen = await watch.cycles(before + 2 * cycles, within_s=12)
        return seen, before


POINTS = [modbus_point("1/holding/3", period_s=0.1), modbus_point("2/holding/3", period_s=0.1)]


@pytest.mark.parametrize(
    ("tables", "there"),
    [
        ({"identity": IDENTITY}, unit()),
        ({"signature": SIGNATURE}, unit()),
        ({"identity": IDENTITY, "signature": SIGNATURE}, unit()),
    ],
    ids=["identity", "signature", "both"],
)
def test_a_device_that_proves_itself_is_read_from_the_first_cycle_on(tables, there):
    async def test() -> None:
        async with ProbedDevice({1: there, 2: unit()}) as device:
            seen, _ = await values_of(modbus_source(POINTS, device.port, **checked(**tables)), device)
            assert {seen.last(index)[0] for index in (0, 1)} == {1003.0}
            assert set(seen.reasons(0)) == {Reason.NONE}
            asked = device.asked[(1, 43)] + device.asked[(1, 3)]
            assert asked <= len(seen.reasons(0)) + 4, "asked once, not in every cycle"

    asyncio.run(test())


@pytest.mark.parametrize(
    ("tables", "there", "told"),
    [
        ({"identity": IDENTITY}, unit(OTHER), "vendor 'KJ Works' ≠ 'Other'"),
        ({"identity": IDENTITY}, unit(None), "it does not say what it is"),
        ({"signature": SIGNATURE}, unit(registers=REGISTERS | {90: 12}), "holding/90 4711 ≠ 12"),
        ({"signature": SIGNATURE}, unit(registers={3: 7}), "its signature: exception 2"),
    ],
    ids=["another maker", "says nothing", "another signature", "no such register"],
)
def test_a_device_that_is_another_gives_no_value_and_leaves_its_neighbour_alone(tables, there, told):
    async def test() -> None:
        async with ProbedDevice({1: there, 2: unit()}) as device:
            seen, _ = await values_of(modbus_source(POINTS, device.port, **checked(**tables)), device)
            assert set(seen.reasons(0)) == {Reason.WRONG_DEVICE}
            assert seen.last(0)[1] is Severity.BAD
            assert seen.last(1)[0] == 1003.0
            assert set(seen.reasons(1)) == {Reason.NONE}
            report = next(r for r in reversed(seen.reports) if r.unit == 1 and r.last_error)
            assert report.last_error == f"wrong device: {told}"
            assert (report.state.value, report.counters["wrong device"] > 0) == ("degraded", True)

    asyncio.run(test())


def test_a_device_that_is_changed_for_another_while_it_is_away_is_found_out_before_its_first_value():
    async def test() -> None:
        async with ProbedDevice({1: unit(), 2: unit()}) as device:

            def swap() -> None:
                device.units[1] = Unit({3: {register: 1 for register in range(20)}}, OTHER)
                device.drop_connections()

            source = modbus_source(POINTS, device.port, **checked(identity=IDENTITY))
            seen, _ = await values_of(source, device, change=swap)
            assert 1.0 not in {float(b.value[0]) for b in seen.batches}
            assert seen.reasons(0)[-1] is Reason.WRONG_DEVICE

    asyncio.run(test())


def test_the_right_device_is_back_at_once_on_a_new_connection():
    async def test() -> None:
        async with ProbedDevice({1: unit(OTHER), 2: unit()}) as device:

            def swap() -> None:
                device.units[1] = unit()
                device.drop_connections()

            source = modbus_source(POINTS, device.port, **checked(identity=IDENTITY))
            seen, before = await values_of(source, device, change=swap)
            assert set(seen.reasons(0)[:before]) == {Reason.WRONG_DEVICE}
            assert seen.last(0)[0] == 1003.0

    asyncio.run(test())


@pytest.mark.parametrize(
    ("registers", "word"),
    [(0, ALL_ZEROS), (0xFFFF, ALL_ONES), (1, "")],
    ids=["all zeros", "all ones", "something"],
)
def test_what_cannot_be_is_told_by_the_link_and_kept_as_it_came(registers, word):
    async def test() -> None:
        points = [modbus_point(f"1/holding/{k}", period_s=0.1) for k in range(10)]
        async with ProbedDevice({1: unit(registers=dict.fromkeys(range(10), registers))}) as device:
            seen, _ = await values_of(modbus_source(points, device.port), device)
            assert seen.last(0)[0] == registers
            assert set(seen.reasons(0)) == {Reason.NONE}
            assert seen.report(1).state.value == ("degraded" if word else "good")
            assert seen.report(1).last_error == word

    asyncio.run(test())


def test_a_unit_that_comes_to_life_is_plausible_again():
    async def test() -> None:
        points = [modbus_point(f"1/holding/{k}", period_s=0.1) for k in range(10)]
        registers = dict.fromkeys(range(10), 0)
        async with ProbedDevice({1: unit(registers=registers)}) as device:
            source = modbus_source(points, device.port)
            seen, _ = await values_of(source, device, change=lambda: registers.update({3: 7}))
            assert seen.states(1)[-2:] == ["degraded", "good"]
            assert seen.report(1).last_error == ""

    asyncio.run(test())


def test_a_few_registers_of_zero_are_nothing_odd():
    odd = Plausibility()
    assert not odd.take("a", bytes(LEAST_BYTES - 2), 0.0)
    assert odd.take("b", bytes(2), 0.0)
    assert odd.word == ALL_ZEROS
    assert odd.take("a", bytes([1]) + bytes(LEAST_BYTES - 3), 1.0)
    assert odd.word == ""


def test_registers_that_stand_still_are_told_only_where_the_site_asks_for_it():
    for frozen_s, word in ((None, ""), (60.0, FROZEN)):
        odd = Plausibility(frozen_s)
        for second in range(0, 200, 10):
            odd.take("a", b"\1\2\3\4" * 8, float(second))
        assert odd.word == word
        odd.take("a", b"\1\2\3\5" * 8, 200.0)
        assert odd.word == ""


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([bytes(16), b"\xff" * 16, b"\1" * 16])), max_size=30))
def test_a_unit_is_odd_exactly_while_all_its_blocks_are_alike_and_flat(answers):
    odd, last, expected = Plausibility(), {}, ""
    for number, (block, payload) in enumerate(answers):
        changed = odd.take(block, payload, float(number))
        last[block] = payload
        kinds = {p[0] for p in last.values()}
        before, expected = expected, {frozenset({0}): ALL_ZEROS, frozenset({255}): ALL_ONES}.get(frozenset(kinds), "")
        assert odd.word == expected
        assert changed == (before != expected)


@pytest.mark.parametrize(
    "table", [{}, {"maker": "x"}, {"vendor": 1}, "x", None], ids=["empty", "unknown part", "no text", "a text", "none"]
)
def test_an_identity_that_says_nothing_is_refused(table):
    assert identity_problem(table)


@pytest.mark.parametrize(
    "change",
    [{"address": "coil/1"}, {"address": "holding/1.3"}, {"address": "x"}, {"data_type": "bool"}, {"value": True},
     {"value": "1"}, {"byte_order": "AABB"}, {"more": 1}],
    ids=["a coil", "a bit", "no address", "a bool", "a truth value", "a text", "no order", "unknown key"],
)  # fmt: skip
def test_a_signature_that_cannot_be_read_is_refused(change):
    assert signature_problem(SIGNATURE) == ""
    assert signature_problem(SIGNATURE | change)


def test_a_unit_without_tables_need_prove_nothing():
    assert device_check(1, None, None) is None
