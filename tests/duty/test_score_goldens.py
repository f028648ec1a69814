"""Scores worked by hand: one folder of fixtures/scores/ is one case."""

from pathlib import Path
from typing import Any

import pytest
from score_cases import SCORES, WINDOW, read_case

from compliance.score_site import score_site

CASES = sorted(path for path in SCORES.iterdir() if path.is_dir())
APART = {"items", "duty", "gates", "targets", "vanished", "score"}


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_score_equals_what_was_worked_by_hand(folder: Path):
    case = read_case(folder)

    document = score_site(case.site, case.reader, WINDOW.to_ms).to_json()

    expected = case.expected
    items = {item["id"]: item for item in document["items"]}
    assert document["score"] == expected.get("score", document["score"])
    for item_id, wanted in expected.get("items", {}).items():
        assert seen(items[item_id], wanted) == approximately(wanted), item_id
    for subsystem, wanted in expected.get("duty", {}).items():
        duty = document["subsystems"][subsystem]["duty"]
        figures = [duty[key] for key in ("low", "high", "coverage", "observed")]
        assert figures == [w if w is None else pytest.approx(w, abs=1e-6) for w in wanted], subsystem
    states = {gate["id"]: gate["state"] for gate in document["gates"]}
    assert {name: states[name] for name in expected.get("gates", {})} == expected.get("gates", {})
    reached = {name: document["targets"][name]["state"] for name in expected.get("targets", {})}
    assert reached == expected.get("targets", {})
    for subsystem, wanted in expected.get("vanished", {}).items():
        assert document["subsystems"][subsystem]["points"]["vanished"] == wanted
    assert {key: document[key] for key in expected if key not in APART} == {
        key: value for key, value in expected.items() if key not in APART
    }


def seen(item: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    measured = item["measured"] or {}
    plain = item | {"measured": [measured.get("low"), measured.get("high")]}
    return {key: plain[key] for key in wanted}


def approximately(wanted: dict[str, Any]) -> dict[str, Any]:
    """Points and reasons exactly, percentages to 0.00001."""
    return {key: pytest.approx(value, abs=1e-5) if key == "measured" else value for key, value in wanted.items()}


def test_every_golden_folder_says_how_it_was_worked():
    assert len(CASES) >= 7
    assert [folder.name for folder in CASES if not (folder / "worked.md").exists()] == []
