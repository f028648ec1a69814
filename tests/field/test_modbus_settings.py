"""Addresses and settings: what is accepted, and every problem with its file, line and key."""

import pytest
from modbus_points import modbus_point, modbus_settings

from connectors.modbus.address import Address, AddressError, Table, parse_address
from connectors.modbus.settings import read_settings
from connectors.modbus.source import ModbusSource
from connectors.modbus.transport import TcpTransport
from mines.clock import ManualClock
from mines.errors import ConfigError
from mines.site.source_table import SourceTable


def table(**settings) -> SourceTable:
    lines = {"": 10} | {key: 11 + at for at, key in enumerate(settings)}
    return SourceTable(id="plc", kind="modbus_tcp", settings=settings, lines=lines)


def problems_of(*points, **settings) -> list[tuple[str, int, str]]:
    read, problems = read_settings(table(host="10.0.0.1", **settings), points)
    assert (read is None) == bool(problems)
    return [(problem.file, problem.line, problem.key) for problem in problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/holding/100", Address(1, Table.HOLDING, 100)),
        ("0/input/0", Address(0, Table.INPUT, 0)),
        ("255/holding/65535", Address(255, Table.HOLDING, 65535)),
        ("1/input/7.3", Address(1, Table.INPUT, 7, 3)),
        ("1/holding/7.15", Address(1, Table.HOLDING, 7, 15)),
        ("1/holding/7.4-7", Address(1, Table.HOLDING, 7, 4, 7)),
        ("1/holding/7.0-15", Address(1, Table.HOLDING, 7, 0, 15)),
        ("3/coil/12", Address(3, Table.COIL, 12)),
        ("3/discrete/12", Address(3, Table.DISCRETE, 12)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_address_names_unit_table_register_and_bit(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no Modbus address"),
        ("40001", "no Modbus address"),
        ("1/holding", "no Modbus address"),
        ("1/holding/5/6", "no Modbus address"),
        ("1/holding/5.1.2", "no Modbus address"),
        ("256/holding/5", "unit '256'"),
        ("-1/holding/5", "unit '-1'"),
        ("x/holding/5", "unit 'x'"),
        ("/holding/5", "unit ''"),
        ("１/holding/5", "unit '１'"),
        ("1/Holding/5", "table 'Holding'"),
        ("1/hr/5", "table 'hr'"),
        ("1/holding/65536", "register '65536'"),
        ("1/holding/-1", "register '-1'"),
        ("1/holding/0x10", "register '0x10'"),
        ("1/holding/ 5", "register ' 5'"),
        ("1/holding/5.16", "bit '16'"),
        ("1/holding/5.", "bit ''"),
        ("1/coil/5.1", "one bit"),
        ("1/holding/5.7-4", "bits 7-4"),
        ("1/holding/5.4-4", "bits 4-4"),
        ("1/holding/5.4-16", "bit '16'"),
        ("1/holding/5.4-", "bit ''"),
        ("1/holding/5.-4", "bit ''"),
    ],
)
def test_an_address_that_names_no_place_says_what_is_wrong(text, what):
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert what in caught.value.what
    assert caught.value.expected


@pytest.mark.parametrize(
    ("point", "key"),
    [
        (modbus_point("1/nowhere/5", line=7), "address"),
        (modbus_point("1/holding/65535", "float32", line=7), "address"),
        (modbus_point("1/holding/65533", "float64", line=7), "address"),
        (modbus_point("1/holding/5", "bool", line=7), "address"),
        (modbus_point("1/holding/5.1", "uint16", line=7), "data_type"),
        (modbus_point("1/coil/5", "uint16", line=7), "data_type"),
        (modbus_point("1/holding/5", "", line=7), "data_type"),
        (modbus_point("1/holding/5", "float16", line=7), "data_type"),
        (modbus_point("1/holding/5", "float32", byte_order="BA", line=7), "byte_order"),
        (modbus_point("1/holding/5", "uint16", byte_order="ABDC", line=7), "byte_order"),
        (modbus_point("1/holding/5", "int16", sentinels=(70000.0,), line=7), "sentinels"),
        (modbus_point("1/holding/5", "uint16", sentinels=(0.5,), line=7), "sentinels"),
        (modbus_point("1/coil/5", "bool", sentinels=(2.0,), line=7), "sentinels"),
    ],
    ids=lambda value: f"{value.address} {value.data_type} {value.byte_order}" if not isinstance(value, str) else value,
)
def test_a_point_that_cannot_be_read_is_a_problem_of_its_line_and_column(point, key):
    assert problems_of(point) == [("points.csv", 7, key)]


@pytest.mark.parametrize(
    "point",
    [
        modbus_point("1/holding/65535", "uint16"),
        modbus_point("1/holding/65532", "float64", byte_order="DCBA"),
        modbus_point("1/holding/5.1", ""),
        modbus_point("1/discrete/5", ""),
        modbus_point("1/holding/5", "int16", byte_order="BA", sentinels=(32767.0, -32768.0, 65535.0)),
    ],
    ids=lambda point: f"{point.address} {point.data_type}",
)
def test_a_point_at_the_edge_of_what_is_possible_is_accepted(point):
    assert problems_of(point) == []


def test_every_problem_of_the_points_is_told_at_once():
    points = [modbus_point("1/coil/x", "bool", line=2), modbus_point("1/holding/1", "bool", byte_order="X", line=3)]
    assert problems_of(*points, ports=1) == [
        ("site.toml", 12, "source.plc.ports"),
        ("points.csv", 2, "address"),
        ("points.csv", 3, "address"),
        ("points.csv", 3, "byte_order"),
    ]


def test_a_value_wider_than_max_registers_is_a_problem_of_the_point():
    wide = modbus_point("1/holding/0", "float64", line=4)
    assert problems_of(wide, max_registers=3) == [("points.csv", 4, "data_type")]


def test_unit_0_is_accepted_where_it_is_the_only_one_and_refused_behind_a_gateway():
    assert problems_of(modbus_point("0/holding/1"), modbus_point("0/holding/2")) == []
    assert problems_of(modbus_point("0/holding/1", line=2), modbus_point("1/holding/1", line=3)) == [
        ("points.csv", 2, "address")
    ]


def test_a_table_with_only_a_host_has_the_defaults():
    settings, problems = read_settings(table(host="plc.local"), [])
    assert problems == []
    assert settings == modbus_settings(host="plc.local")
    assert settings.transport == TcpTransport("plc.local", 502)
    assert (settings.timeout_s, settings.max_registers, settings.max_gap) == (1.0, 125, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 0),
        ("port", 65_536),
        ("port", "502"),
        ("port", 502.0),
        ("port", True),
        ("timeout_s", 0),
        ("timeout_s", 5.1),
        ("timeout_s", "1"),
        ("timeout_s", float("nan")),
        ("connect_timeout_s", -1),
        ("connect_timeout_s", float("inf")),
        ("max_registers", 0),
        ("max_registers", 126),
        ("max_bits", 2001),
        ("max_gap", -1),
        ("max_gap", 1.5),
        ("backoff_s", 0),
        ("backoff_max_s", 601),
        ("backoff_max_s", 0.5),
        ("timeout", 1),
        ("unit", 5),
        ("delay_ms", -1),
        ("response_ms", 5_001),
        ("connections", 0),
        ("connections", 17),
    ],
    ids=lambda value: str(value),
)
def test_a_key_that_is_unknown_or_out_of_bounds_is_a_problem_with_its_line(key, value):
    read, problems = read_settings(table(host="10.0.0.1", **{key: value}), [])
    assert read is None
    assert [(problem.file, problem.line, problem.key) for problem in problems] == [
        ("site.toml", 12, f"source.plc.{key}")
    ]
    assert problems[0].what
    assert problems[0].expected


@pytest.mark.parametrize("host", [None, "", " plc", "plc 1", 5], ids=repr)
def test_a_source_without_a_usable_host_is_a_problem(host):
    settings, problems = read_settings(table(**({} if host is None else {"host": host})), [])
    assert settings is None
    assert [problem.key for problem in problems] == ["source.plc.host"]
    assert problems[0].line == (10 if host is None else 11)


UNIT_TABLES = {
    # what is written below [source.plc]: the key of the problem
    "no unit": ({"unit": {"plc": {}}}, "unit.plc"),
    "unit 256": ({"unit": {"256": {}}}, "unit.256"),
    "unit 03": ({"unit": {"03": {}}}, "unit.03"),
    "no table": ({"unit": {"3": 1}}, "unit.3"),
    "no point has it": ({"unit": {"4": {}}}, "unit.4"),
    "unknown key": ({"unit": {"3": {"timeout": 1}}}, "unit.3.timeout"),
    "out of bounds": ({"unit": {"3": {"timeout_s": 6}}}, "unit.3.timeout_s"),
    "a text": ({"unit": {"3": {"max_gap": "0"}}}, "unit.3.max_gap"),
    "no identity": ({"unit": {"3": {"identity": "ACME"}}}, "unit.3.identity"),
}


@pytest.mark.parametrize(("settings", "key"), UNIT_TABLES.values(), ids=UNIT_TABLES)
def test_a_mistake_in_a_units_own_table_is_a_problem_of_its_key(settings, key):
    lines = {"": 12, **{part: 20 + k for k, part in enumerate(["unit.3", key])}}
    written = SourceTable("plc", "modbus_tcp", {"host": "10.0.0.1", **settings}, lines=lines)
    read, problems = read_settings(written, [modbus_point("3/holding/0")])
    assert read is None
    assert [(problem.line, problem.key) for problem in problems] == [(21, f"source.plc.{key}")]


def test_a_unit_has_what_is_said_of_it_and_else_what_is_said_of_its_source():
    own = {"3": {"timeout_s": 0.4, "max_gap": 8}, "4": {"delay_ms": 50}}
    settings, problems = read_settings(
        table(host="gateway", timeout_s=2.0, delay_ms=5, max_registers=60, unit=own),
        [modbus_point(f"{unit}/holding/0") for unit in (3, 4, 5)],
    )
    assert problems == []
    assert [settings.unit(n).timeout_s for n in (3, 4, 5)] == [0.4, 2.0, 2.0]
    assert [settings.unit(n).delay_ms for n in (3, 4, 5)] == [5, 50, 5]
    assert [settings.unit(n).limits.max_gap for n in (3, 4, 5)] == [8, 0, 0]
    assert [settings.unit(n).limits.max_registers for n in (3, 4, 5)] == [60, 60, 60]
    assert settings.limits.of(3) == settings.unit(3).limits
    assert settings.limits.of(5).max_gap == 0


@pytest.mark.parametrize(("kind", "usual_ms"), [("modbus_tcp", 10.0), ("modbus_serial", 20.0)])
def test_the_usual_time_of_an_answer_depends_on_the_kind_of_line(kind, usual_ms):
    place = {"host": "plc"} if kind == "modbus_tcp" else {"device": "/dev/ttyS1"}
    points = [modbus_point(f"{unit}/holding/0") for unit in (1, 2)]
    settings, problems = read_settings(SourceTable("plc", kind, {**place, "unit": {"2": {}}}), points)
    assert problems == []
    assert settings.unit(1).response_ms == settings.unit(2).response_ms == usual_ms


def test_a_serial_port_has_one_connection():
    written = SourceTable("bus", "modbus_serial", {"device": "/dev/ttyS1", "connections": 2}, lines={"connections": 9})
    assert [(p.line, p.key) for p in read_settings(written, [])[1]] == [(9, "source.bus.connections")]


def test_a_value_too_wide_for_its_own_unit_is_a_problem_of_the_point():
    own = {"3": {"max_registers": 2}}
    points = [modbus_point(f"{unit}/holding/0", "float64", line=unit) for unit in (3, 4)]
    read, problems = read_settings(table(host="plc", unit=own), points)
    assert read is None
    assert [(problem.line, problem.key) for problem in problems] == [(3, "data_type")]


def test_a_source_that_was_not_checked_refuses_bad_points_itself():
    with pytest.raises(ConfigError) as caught:
        ModbusSource("plc", [modbus_point("1/coil/x", line=3)], modbus_settings(host="plc"), ManualClock())
    assert [problem.line for problem in caught.value.problems] == [3]
