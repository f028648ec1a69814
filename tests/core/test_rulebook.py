"""Rules are data: loaded once, refused with file and line, held against a site's points."""

from dataclasses import replace
from datetime import date

import pytest

from mines.errors import ConfigError
from mines.model import Point, PointKind, Subsystem
from mines.rule_file import parse_rule_file
from mines.rulebook import bind_rules, load_rulebook, make_rulebook

HEAD = """[defaults]
edition = "规程"
valid_from = 2026-02-01
source = "S"
tag = "V-TEXT"
verified = true

[sources]
S = "somewhere"

[[rule]]
id = "gas.one"
title_zh = "一"
title_en = "One"
article = "536"
unit = "%CH4"
numbers = { high_alarm = 1.0 }
"""

TABLE_19 = {  # safety-rules §1.1: alarm, cut-off, restore; None = the table has none
    "return_corner": (1.0, 1.5, 1.0),
    "face_low_high_gas": (1.0, 1.5, 1.0),
    "face": (1.0, 1.5, 1.0),
    "return": (1.0, 1.0, 1.0),
    "intake": (0.5, 0.5, 0.5),
    "series_face_intake": (0.5, 0.5, 0.5),
    "return_middle": (1.0, 1.0, 1.0),
    "shearer": (1.0, 1.5, 1.0),
    "heading": (1.0, 1.5, 1.0),
    "heading_return": (1.0, 1.0, 1.0),
    "heading_intake": (0.5, 0.5, 0.5),
    "series_heading": (0.5, 0.5, 0.5),
    "series_heading_fan": (0.5, 1.5, 0.5),
    "twin_heading_return": (1.0, 1.0, 1.0),
    "heading_middle": (1.0, 1.0, 1.0),
    "heading_machine": (1.0, 1.5, 1.0),
    "tbm": (1.0, 1.0, 1.0),
    "drilling_downwind": (1.5, 1.5, 1.0),
    "electrical_chamber": (0.5, None, None),
    "belt_shaft_return": (0.5, 0.75, 0.5),
    "district_return": (1.0, 1.0, 1.0),
    "main_return": (0.75, None, None),
    "trolley_loading_point": (0.5, 0.5, 0.5),
    "battery_vehicle": (0.5, 0.5, 0.5),
    "diesel_vehicle": (0.5, 0.5, 0.5),
    "coal_bunker": (1.5, 1.5, 1.5),
    "surface_belt_gallery": (1.5, 1.5, 1.5),
    "drainage_station": (0.5, None, None),
    "temporary_drainage_downwind": (0.5, 1.0, 0.5),
    "temporary_drainage_outlet": (1.0, 1.0, 1.0),
}


def methane(**more) -> Point:
    values = {
        "id": "gas.f1602.t1.ch4",
        "name_zh": "甲烷",
        "name_en": "methane",
        "subsystem": Subsystem.GAS,
        "area": "1602",
        "kind": PointKind.ANALOG,
        "unit": "%CH4",
        "source": "plc",
        "address": "1/holding/0",
        "period_s": 1.0,
        "role": "methane",
        "high_alarm": 1.0,
        "high_cut": 1.5,
        "high_restore": 1.0,
        "rule": "gas.ch4.face",
        "line": 7,
    }
    return Point(**(values | more))


@pytest.mark.parametrize(("place", "numbers"), TABLE_19.items(), ids=TABLE_19)
def test_methane_limits_are_those_of_table_19(place, numbers):
    rule = load_rulebook().rule(f"gas.ch4.{place}")

    columns = ("high_alarm", "high_cut", "high_restore")
    assert tuple(rule.numbers.get(column) for column in columns) == numbers
    signs = {"high_alarm": ">=", "high_cut": ">=", "high_restore": "<"}
    assert rule.compare == {column: signs[column] for column in rule.numbers}
    assert (rule.unit, rule.edition, rule.verified) == ("%CH4", "煤矿安全规程 2025", True)
    assert rule.article.startswith("536 表19 第")


def test_table_19_has_all_its_rows_and_row_12_its_two_stages():
    rows = [rule for rule in load_rulebook().under("gas.ch4") if "表19" in rule.article]

    numbers = sorted(int(rule.article.split("第")[1].split("行")[0]) for rule in rows)
    assert numbers == sorted([*range(1, 30), 12])
    assert {rule.id for rule in rows} == {f"gas.ch4.{place}" for place in TABLE_19}


@pytest.mark.parametrize(("rule_id", "ppm"), [("gas.co.return", 24.0), ("gas.co.belt", 10.0)])
def test_carbon_monoxide_limits_are_in_ppm(rule_id, ppm):
    rule = load_rulebook().rule(rule_id)

    assert (rule.numbers["high_alarm"], rule.unit) == (ppm, "ppm")


def test_every_rule_names_a_source_that_is_written_out():
    rulebook = load_rulebook()

    assert [rule.id for rule in rulebook if not rulebook.sources[rule.source]] == []


def test_the_hash_is_over_what_the_rules_say():
    first = make_rulebook([parse_rule_file("a.toml", HEAD.encode())])
    moved = make_rulebook([parse_rule_file("b.toml", ("# a remark\n\n" + HEAD).encode())])
    other = make_rulebook([parse_rule_file("a.toml", HEAD.replace("= 1.0", "= 1.1").encode())])

    assert moved.sha256 == first.sha256
    assert other.sha256 != first.sha256


@pytest.mark.parametrize(
    ("change", "line", "key"),
    [
        (("high_alarm = 1.0", "high_alarm = nan"), 17, "numbers.high_alarm"),
        (("high_alarm = 1.0", 'high_alarm = "1.0"'), 17, "numbers.high_alarm"),
        (('article = "536"\n', ""), 11, "article"),
        (('unit = "%CH4"', 'unit = "percent"'), 16, "unit"),
        (('id = "gas.one"', 'id = "gas one"'), 12, "id"),
        (('title_en = "One"', 'title_en = "One"\ncolour = "red"'), 15, "colour"),
        (('title_en = "One"', "title_en = 1"), 14, "title_en"),
        (('title_en = "One"', 'title_en = "One"\nvalid_to = 2025-01-01'), 15, "valid_to"),
        (('title_en = "One"', 'title_en = "One"\ntag = "RECALLED"'), 11, "verified"),
        (('title_en = "One"', 'title_en = "One"\nsource = "T"'), 15, "source"),
        (('title_en = "One"', 'title_en = "One"\ncompare = { high_alarm = "=>" }'), 15, "compare.high_alarm"),
        (("[[rule]]", "[[rules]]"), 11, "rules"),
        (('id = "gas.one"', "id = gas.one"), 12, "TOML"),
    ],
    ids=lambda value: value[1].strip() if isinstance(value, tuple) else str(value),
)
def test_a_damaged_rule_file_is_refused_with_file_and_line(change, line, key):
    text = HEAD.replace(*change)

    with pytest.raises(ConfigError) as refused:
        make_rulebook([parse_rule_file("gas.toml", text.encode())])

    assert (key, line) in {(problem.key, problem.line) for problem in refused.value.problems}
    assert all(problem.file == "gas.toml" for problem in refused.value.problems)


def test_every_mistake_is_told_at_once():
    text = HEAD.replace('article = "536"\n', "").replace('unit = "%CH4"', 'unit = "percent"')

    with pytest.raises(ConfigError) as refused:
        make_rulebook([parse_rule_file("gas.toml", text.encode()), parse_rule_file("b.toml", b"\xff")])

    assert {problem.key for problem in refused.value.problems} == {"article", "unit", "encoding"}


def test_two_rules_of_one_id_on_one_day_are_refused():
    with pytest.raises(ConfigError, match="in force twice"):
        make_rulebook([parse_rule_file("a.toml", HEAD.encode()), parse_rule_file("b.toml", HEAD.encode())])


def test_the_edition_in_force_on_the_day_is_found():
    old = HEAD.replace("2026-02-01", "2022-04-01").replace('title_zh = "一"', 'title_zh = "旧"\nvalid_to = 2026-01-31')
    rulebook = make_rulebook([parse_rule_file("a.toml", HEAD.encode()), parse_rule_file("b.toml", old.encode())])

    assert rulebook.rule("gas.one", date(2026, 1, 31)).title_zh == "旧"
    assert rulebook.rule("gas.one", date(2026, 2, 1)).title_zh == "一"
    assert rulebook.rule("gas.one").title_zh == "一"
    assert rulebook.find("gas.one", date(2022, 3, 31)) is None


def test_a_rule_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError):
        load_rulebook().rule("gas.ch4.nowhere")


def test_a_point_within_its_rule_is_bound_without_a_word():
    rows, errors, warnings = bind_rules([methane()], load_rulebook())

    assert (errors, warnings) == ([], [])
    assert rows == [
        {
            "point": "gas.f1602.t1.ch4",
            "rule": "gas.ch4.face",
            "edition": "煤矿安全规程 2025",
            "article": "536 表19 第3行",
            "verified": True,
        }
    ]


def test_a_stricter_limit_is_no_matter():
    point = methane(high_alarm=0.8, high_cut=1.0, high_restore=0.8)

    assert bind_rules([point], load_rulebook())[1:] == ([], [])


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"high_alarm": 1.1}, "high_alarm"),
        ({"high_cut": 1.6}, "high_cut"),
        ({"high_restore": 1.2}, "high_restore"),
        ({"high_cut": None, "high_restore": 1.0}, "high_cut"),
        ({"rule": ""}, "rule"),
    ],
    ids=["alarm", "cut", "restore", "absent", "no_rule"],
)
def test_a_limit_looser_than_the_rule_is_a_warning(more, key):
    _, errors, warnings = bind_rules([methane(**more)], load_rulebook())

    assert errors == []
    assert [(w.file, w.line, w.key) for w in warnings] == [("points.csv", 7, key)]


@pytest.mark.parametrize(
    ("more", "key"),
    [({"rule": "gas.ch4.fase"}, "rule"), ({"unit": "ppm"}, "unit"), ({"rule": "gas.co.belt"}, "unit")],
    ids=["unknown_rule", "unit", "rule_of_another_gas"],
)
def test_a_rule_that_does_not_fit_is_an_error(more, key):
    _, errors, _ = bind_rules([methane(**more)], load_rulebook())

    assert [(e.file, e.line, e.key) for e in errors] == [("points.csv", 7, key)]


def test_an_unknown_rule_names_the_rules_near_it():
    _, errors, _ = bind_rules([methane(rule="gas.co.belts")], load_rulebook())

    assert errors[0].expected == "one of gas.co.belt, gas.co.charging_room, gas.co.return"


def test_a_low_limit_is_looser_when_it_is_lower():
    text = HEAD.replace("high_alarm = 1.0", "low_alarm = 0.25").replace('"%CH4"', '"m/s"')
    rulebook = make_rulebook([parse_rule_file("a.toml", text.encode())])
    slow = methane(rule="gas.one", unit="m/s", low_alarm=0.2)

    assert [w.key for w in bind_rules([slow], rulebook)[2]] == ["low_alarm"]
    assert bind_rules([replace(slow, low_alarm=0.3)], rulebook)[2] == []


def test_a_point_without_methane_needs_no_rule():
    assert bind_rules([methane(role="temperature", unit="degC", rule="")], load_rulebook()) == ([], [], [])
