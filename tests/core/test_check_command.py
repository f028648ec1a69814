"""`check` joins what every room finds wrong with a site; each refused folder gives exactly its errors, and no start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import minewatch

ROOT = Path(__file__).parents[2]
REFUSED = sorted((ROOT / "fixtures/sites/refused").iterdir())
ACCEPTED = sorted((ROOT / "fixtures/sites/accepted").iterdir())


@pytest.mark.parametrize("folder", REFUSED, ids=lambda path: path.name)
def test_refused_site_gives_exactly_its_errors(folder, tmp_path):
    done = CliRunner().invoke(minewatch.app, ["check", str(folder), "--data", str(tmp_path), "--json"])
    document = json.loads(done.stdout)
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))["errors"]
    assert document["errors"] == expected
    assert expected
    assert (document["ok"], done.exit_code) == (False, 1)


@pytest.mark.parametrize("folder", ACCEPTED, ids=lambda path: path.name)
def test_accepted_site_passes(folder, tmp_path):
    done = CliRunner().invoke(minewatch.app, ["check", str(folder), "--data", str(tmp_path), "--json"])
    assert (json.loads(done.stdout)["errors"], done.exit_code) == ([], 0)


def test_a_site_with_ten_mistakes_lists_ten_in_one_run_and_starts_nothing(tmp_path):
    folder = ROOT / "fixtures/sites/refused/ten_mistakes_at_once"
    command = [sys.executable, "-P", "-m", "minewatch", "run", str(folder), "--data", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 10
    assert all(line.split(":")[1].isdigit() and "; expected " in line for line in done.stderr.strip().splitlines())
    assert not (tmp_path / "data").exists()
