"""A site in Excel in the connectors' hands: their problems name its rows, and a capture takes it along."""

from __future__ import annotations

import pytest
from site_folders import SITE_TOML, write_site
from workbooks import HEADER, cells, workbook_bytes

from connectors.captures.folder import SITE_FOLDER, copy_site
from connectors.sources import check_sources
from mines.site.site_file import load_site

NAMES = (*HEADER, "data_type")


def _site(folder, *, toml=SITE_TOML, **values):
    write_site(folder, toml=toml, points=None)
    rows = [NAMES, [], [*cells(**{key: value for key, value in values.items() if key in HEADER}), values["data_type"]]]
    (folder / "points.xlsx").write_bytes(workbook_bytes(rows))
    return load_site(folder)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        pytest.param({"address": "1/4x/0", "data_type": "int16"}, "address", id="Modbus address"),
        pytest.param({"address": "1/holding/0", "data_type": None}, "data_type", id="Modbus type"),
        pytest.param({"source": "kj", "address": "ns=2;s=a", "data_type": None}, "address", id="OPC UA address"),
        pytest.param({"period_s": 0.001, "data_type": "int16"}, "period_s", id="cycle that does not fit"),
    ],
)
def test_a_problem_that_a_connector_finds_names_the_row_of_the_workbook(tmp_path, values, key):
    problems = check_sources(_site(tmp_path / "site", **values))
    assert {(problem.file, problem.line) for problem in problems if problem.key == key} == {("points.xlsx", 3)}


def test_a_capture_takes_the_workbook_along_with_the_site_s_hash(tmp_path):
    site = _site(tmp_path / "site", data_type="int16")
    (tmp_path / "capture").mkdir()
    copy_site(site.folder, tmp_path / "capture")
    assert load_site(tmp_path / "capture" / SITE_FOLDER).sha256 == site.sha256
