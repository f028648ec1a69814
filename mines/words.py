"""Every word a person sees that stands for a code: `words.csv` with columns code, zh, en. One word, one meaning.

Codes are dotted by family: `quality.timeout`, `event.alarm_raised`, `limit.high_cut`, `subsystem.gas`,
`link.lost`, `freshness.stale`, `statement.every_page` (the sentences of domain/wording that must stand).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


@cache
def _table() -> dict[str, tuple[str, str]]:
    text = files("mines").joinpath("words.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["code"]: (row["zh"], row["en"]) for row in rows}


def word(code: str, language: str = "zh") -> str:
    """The word for a code in `zh` or `en`; Chinese where there is no English.

    Raises:
        KeyError: the code is in no row of words.csv, which is a defect.
    """
    zh, en = _table()[code]
    return en if language.startswith("en") and en else zh


def link_error(error: str, language: str = "zh") -> str:
    """The word for a link report's `last_error`; what no row knows (a status name, an exception's text) stays as it is.

    `exception 2`, `source_defect: KeyError`, `certificate expired: 2026-10-01 < 2026-11-25` keep what follows the word.
    """
    if f"link_error.{error}" in _table():
        return word(f"link_error.{error}", language)
    for first in ("exception", "source_defect", error.partition(": ")[0]):
        if error.startswith(first) and f"link_error.{first}" in _table():
            return f"{word(f'link_error.{first}', language)}{error.removeprefix(first)}"
    return error


def codes() -> frozenset[str]:
    """Every code that has a word."""
    return frozenset(_table())
