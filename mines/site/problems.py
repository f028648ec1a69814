"""How a mistake is put into words: what stands there, what was meant perhaps, what may stand there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from difflib import get_close_matches

from mines.errors import Problem

SITE_TOML = "site.toml"
POINTS_CSV = "points.csv"
POINTS_XLSX = "points.xlsx"
POINTS_FILES = (POINTS_CSV, POINTS_XLSX)
"""What a point list may be called; a site has one of them."""

_LONGEST_SHOWN = 60
_LONGEST_LIST = 14


@dataclass(slots=True)
class Findings:
    """What reading the site turned up so far: errors refuse the site, warnings are told."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems by file and line, as a person mends them."""
    return tuple(sorted(problems, key=lambda p: (p.file, p.line, p.key, p.what)))


def shown(value: object) -> str:
    """A value as a person can read it in a message: short, on one line, with invisible characters spelled out."""
    if isinstance(value, str):
        return f'"{_printable(value)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _shortened(number(value))
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return _shortened(f"[{', '.join(shown(item) for item in value)}]")
    if isinstance(value, date | time):
        return value.isoformat()
    return f"a {type(value).__name__}"


def number(value: float) -> str:
    """A number without a needless fraction: 1.0 → 1."""
    return format(value, ".15g") if isinstance(value, float) else str(value)


def one_of(words: Sequence[str], given: str, where: str = "") -> str:
    """The expectation for a closed list: the list where it is short, else where it stands; with the nearest words.

    Args:
        words: What may stand there.
        given: What stands there; chooses the nearest words.
        where: Where a long list is written down, e.g. `docs/site-files.md, "role"`.
    """
    nearest = get_close_matches(given, words, n=3, cutoff=0.6) if len(words) > 1 else []
    hint = f" (did you mean {any_of(nearest)}?)" if nearest else ""
    if len(words) <= _LONGEST_LIST or not where:
        return any_of(words) + hint
    return f"one of the {len(words)} in {where}{hint}"


def any_of(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"


def _printable(text: str) -> str:
    return _shortened("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
