"""A draft site from imported traffic: one source a server, one point a register or node that was answered. Pure.

It is a beginning for a person: what a register or node means, its limits and a register's type are nowhere on the wire.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from connectors.captures.registers import BIT_TABLES, ReadRegister
from connectors.captures.tcp_packets import Endpoint, address_text
from connectors.captures.ua_draft import ReadNode, ReadNodes
from mines.site.columns import COLUMNS

_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.001, 10.0
_LONGEST_NAME = 80  # characters of an address in a name; the address itself stays whole


def draft_site(registers: Iterable[ReadRegister], opcua: ReadNodes | None = None) -> tuple[str, str] | None:
    """Text of `site.toml` and of `points.csv` (all columns, limits empty); the order of the traffic does not matter.

    Sources are s1, s2 … by address and port. The period is the median time between two reads, at most 10 s, and 10 s
    where there was one read only.

    Args:
        registers: Ordered by server.
        opcua: Nodes of OPC UA servers, ordered by server.
    Returns:
        None where neither register nor node was answered: a site without points is none.
    """
    found = list(registers)
    broadcast = broadcast_servers(found)
    found = [each for each in found if each.unit or each.server not in broadcast]
    nodes = opcua.nodes if opcua is not None else ()
    if not found and not nodes:
        return None
    servers = {each.server for each in found} | {each.server for each in nodes}
    numbers = {server: number for number, server in enumerate(sorted(servers), start=1)}
    urls = {each.server: opcua.urls[each.server] for each in nodes} if opcua is not None else {}
    rows = [*_register_rows(found, numbers), *_node_rows(nodes, numbers)]
    return _site_toml(numbers, urls), _points_csv(rows)


def broadcast_servers(registers: Iterable[ReadRegister]) -> set[Endpoint]:
    """Servers where unit 0 stands beside other units: there it is the broadcast address, which no site may read."""
    units: dict[Endpoint, set[int]] = {}
    for each in registers:
        units.setdefault(each.server, set()).add(each.unit)
    return {server for server, of_server in units.items() if {0} < of_server}


def _site_toml(numbers: Mapping[Endpoint, int], urls: Mapping[Endpoint, str]) -> str:
    lines = [
        "# Drafted from captured traffic. Which point a register is, its type and its limits are for a person to say.",
        "schema = 1",
        "",
        "[mine]",
        'id = "imported"',
        'name_zh = "导入的抓包"',
        'name_en = "Imported traffic"',
        "",
        "[subsystem.power]",
    ]
    for server, number in numbers.items():
        lines += ["", f"[source.s{number}]"]
        if server in urls:
            lines += ['kind = "opcua"', f'url = "{urls[server]}"']
        else:
            lines += ['kind = "modbus_tcp"', f'host = "{address_text(server)}"', f"port = {server[1]}"]
    return "\n".join(lines) + "\n"


def _points_csv(rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _register_rows(registers: Sequence[ReadRegister], numbers: Mapping[Endpoint, int]) -> Iterator[dict[str, str]]:
    for each in registers:
        bit = each.table in BIT_TABLES
        place = f"{each.table}/{each.register}"
        yield _row(numbers[each.server], bit=bit, period_s=each.period_s) | {
            "id": f"s{numbers[each.server]}.u{each.unit}.{each.table}.{each.register}",
            "name_zh": f"寄存器 {each.unit}/{place}",
            "name_en": f"register {each.unit}/{place}",
            "address": f"{each.unit}/{place}",
            "data_type": "bool" if bit else "uint16",
        }


def _node_rows(nodes: Sequence[ReadNode], numbers: Mapping[Endpoint, int]) -> Iterator[dict[str, str]]:
    count: dict[Endpoint, int] = {}
    for each in nodes:
        count[each.server] = count.get(each.server, 0) + 1
        name = each.address.rpartition(";")[2][:_LONGEST_NAME]
        yield _row(
            numbers[each.server], bit=each.data_type == "bool", period_s=each.period_s, decimals=_decimals(each)
        ) | {
            "id": f"s{numbers[each.server]}.n{count[each.server]}",
            "name_zh": f"节点 {name}",
            "name_en": f"node {name}",
            "address": each.address,
            "data_type": each.data_type,
        }


def _row(source: int, *, bit: bool, period_s: float | None, decimals: str = "0") -> dict[str, str]:
    """What every drafted point has."""
    return {
        "subsystem": "power",
        "role": "other",
        "kind": "switch" if bit else "analog",
        "decimals": decimals,
        "source": f"s{source}",
        "period_s": f"{_clamped(period_s):g}",
    }


def _decimals(node: ReadNode) -> str:
    return "3" if node.data_type.startswith("float") else "0"


def _clamped(period_s: float | None) -> float:
    if period_s is None:
        return _LONGEST_PERIOD_S
    return round(min(max(period_s, _SHORTEST_PERIOD_S), _LONGEST_PERIOD_S), 3)
