"""The site that reads the demo mine: site.toml and points.csv, as a person would have written them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from connectors.simulator.demo.mine import Endpoint
from connectors.simulator.demo.tables import DEVICES, Device, Tables


def write_demo_site(folder: Path, endpoints: Mapping[str, Endpoint], *, data: Path, web_port: int) -> None:
    """Writes site.toml and points.csv of the demo mine.

    Args:
        folder: The site folder; made where it is not there, its two files replaced where they are.
        endpoints: Of a running `DemoMine`, by source id.
        data: The data folder, written as an absolute path.
        web_port: Where the pages are served on the loopback; 0 = any free port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = files("connectors.simulator.demo").joinpath("site.toml").read_text(encoding="utf-8")
    tables = [
        base.rstrip("\n"),
        f"[storage]\ndata = {_quoted(str(data.absolute()))}",
        f'[web]\nhost = "127.0.0.1"\nport = {web_port}',
        *(_source_table(device, endpoints[device.source]) for device in DEVICES),
    ]
    (folder / "site.toml").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    (folder / "points.csv").write_text(Tables().points_csv(), encoding="utf-8")


def _source_table(device: Device, endpoint: Endpoint) -> str:
    head = f'# {device.name_zh}\n[source.{device.source}]\nkind = "{device.kind}"\n'
    if device.kind == "opcua":
        return head + f"url = {_quoted(str(endpoint))}"
    return head + f"host = {_quoted(endpoint.host)}\nport = {endpoint.port}"


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False)
