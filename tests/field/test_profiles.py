"""Device profiles: what ships is whole, claims nothing unknown, and every transcribed number is its source's."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from reference_data import reference

from connectors.maps.evcc import read_evcc
from connectors.modbus.address import Table, parse_address
from connectors.modbus.plan import MAX_REGISTERS, Need, PlanLimits, plan_reads
from connectors.modbus.points import read_points
from connectors.modbus.unit_settings import NUMBERS
from connectors.profile_file import load_profile, parse_profile, profile_names
from mines.errors import ConfigError
from mines.model import Point, PointKind, Subsystem
from mines.units import UNITS

GENERIC = ("compressor", "gas_substation", "hoist", "main_fan", "power_meter", "pump_station")
METERS = {
    "acrel_adw300": "acrel-adw300.yaml",
    "eastron_sdm120": "eastron-sdm120.yaml",
    "siemens_7kt1665": "siemens-7kt1665.yaml",
}
DRIVE = "drive_atv600"

GOOD = """title_zh = "某设备"
title_en = "A device"
kind = "modbus"
source = "a manual"
verified = true
max_registers = 40
byte_order = "CDAB"

[[never_read]]
table = "holding"
first = 100
last = 101
why = "cleared by reading"

[identity]
vendor = "x"

[[point]]
id = "level"
name_zh = "水位"
name_en = "Level"
kind = "analog"
unit = "m"
role = "sump_level"
address = "holding/7"
data_type = "uint16"
scale = 0.01
"""


def _parse(text):
    return parse_profile("device", text.encode())


def _problems(text):
    with pytest.raises(ConfigError) as refused:
        _parse(text)
    return [(problem.file, problem.line, problem.key, problem.what) for problem in refused.value.problems]


def test_the_types_of_device_that_a_mine_has_ship_as_profiles():
    assert set(profile_names()) == {*GENERIC, *METERS, DRIVE}


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_that_ships_is_whole(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.source
    assert profile.points
    assert profile.verified is False  # nobody has held one against the maker's manual or a device yet
    assert all(point.unit in UNITS for point in profile.points)
    assert all(point.name_zh != point.name_en for point in profile.points)


@pytest.mark.parametrize("name", GENERIC)
def test_a_generic_profile_claims_no_register_and_calls_its_numbers_project_defaults(name):
    profile = load_profile(name)
    assert not any(point.address for point in profile.points)
    assert "项目默认" in profile.source
    assert "project default" in profile.source
    text = files("connectors").joinpath("profiles", f"{name}.toml").read_text("utf-8")
    numbers = [key for key in NUMBERS if getattr(profile, key) is not None]
    assert "max_registers" in numbers
    assert text.index("project defaults", text.index("note")) < min(text.index(f"\n{key} =") for key in numbers)


@pytest.mark.parametrize(("name", "file"), METERS.items(), ids=METERS)
def test_every_number_of_a_meter_profile_is_the_template_s(name, file):
    text = reference(f"evcc-meter-maps/{file}").read_text()
    known = {}
    for usage in ("grid", "pv"):  # every branch of the template: the scale of -1 of a PV meter is not the profile's
        chosen = re.sub(r"choice: \[\"grid\"", f'choice: ["{usage}"', text)
        for register in read_evcc(chosen).registers:
            known.setdefault(f"{register.table}/{register.register}", register)
    profile = load_profile(name)
    assert len(profile.points) == len(known)
    for point in profile.points:
        register = known[point.address]
        assert (point.data_type, point.byte_order) == (register.data_type, register.byte_order)
        assert (point.scale or 1.0, point.unit) == (register.scale, register.unit)
    assert reference("evcc-meter-maps/SOURCE.txt").read_text().split("commit: ")[1][:40] in profile.source
    assert f"templates/definition/meter/{file}" in profile.source
    assert "MIT" in profile.source


def test_every_number_of_the_drive_profile_is_the_reference_s():
    facts = json.loads(reference("vfd-atv600/atv600_map.json").read_text())
    by_register = {fact["addr"]: fact for fact in facts["registers"]}
    for point in load_profile(DRIVE).points:
        address = parse_address(f"1/{point.address}")
        analog = point.id.startswith("analog_input_")
        fact = by_register[5242 if analog else address.register]
        assert fact["access"] == "r"
        assert fact["name"].strip("12345C") in point.name_en
        if analog:
            assert address.register in range(5242, 5247)
        assert point.data_type == {"enum": "uint16", "bitfield": "bool"}.get(fact["type"], fact["type"].split()[0])
        if isinstance(fact["scale"], int | float):
            assert point.scale == fact["scale"]
        else:
            assert point.scale is None
        unit = {None: "", "% of nominal": "%"}.get(fact["unit"], fact["unit"])
        assert point.unit == unit
    [state] = [point for point in load_profile(DRIVE).points if point.id == "state"]
    assert {part.split(":")[0] for part in state.states.split("|")} == set(facts["hmis"])


def test_the_drive_s_current_has_no_scale_because_its_divisor_depends_on_the_model():
    [current] = [point for point in load_profile(DRIVE).points if point.id == "current"]
    assert current.scale is None
    assert "型号" in current.note


def test_a_block_of_exactly_125_registers_of_the_drive_is_one_request():
    profile = load_profile(DRIVE)
    limits = PlanLimits(profile.max_registers, never_read=profile.never_read)
    needs = [Need(i, parse_address(f"1/holding/{register}"), 1, 1.0) for i, register in enumerate(range(8400, 8525))]
    [group] = plan_reads(needs, limits)
    assert [(request.first, request.count) for request in group.requests] == [(8400, MAX_REGISTERS)]
    [group] = plan_reads([*needs, Need(125, parse_address("1/holding/8525"), 1, 1.0)], limits)
    assert [request.count for request in group.requests] == [MAX_REGISTERS, 1]


def test_the_drive_s_control_words_may_be_read_along_and_are_no_points():
    profile = load_profile(DRIVE)
    assert profile.never_read == ()
    registers = {parse_address(f"1/{point.address}").register for point in profile.points}
    assert not registers & set(range(8400, 8525))
    assert "8501" in profile.note
    assert "8502" in profile.note


@pytest.mark.parametrize("name", [*METERS, DRIVE])
def test_a_template_with_registers_is_a_point_list_that_modbus_accepts(name):
    profile = load_profile(name)
    points = [
        Point(
            id=f"{name}.{point.id}",
            name_zh=point.name_zh,
            name_en=point.name_en,
            subsystem=Subsystem.POWER,
            area="",
            kind=PointKind(point.kind),
            unit=point.unit,
            source="s",
            address=f"1/{point.address}",
            period_s=1.0,
            data_type=point.data_type,
            byte_order=point.byte_order,
            scale=point.scale or 1.0,
        )
        for point in profile.points
    ]
    understood, problems = read_points(points, PlanLimits())
    assert problems == []
    assert len(understood) == len(points)


def test_a_profile_has_what_its_file_says():
    profile = _parse(GOOD)
    assert (profile.name, profile.max_registers, profile.byte_order, profile.timeout_s) == ("device", 40, "CDAB", None)
    [never] = profile.never_read
    assert (never.table, never.first, never.last, never.why) == ("holding", 100, 101, "cleared by reading")
    assert PlanLimits(never_read=profile.never_read).forbidden(Table.HOLDING, 90, 101) is never
    assert profile.identity == {"vendor": "x"}
    assert profile.signature is None
    [point] = profile.points
    assert (point.id, point.address, point.scale) == ("level", "holding/7", 0.01)
    assert (profile.title("zh"), profile.title("en")) == ("某设备", "A device")


def _changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "line", "key", "what"),
    [
        pytest.param(_changed('kind = "modbus"\n', 'kind = "s7"\n'), 3, "kind", 'is "s7"', id="kind"),
        pytest.param(_changed('source = "a manual"\n', ""), 0, "source", "is missing", id="without a source"),
        pytest.param(_changed("verified = true", 'verified = "yes"'), 5, "verified", 'is "yes"', id="verified"),
        pytest.param(
            _changed("max_registers = 40", "max_registers = 126"), 6, "max_registers", "is 126", id="too many"
        ),
        pytest.param(_changed("max_registers", "max_regs"), 6, "max_regs", "is an unknown key", id="unknown key"),
        pytest.param(_changed('"CDAB"', '"AB"'), 7, "byte_order", 'is "AB"', id="order of one register"),
        pytest.param(_changed('table = "holding"', 'table = "4x"'), 10, "table", 'is "4x"', id="table"),
        pytest.param(_changed("last = 101", "last = 99"), 12, "last", "is before first 100", id="range turned round"),
        pytest.param(_changed("first = 100", "first = 65536"), 11, "first", "is 65536", id="no register"),
        pytest.param(_changed('why = "cleared by reading"\n', ""), 9, "why", "is missing", id="no reason"),
        pytest.param(_changed('[identity]\nvendor = "x"', ""), None, None, None, id="identity left out"),
        pytest.param(_changed('vendor = "x"', 'maker = "x"'), 15, "identity", "cannot be compared", id="identity"),
        pytest.param(
            _changed("[identity]\nvendor", "[signature]\naddress"),
            15,
            "signature",
            "cannot be compared",
            id="signature",
        ),
        pytest.param(_changed('unit = "m"', 'unit = "metre"'), 23, "unit", 'is "metre"', id="unit"),
        pytest.param(_changed('role = "sump_level"', 'role = "x"'), 24, "role", 'is "x"', id="role"),
        pytest.param(_changed('"holding/7"', '"4/holding/7"'), 25, "address", "", id="an address with a unit"),
        pytest.param(
            _changed('data_type = "uint16"\n', ""), 18, "data_type", "is missing beside a register", id="no type"
        ),
        pytest.param(_changed("scale = 0.01", "scale = 0"), 27, "scale", "is 0", id="scale 0"),
        pytest.param(_changed("scale = 0.01", "scale = true"), 27, "scale", "is true", id="scale true"),
        pytest.param(_changed("scale = 0.01", "scale = nan"), 27, "scale", "is nan", id="scale nan"),
        pytest.param(_changed('kind = "analog"', 'kind = "multistate"'), 18, "states", "is missing", id="no states"),
        pytest.param(
            _changed('kind = "modbus"', 'kind = "opcua"'), 6, "max_registers", "is given for OPC UA", id="opcua"
        ),
    ],
)
def test_a_mistake_in_a_profile_is_told_with_file_line_and_key(text, line, key, what):
    if line is None:
        assert _parse(text).identity is None
        return
    found = _problems(text)
    assert all(file == "profiles/device.toml" for file, *_ in found)
    assert any(
        found_line == line and found_key == key and found_what.startswith(what)
        for _, found_line, found_key, found_what in found
    )


def test_all_mistakes_of_a_profile_are_told_at_once():
    broken = GOOD.replace("40", "0").replace("uint16", "word").replace('"cleared by reading"', '" "')
    assert {key for _, _, key, _ in _problems(broken)} == {"max_registers", "data_type", "why"}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("title_zh = ", id="no toml"),
        pytest.param("a = " + "[" * 2000 + "]" * 2000, id="nested too deeply"),
        pytest.param("point = 3", id="a number in place of tables"),
        pytest.param("never_read = [1]", id="numbers in place of tables"),
        pytest.param("", id="empty"),
    ],
)
def test_what_is_no_profile_is_a_config_error(text):
    assert _problems(text)


def test_a_profile_that_is_not_utf_8_is_a_config_error():
    with pytest.raises(ConfigError, match="UTF-8"):
        parse_profile("device", GOOD.encode("gb18030"))


def test_an_unknown_name_is_told_with_the_names_there_are():
    with pytest.raises(ConfigError, match="main_fan"):
        load_profile("main_fann")
    with pytest.raises(ConfigError, match="profile"):
        load_profile("../../pyproject")


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_stands_in_the_documents(name):
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "site-files.md").read_text("utf-8")


def test_the_profiles_are_package_data():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert "profiles/*.toml" in tomllib.loads(text)["tool"]["setuptools"]["package-data"]["connectors"]
