"""The rules of scoring as data: the table adds up, and a damaged pack is refused where it is damaged."""

from __future__ import annotations

from importlib.resources import files

import pytest

from compliance.rule_pack import COMMON, make_rule_pack, scoring_rules
from mines.errors import ConfigError
from mines.rule_file import parse_rule_file
from mines.rulebook import Rulebook, make_rulebook

RULES = {path.name: path.read_text(encoding="utf-8") for path in files("compliance").joinpath("rules").iterdir()}
BLOCKS = {  # indicators §2, last line
    COMMON: 16,
    "gas": 18,
    "ventilation": 18,
    "gas_drainage": 8,
    "dewatering": 12,
    "hoisting": 12,
    "power": 6,
    "compressed_air": 5,
    "transport": 5,
}


def book(**changed: str) -> Rulebook:
    texts = RULES | {f"{name}.toml": text for name, text in changed.items()}
    return make_rulebook([parse_rule_file(name, text.encode()) for name, text in texts.items()])


def test_weights_sum_to_one_hundred_and_block_by_block_to_the_table():
    indicators = scoring_rules().indicators

    assert sum(row.weight for row in indicators) == 100
    assert {block: sum(row.weight for row in indicators if row.block == block) for block in BLOCKS} == BLOCKS
    assert len(indicators) == 55


def test_no_cut_off_of_the_project_default_is_called_verified():
    pack = scoring_rules()

    verified = [rule.id for rule in pack.rulebook if rule.verified]
    assert verified == ["target.2025", "target.2026", "target.260"]


def test_targets_quote_the_plan_in_its_own_words():
    pack = scoring_rules()

    quotes = {name: pack.rule(f"target.{name}").words["quote_zh"] for name in ("2025", "260", "2026")}
    assert quotes == {
        "2025": "75处煤矿全面智能化建设, 2025年底前建成各类智能煤矿50处以上",
        "260": "260处煤矿加快智能化辅助系统达标建设、升级迭代",
        "2026": "2026年底前全省所有生产煤矿实现智能化辅助系统常态化运行和维护",
    }
    assert "deadline" not in pack.rule("target.260").words  # the text names none


def test_the_window_is_three_calendar_months():
    assert scoring_rules().number("window", "months") == 3


@pytest.mark.parametrize(
    ("name", "change", "key"),
    [
        ("indicators", ("weight = 4, full = 99, ", "weight = 5, full = 99, "), "numbers.weight"),
        ("indicators", ("full = 99.9, zero = 99.5", "full = 99.9"), "numbers.full"),
        ("indicators", ("full = 99.9, zero = 99.5", "full = 99.9, zero = 99.9"), "numbers.full"),
        ("indicators", ('subsystem = "gas"', 'subsystem = "gass"'), "words.subsystem"),
        ("indicators", ('evidence = "D F"', 'evidence = "D X"'), "words.evidence"),
        ("indicators", ('id = "indicator.D1"', 'id = "indicator.D9"'), "indicator.D1"),
        ("duty", ('id = "window"', 'id = "windows"'), "window"),
        ("duty", ("signals = 2, ", ""), "numbers.signals"),
        ("duty", ('roles = "methane co"', 'roles = "methan co"'), "words.roles"),
        ("duty", ('id = "required.personnel"', 'id = "required.people"'), "required.personnel"),
        ("targets", ('id = "target.2026"', 'id = "target.2027"'), "target.2026"),
    ],
)
def test_a_damaged_rule_pack_is_refused(name, change, key):
    text = RULES[f"{name}.toml"]
    assert change[0] in text

    with pytest.raises(ConfigError) as refused:
        make_rule_pack(book(**{name: text.replace(*change, 1)}))

    assert key in {problem.key for problem in refused.value.problems}


def test_the_hash_of_the_pack_changes_with_any_cut_off():
    changed = RULES["indicators.toml"].replace("full = 99.9", "full = 99.8", 1)

    assert make_rule_pack(book(indicators=changed)).sha256 != make_rule_pack(book()).sha256
