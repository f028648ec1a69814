"""Register maps of VOLTTRON's modbus_tk driver: CSV with Register Name, Address, Type, Units, Transform, Table. Pure.

What the columns mean was read in the driver itself: VOLTTRON/volttron
services/core/PlatformDriverAgent/platform_driver/interfaces/modbus_tk/{maps/__init__.py, helpers.py, client.py} @
d7db281859e83a95022234edb1a119d96a9271fa. How addresses count is a setting of the driver and not in the file: told from
the addresses where they leave no choice, and said as an assumption.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from connectors.maps.draft import MapReading, MapRegister, SkippedRow, name_fault
from connectors.modbus.address import MAX_REGISTER, Table
from mines.units import UNITS

FORMAT: Final = "VOLTTRON modbus_tk"
NAME, ADDRESS, TYPE = "register name", "address", "type"
_PAIRS: Final = "volttron point name"

_TYPES: Final = {"bool": "bool", "float": "float32"} | {
    f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (16, 32, 64)
}
_STRUCT: Final = {"h": "int16", "H": "uint16", "i": "int32", "I": "uint32", "q": "int64", "Q": "uint64", "f": "float32"}
_TABLES: Final = {
    "discrete_output_coils": Table.COIL,
    "discrete_input_contacts": Table.DISCRETE,
    "analog_input_registers": Table.INPUT,
    "analog_output_holding_registers": Table.HOLDING,
}
_MODICON: Final = {Table.COIL: 1, Table.DISCRETE: 10_001, Table.INPUT: 30_001, Table.HOLDING: 40_001}
_LAST_MODICON: Final = 49_999
_UNITS: Final = {
    "volts": "V",
    "amps": "A",
    "amp": "A",
    "kvar": "kvar",
    "kvarh": "kvarh",
    "rpm": "r/min",
    "none": "",
} | {code.lower(): code for code in UNITS if code not in ("m", "t", "s", "h")}
_SCALE = re.compile(r"scale\(\s*([0-9.eE+-]+)\s*\)")
_CALL = re.compile(r"(\w+)\(")
_WHY_TRANSFORM: Final = {
    "scale_reg": "比例在另一个寄存器里 its scale is in another register",
    "scale_reg_pow_10": "比例的指数在另一个寄存器里 the exponent of its scale is in another register",
    "mod10k": "是 M10K 数制 it is in the number format M10K",
    "mod10k48": "是 M10K 数制 it is in the number format M10K",
    "mod10k64": "是 M10K 数制 it is in the number format M10K",
    "scale_int": "换算后取整 its value is cut to a whole number",
    "scale_decimal_int_signed": "是自有的负数记法 it has a notation of its own for negative numbers",
}


def read_volttron(title: str, text: str) -> MapReading:
    """The registers of a map; every row that cannot be read as it is, with why.

    Args:
        title: What the device is called, e.g. the file's name without its ending.
        text: The file, CSV with a header row.
    Raises:
        ValueError: its header is no VOLTTRON map's.
    """
    rows = list(_rows(text))
    header = list(rows[0][1]) if rows else []
    if not {NAME, ADDRESS, TYPE} <= set(header):
        if {_PAIRS, NAME} <= set(header):
            return _pairs(title, rows)
        raise ValueError(f"header has none of {NAME}, {ADDRESS}, {TYPE}")
    reading = _Reading(rows)
    registers, skipped = [], []
    for line, row in rows:
        if row[NAME].startswith("#"):
            skipped.append(SkippedRow(line, row[NAME], "是注释 is a comment"))
            continue
        found = reading.register(line, row)
        if isinstance(found, str):
            skipped.append(SkippedRow(line, row[NAME], found))
        else:
            registers.append(found)
    return MapReading(FORMAT, title, tuple(registers), tuple(skipped), tuple(reading.assumptions()))


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by lower-case column, with its line."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    header: list[str] | None = None
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            if header is None:
                header = [cell.strip().lower() for cell in cells]
            else:
                padded = [*cells, *[""] * (len(header) - len(cells))]
                yield line, {name: cell.strip() for name, cell in zip(header, padded, strict=False)}
        line = reader.line_num + 1


def _pairs(title: str, rows: Sequence[tuple[int, Mapping[str, str]]]) -> MapReading:
    why = "此文件只有名称对照,没有地址 this file pairs names and has no address"
    skipped = tuple(SkippedRow(line, row[NAME], why) for line, row in rows)
    told = "地址在同一设备的 *_map.csv 里,请导入那个文件 the addresses are in the device's *_map.csv: import that file"
    return MapReading(FORMAT, title, (), skipped, (told,))


class _Reading:
    """One file: what its rows say together decides how an address counts."""

    def __init__(self, rows: Sequence[tuple[int, Mapping[str, str]]]) -> None:
        numbers = [_number(row[ADDRESS]) for _, row in rows]
        hexadecimal = any("x" in row[ADDRESS].lower() for _, row in rows)
        known = [value for value in numbers if value is not None]
        high = [value for value in known if _is_modicon(value)]
        self._modicon = bool(high) and len(high) == len(known) and not hexadecimal
        self._unsure = bool(high) and not self._modicon and not hexadecimal
        self._columns = set(rows[0][1])
        self._told: dict[str, None] = {}

    def register(self, line: int, row: Mapping[str, str]) -> MapRegister | str:
        """The row as a register, or why it is none."""
        kind = _data_type(row[TYPE])
        place = self._place(row, of_bits=kind is not None and kind[0] == "bool")
        scale = _scale(row.get("transform", ""))
        for fault in (name_fault(row[NAME]), place, scale):
            if isinstance(fault, str) and fault:
                return fault
        if kind is None:
            return f"类型不可读 type {row[TYPE] or '(none)'} is none that can be read"
        assert not isinstance(place, str)
        assert not isinstance(scale, str)
        data_type, order = kind
        if order and _truth(row.get("mixed endian", row.get("mixed", ""))):
            order = {"ABCD": "CDAB", "DCBA": "BADC"}[order]  # the order of registers is turned, of bytes is not
        table, register = place
        return MapRegister(line, row[NAME], table, register, data_type, order, scale, self._unit(line, row))

    def assumptions(self) -> Iterator[str]:
        """What was taken for granted in this file."""
        if self._modicon:
            yield "地址按 40001 式计,减去表的起点 addresses are of the 40001 kind: less the table's first"
        else:
            yield (
                "地址从 0 数(VOLTTRON 的默认 addressing=offset);若设备手册从 1 数,全部减 1 "
                "addresses count from 0 (VOLTTRON's default); where the manual counts from 1, subtract 1 from each"
            )
        if "table" not in self._columns and not self._modicon:
            yield (
                "没有 Table 列:按 VOLTTRON 的规则由 Writable 定表(是:holding/coil,否:input/discrete) "
                "no column Table: as in VOLTTRON, Writable tells it (true: holding or coil, else input or discrete)"
            )
        yield "除此以外 Writable 不用:本系统从不写入 Writable is used for nothing else: nothing is ever written"
        yield "没有字序说明的宽数值按 ABCD,请核对一个已知值 wide values of no told order are ABCD: check one"
        yield from self._told

    def _place(self, row: Mapping[str, str], *, of_bits: bool) -> tuple[Table, int] | str:
        value = _number(row[ADDRESS])
        if value is None:
            return f"地址不可读 address {row[ADDRESS] or '(none)'} is no number"
        named = row.get("table", "").lower()
        if named and named not in _TABLES:
            return f"表名未知 table {row['table']} is unknown"
        if self._unsure and _is_modicon(value):
            return (
                f"地址 {value} 有两种读法(40001 式或从 0 数),本文件两种都有 "
                f"address {value} may be of the 40001 kind or count from 0: the file has both"
            )
        table = _TABLES.get(named) or (_modicon_table(value) if self._modicon else _by_writable(row, of_bits=of_bits))
        if self._modicon and table is not _modicon_table(value):
            return f"表 {row['table']} 与地址 {value} 不符 address {value} is none of table {row['table']}"
        register = value - _MODICON[table] if self._modicon else value
        if table.of_bits != of_bits:
            return f"表 {table} 与类型 {row[TYPE]} 不符 type {row[TYPE]} does not go with table {table}"
        if not 0 <= register <= MAX_REGISTER:
            return f"地址越界 address {value} is no register of table {table}"
        return table, register

    def _unit(self, line: int, row: Mapping[str, str]) -> str:
        given = row.get("units", "")
        unit = _UNITS.get(given.lower())
        if unit is None and given:
            self._told[f"第 {line} 行单位 {given} 未知,留空 line {line}: unit {given} is none of ours, left empty"] = (
                None
            )
        return unit or ""


def _number(text: str) -> int | None:
    lowered = text.lower()
    if re.fullmatch(r"0x[0-9a-f]{1,8}", lowered):
        return int(lowered, 16)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _is_modicon(value: int) -> bool:
    return _MODICON[Table.HOLDING] <= value <= _LAST_MODICON or _MODICON[Table.INPUT] <= value < _MODICON[Table.HOLDING]


def _modicon_table(value: int) -> Table:
    return Table.HOLDING if value >= _MODICON[Table.HOLDING] else Table.INPUT


def _by_writable(row: Mapping[str, str], *, of_bits: bool) -> Table:
    if _truth(row.get("writable", "")):
        return Table.COIL if of_bits else Table.HOLDING
    return Table.DISCRETE if of_bits else Table.INPUT


def _data_type(text: str) -> tuple[str, str] | None:
    """The type and the order of its bytes ("" for one register); None where there is no such type."""
    known = _TYPES.get(text.lower())
    little = text.startswith("<")
    if known is None and re.fullmatch(r"[<>][hHiIqQf]", text):
        known = _STRUCT[text[1]]
    if known is None:
        return None
    if known == "bool":
        return known, ""
    if known.endswith("16"):
        return known, "BA" if little else ""
    return known, "DCBA" if little else "ABCD"


def _scale(text: str) -> float | str:
    """The factor of a transform, or why it is none."""
    if not text:
        return 1.0
    match = _SCALE.fullmatch(text)
    if match is not None:
        try:
            factor = float(match[1])
        except ValueError:
            factor = 0.0
        return factor if factor not in (0.0, float("inf")) else f"比例不可用 {text} is no scale"
    call = _CALL.match(text)
    why = _WHY_TRANSFORM.get(call[1] if call else "", "换算未知 its transform is unknown")
    return f"{why}: {text}"


def _truth(text: str) -> bool:
    return text.strip().lower() in ("t", "y", "true", "yes", "1")
