"""The roof of minewatch: the command line, and the one place that knows every room. Imported by nobody."""

from __future__ import annotations

import os
import socket
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

import compliance.cli
import connectors.cli
import mines.cli
from mines.command_line import DataOption, JsonOption, SitePath, duration_option, open_site, print_json, refuse
from mines.errors import ConfigError, MineError, Problem

app = typer.Typer(
    name="minewatch",
    help="矿哨: reads a coal mine's auxiliary systems, says what is abnormal, scores it with evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
mines.cli.add_commands(app)
connectors.cli.add_commands(app)
compliance.cli.add_commands(app)


def main() -> None:
    """Console script: errors of the project are one line on stderr and exit code 1."""
    try:
        app()
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except MineError as error:
        print(f"minewatch: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `minewatch events … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _software() -> str:
    return version("minewatch")


@app.command()
def run(site: SitePath, data: DataOption = None) -> None:
    """Polls, watches, keeps and publishes, until told to stop."""
    import logging

    from connectors.sources import build_sources
    from mines.run import run_box

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run_box(open_site(site, data), build_sources, _software())


@app.command()
def web(
    site: SitePath,
    data: DataOption = None,
    port: Annotated[int | None, typer.Option(help="Instead of [web] port.")] = None,
) -> None:
    """Serves the pages; reads only what `run` and `worker` publish."""
    from mines.clock import SystemClock
    from mines.run import snapshot_path
    from mines.store.layout import DataFolder
    from mines.store.reader import Reader
    from mines.worker import score_path
    from web.app import create_app, serve
    from web.readers import MineReaders

    opened = open_site(site, data)
    readers = MineReaders(
        site=opened,
        clock=SystemClock(),
        snapshot_path=snapshot_path(opened),
        score_path=score_path(opened),
        open_reader=lambda: Reader(opened.data),
        ledger_path=DataFolder(opened.data).ledger_db,
        software=_software(),
    )
    serve(create_app(readers), opened.web.host, port or opened.web.port, opened.web.threads)


@app.command()
def worker(site: SitePath, data: DataOption = None) -> None:
    """Slow work beside the box at low priority: the score once a minute; packing comes with the history."""
    from compliance.score_site import score_site
    from mines.worker import run_worker

    run_worker(open_site(site, data), lambda opened, reader, now_ms: score_site(opened, reader, now_ms).to_json())


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port of the pages; another free one where it is taken.")] = 8080,
    for_ms: Annotated[int | None, duration_option("--for", "Ends by itself after this long.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder; default minewatch-demo.")] = None,
    json: JsonOption = False,
) -> None:
    """A whole mine on this machine: simulated devices, run, web and worker (演示数据·虚构煤矿)."""
    import asyncio

    folder = (data or Path("minewatch-demo")).resolve()
    document = asyncio.run(_demo(folder, _free_port(port), for_ms, quiet=json))
    if json:
        print_json(document)


async def _demo(data: Path, port: int, for_ms: int | None, *, quiet: bool) -> dict[str, Any]:
    import asyncio
    import signal

    from connectors.simulator.demo.mine import DemoMine
    from connectors.simulator.demo.site import write_demo_site
    from mines.clock import SystemClock
    from mines.processes import Children

    site_dir = data / "demo-site"
    loop, told, children = asyncio.get_running_loop(), asyncio.Event(), Children(data / "logs")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with DemoMine(SystemClock()) as mine:
        write_demo_site(site_dir, mine.endpoints, data=data, web_port=port)
        try:
            for name in ("run", "web", "worker"):
                children.start(name, [name, str(site_dir)])
            url = f"http://127.0.0.1:{port}/"
            await _until_served(port, children)
            print(url, file=sys.stderr if quiet else sys.stdout, flush=True)
            await _stay(told, children, for_ms)
            await asyncio.to_thread(children.stop, "run")
        finally:
            await asyncio.to_thread(children.stop_all)
    return await asyncio.to_thread(_demo_document, site_dir, url)


async def _until_served(port: int, children: Any) -> None:  # noqa: ANN401 - Children, imported late
    """Waits until the pages answer; a child that ended says why."""
    import asyncio

    for _ in range(300):
        children.check()
        with socket.socket() as probe:
            probe.setblocking(False)
            try:
                await asyncio.wait_for(asyncio.get_running_loop().sock_connect(probe, ("127.0.0.1", port)), 1.0)
                return
            except (OSError, TimeoutError):
                await asyncio.sleep(0.1)
    raise MineError(f"the pages did not answer on port {port} within 30 s")


async def _stay(told: Any, children: Any, for_ms: int | None) -> None:  # noqa: ANN401 - Event, Children
    """Until told to end or the time is over; a bar where a person watches."""
    import asyncio

    from rich.console import Console
    from rich.progress import Progress

    begun = time.monotonic()
    with Progress(console=Console(stderr=True), disable=for_ms is None or not sys.stderr.isatty()) as progress:
        task = progress.add_task("demo", total=None if for_ms is None else for_ms / 1000)
        while not told.is_set() and (for_ms is None or (time.monotonic() - begun) * 1000 < for_ms):
            children.check()
            progress.update(task, completed=time.monotonic() - begun)
            try:
                await asyncio.wait_for(told.wait(), 0.25)
            except TimeoutError:
                continue


def _demo_document(site_dir: Path, url: str) -> dict[str, Any]:
    """What the demo did, from its last snapshot and its record."""
    from compliance.score_site import score_site
    from mines.demo_report import demo_report
    from mines.run import snapshot_path
    from mines.site.site_file import load_site
    from mines.store.reader import Reader

    site = load_site(site_dir)
    reader = Reader(site.data)
    report = demo_report(snapshot_path(site), reader.events())
    score = score_site(site, reader, report.ended_ms).to_json()["score"]
    return {"url": url, "data_dir": str(site.data), "site_dir": str(site_dir)} | report.to_json() | {"score": score}


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise MineError("no free port on 127.0.0.1")


@app.command()
def replay(
    capture: Annotated[Path, typer.Argument(metavar="CAPTURE", help="Folder of a capture.")],
    site: Annotated[Path | None, typer.Argument(metavar="[SITE]", help="Instead of the capture's own site.")] = None,
    speed: Annotated[str, typer.Option(metavar="max|X", help="As fast as it goes, or X times real time.")] = "max",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keeps the journal in a new data folder.")] = None,
    json: JsonOption = False,
) -> None:
    """Steps a capture through alarms and journal on a virtual clock."""
    from connectors.captures.capture_ticks import capture_ticks
    from mines.replaying import replay_ticks

    opened = capture_ticks(capture, None if site is None else open_site(site, None))
    result = replay_ticks(opened, opened.site, speed=speed, out=out)
    for warning in (*opened.warnings, *result.gap_texts()):
        print(f"warning: {warning}", file=sys.stderr)
    if json:
        print_json(result.to_json() | {"warnings": list(opened.warnings)})
        return
    print(f"{result.rows} rows, {len(result.events)} events, sha256 {result.event_log_sha256}")


@app.command()
def check(site: SitePath, data: DataOption = None, json: JsonOption = False) -> None:
    """Reads the site's files without any network: every error at once, and the rule of every point."""
    from connectors.sources import check_sources, warn_sources
    from mines.clock import SystemClock
    from mines.rulebook import bind_rules, load_rulebook
    from mines.site.site_file import read_site
    from mines.site.vanished import vanished_points
    from mines.store.reader import Reader

    reading = read_site(site, data)
    errors, warnings = list(reading.errors), list(reading.warnings)
    rules: list[dict[str, Any]] = []
    if reading.site is not None:
        errors += check_sources(reading.site)
        warnings += warn_sources(reading.site, SystemClock().wall_ms())
        rules, found_errors, found_warnings = bind_rules(reading.site.points, load_rulebook())
        errors += found_errors
        warnings += found_warnings
        if reading.site.data.exists():
            warnings += vanished_points(Reader(reading.site.data).known_points(), reading.site)
    ordered = ConfigError(errors).problems
    if json:
        print_json({"ok": not ordered, "errors": _rows(ordered), "warnings": _rows(warnings), "rules": rules})
        raise typer.Exit(1 if ordered else 0)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if ordered:
        refuse(ConfigError(ordered))
    print(f"{site}: no errors, {len(warnings)} warnings, {len(rules)} points with a rule")


def _rows(problems: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any sequence of Problem
    names = Problem.__slots__
    return [{name: getattr(problem, name) for name in names} for problem in problems]


if __name__ == "__main__":
    main()
