"""Every folder below fixtures/sites is a case: what `read_site` says of it stands beside it in expected.json."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from site_folders import SITES

from mines.errors import ConfigError
from mines.site.site_file import load_site, read_site


def _cases(group):
    folders = sorted(path for path in (SITES / group).iterdir() if path.is_dir())
    read = [(folder, json.loads((folder / "expected.json").read_text(encoding="utf-8"))) for folder in folders]
    # A folder whose mistakes only a connector can see is told by `check`, and tested there.
    return [pytest.param(folder, doc, id=folder.name) for folder, doc in read if not doc.get("connector")]


def _as_json(problems):
    return [asdict(problem) for problem in problems]


@pytest.mark.parametrize(("folder", "expected"), _cases("refused"))
def test_a_refused_site_tells_every_mistake_with_its_line(folder, expected):
    assert expected["errors"]
    reading = read_site(folder)
    assert reading.site is None
    assert _as_json(reading.errors) == expected["errors"]
    with pytest.raises(ConfigError) as refused:
        load_site(folder)
    assert refused.value.problems == reading.errors


@pytest.mark.parametrize(("folder", "expected"), _cases("accepted"))
def test_an_accepted_site_has_its_points_and_its_warnings(folder, expected):
    reading = read_site(folder)
    assert reading.errors == ()
    site = reading.site
    assert len(site.points) == expected["points"]
    assert {source.id: len(site.points_of(source.id)) for source in site.sources} == expected["points_of"]
    assert list(site.subsystems) == expected["subsystems"]
    assert len(site.certificates) == expected["certificates"]
    assert _as_json(reading.warnings) == expected["warnings"]


def test_ten_mistakes_are_told_at_once():
    assert len(read_site(SITES / "refused" / "ten_mistakes_at_once").errors) == 10


def test_a_site_that_only_a_connector_can_refuse_is_no_error_of_the_files():
    assert read_site(SITES / "refused" / "modbus_addresses").errors == ()
