"""The site as other rooms see it: order, folders, hash, the raw source tables."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest
from site_folders import POINTS_CSV, SITE_TOML, SITES, write_site

from mines.errors import ConfigError
from mines.model import Subsystem
from mines.site.site_file import Certificate, ShiftSettings, SourceTable, load_site, read_site
from mines.site.vanished import vanished_points


def test_process_order_is_source_after_source_each_in_file_order(tmp_path):
    site = load_site(write_site(tmp_path))
    assert [p.id for p in site.points] == ["dewatering.sump.level", "gas.t1.ch4", "dewatering.p1.current"]
    assert [p.id for p in site.process_points] == ["gas.t1.ch4", "dewatering.sump.level", "dewatering.p1.current"]
    assert [p.id for p in site.points_of("pump")] == ["dewatering.sump.level", "dewatering.p1.current"]
    assert site.points_of("nobody") == ()


def test_data_and_runtime_have_their_defaults_below_the_site_folder(tmp_path):
    site = load_site(write_site(tmp_path))
    assert (site.data, site.runtime) == (tmp_path / "data", tmp_path / "data" / "runtime")


@pytest.mark.parametrize(
    ("storage", "override", "data", "runtime"),
    [
        pytest.param('data = "d"', None, "SITE/d", "SITE/d/runtime", id="relative"),
        pytest.param('data = "/srv/d"', None, "/srv/d", "/srv/d/runtime", id="absolute"),
        pytest.param('runtime = "/run/minewatch"', None, "SITE/data", "/run/minewatch", id="own runtime"),
        pytest.param('data = "d"', "/other", "/other", "/other/runtime", id="overridden"),
        pytest.param('runtime = "r"', "/other", "/other", "SITE/r", id="overridden beside an own runtime"),
    ],
)
def test_storage_says_where_the_box_keeps_things(tmp_path, storage, override, data, runtime):
    folder = write_site(tmp_path, toml=f"{SITE_TOML}[storage]\n{storage}\n")
    site = load_site(folder, Path(override) if override else None)
    assert site.data == Path(data.replace("SITE", str(tmp_path)))
    assert site.runtime == Path(runtime.replace("SITE", str(tmp_path)))


def test_a_relative_folder_stays_the_same_place_when_the_process_moves(tmp_path, monkeypatch):
    write_site(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    assert load_site(Path("site"), Path("elsewhere")).data == tmp_path / "elsewhere"
    assert load_site(Path("site")).data == tmp_path / "site" / "data"


def test_the_hash_is_over_both_files_and_over_where_one_ends(tmp_path):
    first = load_site(write_site(tmp_path / "a"))
    assert load_site(write_site(tmp_path / "b")).sha256 == first.sha256
    assert len(first.sha256) == 64
    moved = write_site(tmp_path / "c", toml=SITE_TOML + "\n")
    shifted = write_site(tmp_path / "d", points="\n" + POINTS_CSV)  # joined, the two files are as those of `moved`
    assert len({first.sha256, load_site(moved).sha256, load_site(shifted).sha256}) == 3


def test_a_source_keeps_its_table_raw_and_knows_its_lines(tmp_path):
    toml = SITE_TOML + 'host2 = "unknown to the core"\n[source.pump.unit.3]\nname = "3号"\n'
    pump = load_site(write_site(tmp_path, toml=toml)).sources[1]
    assert (pump.id, pump.kind, pump.file) == ("pump", "modbus_tcp", "site.toml")
    assert pump.settings == {"host": "192.0.2.10", "host2": "unknown to the core", "unit": {"3": {"name": "3号"}}}
    lines = toml.splitlines()
    assert lines[pump.line("host") - 1].startswith("host =")
    assert lines[pump.line("kind") - 1].startswith("kind =")
    assert lines[pump.line("unit.3.name") - 1].startswith("name =")
    assert lines[pump.line("unit.3.missing") - 1] == "[source.pump.unit.3]"
    assert lines[pump.line("missing") - 1] == "[source.pump]"


def test_a_source_made_by_a_program_has_no_line():
    assert SourceTable("a", "opcua", {}).line("url") == 0


def test_every_table_arrives(tmp_path):
    site = load_site(SITES / "accepted" / "everything")
    assert (site.mine.id, site.mine.name_zh, site.simulated) == ("520222000123", "虚构一号煤矿", True)
    assert site.mine.settings["gas_class"] == "outburst"
    assert site.mine.settings["in_260"] is True
    assert site.mine.settings["stop_from"] == date(2025, 3, 1)
    assert "name_zh" not in site.mine.settings
    assert (site.run.tick_ms, site.run.commit_ms) == (250, 500)
    assert (site.web.host, site.web.port, site.web.threads) == ("0.0.0.0", 8080, 4)
    assert site.shift.starts == (time(0), time(8), time(16))
    assert [site.shift.name(i) for i in range(3)] == ["零点班", "八点班", "四点班"]
    assert site.subsystems[Subsystem.GAS].acceptance_date == date(2025, 6, 30)
    assert site.subsystems[Subsystem.HOISTING].required is False
    assert site.certificates == (
        Certificate(
            number="虚构-2025-001",
            issuer="某能源局",
            date=date(2025, 11, 20),
            grade="primary",
            type="underground",
            valid_until=date(2028, 11, 20),
            scan_sha256="0" * 64,
        ),
    )
    assert site.uploads == {"mt1201": {"system": "01"}}
    assert site.bureau == {"outbox": "outbox"}


def test_a_shift_without_a_name_is_called_by_its_hours():
    shift = ShiftSettings(starts=(time(0), time(8), time(16)))
    assert [shift.name(i) for i in range(3)] == ["00:00-08:00", "08:00-16:00", "16:00-00:00"]


@pytest.mark.parametrize("missing", ["site.toml", "points.csv"])
def test_a_missing_file_is_one_problem(tmp_path, missing):
    write_site(tmp_path)
    (tmp_path / missing).unlink()
    [problem] = read_site(tmp_path).errors
    assert (problem.file, problem.line, problem.what) == (missing, 0, "is missing")


def test_a_missing_folder_is_one_problem(tmp_path):
    [problem] = read_site(tmp_path / "nowhere").errors
    assert str(tmp_path / "nowhere") in problem.what


def test_a_folder_in_place_of_a_file_is_a_problem(tmp_path):
    write_site(tmp_path, points=None)
    (tmp_path / "points.csv").mkdir()
    [problem] = read_site(tmp_path).errors
    assert problem.what == "cannot be read: Is a directory"


def test_a_spreadsheet_beside_points_csv_is_refused_for_either_may_be_the_one_that_was_mended(tmp_path):
    write_site(tmp_path)
    (tmp_path / "points.xlsx").write_bytes(b"")
    [problem] = read_site(tmp_path).errors
    assert (problem.file, problem.what, problem.expected) == (
        "points.xlsx",
        "stands beside points.csv",
        "one of the two",
    )


def test_a_site_toml_without_a_mine_says_what_it_needs(tmp_path):
    problems = read_site(write_site(tmp_path, toml="schema = 1\n")).errors
    assert [(p.key, p.what) for p in problems if p.file == "site.toml"] == [
        ("mine.id", "is missing"),
        ("mine.name_zh", "is missing"),
    ]


@pytest.mark.parametrize(
    "toml",
    [
        pytest.param("a = " + "[" * 2000 + "]" * 2000, id="nested too deeply"),
        pytest.param("a = " + "9" * 5000, id="an integer of 5000 digits"),
        pytest.param("a = 2025-13-45", id="no date"),
        pytest.param("a = 1\na = 2", id="a key twice"),
        pytest.param('a = """', id="never closed"),
    ],
)
def test_what_is_no_toml_is_one_problem(tmp_path, toml):
    [problem] = [p for p in read_site(write_site(tmp_path, toml=toml)).errors if p.file == "site.toml"]
    assert problem.key == "syntax"


def test_points_that_vanished_are_listed_and_renamed_ones_are_not():
    site = load_site(SITES / "accepted" / "everything")
    known = ["gas.f1601.t1.ch4", "dewatering.p9.run", "dewatering.p1.run", "dewatering.p8.run"]
    warnings = vanished_points(known, site)
    assert [warning.what for warning in warnings] == [
        '"dewatering.p8.run" has history and stands in no row',
        '"dewatering.p9.run" has history and stands in no row',
    ]


def test_a_site_refused_is_the_config_error_with_all_of_it(tmp_path):
    folder = write_site(
        tmp_path, toml=SITE_TOML.replace("schema = 1", "schema = 9"), points=POINTS_CSV.replace("%", "")
    )
    with pytest.raises(ConfigError) as refused:
        load_site(folder)
    assert [(p.file, p.line, p.key) for p in refused.value.problems] == [
        ("points.csv", 3, "unit"),
        ("site.toml", 1, "schema"),
    ]
