"""What every command shares: JSON on stdout, errors on stderr, times and durations as options."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mines.errors import ConfigError
from mines.site.site_file import Site, load_site
from mines.times import parse_duration_ms, parse_time_ms


def _time(text: str) -> int:
    try:
        return parse_time_ms(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def _duration(text: str) -> int:
    try:
        return parse_duration_ms(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


SitePath = Annotated[Path, typer.Argument(metavar="SITE", help="Folder with site.toml and points.csv or points.xlsx.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder, instead of [storage] data.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
FromOption = Annotated[
    int | None, typer.Option("--from", parser=_time, metavar="TIME", help="Inclusive; ISO 8601 or integer ms.")
]
ToOption = Annotated[
    int | None, typer.Option("--to", parser=_time, metavar="TIME", help="Exclusive; ISO 8601 or integer ms.")
]


def duration_option(flag: str, text: str) -> Any:  # noqa: ANN401 - typer's own return type
    """An option that takes `90s`, `15m`, `2h`, `3d` and gives milliseconds."""
    return typer.Option(flag, parser=_duration, metavar="DURATION", help=text)


def open_site(folder: Path, data: Path | None) -> Site:
    """The site, or every error of it on stderr and exit code 1."""
    try:
        return load_site(folder, data)
    except ConfigError as error:
        refuse(error)


def refuse(error: ConfigError) -> NoReturn:
    """Prints every problem and ends the command with 1."""
    for problem in error.problems:
        print(problem, file=sys.stderr)
    raise typer.Exit(1)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    json.dump(document, sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
