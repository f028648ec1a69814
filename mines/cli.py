"""Commands over the data folder: query, events, verify, backup, restore. They alter nothing in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mines.command_line import (
    DataOption,
    FromOption,
    JsonOption,
    SitePath,
    ToOption,
    duration_option,
    open_site,
    print_json,
)
from mines.errors import StoreError
from mines.times import print_time

_PREVIEW = 40


def query(
    site: SitePath,
    point: Annotated[str, typer.Argument(metavar="POINT", help="Point id.")],
    from_ms: FromOption = None,
    to_ms: ToOption = None,
    every: Annotated[int | None, duration_option("--every", "Minimum, maximum, mean of each such stretch.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Every stored row (the default).")] = False,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """What was read of one point."""
    from mines.store.query import bucket_rows, longest_voucher_ms, raw_rows
    from mines.store.reader import Reader

    opened = open_site(site, data)
    known = {p.id: p for p in opened.points}
    reader = Reader(opened.data)
    if point not in known and point not in reader.known_points():
        raise StoreError(f"point {point!r} is neither in the site nor in the data folder")
    if raw and every is not None:
        raise typer.BadParameter("--raw and --every exclude each other")
    if every is None:
        rows = raw_rows(reader.samples(point, from_ms, to_ms))
    else:
        period_s = known[point].period_s if point in known else 1.0
        before_ms = None if from_ms is None else from_ms - longest_voucher_ms(period_s)
        columns, confirmed = reader.samples(point, before_ms, to_ms), reader.confirmations(point, before_ms, to_ms)
        rows = bucket_rows(columns, confirmed, span=(from_ms, to_ms), every_ms=every, period_s=period_s)
    unit = known[point].unit if point in known else ""
    if json:
        print_json({"point": point, "unit": unit, "count": len(rows), "rows": rows})
        return
    for row in rows[-_PREVIEW:]:
        print(print_time(row[0]), *row[1:], unit)
    print(f"{len(rows)} rows" + (f", the last {_PREVIEW} shown" if len(rows) > _PREVIEW else ""))


def events(
    site: SitePath,
    from_ms: FromOption = None,
    to_ms: ToOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """What happened, in order, and its hash."""
    from mines.events import event_log_sha256
    from mines.store.reader import Reader
    from mines.words import word

    opened = open_site(site, data)
    found = Reader(opened.data).events(from_ms, to_ms)
    digest = event_log_sha256(found)
    if json:
        first = found[0].seq if found else None
        last = found[-1].seq if found else None
        rows = [event.to_json() for event in found]
        print_json({"first_seq": first, "last_seq": last, "sha256": digest, "events": rows})
        return
    for event in found:
        print(event.seq, print_time(event.time_ms), word(f"event.{event.kind}"), event.point or "", event.cause)
    print(f"{len(found)} events, sha256 {digest}")


def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A data folder.")],
    anchor: Annotated[
        Path | None, typer.Option("--anchor", metavar="HEAD", help="A head of its chain that was kept elsewhere.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Recomputes every hash of a data folder and names the first thing that is not as it was. Alters nothing."""
    from mines.store.layout import DataFolder
    from mines.store.proof import read_head_file
    from mines.store.verify import verify as verified
    from mines.words import word

    if not path.is_dir():
        raise StoreError(f"{path}: is no folder")
    verdict = verified(DataFolder(path), None if anchor is None else read_head_file(anchor))
    if json:
        print_json(verdict.to_json())
    else:
        print(f"{verdict.links} links, {verdict.parts} packed parts, {verdict.rows} rows")
        print(f"改动 altered: {verdict.problem}" if verdict.problem else "未发现改动 nothing was altered")
        print(word("statement.signature"), word("statement.signature", "en"), sep="\n")
    if verdict.problem:
        raise typer.Exit(1)


def backup(
    site: SitePath,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the copy.")],
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Copies the data folder, beside a running box or after it."""
    from mines.store.backup import back_up

    opened = open_site(site, data)
    with _copying("backup") as progress:
        manifest = back_up(opened.data, out, progress=progress)
    _print_copy(out, manifest, json)


def restore(
    copy: Annotated[Path, typer.Argument(metavar="COPY", help="What `backup` made.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A new data folder.")],
    json: JsonOption = False,
) -> None:
    """Puts a copy into a new data folder, after every file and hash of it was checked."""
    from mines.store.backup import restore as restored

    with _copying("restore") as progress:
        manifest = restored(copy, data, progress=progress)
    _print_copy(data, manifest, json)


@contextmanager
def _copying(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar where a person watches."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_copy(out: Path, manifest: Mapping[str, Any], json: bool) -> None:
    size = sum(file["size"] for file in manifest["files"])
    if json:
        print_json({"out": str(out), "files": len(manifest["files"]), "bytes": size, "logical": manifest["logical"]})
        return
    print(f"{out}: {len(manifest['files'])} files, {size} bytes")
    for name, value in manifest["logical"].items():
        print(f"{name}: {value}")


def add_commands(app: typer.Typer) -> None:
    """Puts this room's commands on the command line."""
    app.command()(query)
    app.command()(events)
    app.command()(verify)
    app.command()(backup)
    app.command()(restore)
