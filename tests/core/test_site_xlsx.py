"""points.xlsx: the same point list as points.csv, and every way in which a spreadsheet shows what it does not hold."""

from __future__ import annotations

import datetime as dt
import re
import sys
import time
from subprocess import run

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.workbook.defined_name import DefinedName
from site_folders import POINTS_CSV, SITES, write_site
from workbooks import HEADER, ROW, cells, part_of, saved, with_part, workbook_bytes

from mines.errors import Problem
from mines.rulebook import bind_rules, load_rulebook
from mines.site import sheet_rows as limits
from mines.site.point_list import read_points
from mines.site.problems import Findings
from mines.site.sheet_rows import sheet_rows
from mines.site.site_file import read_site
from mines.site.vanished import vanished_points
from mines.store.box_store import BoxStore
from mines.store.reader import Reader

SHEET_PART = "xl/worksheets/sheet1.xml"


def _read(data):
    findings = Findings()
    return read_points(data, None, findings, file="points.xlsx").points, findings.errors


def _one_problem(data):
    points, errors = _read(data)
    [problem] = errors
    assert problem.file == "points.xlsx"
    return points, problem


def test_a_workbook_gives_the_same_points_as_the_same_list_in_csv(tmp_path):
    rows = [line.split(",") for line in POINTS_CSV.splitlines()]
    as_numbers = [[float(cell) if re.fullmatch(r"[0-9.]+", cell) else cell or None for cell in row] for row in rows]
    write_site(tmp_path / "csv")
    folder = write_site(tmp_path / "xlsx", points=None)
    (folder / "points.xlsx").write_bytes(workbook_bytes(as_numbers))
    csv, xlsx = read_site(tmp_path / "csv"), read_site(folder)
    assert (csv.errors, xlsx.errors) == ((), ())
    assert [type(point).__name__ for point in xlsx.site.points] == ["Point"] * 3
    for one, other in zip(csv.site.points, xlsx.site.points, strict=True):
        assert (other.file, other.line) == ("points.xlsx", one.line)
        names = [name for name in one.__slots__ if name != "file"]
        assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]


def test_the_hash_of_a_site_is_over_its_workbook(tmp_path):
    folder = write_site(tmp_path, points=None)
    rows = [line.split(",") for line in POINTS_CSV.splitlines()]
    hashes = set()
    for name in ("水仓水位", "主水仓水位"):
        rows[1][1] = name
        (folder / "points.xlsx").write_bytes(workbook_bytes(rows))
        hashes.add(read_site(folder).site.sha256)
    assert len(hashes) == 2


def test_blank_rows_count_and_trailing_ones_are_nothing():
    def blank(page):
        page["A5000"] = "   "
        page["C9"] = ""

    points, errors = _read(workbook_bytes([HEADER, [], [None, " "], ROW], change=blank))
    assert errors == []
    assert [point.line for point in points] == [4]


def test_a_cell_beyond_the_header_is_a_mistake_of_its_row():
    _, problem = _one_problem(workbook_bytes([HEADER, [*ROW, None, "备注"]]))
    assert (problem.line, problem.key) == (2, "row")
    assert problem.what == f"has {len(HEADER) + 2} cells, the header has {len(HEADER)}"


@pytest.mark.parametrize(
    ("value", "held"),
    [
        pytest.param(3.5, 3.5, id="a number"),
        pytest.param(4, 4.0, id="a whole number"),
        pytest.param("3.5", 3.5, id="a number as text"),
        pytest.param(" 3.5 ", 3.5, id="with white space"),
        pytest.param(1.25e-05, 1.25e-05, id="a small number in scientific notation"),
        pytest.param("1.25E-05", 1.25e-05, id="scientific notation as text"),
        pytest.param(0.1 + 0.2, 0.3, id="a number that the spreadsheet shows with 15 digits"),
        pytest.param(0, 0.0, id="zero"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_number_cell_is_the_number_that_a_person_sees(value, held):
    points, errors = _read(workbook_bytes([HEADER, cells(high_alarm=value)]))
    assert errors == []
    assert points[0].high_alarm == held


def test_a_truth_value_stands_only_where_a_truth_value_is_meant():
    points, errors = _read(workbook_bytes([HEADER, cells(latch=True)]))
    assert errors == []
    assert points[0].latch is True
    _, problem = _one_problem(workbook_bytes([HEADER, cells(name_zh=True)]))
    assert (problem.line, problem.key, problem.what) == (2, "name_zh", "cell B2 holds the truth value true")


@pytest.mark.parametrize(
    ("column", "value", "number_format", "what"),
    [
        pytest.param("high_alarm", "=1.0+0.5", "General", "cell M2 holds a formula", id="formula"),
        pytest.param("name_zh", '=HYPERLINK("http://x","甲")', "General", "cell B2 holds a formula", id="link"),
        pytest.param(
            "states", dt.time(0, 1), "h:mm", "cell E2 holds the date or time 00:01:00", id="a state as a time"
        ),
        pytest.param("address", dt.date(2026, 1, 2), "m/d", "cell H2 holds the date or time", id="a date"),
        pytest.param("period_s", dt.timedelta(seconds=5), "[mm]:ss", "cell I2 holds the date or time", id="a duration"),
        pytest.param("high_alarm", 0.01, "0%", "cell M2 shows a percentage and holds 0.01", id="one per cent"),
        pytest.param("high_alarm", 0.015, "0.0%", "cell M2 shows a percentage and holds 0.015", id="1.5 per cent"),
        pytest.param("sensor_code", 49, "0000", "cell L2 shows zeros before 49", id="zeros that are not there"),
        pytest.param("name_zh", 10**15, "0", "cell B2 holds a number of more than 15 digits", id="a long number"),
        pytest.param("unit", "#N/A", "General", "cell F2 holds the error #N/A", id="an error"),
    ],
)
def test_a_cell_that_means_something_else_than_it_shows_is_refused(column, value, number_format, what):
    def changed(page):
        cell = page.cell(2, HEADER.index(column) + 1)
        cell.value = value
        cell.number_format = number_format

    points, problem = _one_problem(workbook_bytes([HEADER, ROW, cells(id="water.other")], change=changed))
    assert (problem.line, problem.key) == (2, column)
    assert problem.what.startswith(what)
    assert [point.id for point in points] == ["water.other"]


def test_a_text_that_begins_like_a_formula_is_text():
    def as_text(page):
        page["B2"].value = "=甲"
        page["B2"].data_type = "s"

    points, errors = _read(workbook_bytes([HEADER, ROW], change=as_text))
    assert errors == []
    assert points[0].name_zh == "=甲"


def test_a_shown_percent_sign_that_is_only_text_is_no_percentage():
    def unit_in_format(page):
        page["M2"].number_format = '0.00"%CH4"'

    assert _read(workbook_bytes([HEADER, ROW], change=unit_in_format))[1] == []


def test_merged_cells_are_told_with_the_cell_that_holds_the_value():
    rows = [HEADER, ROW, cells(id="water.b", subsystem=None)]
    errors = _read(workbook_bytes(rows, change=lambda page: page.merge_cells("C2:C3")))[1]
    told = [(problem.line, problem.key, problem.what.partition(":")[0]) for problem in errors]
    assert told == [(2, "column C", "cells C2"), (3, "subsystem", "is empty")]


def test_of_several_sheets_the_one_called_points_is_read():
    book = Workbook()
    book.active.append(["说明"])
    page = book.create_sheet("points")
    for row in (HEADER, ROW):
        page.append(row)
    assert [point.id for point in _read(saved(book))[0]] == ["water.sump.level"]
    page.title = "测点"
    _, problem = _one_problem(saved(book))
    assert problem.what == "has 2 sheets, none called points"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(b"", "is no workbook", id="empty"),
        pytest.param(POINTS_CSV.encode(), "is no workbook", id="a csv with another name"),
        pytest.param(
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old .xls, or has a password", id="old xls"
        ),
        pytest.param(workbook_bytes([HEADER, ROW])[:-40], "is no workbook", id="cut"),
        pytest.param(workbook_bytes([]), "is empty", id="without a row"),
        pytest.param(workbook_bytes([HEADER]), "has a header and no point", id="without a point"),
        pytest.param(
            with_part(workbook_bytes([HEADER, ROW]), SHEET_PART, b"<worksheet><sheetData><row>"),
            "cannot be read",
            id="broken xml",
        ),
        pytest.param(
            with_part(workbook_bytes([HEADER, ROW]), "xl/workbook.xml", b"<book/>"),
            "has 0 sheets",
            id="no sheets",
        ),
        pytest.param(
            with_part(workbook_bytes([HEADER]), SHEET_PART, b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet/>'),
            "defines entities of its own",
            id="entities",
        ),
    ],
)
def test_what_is_no_workbook_is_one_problem(data, what):
    assert _one_problem(data)[1].what.startswith(what)


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    bomb = with_part(workbook_bytes([HEADER, ROW]), SHEET_PART, bytes(limits.MOST_UNPACKED_BYTES))
    assert len(bomb) < 200_000
    started = time.process_time()
    assert _one_problem(bomb)[1].what.startswith("unpacks to ")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("replaced", "by", "what"),
    [
        pytest.param(rb'r="([A-Z]*)2"', rb'r="\g<1>4000000000"', "is too far down", id="a row far away"),
        pytest.param(b'r="M2"', b'r="XFD2"', "has 16384 cells", id="a column far away"),
        pytest.param(b'r="A2"', b'r="XFD2"', "has B2 out of its order", id="a cell out of its order"),
        pytest.param(b'r="2"', b'r="1"', "has 1 out of its order", id="a row out of its order"),
    ],
)
def test_a_small_file_that_claims_a_huge_sheet_is_refused_at_once(replaced, by, what):
    data = workbook_bytes([HEADER, ROW])
    body = part_of(data, SHEET_PART)
    assert re.search(replaced, body)
    changed = with_part(data, SHEET_PART, re.sub(replaced, by, body))
    started = time.process_time()
    problems = [row for row in sheet_rows(changed) if isinstance(row, Problem)]
    assert problems[0].what == what
    assert time.process_time() - started < 10


def test_a_workbook_beyond_the_row_limit_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MOST_ROWS", 3)
    rows = [HEADER, ROW, cells(id="water.b"), cells(id="water.c"), cells(id="water.d")]
    assert _one_problem(workbook_bytes(rows))[1].what == "is too far down"


@settings(deadline=None, max_examples=25)
@given(data=st.binary(max_size=400), at=st.integers(0, 4000))
def test_no_damage_of_a_workbook_makes_the_reading_raise(data, at):
    good = workbook_bytes([HEADER, ROW])
    place = at % len(good)
    points, errors = _read(good[:place] + data + good[place + len(data) :])
    assert errors or points


def test_names_and_notes_of_a_workbook_are_not_read():
    book = Workbook()
    for row in (HEADER, ROW):
        book.active.append(row)
    book.defined_names["all"] = DefinedName("all", attr_text="Sheet!$A$1:$Z$9")
    assert _read(saved(book))[1] == []


def test_a_site_without_a_workbook_never_loads_the_reader_of_workbooks():
    site = SITES / "accepted" / "minimal"
    code = f"""import sys; from pathlib import Path; from mines.site.site_file import load_site
load_site(Path({str(site)!r})); sys.exit("openpyxl" in sys.modules)"""
    assert run([sys.executable, "-c", code], check=False).returncode == 0


def _site_in_excel(folder, *, rule="gas.ch4.face"):
    rows = [line.split(",") for line in POINTS_CSV.replace("gas.ch4.face", rule).splitlines()]
    write_site(folder, points=None)
    (folder / "points.xlsx").write_bytes(workbook_bytes(rows))
    return read_site(folder).site


def test_the_rulebook_names_the_row_of_the_workbook(tmp_path):
    site = _site_in_excel(tmp_path / "site", rule="gas.no_such_rule")
    errors = bind_rules(site.points, load_rulebook())[1]
    assert [(problem.file, problem.line, problem.key) for problem in errors] == [("points.xlsx", 3, "rule")]


def test_a_vanished_point_is_told_of_the_workbook(tmp_path):
    [warning] = vanished_points(["gone.point"], _site_in_excel(tmp_path / "site"))
    assert warning.file == "points.xlsx"


def test_the_box_keeps_the_workbook_of_an_accepted_site_and_reads_its_points_again(tmp_path):
    site = _site_in_excel(tmp_path / "site")
    BoxStore.open(site.data, site, boot_id="b1", time_ms=0).close()
    files = Reader(site.data).site_files(site.sha256)
    assert files == {name: (site.folder / name).read_bytes() for name in ("site.toml", "points.xlsx")}
    assert read_points(files["points.xlsx"], None, Findings(), file="points.xlsx").points == site.points
