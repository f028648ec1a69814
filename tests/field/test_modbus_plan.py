"""The read plan: its properties, and a real drive's register map."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_points import modbus_point
from reference_data import reference

from connectors.modbus.address import Table
from connectors.modbus.codec import REGISTERS, BlockDecoder
from connectors.modbus.plan import Need, PlanLimits, ReadRequest, plan_reads
from connectors.modbus.points import read_points

ROOT = Path(__file__).parents[2]


def planned(points, **limits) -> list[ReadRequest]:
    bounds = PlanLimits(**limits)
    read, problems = read_points(points, bounds)
    assert problems == []
    return [request for group in plan_reads([item.need for item in read], bounds) for request in group.requests]


def spans(requests) -> list[tuple[int, str, int, int]]:
    return [(request.unit, request.table.value, request.first, request.count) for request in requests]


@st.composite
def point_lists(draw):
    """Points in any order, crowded so that they touch and overlap."""
    points = []
    for number in range(draw(st.integers(1, 40))):
        unit = draw(st.integers(1, 3))
        table = draw(st.sampled_from(list(Table)))
        register = draw(st.integers(0, 300))
        data_type = "bool"
        address = f"{unit}/{table}/{register}"
        if not table.of_bits:
            data_type = draw(st.sampled_from([*REGISTERS, "bool"]))
            address += f".{draw(st.integers(0, 15))}" if data_type == "bool" else ""
        period_s = draw(st.sampled_from([1.0, 5.0]))
        points.append(modbus_point(address, data_type, id=f"p{number}", period_s=period_s))
    return points


limits = st.builds(
    PlanLimits,
    max_registers=st.integers(4, 125),
    max_bits=st.integers(1, 2000),
    max_gap=st.sampled_from([0, 0, 1, 7, 50]),
)


@settings(deadline=None, max_examples=40)
@given(point_lists(), limits)
def test_every_point_is_in_exactly_one_request_that_holds_it_whole(points, bounds):
    read, problems = read_points(points, bounds)
    assert problems == []
    groups = plan_reads([item.need for item in read], bounds)
    covered = [need.point for group in groups for request in group.requests for need in request.needs]
    assert sorted(covered) == list(range(len(points)))
    for group in groups:
        for request in group.requests:
            for need in request.needs:
                assert need.period_s == group.period_s
                assert (need.address.unit, need.address.table) == (request.unit, request.table)
                assert request.first <= need.address.register < need.end <= request.first + request.count


@settings(deadline=None, max_examples=40)
@given(point_lists(), limits)
def test_no_request_is_larger_than_allowed_or_leaves_its_table(points, bounds):
    for request in planned(points, **{name: getattr(bounds, name) for name in PlanLimits.__slots__}):
        assert 1 <= request.count <= (bounds.max_bits if request.table.of_bits else bounds.max_registers)
        assert request.first + request.count <= 65_536


@settings(deadline=None, max_examples=40)
@given(point_lists(), limits)
def test_only_bridged_registers_are_read_unneeded_and_no_hole_is_larger_than_allowed(points, bounds):
    for request in planned(points, **{name: getattr(bounds, name) for name in PlanLimits.__slots__}):
        needed = {at for need in request.needs for at in range(need.address.register, need.end)}
        assert request.bridged == request.count - len(needed)
        assert max((after - before - 1 for before, after in pairwise(sorted(needed))), default=0) <= bounds.max_gap
        assert request.first in needed
        assert request.first + request.count - 1 in needed


@settings(deadline=None, max_examples=40)
@given(point_lists())
def test_without_bridging_no_unneeded_register_is_read(points):
    for request in planned(points, max_gap=0):
        assert request.bridged == 0


@settings(deadline=None, max_examples=40)
@given(st.data(), point_lists(), limits)
def test_the_plan_does_not_depend_on_the_order_of_the_points(data, points, bounds):
    bounds = {name: getattr(bounds, name) for name in PlanLimits.__slots__}
    shuffled = data.draw(st.permutations(points))
    assert spans(planned(points, **bounds)) == spans(planned(shuffled, **bounds))


@settings(deadline=None, max_examples=40)
@given(point_lists(), limits)
def test_every_point_decodes_from_its_request(points, bounds):
    """A device whose registers hold their own address: each point finds its own, wherever the plan has put it."""
    read, _ = read_points(points, bounds)
    of_point = {item.need.point: item for item in read}
    for group in plan_reads([item.need for item in read], bounds):
        for request in group.requests:
            if request.table.of_bits:
                continue
            words = range(request.first, request.first + request.count)
            payload = b"".join(word.to_bytes(2, "big") for word in words)
            fields = [of_point[need.point].field(request) for need in request.needs]
            value, _ = BlockDecoder(fields, request.count).decode(payload)
            for need, found in zip(request.needs, value, strict=True):
                if points[need.point].data_type == "uint16":
                    assert found == need.address.register


def test_touching_values_become_one_request():
    points = [
        modbus_point("1/holding/2", "float32"),
        modbus_point("1/holding/0", "uint32"),
        modbus_point("1/holding/4"),
    ]
    assert spans(planned(points)) == [(1, "holding", 0, 5)]


def test_bits_and_words_of_the_same_register_are_read_once():
    points = [modbus_point("1/input/7.3", "bool"), modbus_point("1/input/7"), modbus_point("1/input/6", "uint32")]
    assert spans(planned(points)) == [(1, "input", 6, 2)]


def test_units_tables_and_periods_are_never_mixed():
    points = [
        modbus_point("1/holding/0"),
        modbus_point("1/input/1"),
        modbus_point("2/holding/1"),
        modbus_point("1/holding/1", period_s=5),
    ]
    expected = [(1, "holding", 0, 1), (1, "input", 1, 1), (2, "holding", 1, 1), (1, "holding", 1, 1)]
    assert spans(planned(points)) == expected


def test_a_value_at_the_limit_begins_the_next_request_and_is_not_split():
    points = [modbus_point(f"1/holding/{2 * n}", "uint32") for n in range(63)]
    assert spans(planned(points)) == [(1, "holding", 0, 124), (1, "holding", 124, 2)]


def test_a_hole_is_bridged_only_as_far_as_allowed():
    points = [modbus_point(f"1/holding/{register}") for register in (0, 3, 7)]
    assert spans(planned(points, max_gap=2)) == [(1, "holding", 0, 4), (1, "holding", 7, 1)]
    assert planned(points, max_gap=2)[0].bridged == 2


def test_coils_are_read_two_thousand_at_a_time():
    points = [modbus_point(f"1/coil/{coil}", "bool") for coil in range(2001)]
    assert spans(planned(points)) == [(1, "coil", 0, 2000), (1, "coil", 2000, 1)]


def test_a_value_wider_than_a_request_is_a_defect_of_the_caller():
    read, _ = read_points([modbus_point("1/holding/0", "float64")], PlanLimits())
    with pytest.raises(ValueError, match="4 registers"):
        plan_reads([item.need for item in read], PlanLimits(max_registers=3))


def test_an_empty_list_of_needs_asks_for_nothing():
    assert plan_reads([], PlanLimits()) == ()


def drive_registers() -> list[int]:
    path = reference("vfd-atv600/atv600_map.json")
    return [register["addr"] for register in json.loads(path.read_text(encoding="utf-8"))["registers"]]


def test_a_drive_is_read_register_by_register_unless_its_holes_may_be_bridged():
    registers = drive_registers()
    points = [modbus_point(f"1/holding/{register}") for register in registers]
    alone = planned(points)
    assert sum(request.count for request in alone) == len(registers)
    bridged = planned(points, max_gap=123)
    assert [request for request in spans(bridged) if 8400 <= request[2] <= 8524] == [(1, "holding", 8401, 102)]
    assert sum(request.bridged for request in bridged) == sum(request.count for request in bridged) - len(registers)


def test_the_drives_block_of_exactly_125_registers_is_one_request():
    points = [modbus_point(f"1/holding/{register}") for register in range(8400, 8525)]
    assert spans(planned(points)) == [(1, "holding", 8400, 125)]


def test_a_need_knows_where_it_ends():
    read, _ = read_points([modbus_point("1/holding/10", "float64")], PlanLimits())
    need: Need = read[0].need
    assert need.end == 14
