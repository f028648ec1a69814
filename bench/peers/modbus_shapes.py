"""Shape A, 20 devices × 100 float32, and B, the same with holes; and the peers of shape C, 10,000 points at 1 s."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peers.children import Child, Core, PeerFailed, python
from peers.foreign import write_node_red, write_thingsboard
from peers.install import libmodbus_client, node_red, thingsboard
from peers.layout import Layout, contiguous, with_holes
from peers.rig import Bench, Measured, as_json, served, watched
from peers.sites import write_modbus_site

DEVICES, POINTS, MAX_GAP = 20, 100, 20
TICK_MS = 100
# Shorter than a device's requests take: whoever polls by it polls as fast as it can. The loopback answers in less than
# what the forecast is told here; with its default of 10 ms it would, rightly, refuse such a site.
_FAST_S, _FAST_HOLES_S, _RESPONSE_MS = 0.001, 0.004, 0.05
_NODE_RED_RATE_MS = 100
_WARM_S = 1.5


def shape_a(bench: Bench) -> None:
    """Everybody in turn, in the next round in the opposite order."""
    layout = contiguous(DEVICES, 1, POINTS, tick_ms=TICK_MS, period_s=_FAST_S)
    window_s = bench.pace.window_s
    with served(bench, layout, core=Core.SERVER) as (_, ports), served(bench, layout) as (_, free):
        light: list[tuple[str, Callable[[], Measured]]] = [
            ("A ours", lambda: ours(bench, layout, ports, window_s, response_ms=_RESPONSE_MS)),
            ("A libmodbus", lambda: libmodbus(bench, layout, ports, window_s)),
            (
                "A ours, cores shared",
                lambda: ours(bench, layout, free, window_s, response_ms=_RESPONSE_MS, core=Core.ANY),
            ),
            ("A libmodbus, cores shared", lambda: libmodbus(bench, layout, free, window_s, core=Core.ANY)),
            ("A pymodbus", lambda: pymodbus(bench, layout, ports, "blocks", "asyncio")),
            ("A pymodbus uvloop", lambda: pymodbus(bench, layout, ports, "blocks", "uvloop")),
            ("A pymodbus a read a point", lambda: pymodbus(bench, layout, ports, "points", "asyncio")),
        ]
        heavy: list[tuple[str, Callable[[], Measured]]] = [
            ("A nodered", lambda: on_node_red(bench, layout, ports, rate_ms=_NODE_RED_RATE_MS)),
            ("A thingsboard", lambda: on_thingsboard(bench, layout, ports)),
        ]
        for number in range(bench.pace.rounds):
            turn = light + (heavy if number < bench.pace.gateway_rounds else [])
            for row, once in turn if number % 2 == 0 else reversed(turn):
                bench.measure(row, once)


def shape_b(bench: Bench) -> None:
    """The plan that reads along what lies between, against the plan that may not."""
    layouts = {
        name: with_holes(DEVICES, POINTS, tick_ms=TICK_MS, period_s=_FAST_HOLES_S, max_gap=gap)
        for name, gap in (("B bridged", MAX_GAP), ("B unbridged", 0))
    }
    with served(bench, layouts["B bridged"], core=Core.SERVER) as (_, ports):
        for number in range(bench.pace.rounds):
            for row in sorted(layouts, reverse=number % 2 == 1):
                bench.measure(
                    row,
                    lambda row=row: ours(bench, layouts[row], ports, bench.pace.window_s, response_ms=_RESPONSE_MS),
                )


def peers_at_1_s(bench: Bench, layout: Layout) -> None:
    """Shape C as the others do it."""
    window_s = 2 * bench.pace.gateway_window_s
    with served(bench, layout, core=Core.SERVER) as (_, ports):
        bench.measure("C libmodbus", lambda: libmodbus(bench, layout, ports, window_s, period_ms=1000))
        bench.measure("C pymodbus", lambda: pymodbus(bench, layout, ports, "blocks", "asyncio", window_s))
        bench.measure("C nodered", lambda: on_node_red(bench, layout, ports, rate_ms=1000))
        bench.measure("C thingsboard", lambda: on_thingsboard(bench, layout, ports))


def ours(
    bench: Bench,
    layout: Layout,
    ports: Sequence[int],
    window_s: float,
    *,
    warm_s: float = _WARM_S,
    response_ms: float | None = None,
    core: Core = Core.CLIENT,
) -> Measured:
    """The sources of a site folder in a process of their own.

    Raises:
        PeerFailed: it ends, or a source has a defect.
    """
    site = write_modbus_site(bench.new("site"), layout, ports, response_ms=response_ms)
    command = python("client_ours", "modbus", site, warm_s, window_s, as_json(layout))
    with Child(command, bench.new("ours.log"), core=core) as child:
        found = child.result(warm_s + window_s + 60)
    if found.pop("defects"):
        raise PeerFailed("a source had a defect")
    if layout.period_s < 1:
        found.pop("parts_pct")
    return found


def libmodbus(
    bench: Bench, layout: Layout, ports: Sequence[int], window_s: float, *, period_ms: int = 0, core: Core = Core.CLIENT
) -> Measured:
    """The C client over the same requests."""
    plan = bench.new("plan")
    plan.write_text(
        "".join(
            f"{port} {line} {unit} {first} {count}\n"
            for line, port in enumerate(ports)
            for unit in range(1, layout.units + 1)
            for first, count, _ in layout.blocks()
        )
    )
    times = (500 + period_ms, round(1000 * window_s), period_ms)
    shape = (layout.units, layout.span, layout.tick_ms)
    with Child([libmodbus_client(), plan, *map(str, times + shape)], bench.new("libmodbus.log"), core=core) as child:
        return child.result(window_s + 30)


def pymodbus(
    bench: Bench, layout: Layout, ports: Sequence[int], way: str, loop: str, window_s: float | None = None
) -> Measured:
    """Stock pymodbus."""
    window_s = bench.pace.window_s if window_s is None else window_s
    words: list[Any] = [way, loop, " ".join(map(str, ports)), _WARM_S, window_s, as_json(layout)]
    with Child(python("client_pymodbus", *words), bench.new("pymodbus.log"), core=Core.CLIENT) as child:
        return child.result(window_s + 60)


def on_node_red(bench: Bench, layout: Layout, ports: Sequence[int], *, rate_ms: int) -> Measured:
    """Node-RED with a flow of ours; its function node counts and checks every value and keeps its age."""
    modules = node_red()
    paced = Layout(layout.lines, layout.units, layout.pairs, layout.tick_ms, rate_ms / 1000)
    folder = write_node_red(bench.new("node-red"), paced, ports, rate_ms=rate_ms)
    (folder / "node_modules").symlink_to(modules)
    command = ["node", modules / "node-red" / "red.js", "--userDir", folder]
    with Child(command, bench.new("node-red.log"), cwd=folder, grace_s=3, core=Core.CLIENT) as child:
        return watched(child, _Told(folder / "told.jsonl").newest, paced, 3, bench.pace.gateway_window_s)


def on_thingsboard(bench: Bench, layout: Layout, ports: Sequence[int]) -> Measured:
    """The gateway with its Modbus connector at 1 s; points count when they have reached the platform's stand-in."""
    interpreter = thingsboard()
    paced = Layout(layout.lines, layout.units, layout.pairs, layout.tick_ms, 1.0)
    with Child(python("mqtt_sink", layout.tick_ms), bench.new("sink.log"), core=Core.SERVER) as sink:
        folder = write_thingsboard(bench.new("thingsboard"), paced, ports, int(sink.line(10)))
        command = [interpreter, "-m", "thingsboard_gateway.tb_gateway"]
        env = {"TB_GW_CONFIG_DIR": f"{folder}/"}
        with Child(command, bench.new("thingsboard.log"), cwd=folder, env=env, grace_s=1, core=Core.CLIENT) as child:
            return watched(child, sink.newest, paced, 4, bench.pace.gateway_window_s)


class _Told:
    """A file that grows by a JSON line a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, 0

    def newest(self) -> dict[str, Any] | None:
        """The last whole line, where it is another than before."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        if len(lines) <= self._seen or not lines[-1].endswith("}"):
            return None
        self._seen = len(lines)
        return dict(json.loads(lines[-1]))
