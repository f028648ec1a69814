"""Numbers in a `[source.ID]`: their bounds, and what is said of one outside them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mines.errors import Problem
from mines.site.source_table import SourceTable


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a numeric key: `above` is itself not allowed, `most` is; `expected` is for people."""

    whole: bool
    above: float
    most: float
    expected: str

    def accepts(self, value: object) -> bool:
        """True for a number within them; a truth value is no number."""
        kinds = (int,) if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.above < value <= self.most


def number_problems(table: SourceTable, bounds: Mapping[str, Bounds]) -> list[Problem]:
    """One problem for each key of the table that is out of its bounds; a missing key is none."""
    return [
        key_problem(table, key, f"is {table.settings[key]!r}", bound.expected)
        for key, bound in bounds.items()
        if key in table.settings and not bound.accepts(table.settings[key])
    ]


def key_problem(table: SourceTable, key: str, what: str, expected: str) -> Problem:
    """What is wrong with one key of a source, with its line."""
    return Problem(table.file, table.line(key), f"source.{table.id}.{key}", what, expected)
