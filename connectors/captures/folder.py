"""The capture folder: `capture.toml`, `frames.*` (as seen), `samples.*` (as decoded), `site/`, `expected/`.

A capture is a folder that a person can read and trim: TOML and one JSON object a line; only the rows of a live capture
are binary. Every damage is a CaptureError that names file and line. A folder is made whole or not at all.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from mines.errors import CaptureError
from mines.site.problems import POINTS_FILES, SITE_TOML

SCHEMA = 1
HEADER_FILE = "capture.toml"
WIRE_FILE = "frames.jsonl"
SAMPLES_FILE = "samples.frames"
STATE_FILE = "state.jsonl"
PICTURE_FILE = "state.frames"
LEAD_FILE = "lead.frames"
SITE_FOLDER = "site"
EXPECTED_FOLDER = "expected"
SITE_FILES = ("site.toml", "points.csv")


class CaptureKind(StrEnum):
    """Where a capture comes from."""

    LIVE = "live"  # rows of our own record, with their ticks
    IMPORT = "import"  # other people's traffic


@dataclass(frozen=True, slots=True)
class CaptureHeader:
    """`capture.toml`. Times are [ms UTC], `from_ms` inclusive, `to_ms` exclusive.

    A live capture also has the boot it is from, its first tick and the next event seq at its start. `counts` says how
    many things the files hold, so that a missing tail is seen.
    """

    kind: CaptureKind
    software: str
    site_sha256: str
    from_ms: int
    to_ms: int
    origin: str = ""
    boot_id: str = ""
    first_tick: int = 0
    next_event_seq: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` when all went well and vanishes otherwise.

    Raises:
        CaptureError: `out` is there already and not empty: a capture is never written over.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CaptureError(f"{out}:0: folder: is there already; expected a new or empty folder")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if out.exists():
            out.rmdir()
        part.rename(out)
    except OSError as err:
        raise CaptureError(f"{out}:0: folder: cannot be written: {err.strerror}; expected a writable place") from err
    finally:
        shutil.rmtree(part, ignore_errors=True)


def copy_site(site_folder: Path, capture: Path) -> None:
    """The site's files as they are, so that its hash stays."""
    target = capture / SITE_FOLDER
    target.mkdir()
    for name in (SITE_TOML, *POINTS_FILES):
        if (site_folder / name).exists():
            shutil.copyfile(site_folder / name, target / name)


def write_header(folder: Path, header: CaptureHeader) -> None:
    """Writes `capture.toml`."""
    lines = [f"schema = {SCHEMA}"]
    plain = {each.name: getattr(header, each.name) for each in fields(header) if each.name != "counts"}
    lines += [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    lines += ["", "[counts]", *(f"{key} = {value}" for key, value in header.counts.items())]
    (folder / HEADER_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_header(folder: Path) -> CaptureHeader:
    """The header of a capture.

    Raises:
        CaptureError: there is none, or something in it is not what it must be.
    """
    path = folder / HEADER_FILE
    text = read_text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        at = re.search(r"\(at line (\d+)", str(err))
        line = int(at.group(1)) if at else text.count("\n") + 1
        raise CaptureError(f"{path}:{line}: syntax: {err}; expected TOML") from err
    return _HeaderReading(path, text, table).header()


def read_text(path: Path) -> str:
    """A text file of a capture."""
    try:
        data = path.read_bytes()
    except OSError as err:
        raise CaptureError(f"{path}:0: file: {err.strerror}; expected a file of a capture") from err
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise CaptureError(f"{path}:{line}: encoding: is not UTF-8; expected UTF-8 text") from err


def read_lines(path: Path) -> list[str]:
    """The lines of a text file of a capture; only a newline ends one, whatever else a text may hold."""
    text = read_text(path)
    return text.removesuffix("\n").split("\n") if text else []


def _toml_value(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


class _HeaderReading:
    """One parsed capture.toml."""

    def __init__(self, path: Path, text: str, table: Mapping[str, Any]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._table = table

    def header(self) -> CaptureHeader:
        known = {each.name for each in fields(CaptureHeader)} | {"schema"}
        for key in self._table:
            if key not in known:
                raise self._error(key, "is an unknown key", f"one of {', '.join(sorted(known))}")
        if self._integer("schema", None) != SCHEMA:
            raise self._error("schema", f"is {self._table['schema']}", f"{SCHEMA}")
        kind = self._text("kind", None)
        if kind not in set(CaptureKind):
            raise self._error("kind", f"is {kind!r}", f"one of {', '.join(CaptureKind)}")
        header = CaptureHeader(
            kind=CaptureKind(kind),
            software=self._text("software", None),
            site_sha256=self._text("site_sha256", None),
            from_ms=self._integer("from_ms", None),
            to_ms=self._integer("to_ms", None),
            origin=self._text("origin", ""),
            boot_id=self._text("boot_id", ""),
            first_tick=self._integer("first_tick", 0),
            next_event_seq=self._integer("next_event_seq", 1),
            counts=self._counts(),
        )
        if header.to_ms < header.from_ms:
            raise self._error("to_ms", f"is {header.to_ms}", f"at least from_ms, which is {header.from_ms}")
        return header

    def _text(self, key: str, default: str | None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self._error(key, f"is {value!r}", "a text")
        return value

    def _integer(self, key: str, default: int | None) -> int:
        value = self._value(key, default)
        if type(value) is not int:
            raise self._error(key, f"is {value!r}", "a whole number")
        return value

    def _counts(self) -> dict[str, int]:
        counts = self._table.get("counts", {})
        if not isinstance(counts, dict):
            raise self._error("counts", f"is {counts!r}", "a table [counts]")
        for key, value in counts.items():
            if type(value) is not int or value < 0:
                raise self._error(key, f"is {value!r}", "a whole number of at least 0")
        return counts

    def _value(self, key: str, default: object) -> object:
        if key not in self._table and default is None:
            raise self._error(key, "is missing", f"a line {key} = …")
        return self._table.get(key, default)

    def _error(self, key: str, what: str, expected: str) -> CaptureError:
        found = (number for number, line in enumerate(self._lines, 1) if re.match(rf"\s*\[?{re.escape(key)}\b", line))
        return CaptureError(f"{self._path}:{next(found, 0)}: {key}: {what}; expected {expected}")
