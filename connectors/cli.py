"""Commands of the field: plan, probe, certificate, report, capture, import."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from connectors.captures.serve_command import add_serve_command
from connectors.opcua.certificate_command import add_certificate_command
from connectors.plan_command import plan
from connectors.probe_command import add_probe_commands
from connectors.report_command import add_report_commands
from mines.command_line import DataOption, JsonOption, SitePath, duration_option, open_site, print_json
from mines.errors import CaptureError

_DURABLE_WITHIN_S = 10.0
_LEAD_MS = 60_000  # a stretch is looked for in frames from a minute before it on

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")]


def capture(
    site: SitePath,
    for_ms: Annotated[int, duration_option("--for", "How long to record.")],
    out: OutOption,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Records a stretch of the running box; opens no connection to a device."""
    from connectors.captures.live_capture import write_live_capture
    from connectors.captures.stretch import Wanted
    from mines.events import event_log_sha256
    from mines.run import running_snapshot
    from mines.store.reader import Reader

    opened = open_site(site, data)
    begin = running_snapshot(opened)
    from_ms, boot_id = begin["time_ms"], begin["boot_id"]
    _watch_bar(for_ms / 1000)
    reader = Reader(opened.data)
    end = running_snapshot(opened)
    if end["boot_id"] != boot_id:
        raise CaptureError("run was started anew while it was recorded; record again")
    deadline = time.monotonic() + _DURABLE_WITHIN_S
    while running_snapshot(opened)["durable"]["frame"] <= end["durable"]["frame"] and time.monotonic() < deadline:
        time.sleep(0.1)  # the newest tick is durable a second after it at most
    after = max(begin["durable"]["frame"] - _LEAD_MS // 1000, 0)
    wanted = Wanted(from_ms, end["time_ms"], after)
    header = write_live_capture(
        out, site_folder=opened.folder, record=reader, wanted=wanted, software=f"minewatch {version('minewatch')}"
    )
    digest = event_log_sha256(reader.events(header.from_ms, header.to_ms))
    counts = {name: header.counts[name] for name in ("ticks", "rows", "events")}
    if json:
        document = {"out": str(out), "from_ms": header.from_ms, "to_ms": header.to_ms, **counts}
        print_json(document | {"event_log_sha256": digest})
        return
    print(f"{out}: {counts['rows']} rows and {counts['events']} events in {counts['ticks']} ticks")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A pcap or pcapng file, or a map: .csv, .yaml.")],
    out: OutOption,
    json: JsonOption = False,
) -> None:
    """Makes a capture and a draft site of other people's Modbus or OPC UA traffic, or a draft site of a map."""
    from connectors.maps.command import is_map

    if is_map(file):
        _import_map(file, out, json=json)
    else:
        _import_traffic(file, out, json=json)


def _import_map(file: Path, out: Path, *, json: bool) -> None:
    from connectors.maps.command import import_map

    result = import_map(file, out)
    if json:
        print_json(result.report)
    else:
        print(result.text)
    if result.problem is not None:
        raise result.problem


def _import_traffic(file: Path, out: Path, *, json: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from connectors.captures.pcap_import import import_pcap

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("import", total=file.stat().st_size if file.is_file() else None)
        result = import_pcap(
            file,
            out,
            software=f"minewatch {version('minewatch')}",
            progress=lambda done: bar.update(task, completed=done),
        )
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if json:
        print_json(result.report)
    else:
        for name, value in result.report.items():
            print(f"{name}: {value}")
    if result.problem is not None:
        raise result.problem


def _watch_bar(seconds: float) -> None:
    """Waits, with a bar where a person watches."""
    from rich.console import Console
    from rich.progress import Progress

    end = time.monotonic() + seconds
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("capture", total=seconds)
        while (left := end - time.monotonic()) > 0:
            bar.update(task, completed=seconds - left)
            time.sleep(min(left, 0.25))


def add_commands(app: typer.Typer) -> None:
    """Puts this room's commands on the command line."""
    app.command()(plan)
    add_probe_commands(app)
    add_certificate_command(app)
    add_report_commands(app)
    app.command()(capture)
    app.command("import")(import_)
    add_serve_command(app)
