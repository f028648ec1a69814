"""docs/site-files.md has every table, key, column and word that the site's files may hold."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from connectors.modbus import settings as modbus_settings
from connectors.opcua import settings as opcua_settings
from mines.model import PointKind, Subsystem
from mines.site.columns import COLUMNS
from mines.site.point_row import BYTE_ORDERS, DATA_TYPES
from mines.site.roles import PRINCIPLES, ROLES
from mines.site.site_tables import TABLES
from mines.site.source_table import SOURCE_KINDS, SourceTable
from mines.site.tables import (
    Certificate,
    MineTable,
    RunSettings,
    ShiftSettings,
    SiteTable,
    StorageTable,
    SubsystemTable,
    WebSettings,
)
from mines.units import UNITS
from mines.words import codes

DOC = (Path(__file__).parents[2] / "docs" / "site-files.md").read_text(encoding="utf-8")
MODELS = {
    "[mine]": MineTable,
    "[storage]": StorageTable,
    "[run]": RunSettings,
    "[shift]": ShiftSettings,
    "[web]": WebSettings,
    "[subsystem.ID]": SubsystemTable,
    "[[certificate]]": Certificate,
}


def _section(title: str) -> str:
    """The text below one heading of the third level."""
    match = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", DOC, re.DOTALL | re.MULTILINE)
    assert match, f"docs/site-files.md has no section {title}"
    return match.group(1)


def _first_cells(section: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def _words(section: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", section))


def test_every_model_is_in_the_list():
    assert set(MODELS.values()) == set(SiteTable.__subclasses__())


@pytest.mark.parametrize("title", MODELS)
def test_the_keys_of_a_table_are_documented_in_its_order_and_no_others(title):
    assert _first_cells(_section(title)) == list(MODELS[title].model_fields)


@pytest.mark.parametrize("title", MODELS)
def test_the_default_of_a_key_is_the_documented_one(title):
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", _section(title), re.MULTILINE))
    for key, field in MODELS[title].model_fields.items():
        default = field.default
        if field.is_required():
            assert rows[key] == "needed", key
        elif isinstance(default, bool):
            assert rows[key] == f"`{str(default).lower()}`", key
        elif isinstance(default, int):
            assert rows[key] == f"`{default}`", key
        elif isinstance(default, str):
            assert rows[key].startswith(f'`"{default}"`'), key


def test_every_top_table_has_a_section():
    headings = " ".join(re.findall(r"^#+ (.*)$", DOC, re.MULTILINE))
    assert [name for name in TABLES if name != "schema" and not re.search(rf"\[{name}\b", headings)] == []
    assert "`schema = 1`" in DOC


def test_the_columns_are_documented_in_their_order_and_no_others():
    assert _first_cells(_section("Columns")) == list(COLUMNS)


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Roles", ROLES),
        ("Principles", PRINCIPLES),
        ("Units", [code for code in UNITS if code]),
        ("Columns", [*DATA_TYPES, *BYTE_ORDERS, *PointKind]),
        ("[subsystem.ID]", list(Subsystem)),
        ("[source.ID]", SOURCE_KINDS),
    ],
    ids=["roles", "principles", "units", "cells", "subsystems", "sources"],
)
def test_every_word_of_a_closed_list_is_documented(title, words):
    assert set(words) - _words(_section(title)) == set()


@pytest.mark.parametrize("family", ["role", "principle"])
def test_every_word_of_a_closed_list_has_a_chinese_word(family):
    words = {"role": ROLES, "principle": PRINCIPLES}[family]
    assert {f"{family}.{word}" for word in words} == {code for code in codes() if code.startswith(f"{family}.")}


def test_the_documented_choices_of_a_table_are_those_of_its_model():
    for title, model in MODELS.items():
        section = _words(_section(title))
        for field in model.model_fields.values():
            choices = getattr(field.annotation, "__args__", ())
            assert {c for c in choices if isinstance(c, str) and c} - section == set()


@pytest.mark.parametrize(
    ("kind", "read_settings"),
    [
        ("modbus_tcp", modbus_settings.read_settings),
        ("modbus_serial", modbus_settings.read_settings),
        ("opcua", opcua_settings.read_settings),
    ],
    ids=["modbus_tcp", "modbus_serial", "opcua"],
)
def test_a_connector_accepts_every_documented_key_of_its_source(kind, read_settings):
    part = _section("[source.ID]").split(f'`kind = "{kind}"`')[1].split("`kind = ")[0]
    rows = re.findall(r"^\| `([^`]+)` \|.*\| `([^`]+)` \|$", part, re.MULTILINE)
    table = tomllib.loads("\n".join(f"{key} = {example}" for key, example in rows))
    assert table.pop("kind") == kind
    settings, problems = read_settings(SourceTable("documented", kind, table), [])
    assert problems == []
    assert settings is not None
