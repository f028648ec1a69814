"""points.csv or points.xlsx → the points, with every mistake at once. Pure: bytes in, points and Problems out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from mines.errors import Problem
from mines.model import Point
from mines.site.cells import Cells
from mines.site.columns import COLUMNS, REQUIRED_COLUMNS, header_problems
from mines.site.csv_rows import Row, csv_rows
from mines.site.point_row import read_point
from mines.site.problems import POINTS_CSV, POINTS_XLSX, Findings, one_of, shown
from mines.site.roles import METHANE_ROLES, STATUTORY_ROLES
from mines.site.sheet_rows import sheet_rows
from mines.site.text_file import decode

UNTRANSLATED: Final = "待译"
"""What the Chinese name of a drafted point begins with, before its foreign name."""


@dataclass(frozen=True, slots=True)
class PointList:
    """What the list says.

    `points` are the rows without an error, in file order; `named_sources` every source that any row names, None where
    the file does not get that far.
    """

    points: tuple[Point, ...] = ()
    named_sources: frozenset[str] | None = None
    file: str = POINTS_CSV


def read_points(
    data: bytes, sources: Collection[str] | None, findings: Findings, *, file: str = POINTS_CSV
) -> PointList:
    """The points of a points.csv or points.xlsx.

    Args:
        data: The file's bytes.
        sources: The ids that site.toml has a [source.ID] for; None = not known, nothing is held against them.
        findings: Gains everything that is wrong.
        file: Its name, which says how it is read.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for row in sheet_rows(data) if file == POINTS_XLSX else _csv_rows(data):
        if isinstance(row, Problem):
            problems.append(row)
        else:
            rows.append(row)
    findings.errors.extend(problems)
    if not rows:
        if not problems:
            findings.errors.append(Problem(file, 0, "file", "is empty", "a header row and a row for each point"))
        return PointList()
    return _read_rows(rows, sources, findings, file=file, whole=not problems)


def _csv_rows(data: bytes) -> Iterator[Row | Problem]:
    text = decode(data, POINTS_CSV)
    if isinstance(text, Problem):
        yield text
    else:
        yield from csv_rows(text)


def _read_rows(
    rows: list[Row], sources: Collection[str] | None, findings: Findings, *, file: str, whole: bool
) -> PointList:
    """The points of rows of which the first is the header; `whole` = no other row was refused before."""
    line, header = rows[0]
    findings.errors.extend(header_problems(header, line, file))
    if not set(header) & set(COLUMNS):
        return PointList()  # no header at all: every row would be wrong in every column
    if len(rows) == 1:
        if whole:
            findings.errors.append(Problem(file, line, "file", "has a header and no point", "a row for each point"))
        return PointList()
    cells = [cells for row in rows[1:] if (cells := _cells(row, header, findings, file=file)) is not None]
    points = [read_point(row) for row in cells]
    _check_ids(cells)
    if sources is not None:
        _check_sources(cells, sources)
    if not set(REQUIRED_COLUMNS) <= set(header):
        return PointList()
    good = tuple(p for row, p in zip(cells, points, strict=True) if p is not None and not row.broken)
    for point in good:
        _warn(point, findings)
    return PointList(good, frozenset(row.text("source") for row in cells), file)


def _cells(row: Row, header: list[str], findings: Findings, *, file: str) -> Cells | None:
    line, texts = row
    if len(texts) != len(header):
        what = f"has {len(texts)} cells, the header has {len(header)}"
        findings.errors.append(Problem(file, line, "row", what, 'as many cells as columns (a "," inside needs quotes)'))
        return None
    return Cells(line, dict(zip(header, texts, strict=True)), findings.errors, file=file)


def _check_ids(rows: list[Cells]) -> None:
    """Ids once; a former name is nobody's name now, and one point's only."""
    first_line: dict[str, int] = {}
    for row in rows:
        if name := row.text("id"):
            if name in first_line:
                row.refuse("id", f"is {shown(name)}, as in line {first_line[name]}", "an id that no other row has")
            first_line.setdefault(name, row.line)
    formerly = Counter(row.text("formerly") for row in rows)
    for row in rows:
        former = row.text("formerly")
        if former in first_line:
            what = f"is {shown(former)}, the id of line {first_line[former]}"
            row.refuse("formerly", what, "an id that no row has any more")
        elif former and formerly[former] > 1:
            row.refuse("formerly", f"is {shown(former)}, as in another row", "a former id in one row only")


def _check_sources(rows: list[Cells], sources: Collection[str]) -> None:
    for row in rows:
        name = row.text("source")
        if name and name not in sources:
            expected = one_of(tuple(sources), name) if sources else "a [source.ID] in site.toml, which has none"
            row.refuse("source", f"is {shown(name)}, which is no [source.ID] of site.toml", expected)


def _warn(point: Point, findings: Findings) -> None:
    """A name that a draft left to a person, and what of a statutory point is held against nothing.

    A point with a rule is held against it by the rulebook.
    """
    if point.name_zh.startswith(UNTRANSLATED):
        what = f"begins with {UNTRANSLATED}: a draft left it to be translated"
        findings.warnings.append(Problem(point.file, point.line, "name_zh", what, "the point's Chinese name"))
    if point.rule:
        return
    if point.role in METHANE_ROLES:
        expected = "the rule whose limits it has, so that its article is shown and looser limits are seen"
        findings.warnings.append(Problem(point.file, point.line, "rule", "is empty on a methane point", expected))
    if point.role in STATUTORY_ROLES and point.high_alarm is None and point.high_cut is None:
        what = f"is empty on a point of role {point.role}: it never raises an alarm"
        findings.warnings.append(Problem(point.file, point.line, "high_alarm", what, "the alarm value of its place"))
