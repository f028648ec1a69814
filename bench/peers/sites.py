"""Site folders for the bench: what `minewatch run` and `build_sources` are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peers.layout import OPCUA_FIRST_NODE, OPCUA_NAMESPACE, Layout

_HEAD = 'schema = 1\n[mine]\nid = "bench"\nname_zh = "基准矿"\n[storage]\ndata = "data"\n[subsystem.power]\n'
# Every point is held against a pair of limits that its values never reach: judging is part of what a box does.
_COLUMNS = "id,name_zh,subsystem,kind,unit,source,address,data_type,period_s,high_alarm,high_clear\n"


def write_modbus_site(folder: Path, layout: Layout, ports: Sequence[int], *, response_ms: float | None = None) -> Path:
    """A line a source, 127.0.0.1 at its port. `response_ms`: what the forecast is told, else its default."""
    sources, rows = [], []
    told = "" if response_ms is None else f"response_ms = {response_ms}\n"
    for line, port in enumerate(ports):
        name = f"l{line:02d}"
        sources.append(
            f'[source.{name}]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\nport = {port}\n'
            f"max_gap = {layout.max_gap}\n{told}"
        )
        rows += [
            f"{name}.u{unit}.p{pair},测点,power,analog,A,{name},{unit}/holding/{2 * pair},float32,"
            f"{layout.period_s:g},2e7,1.9e7\n"
            for unit in range(1, layout.units + 1)
            for pair in layout.pairs
        ]
    return _write(folder, sources, rows)


def write_opcua_site(folder: Path, url: str, points: int) -> Path:
    """One server, all defaults, every point at 1 s."""
    sources = [f'[source.ua]\nkind = "opcua"\nurl = "{url}"\n']
    rows = [
        f"ua.p{i},测点,power,analog,A,ua,nsu={OPCUA_NAMESPACE};i={OPCUA_FIRST_NODE + i},float64,1,1e15,9e14\n"
        for i in range(points)
    ]
    return _write(folder, sources, rows)


def _write(folder: Path, sources: Sequence[str], rows: Sequence[str]) -> Path:
    folder.mkdir(parents=True)
    (folder / "site.toml").write_text(_HEAD + "".join(sources), encoding="utf-8")
    (folder / "points.csv").write_text(_COLUMNS + "".join(rows), encoding="utf-8")
    return folder
