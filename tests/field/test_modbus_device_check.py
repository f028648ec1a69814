"""F45: a device that is not the one that the site means gives no value, and its neighbours notice nothing."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_points import modbus_point, modbus_source
from modbus_streams import Watch
from probed_device import ProbedDevice, Unit, words
from rtu_devices import RtuLine, framed

from connectors.modbus.device_check import (
    ASK_AGAIN_S,
    CHECK_EVERY_S,
    Proofs,
    device_check,
    identity_problem,
    signature_problem,
)
from connectors.modbus.plan import PlanLimits
from connectors.modbus.probe_identity import text_of
from connectors.modbus.settings import read_settings
from connectors.modbus.transport import SerialTransport
from connectors.modbus.unit_settings import UnitSettings
from mines.quality import Reason, Severity
from mines.site.source_table import SourceTable

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


def test_a_unit_that_is_asked_on_two_connections_proves_itself_once_on_each():
    async def test() -> None:
        points = [modbus_point(f"1/holding/{k}", period_s=0.1) for k in range(0, 20, 4)]
        async with ProbedDevice({1: unit()}) as device:
            source = modbus_source(points, device.port, connections=2, **checked(identity=IDENTITY))
            async with Watch(source) as watch:
                await watch.until(lambda seen: device.asked[(1, 3)] >= 30, within_s=10)
            assert (device.connections, device.asked[(1, 43)]) == (2, 2)

    asyncio.run(test())


def test_of_two_connections_the_one_that_leads_to_another_device_is_not_believed():
    proofs = Proofs(device_check(1, IDENTITY, None))
    right, wrong = Connection(), Connection()
    proofs.enter(wrong, "vendor 'KJ Works' ≠ 'Other'", 0.0)
    proofs.enter(right, "", 1.0)
    assert (proofs.fault_on(right), proofs.fault_on(wrong)) == ("", "vendor 'KJ Works' ≠ 'Other'")


class Connection:
    """Stands for a link: nothing but itself."""


@pytest.mark.parametrize(
    ("fault", "rest_s"), [("", CHECK_EVERY_S), ("another", ASK_AGAIN_S)], ids=["it fits", "it does not"]
)
def test_a_unit_is_asked_what_it_is_on_another_connection_after_a_silence_and_after_its_time(fault, rest_s):
    proofs, connection = Proofs(device_check(1, IDENTITY, None)), Connection()
    assert proofs.due(connection, 0.0, silent=False)
    proofs.enter(connection, fault, 0.0)
    assert not proofs.due(connection, rest_s - 0.1, silent=False)
    assert proofs.due(connection, rest_s, silent=False)
    assert proofs.due(connection, 1.0, silent=True)
    assert proofs.due(Connection(), 1.0, silent=False)


def test_a_wrong_device_is_counted_as_asked_only_when_it_was():
    async def test() -> None:
        async with ProbedDevice({1: unit(OTHER), 2: unit()}) as device:
            source = modbus_source(POINTS, device.port, **checked(identity=IDENTITY))
            async with Watch(source) as watch:
                seen = await watch.cycles(8, within_s=10)
                device.units[2].exception = 4  # so that its line reports
                await watch.until(lambda seen: "degraded" in seen.states(2))
            assert set(seen.reasons(0)) == {Reason.WRONG_DEVICE}
            assert (device.asked[(1, 43)], device.asked[(1, 3)]) == (1, 0)
            report = seen.report(1)
            assert (report.polls, report.bad, report.counters["wrong device"]) == (1, 1, 1)

    asyncio.run(test())


def test_on_a_slow_wire_a_long_identity_is_waited_for():
    """At 1200 baud sixty characters take more than half a second, which a unit's own time does not hold."""

    async def slow(request, wire) -> None:
        if request.function != 43:
            wire.send(request.reply())
            return
        objects = b"".join(bytes([number, len(text)]) + text for number, text in MAKER.items())
        await asyncio.sleep(0.8)
        wire.send(framed(bytes([1, 43, 14, 1, 1, 0, 0, len(MAKER)]) + objects))

    async def test() -> None:
        async with RtuLine(slow) as line:
            transport = SerialTransport(line.path, baud=1200, parity="N")
            units = {1: UnitSettings(PlanLimits(), timeout_s=0.3, identity=IDENTITY)}
            source = modbus_source([modbus_point("1/holding/3")], transport=transport, units=units)
            async with Watch(source) as watch:
                seen = await watch.until(lambda seen: seen.states(1)[-1:] == ["good"], within_s=10)
            assert set(seen.reasons(0)) <= {Reason.NONE}

    asyncio.run(test())


@pytest.mark.parametrize("key", ["identity", "signature"])
def test_on_a_line_that_is_only_listened_to_nobody_can_be_asked_what_he_is(key):
    settings = {
        "device": "/dev/ttyS9",
        "passive": True,
        "unit": {"3": {key: {"identity": IDENTITY, "signature": SIGNATURE}[key]}},
    }
    lines = {"": 12, f"unit.3.{key}": 20}
    read, problems = read_settings(
        SourceTable("tap", "modbus_serial", settings, lines=lines), [modbus_point("3/holding/0")]
    )
    assert read is None
    assert [(problem.line, problem.key) for problem in problems] == [(20, f"source.tap.unit.3.{key}")]


MODEL = {"address": "input/10", "data_type": "string", "registers": 8, "value": "KJ2000N"}


@pytest.mark.parametrize(
    ("order", "text", "believed"),
    [
        ("AB", b"KJ2000N", True),
        ("BA", b"JK0200\0N", True),
        ("AB", b"KJ2000N ", True),
        ("AB", b"KJ2000N-2", False),
        ("AB", b"JK0200\0N", False),
    ],
    ids=["as it is", "bytes swapped", "a blank behind", "a longer one", "bytes swapped, not said"],
)
def test_a_text_in_registers_is_a_signature(order, text, believed):
    async def test() -> None:
        registers = dict(enumerate(words(text.ljust(16, b"\0")), 10))
        there = Unit({3: REGISTERS, 4: registers})
        async with ProbedDevice({1: there, 2: unit()}) as device:
            source = modbus_source(POINTS, device.port, **checked(signature=MODEL | {"byte_order": order}))
            seen, _ = await values_of(source, device)
            assert set(seen.reasons(0)) == {Reason.NONE if believed else Reason.WRONG_DEVICE}
            if not believed:
                told = next(r.last_error for r in reversed(seen.reports) if r.unit == 1 and r.last_error)
                assert told.startswith("wrong device: input/10 'KJ2000N' ≠ '")

    asyncio.run(test())


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16), st.sampled_from(["AB", "BA"]))
def test_a_text_is_read_back_from_its_registers_in_both_orders(text, order):
    packed = text.encode().ljust(16, b"\0") if len(text) % 2 else text.encode().ljust(16)
    if order == "BA":
        packed = bytes(packed[at ^ 1] for at in range(16))
    assert text_of(packed, order) == text


@pytest.mark.parametrize(("payload", "order"), [(b"ABC", "AB"), (b"AB", "ABCD")], ids=["half a register", "no order"])
def test_what_is_no_text_is_a_defect(payload, order):
    with pytest.raises(ValueError, match="no text"):
        text_of(payload, order)


def test_what_cannot_be_printed_is_shown_and_never_taken_for_text():
    assert text_of(b"K\x01\xffJ") == "K\\x01\\xffJ"


@pytest.mark.parametrize(
    "table", [{}, {"maker": "x"}, {"vendor": 1}, "x", None], ids=["empty", "unknown part", "no text", "a text", "none"]
)
def test_an_identity_that_says_nothing_is_refused(table):
    assert identity_problem(table)


@pytest.mark.parametrize(
    "change",
    [{"address": "coil/1"}, {"address": "holding/1.3"}, {"address": "x"}, {"data_type": "bool"}, {"value": True},
     {"value": "1"}, {"byte_order": "AABB"}, {"more": 1}, {"value": 70_000}, {"value": 0.5}, {"value": float("nan")},
     {"address": "holding/65535", "data_type": "int32"}],
    ids=["a coil", "a bit", "no address", "a bool", "a truth value", "a text", "no order", "unknown key", "too large",
         "no whole number", "no number", "beyond the last register"],
)  # fmt: skip
def test_a_signature_that_cannot_be_read_is_refused(change):
    assert signature_problem(SIGNATURE) == ""
    assert signature_problem(SIGNATURE | change)


@pytest.mark.parametrize(
    "change",
    [{"registers": 0}, {"registers": 65}, {"registers": 3}, {"registers": True}, {"value": ""}, {"value": " KJ"},
     {"value": 7}, {"value": "煤"}, {"byte_order": "ABCD"}, {"more": 1}, {"address": "input/65530"}],
    ids=["no register", "too many", "too few", "a truth value", "no text", "a blank before", "a number", "not ASCII",
         "no order", "unknown key", "beyond the last register"],
)  # fmt: skip
def test_a_text_that_cannot_be_read_is_refused_as_a_signature(change):
    assert signature_problem(MODEL) == ""
    assert signature_problem(MODEL | change)


@pytest.mark.parametrize(
    ("data_type", "value", "raw"),
    [("int16", 65535, b"\xff\xff"), ("float32", 0.1, b"\x3d\xcc\xcc\xcd"), ("uint16", 0, b"\0\0")],
    ids=["a bit pattern", "a decimal", "zero"],
)
def test_a_signature_is_compared_as_the_type_holds_it(data_type, value, raw):
    check = device_check(1, None, {"address": "holding/0", "data_type": data_type, "value": value})
    assert check.signature.fault(raw) == ""
    assert check.signature.fault(bytes(len(raw) - 1) + b"\1")


def test_a_unit_without_tables_need_prove_nothing():
    assert device_check(1, None, None) is None
