"""The package holds its four rooms, its roof and its data, and nobody else owns their names."""

import importlib.metadata
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("connectors", "mines", "compliance", "web")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    tracked = ["pyproject.toml", "README.md", "LICENSE", "minewatch.py", *ROOMS]
    for name in tracked:
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(out)], cwd=source, check=True, capture_output=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.mark.parametrize("room", ROOMS)
def test_only_minewatch_owns_the_name(room):
    owners = importlib.metadata.packages_distributions().get(room, ["minewatch"])
    assert set(owners) == {"minewatch"}


def test_wheel_holds_rooms_and_roof_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    info = {name for name in tops if name.endswith(".dist-info")}
    assert tops - info == {*ROOMS, "minewatch.py"}


def test_wheel_ships_the_data_files(wheel):
    names = set(wheel.namelist())
    expected = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for pattern in ("*.toml", "*.csv", "*.html", "*.css", "*.js", "*.mo", "*.svg", "*.sql")
        for path in (ROOT / room).rglob(pattern)
    }
    assert expected - names == set()
    assert expected


def test_protocol_engines_are_pinned_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = [line for line in project["dependencies"] if line.split("=")[0] in ("pymodbus", "asyncua")]
    assert sorted(pins) == ["asyncua==2.1.0", "pymodbus==3.16.1"]
