"""The score is explained: every function names its source, every id of the rules stands in docs/score.md."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from score_cases import SCORES, WINDOW, read_case

from compliance.rule_pack import scoring_rules
from compliance.score_site import score_site
from mines.rulebook import load_rulebook
from mines.words import codes

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "score.md").read_text(encoding="utf-8")
SCORING = (
    "evidence gates intervals items measures operating score_site scoring targets template verdicts window".split()
)


def public_functions(module: str) -> list[ast.FunctionDef]:
    tree = ast.parse((ROOT / "compliance" / f"{module}.py").read_text(encoding="utf-8"))
    return [n for n in tree.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]


@pytest.mark.parametrize("module", SCORING)
def test_every_public_scoring_function_names_its_source(module):
    functions = public_functions(module)

    assert functions
    without = [f.name for f in functions if not re.search(r"^ *Source: \S", ast.get_docstring(f) or "", re.MULTILINE)]
    assert without == []


def test_every_module_that_scores_is_held_to_it():
    others = {"__init__", "cli", "mine_record", "rule_pack"}  # nouns and loading: no figure is made there

    assert {path.stem for path in (ROOT / "compliance").glob("*.py")} - others == set(SCORING)


def test_every_indicator_stands_in_the_page_as_the_rules_have_it():
    measured = measured_now()
    rows = {
        f"| {row.id} | {row.rule.title_zh} {row.rule.title_en} | {row.block} | {row.weight:g} | {row.scale} |"
        f" {' '.join(row.evidence)} | {'yes' if row.id in measured else 'not yet'} |"
        for row in scoring_rules().indicators
    }

    assert rows - set(PAGE.splitlines()) == set()
    assert all(f"* **{indicator}** " in PAGE for indicator in measured)


def measured_now() -> set[str]:
    case = read_case(SCORES / "nothing_read")
    items = score_site(case.site, case.reader, WINDOW.to_ms).items
    return {item.indicator.id for item in items if item.measure is not None}


def test_every_gate_and_target_stands_in_the_page():
    pack = scoring_rules()

    names = [f"`{rule.id.partition('.')[2]}`" for rule in pack.rulebook.under("gate")]
    names += [f"**{rule.id.partition('.')[2]}**" for rule in pack.rulebook.under("target")]
    assert [name for name in names if name not in PAGE] == []


def test_every_required_role_stands_in_the_page():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for subsystem, choices in scoring_rules().required_roles.items():
        roles = " ".join("`" + "` or `".join(choice) + "`" for choice in choices)
        assert f"| {subsystem} | {roles} |" in rows


def test_every_safety_rule_stands_in_the_page_with_its_numbers():
    rows = set(PAGE.splitlines())

    def shown(number: float | None) -> str:
        return "–" if number is None else f"{number:g}"

    for rule in load_rulebook():
        limits = " | ".join(shown(rule.numbers.get(name)) for name in ("high_alarm", "high_cut", "high_restore"))
        assert f"| `{rule.id}` | {rule.title_zh} | {limits} | {rule.unit} | {rule.article} |" in rows


def test_every_key_of_the_document_stands_in_the_page():
    case = read_case(SCORES / "papers_stopped")
    document = json.loads(json.dumps(score_site(case.site, case.reader, WINDOW.to_ms).to_json()))

    keys = set(document) | set(document["items"][0]) | set(document["gates"][0]) | set(document["targets"]["2025"])
    keys |= set(document["subsystems"]["gas"]) | set(document["subsystems"]["gas"]["duty"])
    keys |= set(document["subsystems"]["gas"]["points"])
    assert sorted(key for key in keys if not re.search(rf"\b{key}\b", PAGE)) == []


def test_every_reason_code_stands_in_the_page():
    reasons = {code.partition(".")[2] for code in codes() if code.startswith("score_reason.")}

    assert sorted(reason for reason in reasons if f"`{reason}`" not in PAGE) == []


def test_the_statement_that_must_stand_beside_every_score_stands_in_the_page():
    assert "项目默认口径,非主管部门评定结论,不直接作为处罚、停产或验收依据" in PAGE
