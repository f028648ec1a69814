"""`minewatch serve`: a capture as live devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mines.command_line import JsonOption, print_json

if TYPE_CHECKING:
    from connectors.captures.serving import ServeOptions

_FAULT_HELP = "silence, exception=CODE, delay=MS or hangup; @FROM-TO [s] behind it if not always. May be repeated."


def serve(
    capture: Annotated[Path, typer.Argument(metavar="CAPTURE", help="Folder of a capture.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 = a free one; further servers take the next.")] = 0,
    speed: Annotated[float, typer.Option(min=0.001, metavar="X", help="Times real time.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begins again after the end.")] = False,
    delays: Annotated[bool, typer.Option("--delays", help="Takes as long to answer as was recorded.")] = False,
    fault: Annotated[list[str] | None, typer.Option(metavar="FAULT", help=_FAULT_HELP)] = None,
    json: JsonOption = False,
) -> None:
    """Answers as the recorded devices did, on Modbus TCP and OPC UA, until it is told to end."""
    import asyncio

    from connectors.captures.fault_script import parse_fault
    from connectors.captures.serving import ServeOptions

    try:
        faults = tuple(parse_fault(text) for text in fault or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from None
    options = ServeOptions(host=host, port=port, speed=speed, loop=loop, delays=delays, faults=faults)
    asyncio.run(serve_until_told(capture, options, json=json))


async def serve_until_told(capture: Path, options: ServeOptions, *, json: bool) -> None:
    """Serves until SIGINT or SIGTERM; says where.

    Raises:
        CaptureError: the capture is damaged, holds nothing to serve, or a port is taken.
    """
    import asyncio
    import signal

    from connectors.captures.serving import CaptureServer
    from mines.clock import SystemClock
    from mines.errors import CaptureError

    told, running = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, told.set)
    server = CaptureServer(capture, options, SystemClock())
    for warning in server.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        await server.__aenter__()
    except OSError as error:
        raise CaptureError(f"{options.host}:{options.port}: port: {error.strerror}; expected a free port") from error
    try:
        if json:
            print_json({"servers": [{"kind": s.kind, "recorded": s.recorded, "url": s.url} for s in server.served]})
            sys.stdout.flush()
        else:
            for each in server.served:
                print(each.url, flush=True)
                print(f"{each.url}: {each.kind}, recorded as {each.recorded}", file=sys.stderr)
        await told.wait()
    finally:
        await server.__aexit__(None, None, None)


def add_serve_command(app: typer.Typer) -> None:
    """Puts `serve` on the command line."""
    app.command()(serve)
