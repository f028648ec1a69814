"""`minewatch probe`: the group of commands that look at one device or server before a site is written for it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from mines.errors import MineError

if TYPE_CHECKING:
    from rich.progress import Progress


def agree(question: str, *, yes: bool) -> None:
    """Goes on where a person agrees, or has beforehand.

    Args:
        question: What will be sent, and how long it takes.
        yes: Agreed beforehand.
    Raises:
        MineError: there is nobody to ask.
        typer.Exit: the person does not agree.
    """
    print(question, file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise MineError(
            "没有终端可询问,未发送任何请求;加 --yes 表示同意 (nobody to ask, nothing was sent; agree with --yes)"
        )
    if not typer.confirm("继续? Go on?", err=True):
        raise typer.Exit(1)


@contextmanager
def bar() -> Generator[Progress]:
    """A progress bar on stderr where a person watches."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        yield progress


def add_probe_commands(app: typer.Typer) -> None:
    """Puts `probe modbus` and `probe opcua` on the command line."""
    from connectors.modbus.probe_command import modbus
    from connectors.opcua.probe_command import opcua

    group = typer.Typer(
        name="probe",
        help="试探设备: what a device or server is and has. Reads only, slowly, and asks first.",
        no_args_is_help=True,
    )
    group.command()(modbus)
    group.command()(opcua)
    app.add_typer(group)
