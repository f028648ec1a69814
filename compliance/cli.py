"""Commands over the evidence: score."""

from __future__ import annotations

from typing import Annotated

import typer

from mines.command_line import DataOption, JsonOption, SitePath, open_site, print_json
from mines.times import parse_time_ms, print_time


def score(
    site: SitePath,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="Instead of now.")] = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Compliance score as an interval, with every lost and every unknown point and its reason."""
    from compliance.score_site import score_site
    from mines.clock import SystemClock
    from mines.store.reader import Reader
    from mines.words import word

    opened = open_site(site, data)
    try:
        as_of_ms = SystemClock().wall_ms() if as_of is None else parse_time_ms(as_of)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None
    document = score_site(opened, Reader(opened.data), as_of_ms).to_json()
    if json:
        print_json(document)
        return
    low, high = document["score"]["low"], document["score"]["high"]
    print(f"{opened.mine.name_zh}  {print_time(as_of_ms)}  [{low:.2f}, {high:.2f}] / 100")
    for name, target in document["targets"].items():
        print(f"  {name}: {word('target.' + target['state'])}  {target['reason']}")
    for item in document["items"]:
        print(f"  {item['id']:>3} {item['points']:>5} lost {item['lost']:.2f} unknown {item['unknown']:.2f}")
    print(word("statement.score"))


def add_commands(app: typer.Typer) -> None:
    """Puts this room's commands on the command line."""
    app.command()(score)
