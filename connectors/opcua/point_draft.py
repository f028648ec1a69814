"""Variables of a server as a draft of points.csv: a beginning for a person, never a finished list. Pure.

Subsystem, role, limits and Chinese names are nowhere on the wire; what cannot be a point is left out and counted.
"""

from __future__ import annotations

import base64
import csv
import io
import math
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.opcua.nodes import OPCUA_NAMESPACE
from connectors.opcua.walk import Node, Variable
from mines.model import Subsystem
from mines.site.columns import COLUMNS
from mines.units import UNITS

_READ: Final = 1  # bits of AccessLevel, Part 3, 8.57
_HISTORY_READ: Final = 4
_ARRAYS: Final = 0  # ValueRank from here on: at least one dimension
_DEFAULT_PERIOD_S: Final = 1.0  # project default, where a server tells no sampling interval
_LONGEST_PERIOD_S: Final = 10.0  # project default: what no gas point may exceed
_LONGEST_ID: Final = 64
# Built-in types of namespace 0 (Part 6, 5.1.2) → data_type of points.csv, "" where it has no such word.
_NUMBERS: Final = {
    2: "", 3: "", 4: "int16", 5: "uint16", 6: "int32", 7: "uint32", 8: "int64", 9: "uint64", 10: "float32",
    11: "float64", 26: "", 27: "", 28: "", 29: "",
}  # fmt: skip
_BOOLEAN: Final = 1
# Names of EngineeringUnits as servers write them → codes of mines/units.py; those that are equal need no entry.
_UNIT_NAMES: Final = {
    "°c": "degC", "℃": "degC", "c": "degC", "cel": "degC", "m³": "m3", "m³/h": "m3/h", "m³/min": "m3/min",
    "rpm": "r/min", "°": "deg", "% ch4": "%CH4", "mg/m³": "mg/m3", "% rh": "%RH",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a variable says of itself; None = it did not say."""

    data_type: Node | None = None
    value_rank: int | None = None
    access: int | None = None
    sampling_ms: float | None = None
    historizing: bool = False
    unit: str = ""  # as the server writes it
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()  # of an enumeration, from 0 on

    @property
    def history(self) -> bool:
        """True where its history may be read."""
        return bool((self.access or 0) & _HISTORY_READ)


@dataclass(frozen=True, slots=True)
class Draft:
    """The rows, and how many variables are no points for which reason."""

    rows: tuple[dict[str, str], ...]
    left_out: Counter[str]
    unknown_units: Counter[str]

    def text(self) -> str:
        """Text of points.csv, every column."""
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()


def draft_points(
    found: Sequence[tuple[Variable, Attributes]], namespaces: Sequence[str], *, source: str, subsystem: Subsystem
) -> Draft:
    """A row for every variable that may be a point, in the order of the walk.

    Args:
        found: Variables with their attributes.
        namespaces: The server's NamespaceArray.
        source: The `[source.ID]` that the rows name.
        subsystem: That the rows name until a person says better.
    """
    rows, left_out, unknown_units, ids = [], Counter[str](), Counter[str](), Counter[str]()
    for variable, attributes in found:
        reason = _no_point(attributes)
        address = None if reason else address_text(variable.node, namespaces)
        if reason or address is None:
            left_out[reason or "unknown namespace"] += 1
            continue
        unit = unit_code(attributes.unit)
        if unit is None:
            unknown_units[attributes.unit] += 1
        kind = "switch" if attributes.data_type == (0, _BOOLEAN) else "multistate" if attributes.words else "analog"
        rows.append(
            {
                "id": _unique(_id(source, variable.path), ids),
                "name_zh": _one_line(variable.display),
                "name_en": _one_line(" / ".join(variable.path)),
                "subsystem": subsystem.value,
                "kind": kind,
                "states": _states(attributes.words),
                "unit": (unit or "") if kind == "analog" else "",
                "range_low": _number(attributes.low) if _ranged(attributes, kind) else "",
                "range_high": _number(attributes.high) if _ranged(attributes, kind) else "",
                "source": source,
                "address": address,
                "data_type": _data_type(attributes),
                "period_s": f"{_period_s(attributes.sampling_ms):g}",
            }
        )
    return Draft(tuple(rows), left_out, unknown_units)


def address_text(node: Node, namespaces: Sequence[str]) -> str | None:
    """The address of a point for a node; None where its namespace has no URI.

    Source: OPC UA Part 6, 5.3.1.10 and 5.3.1.11.
    """
    index, identifier = node
    if not 0 <= index < len(namespaces) or not namespaces[index]:
        return None
    match identifier:
        case int():
            text = f"i={identifier}"
        case uuid.UUID():
            text = f"g={identifier}"
        case bytes():
            text = f"b={base64.b64encode(identifier).decode('ascii')}"
        case _:
            text = f"s={identifier}"
    if namespaces[index] == OPCUA_NAMESPACE and isinstance(identifier, int):
        return text
    uri = namespaces[index].replace("%", "%25").replace(";", "%3B")
    return f"nsu={uri};{text}"


def unit_code(name: str) -> str | None:
    """The code of a unit as a server writes it; "" where it writes none, None where it is not known."""
    plain = name.strip()
    if plain in UNITS:
        return plain
    return _UNIT_NAMES.get(plain.lower())


def _no_point(attributes: Attributes) -> str:
    if attributes.access is not None and not attributes.access & _READ:
        return "not readable"
    if attributes.value_rank is not None and attributes.value_rank >= _ARRAYS:
        return "array"
    kind = attributes.data_type
    if kind is None:
        return "type unknown"
    if kind[0] != 0 or kind[1] not in (_BOOLEAN, *_NUMBERS):
        return "" if attributes.words else "no number"
    return ""


def _data_type(attributes: Attributes) -> str:
    index, number = attributes.data_type or (1, 0)
    if index or not isinstance(number, int):
        return ""
    return "bool" if number == _BOOLEAN else _NUMBERS.get(number, "")


def _id(source: str, path: Sequence[str]) -> str:
    parts = [slug for name in path if (slug := re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"))]
    return ".".join([source, *parts])[-_LONGEST_ID + 4 :].strip("._") if parts else source


def _unique(text: str, ids: Counter[str]) -> str:
    """The id, with a number behind it where it stands in the list already."""
    ids[text] += 1
    if ids[text] == 1:
        return text
    return _unique(f"{text}_{ids[text]}", ids)


def _states(words: Sequence[str]) -> str:
    plain = [_one_line(word).replace("|", "/").replace(":", " ") or str(value) for value, word in enumerate(words)]
    return "|".join(f"{value}:{word}" for value, word in enumerate(plain))


def _ranged(attributes: Attributes, kind: str) -> bool:
    low, high = attributes.low, attributes.high
    return kind == "analog" and low is not None and high is not None and -math.inf < low < high < math.inf


def _number(value: float | None) -> str:
    return "" if value is None else format(value, ".15g")


def _period_s(sampling_ms: float | None) -> float:
    """The fastest that the server samples, in whole seconds; what it does not tell is read once a second."""
    if sampling_ms is None or not 0 < sampling_ms < math.inf:
        return _DEFAULT_PERIOD_S
    return min(max(math.ceil(sampling_ms / 1000), _DEFAULT_PERIOD_S), _LONGEST_PERIOD_S)


def _one_line(text: Any) -> str:  # noqa: ANN401 - what a server sends
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
