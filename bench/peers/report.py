"""From measured rows to ratios, targets and the table of docs/performance.md. Pure; no figure is typed by hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- bench/poll.py: begin -->", "<!-- bench/poll.py: end -->"

# Ratio → (least or most, target, aim). From the issue that asked for the speed.
TARGETS: Mapping[str, tuple[str, float, float | None]] = {
    "modbus_vs_libmodbus": ("at_least", 0.7, 1.0),
    "modbus_vs_thingsboard": ("at_least", 100.0, None),
    "modbus_vs_pymodbus": ("at_least", 4.0, None),
    "bridged_vs_unbridged": ("at_least", 3.0, None),
    "connectors_cpu_percent": ("at_most", 3.0, None),
    "run_cpu_percent": ("at_most", 12.0, None),
    "grid_p99_ms": ("at_most", 25.0, None),
    "dead_units_p99_interval_change_percent": ("at_most", 5.0, None),
    "opcua_vs_asyncua_subscription": ("at_least", 5.0, 50.0),
}

# Ratio of points per CPU-second → (ours, theirs), round by round.
_SPEED = {
    "modbus_vs_libmodbus": ("A ours", "A libmodbus"),
    "modbus_vs_libmodbus_cores_shared": ("A ours, cores shared", "A libmodbus, cores shared"),
    "modbus_vs_thingsboard": ("A ours", "A thingsboard"),
    "modbus_vs_pymodbus": ("A ours", "A pymodbus"),
    "modbus_vs_pymodbus_uvloop": ("A ours", "A pymodbus uvloop"),
    "modbus_vs_pymodbus_a_read_a_point": ("A ours", "A pymodbus a read a point"),
    "modbus_vs_nodered": ("A ours", "A nodered"),
    "bridged_vs_unbridged": ("B bridged", "B unbridged"),
    "opcua_vs_asyncua_subscription": ("D ours", "D asyncua subscription, sized"),
    "opcua_vs_asyncua_subscription_as_it_is": ("D ours", "D asyncua subscription"),
    "opcua_vs_asyncua_polling": ("D ours", "D asyncua polling"),
    "opcua_vs_node_opcua": ("D ours", "D node-opcua"),
}

HOW: Mapping[str, str] = {
    "A ours": "`Source.stream()` of 20 sources on uvloop, in batches with quality and times",
    "A libmodbus": "C, blocking, a connection a device, rows with quality and times (Debian libmodbus)",
    "A ours, cores shared": "the same, client and server wherever the kernel puts them",
    "A libmodbus, cores shared": "the same, client and server wherever the kernel puts them",
    "A pymodbus": "an `AsyncModbusTcpClient` a device, whole blocks, `convert_from_registers` a point, asyncio",
    "A pymodbus uvloop": "the same on uvloop",
    "A pymodbus a read a point": "the same with `read_holding_registers(count=2)` a point",
    "A nodered": "a Modbus Read a block each 100 ms, one function node for values with quality and time",
    "A thingsboard": "a tag a point at 1 s, memory storage, QoS 1 to a counting MQTT stand-in on loopback",
    "B bridged": "ours, `max_gap = 20`",
    "B unbridged": "ours, `max_gap = 0`",
    "C connectors": "ours, `Source.stream()` of 40 sources",
    "C run": "`minewatch run` on the site folder: sources, limits, journal, snapshot",
    "C run, 20 units dead": "the same process, 20 units on 20 lines dead, back-off settled",
    "C libmodbus": "C, all requests in a burst each second",
    "C pymodbus": "as in A, each second",
    "C nodered": "as in A, each second",
    "C thingsboard": "as in A",
    "D ours": "the default way of `[source.ID]` of kind opcua, on uvloop",
    "D asyncua subscription": "`create_subscription(500, handler)`, `subscribe_data_change(nodes)`, its defaults",
    "D asyncua subscription, sized": "the same with `queuesize=100, sampling_interval=250`",
    "D asyncua polling": "`read_attributes` of 1,000 nodes a call, each second",
    "D node-opcua": "`ClientMonitoredItemGroup`s of 1,000, queue 100, sampling 250 ms, publishing 500 ms",
}


def ratios(taken: Mapping[str, Sequence[Mapping[str, Any]]], rows: Mapping[str, Any]) -> dict[str, float | None]:
    """Every ratio and figure that has a name; None where what it needs was not measured.

    Args:
        taken: What each round of each row gave.
        rows: The same, joined.
    """
    found: dict[str, float | None] = {
        name: _paired(taken.get(mine, ()), taken.get(theirs, ())) for name, (mine, theirs) in _SPEED.items()
    }
    found["connectors_cpu_percent"] = _at(rows, "C connectors", "cpu_pct", "median")
    found["run_cpu_percent"] = _at(rows, "C run", "cpu_pct", "median")
    found["grid_p99_ms"] = _at(rows, "C run", "grid_ms", "p99")
    before, after = (_at(rows, name, "interval_ms", "p99") for name in ("C run", "C run, 20 units dead"))
    change = None if before is None or after is None else round(100 * (after / before - 1), 2)
    found["dead_units_p99_interval_change_percent"] = change
    return found


def targets(found: Mapping[str, float | None]) -> dict[str, dict[str, Any]]:
    """Each target beside what was measured; `met` is None where nothing was."""
    return {
        name: {way: target, "aim": aim, "measured": found.get(name), "met": _met(way, target, found.get(name))}
        for name, (way, target, aim) in TARGETS.items()
    }


def _met(way: str, target: float, value: float | None) -> bool | None:
    if value is None:
        return None
    return value >= target if way == "at_least" else value <= target


def _paired(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float | None:
    """Median of the ratios round by round."""
    each = [_speed(a) / _speed(b) for a, b in zip(mine, theirs, strict=False) if _speed(b) > 0]
    return round(statistics.median(each), 3) if each else None


def _speed(measured: Mapping[str, Any]) -> float:
    return float(measured["points"] / max(measured["cpu_s"], 1e-6))


def _at(rows: Mapping[str, Any], row: str, *keys: str) -> float | None:
    value: Any = rows.get(row)
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def section(document: Mapping[str, Any]) -> str:
    """The section of docs/performance.md between its two marks, of a results document."""
    parts = [BEGIN, _head(document), _target_table(document), _row_table(document), _notes(document), END]
    return "\n\n".join(parts)


def with_section(text: str, document: Mapping[str, Any]) -> str:
    """The whole of docs/performance.md with the section renewed, or added before the last heading."""
    new = section(document)
    if BEGIN in text and END in text:
        return text[: text.index(BEGIN)] + new + text[text.index(END) + len(END) :]
    return text.rstrip() + "\n\n" + new + "\n"


def _head(document: Mapping[str, Any]) -> str:
    machine, noise = document["machine"], document["noise"]
    spin = noise["spin_ms"]
    spread = f"{spin['min']} / {spin['median']} / {spin['max']} ms"
    return "\n".join(
        (
            "## Polling (`bench/poll.py`)",
            "",
            f"Points per CPU-second (user and system time of the client process) on {machine['cores']} cores",
            f"({machine['processor'] or machine['machine']}, Python {machine['python']}), servers on loopback",
            "on the last core and clients on the first (the whole box, C run, on both), everybody in turn in one run.",
            "Ratios are ours ÷ theirs round by round, the median: higher is better.",
            f"Noise: the same piece of work took {spread} of CPU (min / median / max) through the run; load",
            f"{noise['load_begin']} at its begin, {noise['load_end']} at its end. Every value tells point and time:",
            "`wrong` counts values under a wrong point or time, `lost` samples that were due and did not come good.",
        )
    )


def _target_table(document: Mapping[str, Any]) -> str:
    lines = ["| figure | measured | target | met |", "|---|---|---|---|"]
    for name, told in document["targets"].items():
        way = "at_least" if "at_least" in told else "at_most"
        target = f"{'≥' if way == 'at_least' else '≤'} {told[way]:g}" + (
            f" (aim {told['aim']:g})" if told["aim"] else ""
        )
        met = {True: "yes", False: "**no**", None: "not measured"}[told["met"]]
        lines.append(f"| `{name}` | {_number(told['measured'])} | {target} | {met} |")
    others = [name for name in document["ratios"] if name not in document["targets"]]
    lines += [f"| `{name}` | {_number(document['ratios'][name])} | – | – |" for name in others]
    return "\n".join(lines)


def _row_table(document: Mapping[str, Any]) -> str:
    head = (
        "| row | how it is run | points per CPU-second (noise) | CPU a point | % of a core | lost | wrong | age p50 |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for name, row in document["rows"].items():
        speed, cpu = row["points_per_cpu_s"], row["cpu_pct"]
        age = f"{row['age_s']['p50']:g} s" if row.get("age_s") else "–"
        lines.append(
            f"| {name} | {HOW[name]} | {speed['median']:,.0f} ({speed['min']:,.0f} … {speed['max']:,.0f}) | "
            f"{row['cpu_us_a_point']['median']:g} µs | {cpu['median']:.2f} ({cpu['min']:.2f} … {cpu['max']:.2f}) | "
            f"{row['lost']:,} of {row['points'] + row['lost']:,} | {row['wrong']} | {age} |"
        )
    return "\n".join(lines)


def _notes(document: Mapping[str, Any]) -> str:
    rows, lines = document["rows"], []
    for name in ("C connectors", "C run", "C run, 20 units dead"):
        for key, what in (
            ("grid_ms", "off the grid"),
            ("stored_grid_ms", "off the grid as stored"),
            ("interval_ms", "between two samples of a living point as stored"),
        ):
            told = rows.get(name, {}).get(key)
            if told:
                lines.append(
                    f"* {name}: {what} {told['p50']:g} / {told['p99']:g} / {told['max']:g} ms (p50 / p99 / max)."
                )
    lines += [f"* {name}: left out: {why}." for name, why in document["skipped"].items()]
    lines.append(
        "* `opcua_vs_asyncua_subscription` is against the subscription that is sized so that nothing is lost; its\n"
        "  defaults keep one value a node between two publishes (`opcua_vs_asyncua_subscription_as_it_is`)."
    )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
