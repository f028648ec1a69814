"""The cells of one row of a point list as values. What cannot be read is a Problem and counts as not given."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from mines.errors import Problem
from mines.site.problems import POINTS_CSV, one_of, shown
from mines.site.text_file import hidden_characters

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")
_ID = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_LONGEST_ID = 120
_TRUE = ("true", "yes", "1")
_FALSE = ("false", "no", "0")

AN_ID = f'a-z, 0-9 and "_" in parts joined by ".", at most {_LONGEST_ID} characters, e.g. gas.f1602.t1.ch4'


class Cells:
    """One row. Each method reads one column; `broken` holds the columns that could not be read."""

    def __init__(self, line: int, cells: Mapping[str, str], problems: list[Problem], *, file: str = POINTS_CSV) -> None:
        self.file = file
        self.line = line
        self.broken: set[str] = set()
        self._cells = cells
        self._problems = problems
        for column, text in cells.items():
            if hidden := hidden_characters(text):
                codes = ", ".join(f"U+{ord(c):04X}" for c in hidden)
                self.refuse(column, f"holds the control character {codes}", "visible characters")

    def refuse(self, column: str, what: str, expected: str) -> None:
        """Adds a Problem about a column of this row."""
        self.broken.add(column)
        self._problems.append(Problem(self.file, self.line, column, what, expected))

    def text(self, column: str) -> str:
        """The cell as it stands; "" where it is empty or there is no such column."""
        return self._cells.get(column, "")

    def needed(self, column: str, expected: str) -> str:
        """The cell of a column that no row may leave empty."""
        text = self.text(column)
        if not text and column in self._cells:  # a missing column is the header's Problem, once
            self.refuse(column, "is empty", expected)
        return text

    def id(self, column: str) -> str:
        """A dotted id, or "" ."""
        text = self.text(column)
        if text and not (_ID.fullmatch(text) and len(text) <= _LONGEST_ID):
            self._is(column, text, AN_ID)
        return text

    def word(self, column: str, words: Sequence[str], where: str = "") -> str:
        """A word of a closed list, or ""."""
        text = self.text(column)
        if text and text not in words:
            self._is(column, text, one_of(words, text, where))
        return text

    def number(self, column: str) -> float | None:
        """A finite decimal number; None where the cell is empty."""
        text = self.text(column)
        value = _finite(text)
        if text and value is None:
            self._is(column, text, "a number, e.g. 1.5")
        return value

    def number_or(self, column: str, default: float, expected: str = "", *, least: float = -math.inf) -> float:
        """A number that is at least `least`; `default` where the cell is empty or could not be read."""
        value = self.number(column)
        if value is None:
            return default
        if value < least:
            self._is(column, self.text(column), expected)
        return value

    def integer(self, column: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`; `default` where the cell is empty."""
        text = self.text(column)
        if not text:
            return default
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            self._is(column, text, f"a whole number from {low} to {high}")
            return default
        return int(text)

    def truth(self, column: str) -> bool:
        """true or false, as spreadsheets write them; False where the cell is empty."""
        text = self.text(column)
        if text and text.lower() not in _TRUE + _FALSE:
            self._is(column, text, "true or false")
        return text.lower() in _TRUE

    def numbers(self, column: str) -> tuple[float, ...]:
        """Numbers separated by `|`."""
        text = self.text(column)
        values = [_finite(part.strip()) for part in text.split("|")] if text else []
        if None in values:
            self._is(column, text, "numbers separated by |, e.g. -9999|32767")
        return tuple(value for value in values if value is not None)

    def states(self, column: str) -> dict[int, str]:
        """`VALUE:WORD|VALUE:WORD` as value → word."""
        text = self.text(column)
        found: dict[int, str] = {}
        for part in text.split("|") if text else []:
            value, colon, word = (piece.strip() for piece in part.partition(":"))
            if not (colon and word and _INTEGER.fullmatch(value)):
                self._is(column, text, "VALUE:WORD|VALUE:WORD with whole numbers, e.g. 0:停|1:开")
                return {}
            if int(value) in found:
                self.refuse(column, f"has the value {value} twice", "each value once")
                return {}
            found[int(value)] = word
        return found

    def _is(self, column: str, text: str, expected: str) -> None:
        if column not in self.broken:  # a cell that is told to hold a control character is not told twice
            self.refuse(column, f"is {shown(text)}", expected)


def _finite(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None
