"""docs/faults.md names tests that exist, each fault once, and says `open` where it names none."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TEXT.splitlines() if line.startswith("| F")]


def test_every_named_test_exists():
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named - defined == set()
    assert len(named) > 30


def test_field_faults_are_all_listed_once():
    numbers = [row[0] for row in ROWS]
    assert len(numbers) == len(set(numbers))
    assert {f"F{n}" for n in range(30, 61)} <= set(numbers)


def test_a_fault_without_a_test_is_said_to_be_open():
    assert [row[0] for row in ROWS if row[3] == "–" and "open" not in row[2]] == []
