"""One file of rules: TOML text → rules, with every mistake at its line. Pure; `rulebook.py` does the reading of files.

[defaults]            keys that every rule of the file has unless it says otherwise
[sources]             source key → where the text was read
[[rule]]
id, title_zh, title_en
edition, article      which text, which clause of it
valid_from, valid_to  dates; valid_to is the last day, absent = still in force
source, tag, verified where it was read, how well (tags of docs/score.md), whether the numbers may be relied on
unit, numbers, compare, words, note   what it says
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from mines.errors import Problem
from mines.site.text_file import decode
from mines.site.toml_lines import TomlLines, find_lines
from mines.units import UNITS

TAGS_READ: Final = ("V-TEXT", "VERIFIED", "VERIFIED-PLAN")
"""The clause itself was read: only these may stand beside `verified = true`."""

TAGS_NOT_READ: Final = ("V-SEC", "V-IMPL", "INFERRED", "RECALLED", "NOT FOUND", "derived", "exp", "project default")

OPERATORS: Final = (">=", ">", "<=", "<", "==")

_ID = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_TEXTS = ("id", "title_zh", "title_en", "edition", "article", "source", "tag", "unit", "note")
_OPTIONAL_TEXTS = ("unit", "note")
_TABLES = ("numbers", "compare", "words")
_KEYS = (*_TEXTS, *_TABLES, "valid_from", "valid_to", "verified")
_TOP_KEYS = ("defaults", "sources", "rule")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as data. `numbers` are in `unit` where it has one; `words` are texts of its family (`quote_zh`, …)."""

    id: str
    title_zh: str
    title_en: str
    edition: str
    article: str
    valid_from: date
    source: str
    tag: str
    verified: bool
    valid_to: date | None = None  # the last day; None = still in force
    unit: str | None = None  # a code of mines.units; None = the rule measures nothing
    numbers: Mapping[str, float] = field(default_factory=dict)
    compare: Mapping[str, str] = field(default_factory=dict)  # how a value compares with the number of that name
    words: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    file: str = ""
    line: int = 0

    def title(self, language: str) -> str:
        """The title in `zh` or `en`."""
        return self.title_en if language.startswith("en") else self.title_zh

    def in_force(self, day: date) -> bool:
        """True where the rule applies on that day."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    def to_json(self) -> dict[str, Any]:
        """What the rule says, as plain JSON: what the hash of a rulebook is over (where it stands is not in it)."""
        return {
            "id": self.id,
            "title_zh": self.title_zh,
            "title_en": self.title_en,
            "edition": self.edition,
            "article": self.article,
            "valid_from": self.valid_from.isoformat(),
            "valid_to": self.valid_to.isoformat() if self.valid_to else None,
            "source": self.source,
            "tag": self.tag,
            "verified": self.verified,
            "unit": self.unit,
            "numbers": {name: float(number) for name, number in self.numbers.items()},
            "compare": dict(self.compare),
            "words": dict(self.words),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What one file holds."""

    rules: tuple[Rule, ...]
    sources: Mapping[str, str]
    problems: tuple[Problem, ...]


def parse_rule_file(file: str, data: bytes) -> RuleFile:
    """The rules of one file, or everything that is wrong with it.

    Args:
        file: Its name, as it stands in a Problem.
        data: Its bytes, UTF-8.
    Returns:
        The rules that are whole, and the problems of the others; a text that is no TOML has one problem and no rule.
    """
    text = decode(data, file)
    if isinstance(text, Problem):
        return RuleFile((), {}, (text,))
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        return RuleFile((), {}, (_toml_problem(file, text, str(err)),))
    return _FileReader(file, document, find_lines(text)).read()


def _toml_problem(file: str, text: str, message: str) -> Problem:
    """tomllib names the line in its message only, or the end of the document."""
    match = re.search(r"\(at line (\d+), column \d+\)", message)
    line = int(match.group(1)) if match else text.count("\n") + 1
    return Problem(file, line, "TOML", message, "a TOML document")


class _FileReader:
    def __init__(self, file: str, document: dict[str, Any], lines: TomlLines) -> None:
        self._file = file
        self._document = document
        self._lines = lines
        self._problems: list[Problem] = []

    def read(self) -> RuleFile:
        for key in self._document:
            if key not in _TOP_KEYS:
                self._wrong((key,), key, "unknown key", " or ".join(_TOP_KEYS))
        defaults = self._table("defaults")
        sources = {key: text for key, text in self._table("sources").items() if isinstance(text, str)}
        tables = self._document.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables) or not tables:
            self._wrong(("rule",), "rule", "no rules", "[[rule]] tables")
            tables = []
        rules = [self._rule(number, {**defaults, **table}, sources) for number, table in enumerate(tables)]
        return RuleFile(tuple(rule for rule in rules if rule is not None), sources, tuple(self._problems))

    def _table(self, name: str) -> dict[str, Any]:
        table = self._document.get(name, {})
        if isinstance(table, dict):
            return table
        self._wrong((name,), name, "is no table", f"[{name}]")
        return {}

    def _rule(self, number: int, table: dict[str, Any], sources: Mapping[str, str]) -> Rule | None:
        mistakes = list(_mistakes(table, sources))
        for key, what, expected in mistakes:
            self._wrong(("rule", number, *key.split(".")), key, what, expected)
        if mistakes:
            return None
        numbers = {name: float(value) for name, value in table.get("numbers", {}).items()}
        compare = {name: sign for name, sign in table.get("compare", {}).items() if name in numbers}
        fields = {**table, "numbers": numbers, "compare": compare}
        return Rule(**fields, file=self._file, line=self._lines.line("rule", number))

    def _wrong(self, path: tuple[str | int, ...], key: str, what: str, expected: str) -> None:
        self._problems.append(Problem(self._file, self._lines.line(*path), key, what, expected))


Mistake = tuple[str, str, str]
"""Key, what is wrong, what is expected."""


def _mistakes(table: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Mistake]:
    for key in table:
        if key not in _KEYS:
            yield key, "unknown key", "one of " + ", ".join(_KEYS)
    yield from _wrong_texts(table, sources)
    yield from _wrong_dates(table)
    yield from _wrong_numbers(table)
    yield from _wrong_verification(table)


def _wrong_texts(table: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Mistake]:
    for key in _TEXTS:
        text = table.get(key)
        if text is None and key in _OPTIONAL_TEXTS:
            continue
        if not isinstance(text, str) or (not text.strip() and key not in _OPTIONAL_TEXTS):
            yield key, "missing" if text is None else "is no text", "a text"
    rule_id, source, unit = table.get("id"), table.get("source"), table.get("unit")
    if isinstance(rule_id, str) and not _ID.fullmatch(rule_id):
        yield "id", f'"{rule_id}"', "letters, digits and _, joined by dots"
    if isinstance(source, str) and source not in sources:
        yield "source", f'"{source}" is no key of [sources]', "one of " + ", ".join(sources)
    if isinstance(unit, str) and unit not in UNITS:
        yield "unit", f'"{unit}"', "a unit of mines/units.py"
    for name, text in _entries(table, "words"):
        if not isinstance(text, str):
            yield f"words.{name}", "is no text", "a text"


def _wrong_dates(table: Mapping[str, Any]) -> Iterator[Mistake]:
    first, last = table.get("valid_from"), table.get("valid_to")
    if not _is_date(first):
        yield "valid_from", "missing" if first is None else "is no date", "a date such as 2026-02-01"
    elif last is not None and not _is_date(last):
        yield "valid_to", "is no date", "a date such as 2026-02-01"
    elif last is not None and last < first:
        yield "valid_to", f"{last} is before valid_from {first}", "a later date"


def _wrong_numbers(table: Mapping[str, Any]) -> Iterator[Mistake]:
    for key in _TABLES:
        if not isinstance(table.get(key, {}), dict):
            yield key, "is no table", "{ name = … }"
    for name, number in _entries(table, "numbers"):
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            yield f"numbers.{name}", "is no finite number", "a number"
    for name, sign in _entries(table, "compare"):
        if sign not in OPERATORS:
            yield f"compare.{name}", f'"{sign}"', "one of " + " ".join(OPERATORS)


def _wrong_verification(table: Mapping[str, Any]) -> Iterator[Mistake]:
    """A number that nobody has read in the text itself must not be called verified."""
    verified, tag = table.get("verified"), table.get("tag")
    if not isinstance(verified, bool):
        yield "verified", "missing" if verified is None else "is no boolean", "true or false"
    if isinstance(tag, str) and tag not in (*TAGS_READ, *TAGS_NOT_READ):
        yield "tag", f'"{tag}"', "one of " + ", ".join((*TAGS_READ, *TAGS_NOT_READ))
    elif verified is True and tag not in TAGS_READ:
        yield "verified", f"true beside tag {tag}", "false, or a tag of " + ", ".join(TAGS_READ)


def _entries(table: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    entries = table.get(key, {})
    return iter(entries.items() if isinstance(entries, dict) else ())


def _is_date(value: object) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)
