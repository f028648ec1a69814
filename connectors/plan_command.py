"""`minewatch plan`: what every line will be asked and how long it takes, before the first poll. No network."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from connectors.number_spans import spans_text
from mines.command_line import DataOption, JsonOption, SitePath, print_json
from mines.errors import ConfigError
from mines.site.site_file import Site

if TYPE_CHECKING:
    from rich.table import Table

    from connectors.modbus.forecast import LineForecast
    from connectors.modbus.settings import ModbusSettings
    from connectors.opcua.forecast import ServerForecast

_LEGEND = (
    "预计 = 线路传输 + 设备应答 + 请求间隔,较短周期的请求计入;跨越 = 为少发请求而多读的寄存器;实测 = run 的上一轮\n"
    "predicted cycle = wire + response + delay, with what shorter periods ask meanwhile; gap = read along, not needed; "
    "measured = the last cycle of run"
)


def plan(site: SitePath, data: DataOption = None, json: JsonOption = False) -> None:
    """采集计划: requests, registers and predicted cycle of every line, before the first poll. No network."""
    from connectors.sources import check_sources, forecast_lines
    from mines.site.site_file import read_site

    reading = read_site(site, data)
    problems, lines, servers = list(reading.errors), [], []
    measured: dict[LineForecast, int] = {}
    if reading.site is not None:
        problems += check_sources(reading.site)
        lines, servers = forecast_lines(reading.site), _servers(reading.site)
        measured = _measured(reading.site, lines)
    for problem in ConfigError(problems).problems:
        print(problem, file=sys.stderr)
    if json:
        document = {"ok": not problems, "lines": [_row(line) | {"measured_ms": measured.get(line)} for line in lines]}
        print_json(document | {"opcua": [server.to_json() for server in servers]})
    elif reading.site is not None:
        _print(reading.site, lines, measured, servers)
    if problems:
        raise typer.Exit(1)


def _row(line: LineForecast) -> dict[str, Any]:
    return {
        "line": line.line,
        "units": len(line.units),
        "requests": line.requests,
        "registers": line.registers,
        "bridged": line.bridged,
        "period_ms": line.period_ms,
        "cycle_ms": line.cycle_ms,
        "source": line.source,
    }


def _servers(site: Site) -> list[ServerForecast]:
    from connectors.opcua.forecast import server_forecast
    from connectors.opcua.settings import read_settings

    found = []
    for table in site.sources:
        points = site.points_of(table.id)
        settings = read_settings(table, points)[0] if table.kind == "opcua" else None
        if settings is not None:
            found.append(server_forecast(table.id, settings, len(points)))
    return found


def _measured(site: Site, lines: Sequence[LineForecast]) -> dict[LineForecast, int]:
    """What the last cycle really took [ms], where a `run` of this site is alive."""
    from mines.errors import StoreError
    from mines.run import running_snapshot

    try:
        links = running_snapshot(site)["links"]
    except StoreError:
        return {}
    counters: dict[str, dict[str, int]] = {}
    for link in links:
        counters.setdefault(link["source"], {}).update(link["counters"])
    shortest = {line.source: line for line in reversed(lines)}
    found = {}
    for line in lines:
        name = "cycle ms" if line is shortest[line.source] else f"cycle ms of {line.period_ms / 1000:g} s"
        if name in counters.get(line.source, {}):
            found[line] = counters[line.source][name]
    return found


def _print(
    site: Site, lines: Sequence[LineForecast], measured: Mapping[LineForecast, int], servers: Sequence[ServerForecast]
) -> None:
    from rich.console import Console

    console = Console()
    if lines:
        console.print(_line_table(lines, measured))
        console.print(_LEGEND, highlight=False, soft_wrap=True)
        for text in _assumed(site, lines):
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    for passive in _listened(site):
        console.print(
            f"{passive}: 只监听,不发送 only listened to, nothing is sent", highlight=False, markup=False, soft_wrap=True
        )
    if servers:
        console.print(_server_table(servers))


def _line_table(lines: Sequence[LineForecast], measured: Mapping[LineForecast, int]) -> Table:
    names: tuple[str, ...] = ("请求 req.", "寄存器 reg.", "跨越 gap", "周期 ms", "预计 ms", "占用 %")
    names += ("实测 ms",) if measured else ()
    table = _table("Modbus 采集计划 plan", ("源 source", "线路 line", "站号 units"), names)
    for line in lines:
        numbers = (line.requests, line.registers, line.bridged, line.period_ms, f"{line.cycle_ms:g}")
        texts = (line.source, line.line, spans_text(line.units), *map(str, numbers), f"{100 * line.share:.0f}")
        texts += (str(measured.get(line, "–")),) if measured else ()
        table.add_row(*texts, style="bold red" if line.share > 1 else None)
    return table


def _server_table(servers: Sequence[ServerForecast]) -> Table:
    names = ("节点 nodes", "连接请求 req.", "发布 ms", "采样 ms")
    table = _table("OPC UA 采集计划 plan", ("源 source", "地址 endpoint", "方式 read"), names)
    for server in servers:
        numbers = (server.nodes, server.requests, f"{server.publishing_ms:g}", f"{server.sampling_ms:g}")
        table.add_row(server.source, server.endpoint, server.read, *map(str, numbers))
    return table


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in texts:
        table.add_column(name.replace(" ", "\n"), overflow="fold", min_width=8)
    for name in numbers:
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    return table


def _assumed(site: Site, lines: Sequence[LineForecast]) -> list[str]:
    """Where each unit's response time comes from, those of one origin together: nobody has measured it yet."""
    from connectors.modbus.settings import read_settings

    by_word: dict[str, list[str]] = {}
    for table in site.sources:
        units = sorted({unit for line in lines if line.source == table.id for unit in line.units})
        settings = read_settings(table, site.points_of(table.id))[0] if units else None
        if settings is None:
            continue
        words = {unit: _response(table.settings, settings, unit) for unit in units}
        for word in dict.fromkeys(words.values()):
            of = spans_text([unit for unit in units if words[unit] == word])
            by_word.setdefault(word, []).append(table.id if len(set(words.values())) == 1 else f"{table.id} {of}")
    return [f"{', '.join(of)}: {word}" for word, of in by_word.items()]


def _response(keys: Any, settings: ModbusSettings, unit: int) -> str:  # noqa: ANN401 - a TOML table as written
    """A unit's response and delay, and who says so."""
    own = keys.get("unit", {}).get(str(unit), {})
    profile = own.get("profile", keys.get("profile"))
    found = settings.unit(unit)
    text = f"response_ms = {found.response_ms:g}, delay_ms = {found.delay_ms:g}, connections = {settings.connections}"
    if "response_ms" in own or ("response_ms" in keys and "profile" not in own):
        return f"{text} (按 site.toml; from site.toml)"
    if profile is not None and _profile_tells(str(profile)):
        return f"{text} (按设备类型 {profile}; from profile {profile})"
    return f"{text} (response_ms 为项目默认值,非实测; a project default, not measured)"


def _profile_tells(name: str) -> bool:
    from connectors.profile_file import load_profile

    return load_profile(name).response_ms is not None


def _listened(site: Site) -> list[str]:
    from connectors.modbus.transport import KINDS, read_transport

    found = [(table.id, read_transport(table)[0]) for table in site.sources if table.kind in KINDS]
    return [f"{source} {transport.endpoint}" for source, transport in found if transport and transport.passive]
