"""site.toml → its tables, with everything that is wrong in it. Pure: bytes in, tables and Problems out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mines.errors import Problem
from mines.model import Subsystem
from mines.site.problems import SITE_TOML, Findings, one_of, shown
from mines.site.source_table import SOURCE_KINDS, SourceTable
from mines.site.tables import (
    Certificate,
    MineTable,
    RunSettings,
    ShiftSettings,
    SiteTable,
    StorageTable,
    SubsystemTable,
    WebSettings,
)
from mines.site.text_file import decode
from mines.site.toml_lines import KeyPath, TomlLines, find_lines

SCHEMA: Final = 1
TABLES: Final = (
    "schema",
    "mine",
    "storage",
    "run",
    "shift",
    "web",
    "subsystem",
    "certificate",
    "source",
    "upload",
    "bureau",
)
"""Everything that may stand at the top of site.toml."""

_SOURCE_ID = re.compile(r"[a-z0-9_-]{1,64}")
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_Table = TypeVar("_Table", bound=SiteTable)


@dataclass(frozen=True, slots=True)
class SiteTables:
    """What site.toml says. A table with an error is left out, or stands with its defaults; the findings say which."""

    mine: MineTable | None
    storage: StorageTable
    run: RunSettings
    shift: ShiftSettings
    web: WebSettings
    subsystems: Mapping[Subsystem, SubsystemTable]
    certificates: tuple[Certificate, ...]
    sources: tuple[SourceTable, ...]
    source_ids: tuple[str, ...]  # every [source.ID], also one that is left out
    subsystem_ids: tuple[str, ...]  # likewise
    uploads: Mapping[str, Mapping[str, Any]]
    bureau: Mapping[str, Any]
    lines: TomlLines

    def problem(self, path: KeyPath, what: str, expected: str) -> Problem:
        """A Problem about a key of the file."""
        return _problem(self.lines, path, what, expected)


def read_tables(data: bytes, findings: Findings) -> SiteTables | None:
    """The tables of a site.toml; None where it is no TOML at all.

    Args:
        data: The file's bytes.
        findings: Gains everything that is wrong.
    """
    text = decode(data, SITE_TOML)
    if isinstance(text, Problem):
        findings.errors.append(text)
        return None
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        findings.errors.append(_syntax_problem(err, text))
        return None
    return _Reading(document, find_lines(text), findings).tables()


def _syntax_problem(err: Exception, text: str) -> Problem:
    if isinstance(err, RecursionError):
        return Problem(SITE_TOML, 0, "syntax", "is nested too deeply", "tables of at most a few levels")
    what = str(err)
    at = _AT_LINE.search(what)
    line = int(at.group(1)) if at else text.count("\n") + 1
    return Problem(SITE_TOML, line, "syntax", f"is no TOML: {_AT_LINE.sub('', what)}", "TOML 1.0")


class _Reading:
    """One pass over a parsed document; every method adds what it finds wrong."""

    def __init__(self, document: dict[str, Any], lines: TomlLines, findings: Findings) -> None:
        self._document = document
        self._lines = lines
        self._findings = findings

    def tables(self) -> SiteTables:
        self._check_top()
        sources = self._tables_of("source")
        subsystems = self._tables_of("subsystem")
        return SiteTables(
            mine=self._one("mine", MineTable),
            storage=self._one("storage", StorageTable) or StorageTable(),
            run=self._one("run", RunSettings) or RunSettings(),
            shift=self._one("shift", ShiftSettings) or ShiftSettings(),
            web=self._one("web", WebSettings) or WebSettings(),
            subsystems=self._subsystems(subsystems),
            certificates=self._certificates(),
            sources=tuple(filter(None, [self._source(name, table) for name, table in sources.items()])),
            source_ids=self._ids("source"),
            subsystem_ids=self._ids("subsystem"),
            uploads=self._tables_of("upload"),
            bureau=self._table("bureau") or {},
            lines=self._lines,
        )

    def _check_top(self) -> None:
        for key in self._document:
            if key not in TABLES:
                self._error((key,), "is unknown at the top of site.toml", one_of(TABLES, key))
        schema = self._document.get("schema")
        if "schema" not in self._document:
            self._error(("schema",), "is missing", f"schema = {SCHEMA}")
        elif type(schema) is not int or schema != SCHEMA:
            self._error(("schema",), f"is {shown(schema)}", f"{SCHEMA}, the only schema this version reads")

    def _table(self, *path: str) -> dict[str, Any] | None:
        """A table that may be left out; {} where it is; None where something else stands there."""
        value: Any = self._document
        for key in path:
            value = value.get(key, {})
        if isinstance(value, dict):
            return value
        self._error(path, f"is {shown(value)}", f"a table [{'.'.join(path)}]")
        return None

    def _tables_of(self, key: str) -> dict[str, dict[str, Any]]:
        """The tables `[key.ID]`, in file order."""
        found = {name: self._table(key, name) for name in self._table(key) or {}}
        return {name: table for name, table in found.items() if table is not None}

    def _ids(self, key: str) -> tuple[str, ...]:
        """What stands below a key, tables or not: a table with an error is still no missing one."""
        value = self._document.get(key)
        return tuple(value) if isinstance(value, dict) else ()

    def _one(self, key: str, model: type[_Table]) -> _Table | None:
        table = self._table(key)
        return None if table is None else self._validated(model, table, (key,))

    def _subsystems(self, tables: Mapping[str, dict[str, Any]]) -> dict[Subsystem, SubsystemTable]:
        found: dict[Subsystem, SubsystemTable] = {}
        known = tuple(Subsystem)
        for name, table in tables.items():
            if name not in known:
                self._error(("subsystem", name), "is no subsystem", one_of(known, name))
            elif read := self._validated(SubsystemTable, table, ("subsystem", name)):
                found[Subsystem(name)] = read
        return found

    def _certificates(self) -> tuple[Certificate, ...]:
        rows = self._document.get("certificate", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            self._error(("certificate",), f"is {shown(rows)}", "tables [[certificate]]")
            return ()
        read = [self._validated(Certificate, row, ("certificate", i)) for i, row in enumerate(rows)]
        numbers = [row.get("number") for row in rows]
        for i, number in enumerate(numbers):
            if number in numbers[:i] and isinstance(number, str):
                path = ("certificate", i, "number")
                self._error(path, f"is {shown(number)}, which stands above already", "each certificate once")
        return tuple(filter(None, read))

    def _source(self, name: str, table: dict[str, Any]) -> SourceTable | None:
        path = ("source", name)
        if not _SOURCE_ID.fullmatch(name):
            self._error(path, f"has the id {shown(name)}", 'an id of at most 64 of a-z, 0-9, "_" and "-"')
        kind = table.get("kind")
        if kind not in SOURCE_KINDS:
            what = "is missing" if "kind" not in table else f"is {shown(kind)}"
            self._error((*path, "kind"), what, one_of(SOURCE_KINDS, str(kind)))
            return None
        settings = {key: value for key, value in table.items() if key != "kind"}
        return SourceTable(name, str(kind), settings, SITE_TOML, self._lines.under(*path))

    def _validated(self, model: type[_Table], table: dict[str, Any], path: KeyPath) -> _Table | None:
        try:
            return model.model_validate(table)
        except ValidationError as err:
            for detail in err.errors(include_url=False, include_context=False):
                self._findings.errors.append(self._translated(detail, model, path))
            return None

    def _translated(self, detail: ErrorDetails, model: type[SiteTable], path: KeyPath) -> Problem:
        """One pydantic error in plain words."""
        key = str(detail["loc"][0])
        fields = model.model_fields
        where = (*path, *detail["loc"])
        if detail["type"] == "extra_forbidden":
            return _problem(
                self._lines,
                where,
                "is an unknown key",
                one_of(tuple(fields), key, f'docs/site-files.md, "[{path[0]}]"'),
            )
        expected = fields[key].description or "another value"
        if detail["type"] == "missing":
            return _problem(self._lines, where, "is missing", expected)
        return _problem(self._lines, where, f"is {shown(detail['input'])}", expected)

    def _error(self, path: KeyPath, what: str, expected: str) -> None:
        self._findings.errors.append(_problem(self._lines, path, what, expected))


def _problem(lines: TomlLines, path: KeyPath, what: str, expected: str) -> Problem:
    """Indices are left out of the key: the line says which element is meant."""
    key = ".".join(part for part in path if isinstance(part, str))
    return Problem(SITE_TOML, lines.line(*path), key, what, expected)
