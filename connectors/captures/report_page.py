"""The report of `import` as one HTML page: Chinese first, English beside it, no script. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from mines.words import word

_Document = Mapping[str, Any]
_Head = tuple[str, str, str]
"""Key of the document, and what it is called."""

_STYLE: Final = """
body { font: 10pt/1.4 "Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", SimSun, sans-serif; color: #000;
  background: #fff; max-width: 277mm; margin: 8mm auto; padding: 0 4mm; }
h1 { font-size: 17pt; } h2 { font-size: 12pt; margin-top: 6mm; border-top: 1pt solid #000; padding-top: 1mm; }
small, .en { color: #444; font-weight: normal; font-size: .86em; }
table { border-collapse: collapse; width: 100%; }
th, td { border: .5pt solid #777; padding: .6mm 1mm; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #eee; } .notice { border: 1.2pt solid #000; padding: 1mm 2mm; font-weight: 600; }
"""
_FACTS: Final[tuple[_Head, ...]] = (
    ("protocol", "协议", "protocol"),
    ("packets", "数据包", "packets"),
    ("span_s", "时长 s", "span"),
    ("connections", "连接", "connections"),
    ("units", "站号", "units"),
    ("requests", "请求", "requests"),
    ("replies", "应答", "replies"),
    ("matched", "配对", "matched"),
    ("unanswered", "无应答", "unanswered"),
    ("orphans", "无请求的应答", "orphans"),
    ("late", "迟到 (> 1 s)", "late"),
    ("malformed", "畸形", "malformed"),
    ("rtt_ms", "往返 ms", "round trip"),
    ("exceptions", "异常", "exceptions"),
    ("function_codes", "功能码", "functions"),
    ("messages", "报文", "messages"),
    ("services", "服务", "services"),
    ("faults", "故障码", "faults"),
    ("policies", "安全策略", "policies"),
)
_DEVICES: Final[tuple[_Head, ...]] = (
    ("server", "设备", "device"),
    ("unit", "站号", "unit"),
    ("requests", "请求", "requests"),
    ("matched", "配对", "matched"),
    ("unanswered", "无应答", "unanswered"),
    ("late", "迟到", "late"),
    ("exceptions", "异常", "exceptions"),
    ("function_codes", "功能码", "functions"),
    ("rtt_ms", "往返 ms", "round trip"),
)
_WRITES: Final[tuple[_Head, ...]] = (
    ("client", "来自", "from"),
    ("unit", "站号", "unit"),
    ("function", "功能", "function"),
    ("count", "次数", "count"),
)
_REGISTERS: Final[tuple[_Head, ...]] = (
    ("server", "设备", "device"),
    ("unit", "站号", "unit"),
    ("table", "区", "table"),
    ("first", "起", "first"),
    ("last", "止", "last"),
    ("reads", "读", "reads"),
    ("writes", "写", "writes"),
    ("guess", "类型猜测", "type guess"),
)
_NODES: Final[tuple[_Head, ...]] = (
    ("server", "服务器", "server"),
    ("node", "节点", "node"),
    ("type", "类型", "type"),
    ("values", "值", "values"),
    ("bad", "其中坏值", "of them bad"),
)


def report_page(report: _Document, *, origin: str, warnings: Sequence[str] = ()) -> str:
    """The whole page, UTF-8 text.

    Args:
        report: The document of `import --json`.
        origin: Name of the file that was read.
        warnings: Of the import.
    """
    title = f"抓包报告 {origin}"
    parts = [
        f"<h1>抓包报告 <small>Import report</small> {escape(origin)}</h1>",
        *(f'<p class="notice">{escape(line)}</p>' for line in warnings),
        *_protocol(report),
        *(part for other in report.get("also", ()) for part in _protocol(other)),
        f'<p class="en">{escape(word("statement.every_page"))} {escape(word("statement.every_page", "en"))}</p>',
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _protocol(report: _Document) -> Iterator[str]:
    yield f"<h2>{escape(str(report['protocol']))}</h2>"
    if report["encrypted"]:
        yield '<p class="notice">已加密,无法读取 <span class="en">encrypted: cannot be read</span></p>'
    facts = [
        f'<tr><th>{zh} <span class="en">{en}</span></th><td>{_cell(report[key])}</td></tr>'
        for key, zh, en in _FACTS
        if key in report
    ]
    yield "<table>" + "".join(facts) + "</table>"
    yield from _table(("各设备", "Devices"), _DEVICES, report["devices"])
    yield from _table(("见到的写操作", "Writes seen"), _WRITES, report["writes"])
    yield from _table(("涉及的寄存器", "Registers touched"), _REGISTERS, report.get("registers", ()))
    yield from _table(("读过的节点", "Nodes that were read"), _NODES, report.get("nodes", ()))


def _table(title: tuple[str, str], heads: Sequence[_Head], rows: Iterable[_Document]) -> Iterator[str]:
    """A table with its heading; nothing where there is no row."""
    lines = ["<tr>" + "".join(f"<td>{_cell(row[key])}</td>" for key, _, _ in heads) + "</tr>" for row in rows]
    if lines:
        yield f"<h2>{title[0]} <small>{title[1]}</small></h2>"
        head = "".join(f'<th>{zh} <span class="en">{en}</span></th>' for _, zh, en in heads)
        yield f"<table><thead><tr>{head}</tr></thead>\n" + "\n".join(lines) + "</table>"


def _cell(value: object) -> str:
    if value is None or value in ({}, []):
        return "—"
    if isinstance(value, Mapping):
        return escape(", ".join(f"{key}: {'—' if each is None else each}" for key, each in value.items()))
    if isinstance(value, list):
        return escape(", ".join(str(each) for each in value))
    return escape(str(value))
