"""The columns of points.csv: which there are, which there must be, and the header that names them."""

from __future__ import annotations

from typing import Final

from mines.errors import Problem
from mines.site.problems import any_of, one_of, shown

COLUMNS: Final = (
    "id",
    "name_zh",
    "name_en",
    "subsystem",
    "area",
    "location_code",
    "role",
    "principle",
    "sensor_code",
    "kind",
    "states",
    "unit",
    "decimals",
    "range_low",
    "range_high",
    "source",
    "address",
    "data_type",
    "byte_order",
    "scale",
    "offset",
    "sentinels",
    "period_s",
    "high_alarm",
    "high_clear",
    "high_cut",
    "high_restore",
    "low_alarm",
    "low_clear",
    "low_cut",
    "low_restore",
    "on_delay_s",
    "off_delay_s",
    "latch",
    "level",
    "rule",
    "relations",
    "upload_code",
    "formerly",
    "x",
    "y",
    "z",
)
"""All of them, in the order of design §4; a file may have them in any order."""

REQUIRED_CELLS: Final = ("id", "name_zh", "subsystem", "kind", "source", "address", "period_s")
"""What no row may leave empty."""

REQUIRED_COLUMNS: Final = (*REQUIRED_CELLS, "unit")
"""What the header must name; `unit` may be an empty cell (a pure number, a state), but nobody may forget it."""

_DOC = 'docs/site-files.md, "Columns"'


def header_problems(header: list[str], line: int, file: str) -> list[Problem]:
    """Everything that is wrong with a header row."""
    other = next((mark for mark in (";", "\t", "，") if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        return [Problem(file, line, "header", f"separates columns by {shown(other)}", 'a comma (",") between columns')]
    if not set(header) & set(COLUMNS):
        expected = f"a header row that begins like {','.join(COLUMNS[:4])}"
        return [Problem(file, line, "header", "names no known column", expected)]
    return [*_unknown(header, line, file), *_twice(header, line, file), *_missing(header, line, file)]


def _unknown(header: list[str], line: int, file: str) -> list[Problem]:
    problems = []
    for position, name in enumerate(header, start=1):
        if not name:
            what = f"column {position} has no name"
            problems.append(Problem(file, line, "header", what, "a column name, or no such column"))
        elif name not in COLUMNS:
            what = f"{shown(name)} is an unknown column"
            problems.append(Problem(file, line, name, what, one_of(COLUMNS, name, _DOC)))
    return problems


def _twice(header: list[str], line: int, file: str) -> list[Problem]:
    twice = [name for i, name in enumerate(header) if name in COLUMNS and name in header[:i]]
    return [Problem(file, line, name, "stands twice in the header", "each column once") for name in twice]


def _missing(header: list[str], line: int, file: str) -> list[Problem]:
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    expected = f"the columns {any_of(REQUIRED_COLUMNS).replace(' or ', ' and ')} in every file"
    return [Problem(file, line, name, "is missing in the header", expected) for name in missing]
