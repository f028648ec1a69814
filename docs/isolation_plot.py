"""Draws docs/img/isolation.svg: `make pictures`, or `python docs/isolation_plot.py [SECONDS]`.

A real `minewatch run` polls a line with three units and two servers, a sample a second. In the second quarter of the
recording one unit of the three is dead, in the third quarter one of the two servers. The plot is read back from the
journal: for every point the time since its last good sample, sample by sample. Nobody else may notice.
"""

from __future__ import annotations

import asyncio
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mines.model import TimeArray
from mines.quality import Severity, severities
from mines.store.reader import Reader

OUT = Path(__file__).parent / "img" / "isolation.svg"
POINTS_A_UNIT = 5
PERIOD_S = 1.0
TIMEOUT_S = 0.3  # what a silent unit may cost its line at once
LIVE_S = 1.5 * PERIOD_S + 1  # a value this old is still live on every page (pages §3d)
SOURCES = {"line": (1, 2, 3), "server_1": (1,), "server_2": (1,)}
DEAD = {("line", 2): (0.25, 0.5), ("server_2", 1): (0.5, 0.75)}  # parts of the recording
LANE, LEFT, WIDTH, TOP, LONGEST_S = 78, 210, 900, 64, 4.0


class Device:
    """A Modbus TCP server whose units may be killed: a dead unit is silent, a dead server refuses."""

    def __init__(self) -> None:
        self.port = 0
        self.silent: set[int] = set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readexactly(12)
                transaction, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", head)
                if unit not in self.silent:
                    tenths = int(time.monotonic() * 10) & 0xFFFF
                    data = struct.pack(">H", tenths) * count
                    writer.write(
                        struct.pack(">HHHBBB", transaction, 0, 3 + len(data), unit, function, len(data)) + data
                    )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def main() -> None:
    """Records and draws."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    with tempfile.TemporaryDirectory() as folder:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        devices = {name: Device() for name in SOURCES}
        for device in devices.values():
            asyncio.run_coroutine_threadsafe(device.start(), loop).result(5)
        site = _site(Path(folder) / "site", devices)
        command = [sys.executable, "-P", "-m", "minewatch", "run", str(site), "--data", f"{folder}/data"]
        run = subprocess.Popen(command)
        try:
            time.sleep(3)
            begin_ms = time.time_ns() // 1_000_000
            _story(devices, loop, seconds)
            end_ms = time.time_ns() // 1_000_000
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait(30)
        times = _good_times(Path(folder) / "data", begin_ms - 3_000, end_ms)
    OUT.write_text(_draw(times, begin_ms, end_ms), encoding="utf-8")
    print(OUT)


def _story(devices: Mapping[str, Device], loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    quarter = seconds / 4
    time.sleep(quarter)
    devices["line"].silent.add(2)
    time.sleep(quarter)
    devices["line"].silent.clear()
    asyncio.run_coroutine_threadsafe(devices["server_2"].kill(), loop).result(5)
    time.sleep(quarter)
    asyncio.run_coroutine_threadsafe(devices["server_2"].start(), loop).result(5)
    time.sleep(quarter)


def _site(folder: Path, devices: Mapping[str, Device]) -> Path:
    folder.mkdir()
    toml = ['schema = 1\n[mine]\nid = "plot"\nname_zh = "绘图"\n[subsystem.dewatering]']
    rows = ["id,name_zh,subsystem,kind,unit,source,address,data_type,period_s"]
    for name, device in devices.items():
        toml.append(
            f'[source.{name}]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\nport = {device.port}\ntimeout_s = {TIMEOUT_S:g}'
        )
        for unit in SOURCES[name]:
            for k in range(POINTS_A_UNIT):
                rows.append(
                    f"{name}.u{unit}.p{k},点{k},dewatering,analog,,{name},{unit}/holding/{k},uint16,{PERIOD_S:g}"
                )
    (folder / "site.toml").write_text("\n".join(toml), encoding="utf-8")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def _good_times(data: Path, from_ms: int, to_ms: int) -> dict[tuple[str, int], list[TimeArray]]:
    """Receive times [ms] of the good samples of each point, by source and unit."""
    reader = Reader(data)
    times: dict[tuple[str, int], list[TimeArray]] = {}
    for name, units in SOURCES.items():
        for unit in units:
            for k in range(POINTS_A_UNIT):
                samples = reader.samples(f"{name}.u{unit}.p{k}", from_ms, to_ms)
                good = severities(samples.quality) == Severity.GOOD
                times.setdefault((name, unit), []).append(samples.receive_time_ms[good])
    return times


def _draw(times: Mapping[tuple[str, int], list[TimeArray]], begin_ms: int, end_ms: int) -> str:
    height = TOP + LANE * len(times) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 190} {height}" '
        'font-family="sans-serif" font-size="13" fill="#1c2733">',
        f'<rect width="100%" height="{height}" fill="#fff"/>',
        '<text x="16" y="26" font-size="17" font-weight="bold">一台死了,邻居照常 · '
        "One dies, its neighbours do not notice</text>",
        f'<text x="16" y="47" fill="#5a6672">每个测点两次良好采样的间隔,周期 {PERIOD_S:g} s,每格 {POINTS_A_UNIT} 点 · '
        f"interval between good samples of every point, period {PERIOD_S:g} s, {POINTS_A_UNIT} points a lane · "
        f"超时 time-out {TIMEOUT_S:g} s · 虚线 dashed: {LIVE_S:g} s, 仍为实时 still live</text>",
    ]
    for lane, ((name, unit), columns) in enumerate(times.items()):
        parts += _lane(TOP + lane * LANE, (name, unit), columns, begin_ms=begin_ms, end_ms=end_ms)
    for k in range(5):
        x = LEFT + WIDTH * k / 4
        seconds = (end_ms - begin_ms) / 4000 * k
        parts.append(f'<text x="{x:.0f}" y="{height - 14}" text-anchor="middle" fill="#5a6672">{seconds:.0f} s</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lane(y: int, key: tuple[str, int], columns: list[TimeArray], *, begin_ms: int, end_ms: int) -> list[str]:
    bottom, room = y + LANE - 16, LANE - 24
    span = end_ms - begin_ms
    out = [
        f'<text x="16" y="{y + 28}">{key[0]} · 单元 unit {key[1]}</text>',
        f'<rect x="{LEFT}" y="{bottom - room}" width="{WIDTH}" height="{room}" fill="#f5f7f9"/>',
    ]
    if key in DEAD:
        a, b = DEAD[key]
        out.append(
            f'<rect x="{LEFT + WIDTH * a:.0f}" y="{bottom - room}" width="{WIDTH * (b - a):.0f}" height="{room}" '
            f'fill="#f2c4bd"/><text x="{LEFT + WIDTH * (a + b) / 2:.0f}" y="{bottom - room + 16}" '
            'text-anchor="middle" fill="#8c2f22">无应答 dead</text>'
        )
    for level in (1, 2, 3):
        at = bottom - room * level / LONGEST_S
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#dde3e8"/>')
        out.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" font-size="10">{level} s</text>')
    at = bottom - room * LIVE_S / LONGEST_S
    out.append(
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{at:.1f}" y2="{at:.1f}" stroke="#8c2f22" stroke-dasharray="6 5"/>'
    )
    intervals = []
    for column in columns:
        gaps = np.diff(column) / 1000
        shown = column[1:] >= begin_ms
        intervals.append(gaps[shown])
        dots = "".join(
            f"M{LEFT + WIDTH * (at - begin_ms) / span:.1f} {bottom - room * min(gap, LONGEST_S) / LONGEST_S:.1f}h1.6"
            for at, gap in zip(column[1:][shown], gaps[shown], strict=True)
        )
        out.append(f'<path d="{dots}" stroke="#14609c" stroke-width="2.4"/>')
    every = np.concatenate(intervals)
    p50, p99, most = np.percentile(every, 50), np.percentile(every, 99), every.max()
    out.append(
        f'<text x="{LEFT + WIDTH + 12}" y="{y + 24}">p50 {p50:.2f} s · p99 {p99:.2f} s</text>'
        f'<text x="{LEFT + WIDTH + 12}" y="{y + 42}">最长 longest {most:.2f} s</text>'
    )
    return out


if __name__ == "__main__":
    main()
