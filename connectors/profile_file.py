"""Device profiles: how gently a type of device is read, what it must never be asked, and a template of its points.

`connectors/profiles/NAME.toml`:
title_zh, title_en, kind, subsystem   what it is; kind is modbus or opcua
source, verified, note                where it comes from; verified = held against the maker's manual or the device
max_registers … response_ms           as in `[source.ID.unit.N]`; left out = the profile says nothing of it
byte_order                            order that its wide values come in; left out = not known
[[never_read]]                        table, first, last, why: registers whose reading changes the device
[identity] [signature]                what tells such a device from another one
[[point]]                             a template row; a point without `address` has its register from the engineer
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib.resources import files
from typing import Any, Final

from connectors.modbus.address import MAX_REGISTER, AddressError, Table, parse_address
from connectors.modbus.unit_settings import DEVICE_KEYS, NUMBERS
from mines.errors import ConfigError, Problem
from mines.model import PointKind, Subsystem
from mines.site.point_row import BYTE_ORDERS, DATA_TYPES
from mines.site.problems import any_of, in_order, one_of, shown
from mines.site.roles import ROLES
from mines.site.text_file import decode
from mines.site.toml_lines import KeyPath, TomlLines, find_lines
from mines.units import UNITS

KINDS: Final = ("modbus", "opcua")
WIDE_ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")

_NAME = re.compile(r"[a-z0-9_]{1,64}")
_DOC = "docs/site-files.md"


@dataclass(frozen=True, slots=True)
class RegisterRange:
    """Registers, or bits, of one table from `first` to `last`, both included, and why nothing may read them."""

    table: str
    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """A point that such a device usually has: a row of a point list without its place. "" and None = not known.

    `address` is TABLE/REGISTER[.BIT] without the unit (Modbus), or a node id (OPC UA); `unit` a code of mines.units.
    """

    id: str  # the last part of the point's id
    name_zh: str
    name_en: str
    kind: str
    unit: str
    role: str = ""
    address: str = ""
    data_type: str = ""
    byte_order: str = ""
    scale: float | None = None  # None = 1, or to be found by the engineer: the note says so
    offset: float = 0.0
    decimals: int = 2
    states: str = ""  # VALUE:WORD|VALUE:WORD
    note: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one type of device. None = the profile says nothing of it."""

    name: str
    title_zh: str
    title_en: str
    kind: str
    source: str
    verified: bool
    subsystem: str = ""
    note: str = ""
    max_registers: int | None = None
    max_bits: int | None = None
    max_gap: int | None = None
    timeout_s: float | None = None
    response_ms: float | None = None  # typical time until it begins to answer, for forecasts only
    delay_ms: float | None = None
    byte_order: str | None = None
    never_read: tuple[RegisterRange, ...] = ()
    identity: Mapping[str, Any] | None = None
    signature: Mapping[str, Any] | None = None
    points: tuple[ProfilePoint, ...] = ()

    def title(self, language: str) -> str:
        """The title in `zh` or `en`."""
        return self.title_en if language.startswith("en") else self.title_zh


def profile_names() -> tuple[str, ...]:
    """Names of all profiles that come with this version, in order."""
    found = (file.name for file in files("connectors").joinpath("profiles").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ConfigError: there is none, or its file is wrong; with everything that is wrong in it.
    """
    names = profile_names()
    if name not in names:
        raise ConfigError([Problem("profiles", 0, "profile", f"is {shown(name)}", one_of(names, name))])
    data = files("connectors").joinpath("profiles", f"{name}.toml").read_bytes()
    return parse_profile(name, data)


def parse_profile(name: str, data: bytes) -> Profile:
    """The profile in the bytes of a file.

    Args:
        name: Of the profile: its file's name without `.toml`.
        data: UTF-8 TOML.
    Raises:
        ConfigError: everything that is wrong in it, each with its line.
    """
    file = f"profiles/{name}.toml"
    text = decode(data, file)
    if isinstance(text, Problem):
        raise ConfigError([text])
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError([Problem(file, 0, "syntax", f"is no TOML: {err}", "TOML 1.0")]) from err
    reading = _Reading(file, document, find_lines(text))
    profile = reading.profile(name)
    if profile is None:
        raise ConfigError(in_order(reading.problems))
    return profile


Check = Callable[[object], bool]


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _any_text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _word(*words: str) -> tuple[Check, str]:
    return (lambda value: value in words), any_of([word for word in words if word])


_A_TEXT: Final = (_text, "a text")
_ANY_TEXT: Final = (_any_text, "a text")
_A_TABLE: Final = ((lambda value: isinstance(value, dict)), "a table")
_TABLES: Final = ((lambda value: isinstance(value, list) and all(isinstance(t, dict) for t in value)), "tables")
_A_REGISTER: Final = (
    (lambda value: type(value) is int and 0 <= value <= MAX_REGISTER),
    f"a whole number from 0 to {MAX_REGISTER}",
)

_PROFILE_KEYS: Final[Mapping[str, tuple[Check, str]]] = {
    "title_zh": _A_TEXT,
    "title_en": _A_TEXT,
    "kind": _word(*KINDS),
    "source": _A_TEXT,
    "verified": ((lambda value: isinstance(value, bool)), "true or false"),
    "subsystem": _word(*Subsystem),
    "note": _ANY_TEXT,
    **{key: (bounds.accepts, bounds.expected) for key, bounds in NUMBERS.items()},
    "byte_order": _word(*WIDE_ORDERS),
    **dict.fromkeys(DEVICE_KEYS, _A_TABLE),
    "never_read": _TABLES,
    "point": _TABLES,
}
_RANGE_KEYS: Final[Mapping[str, tuple[Check, str]]] = {
    "table": _word(*Table),
    "first": _A_REGISTER,
    "last": _A_REGISTER,
    "why": _A_TEXT,
}
_POINT_KEYS: Final[Mapping[str, tuple[Check, str]]] = {
    "id": ((lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value))), "a-z, 0-9 and _"),
    "name_zh": _A_TEXT,
    "name_en": _A_TEXT,
    "kind": _word(*PointKind),
    "unit": ((lambda value: value in UNITS), f'a code of {_DOC}, "Units"'),
    "role": ((lambda value: value in ROLES), f'a word of {_DOC}, "Roles"'),
    "address": _A_TEXT,
    "data_type": _word(*DATA_TYPES),
    "byte_order": _word(*BYTE_ORDERS),
    "scale": ((lambda value: _number(value) and value != 0), "a number other than 0"),
    "offset": (_number, "a number"),
    "decimals": ((lambda value: type(value) is int and 0 <= value <= 9), "a whole number from 0 to 9"),
    "states": _A_TEXT,
    "note": _A_TEXT,
}


def _needed(model: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(model) if f.default is MISSING and f.default_factory is MISSING)


class _Reading:
    """One pass over a document; every method adds what it finds wrong."""

    def __init__(self, file: str, document: dict[str, Any], lines: TomlLines) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._document = document
        self._lines = lines

    def profile(self, name: str) -> Profile | None:
        if not _NAME.fullmatch(name):
            self._wrong((), "file", f"is called {shown(name)}", "a name of a-z, 0-9 and _")
        table = self._document
        self._check(table, (), _PROFILE_KEYS, _needed(Profile) - {"name"})
        ranges, points = self._rows("never_read"), self._rows("point")
        for i, row in ranges:
            self._check(row, ("never_read", i), _RANGE_KEYS, frozenset(_RANGE_KEYS))
        for i, row in points:
            self._check(row, ("point", i), _POINT_KEYS, _needed(ProfilePoint))
        if not self.problems:
            self._relations(ranges, points)
        if self.problems:
            return None
        own = {key: value for key, value in table.items() if key not in ("never_read", "point")}
        return Profile(
            name=name,
            never_read=tuple(RegisterRange(**row) for _, row in ranges),
            points=tuple(ProfilePoint(**row) for _, row in points),
            **own,
        )

    def _rows(self, key: str) -> list[tuple[int, dict[str, Any]]]:
        rows = self._document.get(key, [])
        return [(i, row) for i, row in enumerate(rows) if isinstance(row, dict)] if isinstance(rows, list) else []

    def _check(
        self, table: Mapping[str, Any], path: KeyPath, keys: Mapping[str, tuple[Check, str]], needed: frozenset[str]
    ) -> None:
        for key, value in table.items():
            if key not in keys:
                self._wrong((*path, key), key, "is an unknown key", one_of(tuple(keys), key))
            elif not keys[key][0](value):
                self._wrong((*path, key), key, f"is {shown(value)}", keys[key][1])
        for key in sorted(needed - table.keys()):
            self._wrong(path, key, "is missing", keys[key][1])

    def _relations(self, ranges: list[tuple[int, dict[str, Any]]], points: list[tuple[int, dict[str, Any]]]) -> None:
        """What is wrong between keys that are each right."""
        modbus = self._document["kind"] == "modbus"
        for key in () if modbus else (*NUMBERS, "never_read", "byte_order"):
            if key in self._document and key != "timeout_s":
                self._wrong((key,), key, "is given for OPC UA", "only for modbus")
        for key, problem_of in _device_checks().items():
            if key in self._document and (expected := problem_of(self._document[key])):
                self._wrong((key,), key, "cannot be compared with", expected)
        for i, row in ranges:
            if row["last"] < row["first"]:
                self._wrong(("never_read", i, "last"), "last", f"is before first {row['first']}", "first or more")
        for i, row in points:
            for key, what, expected in _point_mistakes(row, modbus=modbus):
                self._wrong(("point", i, key), key, what, expected)
            if row["id"] in [other["id"] for _, other in points[:i]]:
                self._wrong(("point", i, "id"), "id", f"is {shown(row['id'])}, as above", "each id once")

    def _wrong(self, path: KeyPath, key: str, what: str, expected: str) -> None:
        self.problems.append(Problem(self._file, self._lines.line(*path) if path else 0, key, what, expected))


def _device_checks() -> dict[str, Callable[[object], str]]:
    """What says what is wrong with a table that tells a device from another one."""
    from connectors.modbus.device_check import identity_problem, signature_problem  # loads the codec: only for profiles

    return {"identity": identity_problem, "signature": signature_problem}


def _point_mistakes(row: Mapping[str, Any], *, modbus: bool) -> Iterator[tuple[str, str, str]]:
    if modbus and "address" in row:
        try:
            address = parse_address(f"1/{row['address']}")
        except AddressError as err:
            yield "address", err.what, "TABLE/REGISTER or TABLE/REGISTER.BIT without a unit, e.g. holding/36"
        else:
            if not address.table.of_bits and address.bit is None and "data_type" not in row:
                yield "data_type", "is missing beside a register", any_of(DATA_TYPES)
    if (row["kind"] == PointKind.MULTISTATE) and "states" not in row:
        yield "states", "is missing on a multistate point", "VALUE:WORD|VALUE:WORD"
