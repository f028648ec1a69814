"""Meter templates of evcc: YAML whose `render` is a Go template of YAML. Pure.

The template is not run: `go_template` follows one branch of it, and what it leaves out is told.
Only registers are taken.

Source: evcc-io/evcc templates/definition/meter @ b29b49e3056ead3c99ff1f4711b2bb17083114b0; keys and `decode` as in the
project's documentation (docs.evcc.io, modbus).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.maps.draft import HOST, DraftSource, MapReading, MapRegister, SkippedRow, name_fault
from connectors.maps.go_template import Branches, follow
from connectors.modbus.address import MAX_REGISTER, Table

FORMAT: Final = "evcc"
_TABLES: Final = {"holding": Table.HOLDING, "input": Table.INPUT, "coil": Table.COIL, "discrete": Table.DISCRETE}
_WIDE: Final = ("int32", "uint32", "int64", "uint64", "float32", "float64")
_DECODES: Final = (
    {name: (name, "") for name in ("int16", "uint16")}
    | {name: (name, "ABCD") for name in _WIDE}
    | {f"{name}s": (name, "CDAB") for name in ("int32", "uint32", "float32")}
)
_UNITS: Final = {"power": "W", "powers": "W", "energy": "kWh", "currents": "A", "voltages": "V", "soc": "%"}
_BAUD: Final = 9600
_COMMENT = re.compile(r"\s#\s*(.+)$")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One `source: modbus` of the rendered text."""

    path: str
    line: int  # of its address, in the file
    register: Mapping[str, str]
    scale: str
    comment: str


def read_evcc(text: str) -> MapReading:
    """The registers of a template; everything of it that is no register that can be read as it is, with why.

    Raises:
        ValueError: it is no evcc template; the message says why, with a line where one is known.
    """
    outer, starts = _loaded(text)
    if not isinstance(outer, Mapping) or not {"template", "render"} <= outer.keys():
        raise ValueError("has no keys template and render")
    usage = _first_usage(outer)
    branches = follow(str(outer["render"]).split("\n"), usage, starts["render"])
    entries = list(_entries(branches))
    registers, skipped = [], list(branches.left_out)
    for entry in entries:
        found = _register(entry)
        if isinstance(found, str):
            skipped.append(SkippedRow(entry.line, entry.path, found))
        else:
            registers.append(found)
    source, told = _source(outer)
    return MapReading(
        FORMAT,
        str(outer["template"]),
        tuple(registers),
        tuple(sorted(skipped, key=lambda row: row.line)),
        (*_assumptions(usage, branches), *told),
        source,
    )


def _loaded(text: str) -> tuple[Any, dict[str, int]]:
    """The document, and the line of what is in each block at its top. Aliases, which may grow, are refused."""
    import yaml

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ValueError("has aliases (*name), which are not read")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as err:
        raise ValueError(f"is no YAML: {' '.join(str(err).split())[:160]}") from err
    if not isinstance(node, yaml.MappingNode):
        return document, {}
    return document, {key.value: value.start_mark.line + 2 for key, value in node.value}


def _first_usage(outer: Mapping[str, Any]) -> str:
    for param in outer.get("params") or ():
        if isinstance(param, Mapping) and param.get("name") == "usage" and param.get("choice"):
            return str(param["choice"][0])
    return ""


def _entries(branches: Branches) -> Iterator[_Entry]:
    import yaml

    text = "\n".join(branches.lines)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as err:
        raise ValueError(f"render is no YAML without its template: {' '.join(str(err).split())[:160]}") from err
    yield from _walk(node, "", branches)


def _walk(node: Any, path: str, branches: Branches) -> Iterator[_Entry]:  # noqa: ANN401 - PyYAML's nodes
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value, start=1):
            yield from _walk(item, f"{path}.{number}", branches)
    elif isinstance(node, yaml.MappingNode):
        keys = {key.value: value for key, value in node.value}
        register = keys.get("register")
        if isinstance(register, yaml.MappingNode) or isinstance(keys.get("source"), yaml.ScalarNode):
            yield _entry(keys, register or node, path, branches)
        for name, value in keys.items():
            if name != "register":
                yield from _walk(value, f"{path}.{name}".lstrip("."), branches)


def _entry(keys: Mapping[str, Any], register: Any, path: str, branches: Branches) -> _Entry:  # noqa: ANN401
    import yaml

    fields = {key.value: value for key, value in register.value if isinstance(value, yaml.ScalarNode)}
    at = fields.get("address", register).start_mark.line
    comment = _COMMENT.search(branches.lines[at])
    scale = keys.get("scale")
    return _Entry(
        path,
        branches.first + at,
        {name: value.value for name, value in fields.items()}
        | {"source": keys["source"].value if "source" in keys else ""},
        scale.value if isinstance(scale, yaml.ScalarNode) else "1",
        comment[1].strip() if comment else "",
    )


def _register(entry: _Entry) -> MapRegister | str:
    """The entry as a register, or why it is none."""
    register = entry.register
    table, decode = register.get("type", ""), register.get("decode", "")
    name = f"{entry.path} {entry.comment}".strip()
    address, scale = _number(register.get("address", "")), _scale(entry.scale)
    if register["source"] != "modbus":
        return f"来源是 {register['source'] or '(无)'} its source is {register['source'] or '(none)'}, not modbus"
    if table not in _TABLES:
        return f"表 {table or '(无)'} 不可读 table {table or '(none)'} is none that is read: nothing is ever written"
    if address is None or address > MAX_REGISTER:
        return f"地址不可读 address {register.get('address', '(none)')} is no register"
    if "bitmask" in register:
        return f"有位掩码 {register['bitmask']} has a bitmask, which a point list has no column for"
    if scale is None:
        return f"比例不可读 scale {entry.scale} is no number other than 0"
    bits = _TABLES[table].of_bits
    if not bits and decode not in _DECODES:
        return f"解码方式未知 decode {decode or '(none)'} is none that is read"
    data_type, order = ("bool", "") if bits else _DECODES[decode]
    unit = _UNITS.get(entry.path.partition(".")[0], "")
    fault = name_fault(name)
    return fault or MapRegister(entry.line, name, _TABLES[table], address, data_type, order, scale, unit)


def _number(text: str) -> int | None:
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,4}", text):
        return int(text, 16)
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,4}", text) else None


def _scale(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value != 0 and abs(value) < float("inf") else None


def _assumptions(usage: str, branches: Branches) -> Iterator[str]:
    yield "地址从 0 数 addresses count from 0"
    yield "单位按 evcc 的约定:功率 W、电能 kWh、电流 A、电压 V units are evcc's convention: W, kWh, A, V"
    if usage and branches.chose:
        yield f"模板按 usage = {usage}(第一个选项)展开 the template is followed for usage = {usage}, its first choice"


def _source(outer: Mapping[str, Any]) -> tuple[DraftSource, Sequence[str]]:
    """How the meter is reached, as the template's parameters offer it."""
    for param in outer.get("params") or ():
        if isinstance(param, Mapping) and param.get("name") == "modbus":
            choices = [str(choice) for choice in param.get("choice") or ()]
            if choices and "tcpip" not in choices:
                baud = param.get("baudrate", _BAUD)
                baud = baud if type(baud) is int else _BAUD
                settings: dict[str, str | int] = {"device": "/dev/ttyS1", "baud": baud, "parity": "N"}
                told = "模板只有 RS-485;端口、波特率、校验须核对 RS-485 only: port, baud and parity are to be checked"
                return DraftSource("modbus_serial", settings), (told,)
    return DraftSource("modbus_tcp", {"host": HOST}), ("主机地址是占位 the host is a placeholder",)
