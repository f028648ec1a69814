"""points.xlsx → rows with the sheet's row numbers. A cell whose value is not what a person sees in it is refused.

Excel turns what is typed into dates, rounds long numbers, keeps 1 % as 0.01 and 0043 as 43, and computes: each is a
Problem with row, column and cell, never a guess. A workbook is a zip of XML from anywhere: its size is looked at first.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mines.errors import Problem
from mines.site.csv_rows import Row
from mines.site.problems import POINTS_XLSX, number, shown

MOST_BYTES: Final = 20_000_000
MOST_UNPACKED_BYTES: Final = 64_000_000
MOST_ROWS: Final = 100_000
MOST_COLUMNS: Final = 256
"""Sizes of a workbook that is read; project limits, far above any mine's list."""
SHEET: Final = "points"

_LAST_ROW = 1_048_576  # of any spreadsheet
_LONGEST_EXACT = 10**15  # Excel keeps 15 digits
_PADDED = re.compile(r"0{2,}")
_QUOTED = re.compile(r'"[^"]*"|\\.')
_TRUTHS = ("latch",)
_TEXT_CELL = "a text cell: format the column as text (文本), then type it again"
_MERGE = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"')

_PLACE = re.compile(rb'<(?:\w+:)?(?:row|c)\s(?:[^>]*?\s)?r="([A-Z]{0,3})([0-9]{1,10})"')

_GOOD_FILE = "a workbook as Excel or WPS saves it (.xlsx)"
_NO_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
_NO_BOOK = (*_NO_ZIP, ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError)
"""What zipfile, the XML parser and openpyxl raise on a file that is damaged, or is something else."""


def sheet_rows(data: bytes) -> list[Row | Problem]:
    """Every row that is not blank, as texts without the white space around them, as wide as the header or wider.

    Args:
        data: The file's bytes.
    Returns:
        Rows in order, the first is the header; a Problem for each cell that may mean something else than it shows, in
        place of its row, or for the workbook as a whole.
    """
    problem = _unsafe(data)
    if problem is not None:
        return [problem]
    from openpyxl.reader.excel import load_workbook  # a fifth of a second: only where there is a workbook

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that hold no cell: validations, styles
        try:
            book = load_workbook(io.BytesIO(data), read_only=True, keep_links=False)
            sheet = _sheet(book)
            if isinstance(sheet, Problem):
                return [sheet]
            with zipfile.ZipFile(io.BytesIO(data)) as parts:
                body = parts.read(sheet._worksheet_path)
            return [*_disorder(body), *_merges(body), *_rows(sheet)]
        except _NO_BOOK as err:
            return [_whole(f"cannot be read: {_plain(err)}", _GOOD_FILE)]


def _unsafe(data: bytes) -> Problem | None:
    """What makes a file not worth opening; nothing is unpacked for it but the beginnings of its parts."""
    if len(data) > MOST_BYTES:
        return _whole(f"has {len(data)} bytes", f"at most {MOST_BYTES} bytes")
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return _whole("is an old .xls, or has a password", "a .xlsx workbook without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
            if unpacked > MOST_UNPACKED_BYTES:
                return _whole(f"unpacks to {unpacked} bytes", f"at most {MOST_UNPACKED_BYTES} bytes")
            for part in parts.infolist():
                with parts.open(part) as opened:
                    if b"<!DOCTYPE" in opened.read(2000):
                        return _whole("defines entities of its own", _GOOD_FILE)
    except _NO_ZIP as err:
        return _whole(f"is no workbook: {_plain(err)}", _GOOD_FILE)
    return None


def _sheet(book: Any) -> Any | Problem:  # noqa: ANN401 - openpyxl's own classes
    """The sheet called points, or the only one."""
    if SHEET in book.sheetnames:
        sheet = book[SHEET]
    elif len(book.sheetnames) == 1:
        sheet = book[book.sheetnames[0]]
    else:
        return _whole(f"has {len(book.sheetnames)} sheets, none called {SHEET}", f"one sheet, or one called {SHEET}")
    if not hasattr(sheet, "reset_dimensions"):
        return _whole("has a chart in place of its sheet", "a sheet with a header row and a row for each point")
    return sheet


def _disorder(body: bytes) -> Iterator[Problem]:
    """The first row or cell that does not stand behind the one before it: openpyxl would leave it out unsaid."""
    last = (0, 0, b"")
    for match in _PLACE.finditer(body):
        column, row = match[1], int(match[2])
        place = (row, len(column), column)  # a row stands before its cells, Z before AA
        if place <= last:
            what = f"has {(column + match[2]).decode('ascii')} out of its order"
            yield Problem(POINTS_XLSX, min(row, _LAST_ROW), "row", what, _GOOD_FILE)
            return
        last = place


def _merges(body: bytes) -> Iterator[Problem]:
    """Merged cells: only the first of them has a value, the others look filled and are empty."""
    for match in _MERGE.finditer(body):
        first, row, last, end = (part.decode("ascii") for part in match.groups())
        what = f"cells {first}{row}:{last}{end} are merged: only {first}{row} holds the value"
        yield Problem(POINTS_XLSX, int(row), f"column {first}", what, "cells that are not merged, each with its value")


def _rows(sheet: Any) -> Iterator[Row | Problem]:  # noqa: ANN401
    header: list[str] | None = None
    sheet.reset_dimensions()  # what the file says of its size need not be true
    for line, cells in enumerate(sheet.rows, start=1):
        filled = _trimmed(cells)
        if line > _LAST_ROW or (filled and line > MOST_ROWS):
            yield Problem(POINTS_XLSX, line, "row", "is too far down", f"at most {MOST_ROWS} rows")
            return
        if not filled:
            continue
        if len(filled) > MOST_COLUMNS:
            yield Problem(POINTS_XLSX, line, "row", f"has {len(filled)} cells", f"at most {MOST_COLUMNS} columns")
            return
        names = header or []
        problems = [problem for i, cell in enumerate(filled) if (problem := _refused(line, _column(names, i), cell))]
        yield from problems
        if problems and header is not None:
            continue
        texts = [_text(cell.value) for cell in filled]
        header = header or texts
        yield line, texts + [""] * (len(header) - len(texts))


def _trimmed(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells up to the last that is not blank; none of a blank row."""
    width = len(cells)
    while width and not _text(cells[width - 1].value):
        width -= 1
    return cells[:width]


def _column(header: Sequence[str], position: int) -> str:
    from openpyxl.utils.cell import get_column_letter

    name = header[position] if position < len(header) else ""
    return name or f"column {get_column_letter(position + 1)}"


def _refused(line: int, column: str, cell: Any) -> Problem | None:  # noqa: ANN401
    """What makes a cell mean something else than a person sees in it; None where nothing does."""
    if cell.value is None:
        return None
    found = _trap(column, cell.value, cell.data_type, cell.number_format or "")
    if found is None:
        return None
    what, expected = found
    return Problem(POINTS_XLSX, line, column, f"cell {cell.coordinate} {what}", expected)


def _trap(column: str, value: object, data_type: str, number_format: str) -> tuple[str, str] | None:
    if data_type == "f":
        return "holds a formula", "its value: copy it and paste as values (选择性粘贴 → 数值)"
    if data_type == "e":
        return f"holds the error {value}", "a value or an empty cell"
    if isinstance(value, dt.datetime | dt.date | dt.time | dt.timedelta):
        return f"holds the date or time {value}, into which the spreadsheet turned what was typed", _TEXT_CELL
    if isinstance(value, bool):
        return None if column in _TRUTHS else (f"holds the truth value {shown(value)}", _TEXT_CELL)
    return _number_trap(value, number_format) if isinstance(value, int | float) else None


def _number_trap(value: float, number_format: str) -> tuple[str, str] | None:
    shape = _QUOTED.sub("", number_format)
    if abs(value) >= _LONGEST_EXACT:
        return f"holds a number of more than 15 digits, {value:g}: the spreadsheet has rounded it", _TEXT_CELL
    if "%" in shape:
        return f"shows a percentage and holds {number(value)}", "the plain number in the unit of the row, e.g. 1.5"
    if _PADDED.fullmatch(shape):
        return f"shows zeros before {number(value)} that it does not hold", _TEXT_CELL
    return None


def _text(value: object) -> str:
    """A cell as the same cell of a CSV would say it: 1.0 is 1, 0.1 is 0.1."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, int | float) else str(value).strip()


def _whole(what: str, expected: str) -> Problem:
    return Problem(POINTS_XLSX, 0, "file", what, expected)


def _plain(err: BaseException) -> str:
    return " ".join(str(err).split())[:120]
