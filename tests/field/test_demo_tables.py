"""The demo mine's point tables are a site that the box accepts: complete, lawful, every register its own."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from connectors.simulator.demo.mine import Endpoint
from connectors.simulator.demo.site import write_demo_site
from connectors.simulator.demo.story import demo_courses
from connectors.simulator.demo.tables import DEVICES, Tables, points_of, read_signal
from connectors.simulator.register_image import read_place
from connectors.simulator.scenario import Moments
from mines.model import PointKind
from mines.rulebook import bind_rules, load_rulebook
from mines.site.columns import COLUMNS
from mines.site.site_file import read_site

TABLES = Tables()
MODBUS = [device for device in DEVICES if device.kind == "modbus_tcp"]
REGISTERS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}


def test_there_are_at_least_300_points_on_six_living_modbus_devices_an_opcua_server_and_a_dead_device():
    assert len(TABLES.points) >= 300
    assert sum(not device.silent for device in MODBUS) >= 6
    opcua = [device for device in DEVICES if device.kind == "opcua"]
    assert len(points_of(TABLES.points, opcua[0].source)) >= 40
    (dead,) = (device for device in DEVICES if device.silent)
    assert len(points_of(TABLES.points, dead.source)) >= 8


def test_ids_and_names_are_unique():
    for names in (
        [p.id for p in TABLES.points],
        [p.name_zh for p in TABLES.points],
        [p.name_en for p in TABLES.points],
    ):
        assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize("device", MODBUS, ids=lambda device: device.source)
def test_no_two_points_of_a_device_share_a_register_or_bit(device):
    taken: Counter[tuple[object, ...]] = Counter()
    whole = set()
    for point in points_of(TABLES.points, device.source):
        place = read_place(point.address)
        if place.bit is not None or place.table.of_bits:
            taken[place.unit, place.table, place.register, place.bit] += 1
            continue
        for register in range(place.register, place.register + REGISTERS[point.data_type]):
            taken[place.unit, place.table, register, None] += 1
            whole.add((place.unit, place.table, register))
    assert [place for place, count in taken.items() if count > 1] == []
    assert [place for place in taken if place[3] is not None and place[:3] in whole] == []


def test_opcua_addresses_are_unique():
    addresses = [point.address for point in points_of(TABLES.points, "drainage")]
    assert len(set(addresses)) == len(addresses)


def test_devices_differ_in_types_and_byte_orders_as_real_ones_do():
    modbus = {device.source for device in MODBUS}
    types = {point.data_type for point in TABLES.points if point.source in modbus}
    orders = {point.byte_order for point in TABLES.points if point.source in modbus}
    assert types >= {"uint16", "int16", "int32", "uint32", "float32", "bool"}
    assert orders >= {"AB", "BA", "ABCD", "CDAB", "DCBA"}
    tables = {read_place(point.address).table.value for point in TABLES.points if point.source in modbus}
    assert tables == {"holding", "input", "coil", "discrete"}


def test_every_course_that_a_table_follows_exists():
    known = set()
    for course in demo_courses():
        known |= course(Moments.single(1_795_600_000_000, 0)).keys()
    assert {signal.course for signal in TABLES.signals.values() if signal.course} <= known


@pytest.mark.parametrize("text", ["", "steady 1 2", "sine 1 2 3", "fixed", "steady a b c"])
def test_a_signal_that_says_nothing_is_refused(text):
    with pytest.raises(ValueError, match=r"no signal|could not convert"):
        read_signal(text)


def test_statutory_rows_have_no_delay_and_gas_and_switches_are_read_every_second():
    for point in TABLES.points:
        if point.rule:
            assert (point.on_delay_s, point.off_delay_s) == (0.0, 0.0), point.id
        if point.subsystem == "gas":
            assert point.period_s == 1.0, point.id
        assert 1.0 <= point.period_s <= 5.0, point.id


def test_the_duty_fan_alarms_on_its_run_state_and_the_standby_at_rest_does_not():
    by_id = {point.id: point for point in TABLES.points}
    run = by_id["vent.fan1.run"]
    assert (run.low_alarm, run.low_clear, run.level) == (0.0, 0.0, 1)
    assert by_id["vent.fan2.run"].low_alarm is None


def test_every_switch_and_multistate_has_words_for_its_states():
    assert all(point.states for point in TABLES.points if point.kind in (PointKind.SWITCH, PointKind.MULTISTATE))


def test_statutory_limits_are_exactly_those_of_their_rule():
    rules = load_rulebook()
    for point in TABLES.points:
        if point.rule:
            for column, bound in rules.rule(point.rule).numbers.items():
                assert getattr(point, column) == bound, (point.id, column)


@pytest.fixture
def site(tmp_path):
    endpoints = {d.source: Endpoint(d.kind, "127.0.0.1", d.port, "/p" if d.kind == "opcua" else "") for d in DEVICES}
    write_demo_site(tmp_path / "site", endpoints, data=tmp_path / 'a "data" folder', web_port=8080)
    return tmp_path / "site"


def test_the_written_site_is_accepted_without_error_or_warning(site):
    reading = read_site(site)
    assert (reading.errors, reading.warnings) == ((), ())
    assert reading.site is not None
    assert reading.site.simulated
    assert [source.id for source in reading.site.sources] == [device.source for device in DEVICES]
    assert reading.site.data == site.parent / 'a "data" folder'
    assert reading.site.process_points == reading.site.points  # the tables stand in process order already


def test_every_rule_is_known_and_no_limit_is_looser_than_it(site):
    reading = read_site(site)
    assert reading.site is not None
    rows, errors, warnings = bind_rules(reading.site.points, load_rulebook())
    assert (errors, warnings) == ([], [])
    assert len(rows) >= 25


def test_points_csv_has_every_column_of_the_design_in_its_order(site):
    rows = list(csv.reader(io.StringIO((site / "points.csv").read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 1 + len(TABLES.points)
