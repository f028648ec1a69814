"""A Modbus probe's findings as a person reads them: tables, Chinese first with English beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from connectors.modbus.probe_report import Hint, ModbusProbe, TableFound, TableState, UnitFound, quantiles
from connectors.modbus.span_search import Finding, Span, readable
from connectors.number_spans import spans_text

_STATES: Final = {
    TableState.PRESENT: "有 present",
    TableState.REFUSED: "被拒绝 refused",
    TableState.NO_FUNCTION: "无此功能 no function",
    TableState.SILENT: "无应答 silent",
    TableState.FAILED: "异常 failed",
    TableState.NOT_ASKED: "未询问 not asked",
}
_MOST_SPANS: Final = 24  # in one cell


def print_probe(found: ModbusProbe) -> None:
    """Everything on stdout."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{found.address}: {found.requests} 个请求 requests, {found.seconds:.1f} s, {found.connects} 次连接 connects, "
        f"超时 timeouts {found.timeouts}, 迟到 late {found.late}"
    )
    for name, units in (
        ("无应答 silent", found.silent),
        ("网关报不存在 absent", found.absent),
        ("未询问 not asked", found.not_asked),
    ):
        if units:
            console.print(f"站号 units {spans_text(units)}: {name}")
    if found.ended:
        console.print(f"提前结束 ended early: {found.ended}")
    for word, times in sorted(found.lost.items()):
        console.print(f"断开 connection lost: {word} × {times}")
    _hints(console, found.hints)
    for unit in found.units:
        _unit(console, unit)


def _unit(console: Console, unit: UnitFound) -> None:
    console.print(f"\n站号 unit {unit.unit}")
    for name, text in (unit.identity or {}).items():
        console.print(f"  标识 {name}: {text}")
    times = quantiles(unit.durations_ms)
    if times is not None:
        console.print(
            f"  应答 round trip: {times['min']:g} / {times['p50']:g} / {times['p95']:g} / {times['max']:g} ms "
            "(最小 中位 95% 最大; min median 95% max)"
        )
    if unit.exceptions:
        console.print("  异常 exceptions: " + ", ".join(f"{key} × {n}" for key, n in sorted(unit.exceptions.items())))
    if unit.tables:
        console.print(_tables(list(unit.tables.values())), soft_wrap=False)
    for look in unit.byte_orders:
        _byte_orders(console, look)
    _hints(console, unit.hints)


def _tables(found: Sequence[TableFound]) -> RichTable:
    table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("表 table", "结果 result", "可读 readable", "拒绝 refused", "未知 unknown", "次 reads"):
        table.add_column(name, overflow="fold")
    for each in found:
        refused = _count(each.spans, Finding.REFUSED)
        unknown = _count(each.spans, Finding.NOT_ASKED, Finding.REFUSED_TOGETHER, Finding.FAILED, Finding.NEVER)
        counts = map(str, (refused, unknown, each.reads))
        table.add_row(each.table.value, _STATES[each.state], _short(readable(each.spans)), *counts)
    return table


def _count(spans: Sequence[Span], *findings: Finding) -> int:
    return sum(span.count for span in spans if span.finding in findings)


def _short(stretches: Sequence[tuple[int, int]]) -> str:
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in stretches[:_MOST_SPANS]]
    left = len(stretches) - _MOST_SPANS
    return ", ".join([*texts, *([f"… +{left}"] if left > 0 else [])])


def _byte_orders(console: Console, look: dict[str, Any]) -> None:
    console.print(f"  类型与字节序 types and byte orders at {look['address']}:")
    for each in look["ranked"]:
        beside = f"  偏移 off by {each['shift']:+d}" if each["shift"] else ""
        leaps = "  跳变 leaps" if each["leaps"] else ""
        value = f"{each['address']}  {each['data_type']}  {each['byte_order']}  = {each['value']:g}"
        console.print(f"    {value}{beside}{leaps}")
    if not look["ranked"]:
        console.print("    无可信候选 nothing plausible")


def _hints(console: Console, hints: Sequence[Hint]) -> None:
    for hint in hints:
        console.print(f"  提示: {hint.zh}\n        {hint.en}")
