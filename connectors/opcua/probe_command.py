"""`minewatch probe opcua`: options in, one look at a server, a document or tables and a draft of points.csv out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from connectors.probe_command import agree, bar
from mines.command_line import JsonOption, duration_option, print_json
from mines.errors import LinkLost, MineError
from mines.model import Subsystem

if TYPE_CHECKING:
    from connectors.opcua.point_draft import Draft
    from connectors.opcua.probe import Bounds, OpcUaProbe
    from connectors.opcua.settings import OpcUaSettings

_DEFAULT_WITHIN_MS = 300_000  # project default


def opcua(
    url: Annotated[str, typer.Argument(metavar="URL", help="opc.tcp://HOST[:PORT][/PATH]")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="A new folder for a draft of points.csv.")] = None,
    source: Annotated[str, typer.Option(metavar="ID", help="The [source.ID] that the draft names.")] = "opcua",
    subsystem: Annotated[Subsystem, typer.Option(help="That the draft names until a person says better.")] = (
        Subsystem.POWER
    ),
    nodes: Annotated[int, typer.Option(min=1, max=1_000_000, help="The most nodes to browse.")] = 20_000,
    browse: Annotated[bool, typer.Option("--browse/--no-browse", help="Looks for variables.")] = True,
    within_ms: Annotated[int | None, duration_option("--for", "Ends after this long at the latest; 5m.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=30, help="For one answer, in seconds.")] = 4.0,
    security: Annotated[str, typer.Option(metavar="POLICY", help="As `security` in site.toml.")] = "none",
    mode: Annotated[str, typer.Option(metavar="MODE", help="Sign or SignAndEncrypt.")] = "SignAndEncrypt",
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="The box's own certificate.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key.")] = None,
    trust: Annotated[list[str] | None, typer.Option(metavar="PATH", help="Whom to believe: files, folders.")] = None,
    pin: Annotated[str, typer.Option(metavar="SHA256", help="The server's fingerprint.")] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="Instead of anonymous.")] = "",
    password_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Holds the user's password.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Does not ask first.")] = False,
    json: JsonOption = False,
) -> None:
    """试探 OPC UA 服务器: endpoints, certificates, variables as a draft of points.csv. Browses and reads only."""
    from connectors.opcua.probe import Bounds

    keys: dict[str, Any] = {"url": url, "timeout_s": timeout, "security": security}
    if security != "none":
        keys |= {"mode": mode, "certificate": _text(certificate), "key": _text(key), "trust": trust, "pin": pin or None}
    keys |= {"user": user or None, "password_file": _text(password_file)}
    settings = _settings(source, {name: value for name, value in keys.items() if value not in (None, [])})
    if out is not None and out.exists():
        raise MineError(f"{out}: is there already; a new folder is needed (需要一个新目录)")
    bounds = Bounds(most_nodes=nodes, within_s=(within_ms or _DEFAULT_WITHIN_MS) / 1000, browse=browse)
    agree(_question(settings, bounds), yes=yes)
    found = _probe(settings, bounds)
    draft = found.draft(source, subsystem)
    if out is not None:
        out.mkdir(parents=True)
        (out / "points.csv").write_text(draft.text(), encoding="utf-8")
    document = _document(found, draft, out)
    if json:
        print_json(document)
    else:
        from connectors.opcua.probe_print import print_probe

        print_probe(document)
    if not found.namespaces:
        raise typer.Exit(1)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _settings(source: str, keys: dict[str, Any]) -> OpcUaSettings:
    """The settings of a source with these keys: what site.toml would refuse is refused here, in its words."""
    from connectors.opcua.settings import read_settings
    from mines.site.source_table import SourceTable

    settings, problems = read_settings(SourceTable(source, "opcua", keys, file="probe", folder=Path.cwd()), ())
    if settings is None:
        wrong = [
            f"{problem.key.rpartition('.')[2]}: {problem.what}; expected {problem.expected}" for problem in problems
        ]
        raise typer.BadParameter("; ".join(wrong))
    return settings


def _question(settings: OpcUaSettings, bounds: Bounds) -> str:
    return (
        f"将连接 {settings.url},只浏览和读取,占用一个会话:至多 {bounds.most_nodes} 个节点,{bounds.within_s:g} 秒。\n"
        f"{settings.url}: browses and reads only, at most {bounds.most_nodes} nodes and {bounds.within_s:g} s; "
        "takes one session of the server."
    )


def _probe(settings: OpcUaSettings, bounds: Bounds) -> OpcUaProbe:
    from connectors.opcua.keeper import quiet_library
    from connectors.opcua.probe import probe_opcua
    from mines.clock import SystemClock

    quiet_library()
    with bar() as progress:
        task = progress.add_task("probe", total=None)

        def told(what: str, done: int) -> None:
            progress.update(task, completed=done, description=f"{what} {done}")

        try:
            return asyncio.run(probe_opcua(settings, SystemClock(), bounds, told))
        except LinkLost as lost:
            raise MineError(f"{settings.url}: {lost}") from lost


def _document(found: OpcUaProbe, draft: Draft, out: Path | None) -> dict[str, Any]:
    """What `--json` prints."""
    from mines.clock import SystemClock

    host, now_ms = urlsplit(found.url).hostname or "", SystemClock().wall_ms()
    return {
        "address": found.url,
        "endpoints": [endpoint.to_json(host, now_ms) for endpoint in found.endpoints],
        "server": found.server,
        "namespaces": found.namespaces,
        "limits": found.limits,
        "history": found.history,
        "browse": None if found.walk is None else _browse(found),
        "points": len(draft.rows),
        "left_out": dict(draft.left_out),
        "unknown_units": dict(draft.unknown_units),
        "requests": found.requests,
        "trouble": found.trouble,
        "out": None if out is None else str(out / "points.csv"),
    }


def _browse(found: OpcUaProbe) -> dict[str, Any]:
    walk = found.walk
    assert walk is not None
    return {
        "nodes": walk.nodes,
        "requests": walk.requests,
        "variables": len(walk.variables),
        "refused": walk.refused,
        "foreign": walk.foreign,
        "with_history": sum(attributes.history for _, attributes in found.variables),
        "ended": walk.ended,
    }
