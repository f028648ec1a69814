"""A map of registers as read, its draft of a site, and the account of every row. Pure.

The draft is a beginning for a person: host, unit, period and limits are nowhere in a map, and names are not translated.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.modbus.address import Table
from mines.site.columns import COLUMNS
from mines.site.point_list import UNTRANSLATED
from mines.site.problems import number
from mines.site.text_file import hidden_characters

PERIOD_S: Final = 5.0
"""Of a drafted point; a project default."""
HOST: Final = "192.0.2.1"
"""Of a drafted source: an address that no network has (RFC 5737), for a person to replace."""

_NOT_ID = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 80
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class MapRegister:
    """One register, or bit, of a map that can be read as it is. `unit` is a code of mines.units."""

    line: int
    name: str
    table: Table
    register: int  # counted from 0
    data_type: str
    byte_order: str = ""
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is no point of the draft, and why."""

    line: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class DraftSource:
    """How the device is reached, as far as a map says it: [source.ID] without its id."""

    kind: str = "modbus_tcp"
    settings: Mapping[str, str | int] = field(default_factory=lambda: {"host": HOST})


@dataclass(frozen=True, slots=True)
class MapReading:
    """Everything that one file says. Registers and skipped rows are in file order; no row is in neither."""

    format: str
    title: str
    registers: tuple[MapRegister, ...]
    skipped: tuple[SkippedRow, ...]
    assumptions: tuple[str, ...]
    source: DraftSource = DraftSource()

    def report(self, file: str) -> dict[str, Any]:
        """What was made of the file, as plain JSON."""
        return {
            "format": self.format,
            "file": file,
            "title": self.title,
            "imported": len(self.registers),
            "skipped": [{"line": row.line, "name": row.name, "why": row.why} for row in self.skipped],
            "assumptions": list(self.assumptions),
        }

    def report_text(self, file: str) -> str:
        """The same for people."""
        lines = [
            f"{file}: {self.format} {self.title}",
            f"导入 imported: {len(self.registers)}",
            f"未导入 not imported: {len(self.skipped)}",
            *(f"  {file}:{row.line}: {row.name}: {row.why}" for row in self.skipped),
            "假设,请逐条核对 assumptions, to be checked one by one:",
            *(f"  - {text}" for text in self.assumptions),
        ]
        return "\n".join(lines) + "\n"


def name_fault(name: str) -> str:
    """Why a name cannot stand in a point list; "" where it can."""
    if not name.strip():
        return "没有名称 has no name"
    if hidden_characters(name):
        return "名称含控制字符 its name holds a control character"
    if name.startswith(_FORMULA):
        return "名称像电子表格公式 its name begins like a formula of a spreadsheet"
    return "" if len(name) <= _LONGEST_NAME else f"名称过长 its name has more than {_LONGEST_NAME} characters"


def drafted_id(text: str) -> str:
    """A part of an id: a-z, 0-9 and _; "x" where nothing of the text can stay."""
    return _NOT_ID.sub("_", text.lower()).strip("_")[:50] or "x"


def draft_site(reading: MapReading) -> tuple[str, str]:
    """Text of `site.toml` and of `points.csv` (all columns, limits empty)."""
    device = drafted_id(reading.title)
    return _site_toml(reading, device), _points_csv(reading.registers, device)


def _site_toml(reading: MapReading, device: str) -> str:
    source = reading.source
    settings = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in source.settings.items()
    ]
    lines = [
        f"# 由 {reading.format} 寄存器表起草,待人核对:煤矿、地址、站号、周期、子系统、限值都要改",
        f"# Drafted from a map of {reading.format}: mine, address, unit, period, limits are for a person to say",
        "schema = 1",
        "",
        "[mine]",
        'id = "imported"',
        'name_zh = "导入的寄存器表"',
        'name_en = "Imported map"',
        "",
        "[subsystem.power]",
        "",
        f"[source.{device}]",
        f'kind = "{source.kind}"',
        *settings,
    ]
    return "\n".join(lines) + "\n"


def _points_csv(registers: Sequence[MapRegister], device: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for register, name in zip(registers, _ids(register.name for register in registers), strict=True):
        bits = register.table.of_bits
        writer.writerow(
            {
                "id": f"{device}.{name}",
                "name_zh": f"{UNTRANSLATED} {register.name}",
                "name_en": register.name,
                "subsystem": "power",
                "role": "other",
                "kind": "switch" if bits else "analog",
                "unit": register.unit,
                "source": device,
                "address": f"1/{register.table}/{register.register}",
                "data_type": register.data_type,
                "byte_order": register.byte_order,
                "scale": "" if register.scale == 1 else number(register.scale),
                "period_s": number(PERIOD_S),
            }
        )
    return text.getvalue()


def _ids(names: Iterable[str]) -> list[str]:
    """A part of an id for each name, each once."""
    found: list[str] = []
    for name in names:
        part = drafted_id(name)
        same = sum(1 for other in found if other == part or re.fullmatch(rf"{part}_[0-9]+", other))
        while part in found:
            same += 1
            part = f"{drafted_id(name)}_{same}"
        found.append(part)
    return found
