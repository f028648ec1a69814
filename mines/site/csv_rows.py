"""CSV text → rows with the line each begins on. A broken row is a Problem; the rows after it are read on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from mines.errors import Problem
from mines.site.problems import POINTS_CSV

Row = tuple[int, list[str]]


def csv_rows(text: str) -> Iterator[Row | Problem]:
    """Every row that is not blank, cells without the white space around them; a Problem for one that is no CSV.

    The line is where the row begins, so that a line break inside quotes shifts nothing.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as err:
            yield _broken(line, err)
            continue
        if any(cells):
            yield line, cells


def _broken(line: int, err: csv.Error) -> Problem:
    if "unexpected end of data" in str(err):
        return Problem(POINTS_CSV, line, "quotes", "opens a quote that is never closed", 'a closing " in this row')
    return Problem(
        POINTS_CSV, line, "quotes", f"is no CSV row: {err}", 'cells in plain text or in "…", a " inside as ""'
    )
