"""A draft site from imported traffic: one source a server, one point a register that was answered. Pure.

It is a beginning for a person: what a register means, its type and its limits are nowhere on the wire.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from connectors.captures.registers import BIT_TABLES, ReadRegister
from connectors.captures.tcp_packets import Endpoint, address_text
from mines.site.columns import COLUMNS

_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.001, 10.0


def draft_site(registers: Iterable[ReadRegister]) -> tuple[str, str] | None:
    """Text of `site.toml` and of `points.csv` (all columns, limits empty); the order of the traffic does not matter.

    Sources are s1, s2 … by address and port. The period is the median time between two reads, at most 10 s, and 10 s
    where there was one read only.

    Args:
        registers: Ordered by server.
    Returns:
        None where no register was answered: a site without points is none.
    """
    found = list(registers)
    broadcast = broadcast_servers(found)
    found = [each for each in found if each.unit or each.server not in broadcast]
    if not found:
        return None
    numbers = {server: number for number, server in enumerate(sorted({each.server for each in found}), start=1)}
    return _site_toml(numbers), _points_csv(found, numbers)


def broadcast_servers(registers: Iterable[ReadRegister]) -> set[Endpoint]:
    """Servers where unit 0 stands beside other units: there it is the broadcast address, which no site may read."""
    units: dict[Endpoint, set[int]] = {}
    for each in registers:
        units.setdefault(each.server, set()).add(each.unit)
    return {server for server, of_server in units.items() if {0} < of_server}


def _site_toml(numbers: dict[Endpoint, int]) -> str:
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
        host = f'host = "{address_text(server)}"'
        lines += ["", f"[source.s{number}]", 'kind = "modbus_tcp"', host, f"port = {server[1]}"]
    return "\n".join(lines) + "\n"


def _points_csv(registers: Sequence[ReadRegister], numbers: dict[Endpoint, int]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for each in registers:
        bit = each.table in BIT_TABLES
        place = f"{each.table}/{each.register}"
        writer.writerow(
            {
                "id": f"s{numbers[each.server]}.u{each.unit}.{each.table}.{each.register}",
                "name_zh": f"寄存器 {each.unit}/{place}",
                "name_en": f"register {each.unit}/{place}",
                "subsystem": "power",
                "role": "other",
                "kind": "switch" if bit else "analog",
                "decimals": "0",
                "source": f"s{numbers[each.server]}",
                "address": f"{each.unit}/{place}",
                "data_type": "bool" if bit else "uint16",
                "period_s": f"{_period_s(each):g}",
            }
        )
    return text.getvalue()


def _period_s(register: ReadRegister) -> float:
    if register.period_s is None:
        return _LONGEST_PERIOD_S
    return round(min(max(register.period_s, _SHORTEST_PERIOD_S), _LONGEST_PERIOD_S), 3)
