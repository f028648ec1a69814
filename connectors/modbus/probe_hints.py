"""What a probe's findings mean for whoever writes the site: offset, limits, dialects, doubled addresses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.modbus.probe_report import Hint, ModbusProbe, TableFound, UnitFound
from connectors.modbus.span_search import Finding, readable

_ALIKE_FROM: Final = 3  # units that all answer alike: fewer may be chance
_HANGS_UP_FROM: Final = 2


def unit_hints(found: UnitFound) -> list[Hint]:
    """Hints on one unit."""
    hints = [hint for table in found.tables.values() for hint in _table_hints(table)]
    if len(found.identities) > 1:
        hints.append(
            Hint(
                "two_devices",
                f"站号 {found.unit} 先后报出 {len(found.identities)} 种设备标识:可能有两台设备共用此地址",
                f"unit {found.unit} gave {len(found.identities)} identities: two devices may share this address",
            )
        )
    hints += [hint for look in found.byte_orders for hint in _shift_hints(look)]
    if found.wrong:
        hints.append(
            Hint(
                "wrong_replies",
                f"有 {found.wrong} 次应答与请求不符(站号、功能码或字节数)",
                f"{found.wrong} answers did not fit their request (unit, function or byte count)",
            )
        )
    return hints


def _shift_hints(look: Mapping[str, Any]) -> list[Hint]:
    """The value that the device shows was found beside the address that was asked for, and not at it."""
    if look["expect"] is None or not look["ranked"] or not look["ranked"][0]["shift"]:
        return []
    best = look["ranked"][0]
    return [
        Hint(
            "off_by_one",
            f"{look['address']} 的值在 {best['address']} 处最吻合:点表地址可能差 1(手册从 1 计数)",
            f"the value of {look['address']} fits best at {best['address']}: the addresses may be off by one",
        )
    ]


def _table_hints(found: TableFound) -> list[Hint]:
    hints, spans = [], readable(found.spans)
    refused_0 = any(s.first == 0 and s.finding is Finding.REFUSED for s in found.spans)
    if refused_0 and spans and spans[0][0] == 1:
        hints.append(
            Hint(
                "counts_from_1",
                f"{found.table}: 地址 0 被拒绝而地址 1 可读,设备很可能从 1 计数:点表填手册编号,不要再减 1",
                f"{found.table}: 0 is refused and 1 can be read: the device seems to count from 1; do not subtract 1",
            )
        )
    if found.too_large:
        key = "max_bits" if found.table.of_bits else "max_registers"
        hints.append(
            Hint(
                key,
                f"{found.table}: 一次读 {found.too_large} 个被拒绝,分开读可以:设 {key} = {found.largest_read}",
                f"{found.table}: {found.too_large} at once are refused, in parts they can be read: "
                f"{key} = {found.largest_read}",
            )
        )
    if found.state == "present" and len(spans) > 1:
        hints.append(
            Hint(
                "holes",
                f"{found.table}: 可读区之间有空洞,max_gap 不得跨越",
                f"{found.table}: there are holes between what can be read; max_gap must not bridge them",
            )
        )
    return hints


def line_hints(probe: ModbusProbe) -> list[Hint]:
    """Hints on the line as a whole."""
    hints = []
    if probe.lost["transaction 0"]:
        hints.append(
            Hint(
                "transaction_0",
                '网关以事务号 0 应答:无法与请求对应,采集会断开重连;请更新网关固件或改用 framing = "rtu"',
                "the gateway answers with transaction 0, which fits any request: such answers are refused; "
                'try framing = "rtu" or newer firmware',
            )
        )
    if probe.lost["no Modbus TCP header"]:
        hints.append(
            Hint(
                "no_mbap",
                '应答不是 Modbus TCP 报文:可能是 RTU over TCP(framing = "rtu")或别的协议',
                'answers are no Modbus TCP: perhaps RTU over TCP (framing = "rtu") or another protocol',
            )
        )
    if probe.late > probe.timeouts:
        hints.append(
            Hint(
                "double_answers",
                f"有 {probe.late} 个多余的应答:可能有两台设备同时应答,或网关重发",
                f"{probe.late} answers were not asked for: two devices may answer, or a gateway repeats itself",
            )
        )
    elif probe.late:
        hints.append(
            Hint(
                "late_answers",
                f"有 {probe.late} 个应答迟到:加大 timeout_s",
                f"{probe.late} answers came late: a longer timeout_s is needed",
            )
        )
    if probe.lost["closed by the device"] >= _HANGS_UP_FROM:
        hints.append(
            Hint(
                "hangs_up",
                "设备多次主动断开:其连接数可能已被别的客户端占满",
                "the device hung up more than once: other clients may hold all its connections",
            )
        )
    if _answers_for_all(probe):
        hints.append(
            Hint(
                "unit_ignored",
                "每个站号都有同样的应答:设备可能不理会站号,只配置一个",
                "every unit answers alike: the device may ignore the unit number; configure one only",
            )
        )
    return hints


def _answers_for_all(probe: ModbusProbe) -> bool:
    if len(probe.units) < _ALIKE_FROM or probe.silent or probe.absent:
        return False
    first, *others = ([(t.table, t.state, readable(t.spans)) for t in unit.tables.values()] for unit in probe.units)
    return all(other == first for other in others)
