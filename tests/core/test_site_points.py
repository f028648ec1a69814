"""points.csv: what a row means, and that no file whatever brings the reading down."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_folders import POINTS_CSV, SITE_TOML, SITES, write_site

from mines.errors import ConfigError
from mines.model import PointKind, Subsystem
from mines.site.columns import COLUMNS, REQUIRED_CELLS
from mines.site.point_list import read_points
from mines.site.problems import Findings
from mines.site.site_file import load_site

EVERYTHING = SITES / "accepted" / "everything"
GOOD_ROW = {
    "id": "gas.t1.ch4",
    "name_zh": "工作面T1甲烷",
    "subsystem": "gas",
    "role": "methane",
    "principle": "laser",
    "kind": "analog",
    "unit": "%CH4",
    "source": "kj",
    "address": "i=1",
    "period_s": "2",
    "high_alarm": "1.0",
    "rule": "gas.ch4.face",
}


def _csv(rows, columns=None):
    columns = columns or list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode("utf-8")


def _read(*rows, sources=("kj",)):
    findings = Findings()
    return read_points(_csv(rows), sources, findings).points, findings


def _everything():
    text = (EVERYTHING / "points.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def test_a_row_with_every_column_becomes_a_point():
    point = load_site(EVERYTHING).points[1]
    assert (point.id, point.subsystem, point.kind) == ("dewatering.sump.level", Subsystem.DEWATERING, PointKind.ANALOG)
    assert (point.scale, point.offset, point.sentinels) == (0.001, -0.1, (32767.0, 65535.0))
    assert (point.low_alarm, point.low_clear, point.low_cut, point.low_restore) == (0.5, 0.6, 0.3, 0.4)
    assert (point.on_delay_s, point.off_delay_s, point.latch, point.level) == (5.0, 10.0, True, 2)
    assert (point.range_low, point.range_high, point.line) == (0.0, 5.0, 3)


def test_states_are_words_of_whole_values():
    points = {point.id: point for point in load_site(EVERYTHING).points}
    assert points["dewatering.p1.mode"].states == {0: "就地", 1: "远方", 2: "自动"}
    assert points["dewatering.p1.run"].states == {0: "停", 1: "开"}


def test_an_empty_release_is_its_limit():
    [point], _ = _read(GOOD_ROW | {"high_alarm": "1.0", "high_clear": "", "high_cut": "1.5", "high_restore": "1.0"})
    assert (point.high_clear, point.high_restore) == (1.0, 1.0)
    [point], _ = _read(GOOD_ROW | {"high_cut": "1.5"})
    assert (point.high_clear, point.high_restore, point.low_clear, point.low_restore) == (1.0, 1.5, None, None)


def test_a_release_may_stand_far_below_its_alarm_value():
    [point], findings = _read(GOOD_ROW | {"high_alarm": "0.5", "high_cut": "1.5", "high_restore": "0.5"})
    assert not findings.errors
    assert (point.high_cut, point.high_restore) == (1.5, 0.5)


def test_defaults_of_a_row():
    [point], _ = _read(GOOD_ROW)
    assert (point.decimals, point.scale, point.offset, point.level, point.latch) == (2, 1.0, 0.0, 3, False)
    assert (point.area, point.data_type, point.formerly, point.x, point.range_low) == ("", "", "", None, None)


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "-2+3", "<script>alert(1)</script>", "𠮷野", "🛢️", "a" * 10_000])
def test_a_name_is_text_whatever_it_looks_like(name):
    [point], findings = _read(GOOD_ROW | {"name_zh": name})
    assert not findings.errors
    assert point.name_zh == name


@pytest.mark.parametrize("column", REQUIRED_CELLS)
def test_a_needed_cell_may_not_be_empty(column):
    points, findings = _read(GOOD_ROW | {column: " "})
    assert points == ()
    assert [(p.line, p.key, p.what) for p in findings.errors] == [(2, column, "is empty")]


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        pytest.param({"period_s": "10.001"}, "period_s", id="gas more slowly than 10 s"),
        pytest.param({"on_delay_s": "0.1"}, "on_delay_s", id="delay on methane"),
        pytest.param({"role": "", "off_delay_s": "1"}, "off_delay_s", id="delay on a gas rule without a role"),
        pytest.param({"role": "co", "rule": "", "on_delay_s": "1"}, "on_delay_s", id="delay on co"),
        pytest.param({"principle": "other"}, "principle", id="methane by another principle"),
        pytest.param({"high_clear": "1.0001"}, "high_clear", id="clear above alarm"),
        pytest.param({"high_cut": "0.9999"}, "high_cut", id="cut below alarm"),
        pytest.param({"range_high": "0.9999"}, "high_alarm", id="alarm above the range"),
        pytest.param({"low_alarm": "1.0"}, "low_alarm", id="low alarm at the high one"),
        pytest.param({"level": "0"}, "level", id="level 0"),
        pytest.param({"level": "5"}, "level", id="level 5"),
        pytest.param({"formerly": "gas.t1.ch4"}, "formerly", id="formerly itself"),
        pytest.param({"source": "kj2"}, "source", id="unknown source"),
        pytest.param({"id": "a" * 121}, "id", id="an id of 121 characters"),
        pytest.param({"upload_code": "a\x00"}, "upload_code", id="a NUL"),
        pytest.param({"area": "\u2067f1602"}, "area", id="a turn of the writing direction"),
    ],
)
def test_one_step_past_what_is_allowed_is_refused(cells, column):
    points, findings = _read(GOOD_ROW | cells)
    assert points == ()
    assert [problem.key for problem in findings.errors] == [column]


@pytest.mark.parametrize(
    "cells",
    [
        pytest.param({"period_s": "10"}, id="gas every 10 s"),
        pytest.param({"on_delay_s": "0"}, id="no delay on methane"),
        pytest.param({"role": "temperature", "rule": "x.y", "on_delay_s": "30"}, id="delay elsewhere"),
        pytest.param({"role": "temperature", "principle": "other"}, id="any principle elsewhere"),
        pytest.param({"high_clear": "1.0", "high_cut": "1.0", "range_high": "1.0"}, id="all at the same value"),
        pytest.param({"low_alarm": "0.9999"}, id="low alarm just below the high one"),
        pytest.param({"subsystem": "ventilation", "period_s": "60"}, id="another subsystem every minute"),
        pytest.param({"id": "a" * 120}, id="an id of 120 characters"),
        pytest.param({"unit": ""}, id="a pure number"),
        pytest.param({"scale": "-1.5E-3", "offset": "+.5", "x": "5."}, id="every way to write a number"),
    ],
)
def test_what_is_just_allowed_is_read(cells):
    points, findings = _read(GOOD_ROW | cells)
    assert findings.errors == []
    assert len(points) == 1


def test_nothing_is_held_against_sources_that_are_not_known():
    points, findings = _read(GOOD_ROW | {"source": "whoever"}, sources=None)
    assert (len(points), findings.errors) == (1, [])


def test_one_bad_row_does_not_hide_the_others():
    points, findings = _read(GOOD_ROW | {"unit": "?"}, GOOD_ROW | {"id": "gas.t2.ch4"})
    assert [point.id for point in points] == ["gas.t2.ch4"]
    assert [problem.line for problem in findings.errors] == [2]


@settings(max_examples=60, deadline=None)
@given(st.permutations(COLUMNS), st.permutations(range(5)), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_the_order_of_columns_and_rows_changes_no_point(columns, order, newline, mark):
    rows = _everything()
    data = _csv([rows[i] for i in order], columns).replace(b"\n", newline.encode())
    findings = Findings()
    points = read_points(b"\xef\xbb\xbf" * mark + data, ("kj", "pump"), findings).points
    expected = load_site(EVERYTHING).points
    assert findings.errors == []
    assert [replace(point, line=0) for point in points] == [replace(expected[i], line=0) for i in order]
    assert [point.line for point in points] == [2, 3, 4, 5, 6]


NASTY = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "nan", "-inf", "1e999", "9" * 400, "1e-999", "0x1", "١", "²", "|", ":", "0:a|0:b", "1:|"]
    ),
    st.sampled_from(["-0", "\x00", "\u202e", '"', '""', "a\nb", "a\r", ",", "gas.f1602.t0.ch4", "true", "%CH4", "kj"]),
)


def _must_only_refuse(folder):
    try:
        load_site(folder)
        return
    except ConfigError as refused:
        problems = refused.problems
    assert problems
    assert all(problem.file and problem.what and problem.expected for problem in problems)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 4), st.sampled_from(COLUMNS), NASTY)
def test_one_corrupt_cell_raises_nothing_but_a_config_error(row, column, text):
    rows = _everything()
    rows[row][column] = text
    with tempfile.TemporaryDirectory() as name:
        toml = (EVERYTHING / "site.toml").read_text(encoding="utf-8")
        _must_only_refuse(write_site(Path(name), toml=toml, points=_csv(rows, COLUMNS)))


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["site.toml", "points.csv"]), st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4))
def test_corrupt_bytes_raise_nothing_but_a_config_error(file, where, junk, removed):
    with tempfile.TemporaryDirectory() as name:
        folder = write_site(Path(name), toml=SITE_TOML, points=POINTS_CSV)
        data = (folder / file).read_bytes()
        at = int(where * len(data))
        (folder / file).write_bytes(data[:at] + junk + data[at + removed :])
        _must_only_refuse(folder)
