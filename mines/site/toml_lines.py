"""Key → line for a TOML text that `tomllib` has accepted: tomllib itself gives no line numbers.

It knows `[table]`, `[[array]]`, dotted and quoted keys, values over many lines and inline tables. A path is a tuple of
keys, with the 0-based index for an element of an array: `("certificate", 0, "number")`.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")
_STRINGS = {
    '"""': re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''.*?'{3,5}", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\]|\\.)*"'),
    "'": re.compile(r"'[^']*'"),
}


class TomlLines:
    """Where every key of one TOML text stands."""

    def __init__(self, lines: Mapping[KeyPath, int]) -> None:
        self._lines = lines

    def line(self, *path: str | int) -> int:
        """The 1-based line of a key; of the nearest table around it where the key is not there; 0 = none of it is."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return 0

    def under(self, *path: str | int) -> dict[str, int]:
        """Lines of everything below a table, by dotted key relative to it; the table's own line under ""."""
        depth = len(path)
        below = {
            ".".join(map(str, p[depth:])): n for p, n in self._lines.items() if len(p) > depth and p[:depth] == path
        }
        return {"": self.line(*path), **below}


def find_lines(text: str) -> TomlLines:
    """The lines of every key in a TOML text.

    Args:
        text: Valid TOML, as tomllib accepted it.
    """
    return TomlLines(_Scanner(text).scan())


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._array_lengths: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            before = self._at
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
            if self._at == before:  # not reached on valid TOML; a start must never hang on a file
                break
        return self._lines

    def _header(self) -> KeyPath:
        start = self._at
        is_array = self._text.startswith("[[", start)
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        table = self._resolved(keys[:-1]) + keys[-1:]
        if is_array:
            index = self._array_lengths.get(table, 0)
            self._array_lengths[table] = index + 1
            table += (index,)
        self._record(table, start)
        return table

    def _resolved(self, keys: KeyPath) -> KeyPath:
        """A header's path with the index of the latest element wherever a key names an array of tables."""
        path: KeyPath = ()
        for key in keys:
            path += (key,)
            if path in self._array_lengths:
                path += (self._array_lengths[path] - 1,)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table + self._keys()
        self._record(path, start)
        self._at += 1  # the =
        self._value(path)

    def _keys(self) -> KeyPath:
        keys: list[str] = []
        while True:
            self._skip(_SPACES)
            keys.append(self._key())
            self._skip(_SPACES)
            if not self._text.startswith(".", self._at):
                return tuple(keys)
            self._at += 1

    def _key(self) -> str:
        raw = self._string() or self._skip(_BARE_KEY)
        return str(tomllib.loads(f"key = {raw}")["key"]) if raw[:1] in ("'", '"') else raw

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACES)
        if self._text.startswith("[", self._at):
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        elif not self._string():
            self._skip(_BARE_VALUE)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        self._skip(_BLANK)
        index = 0
        while self._at < len(self._text) and self._text[self._at] != "]":
            self._record((*path, index), self._at)
            self._value((*path, index))
            index += 1
            self._comma()
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._at < len(self._text) and self._text[self._at] != "}":
            self._pair(path)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1
        self._skip(_BLANK)

    def _string(self) -> str:
        for opening, pattern in _STRINGS.items():
            if self._text.startswith(opening, self._at):
                return self._skip(pattern)
        return ""

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _record(self, path: KeyPath, at: int) -> None:
        line = bisect_left(self._newlines, at) + 1
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
