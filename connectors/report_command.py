"""`minewatch report commissioning SITE`: line, plan, device and every point on paper, to be compared and signed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from mines.command_line import DataOption, JsonOption, SitePath, open_site, print_json
from mines.errors import ConfigError, StoreError
from mines.site.site_file import Site

report_app = typer.Typer(help="报告 reports on paper.", no_args_is_help=True)


@report_app.command()
def commissioning(
    site: SitePath,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help="Default commissioning.html in the data folder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """接入调试报告: every line, device and point as set and as read, to be compared and signed."""
    from connectors.sources import check_sources

    opened = open_site(site, data)
    problems = check_sources(opened)
    if problems:
        raise ConfigError(problems)
    document = _document(opened)
    if json and out is None:
        print_json(document)
        return
    file = out or opened.data / "commissioning.html"
    _write(file, document)
    if json:
        print_json(document)
    else:
        print(file)


def _document(site: Site) -> dict[str, Any]:
    from connectors.commissioning.devices import source_plans
    from connectors.commissioning.document import Facts, Record, commissioning_document
    from mines import snapshot
    from mines.clock import SystemClock
    from mines.model import Subsystem
    from mines.run import snapshot_path
    from mines.store.reader import Reader

    clock, record = SystemClock(), Record()
    view = snapshot.read(
        snapshot_path(site),
        clock,
        {point.id: round(1000 * point.period_s) for point in site.points},
        frozenset(point.id for point in site.points if point.subsystem == Subsystem.GAS),
    )
    if site.data.exists():
        reader = Reader(site.data)
        taken = [entry.time_ms for entry in reader.accepted_sites() if entry.sha256 == site.sha256]
        record = Record(min(taken, default=None), reader.newest_tick_ms())
    software = f"minewatch {version('minewatch')}"
    return commissioning_document(Facts(site, source_plans(site), view, record, software, clock.wall_ms()))


def _write(file: Path, document: dict[str, Any]) -> None:
    from connectors.commissioning.page import page

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page(document), encoding="utf-8")
    except OSError as err:
        raise StoreError(f"{file}:0: file: cannot be written: {err.strerror}; expected a writable place") from err


def add_report_commands(app: typer.Typer) -> None:
    """Puts `report` on the command line."""
    app.add_typer(report_app, name="report")
