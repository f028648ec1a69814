"""Every command is there, helps, and is documented with every option."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import minewatch

ROOT = Path(__file__).parents[2]
COMMANDS = typer.main.get_command(minewatch.app).commands  # type: ignore[attr-defined]
CONTRACT = [
    "demo", "run", "web", "worker", "check", "plan", "probe", "capture", "import", "replay", "query", "events", "score",
]  # fmt: skip


def test_the_commands_of_the_contract_are_there():
    assert set(CONTRACT) <= set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_and_every_option_is_documented(name):
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    section = text.split(f"## {name}\n", 1)
    assert len(section) == 2, f"docs/commands.md has no section '## {name}'"
    body = section[1].split("\n## ", 1)[0]
    assert [opt for opt in options(COMMANDS[name]) if f"`{opt}" not in body] == []


def options(command):
    found = [opt for p in command.params for opt in p.opts if opt.startswith("--") and opt != "--help"]
    return found + [opt for part in getattr(command, "commands", {}).values() for opt in options(part)]


def test_probe_looks_at_both_kinds():
    assert set(COMMANDS["probe"].commands) == {"modbus", "opcua"}


def test_help_is_quick_to_load_and_loads_no_protocol_library():
    code = (
        "import sys, minewatch; minewatch.app; "
        "heavy = {'pymodbus', 'asyncua', 'flask', 'pandas', 'apscheduler'} & set(sys.modules); "
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_version_of_the_command_line_helps_with_code_0():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "minewatch", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "矿哨" in done.stdout
