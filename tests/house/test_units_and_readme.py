"""systemd units verify clean; both READMEs name the commands that CI runs; nothing private is in the files."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_unit_keeps_python_path_closed(unit):
    text = unit.read_text(encoding="utf-8")
    assert "Environment=PYTHONSAFEPATH=1" in text
    assert "WorkingDirectory=%S/minewatch" in text


def test_systemd_finds_nothing_to_say():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: Debian package systemd")
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, UNITS)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.strip(), done.stdout.strip()) == (0, "", "")


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_readme_names_the_two_commands_and_ci_runs_one_of_them(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    block = re.search(r"```\n(.*?)```", text, re.DOTALL)
    assert block
    commands = [line.split("#")[0].strip() for line in block.group(1).splitlines()]
    assert commands == ["make demo", "make test"]
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert [line for line in ci if line.startswith("make")] == ["make test"]


def test_committed_text_names_no_machine_path():
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    words = re.compile("/" + "work/|/" + "root/|/" + "tmp/[a-z]")
    found = []
    for name in filter(None, files):
        path = ROOT / name
        if not path.exists() or path.suffix in {".png", ".mo", ".pcap", ".lock"} or name == "LICENSE":
            continue
        if words.search(path.read_text(encoding="utf-8", errors="ignore")):
            found.append(name)
    assert found == []
