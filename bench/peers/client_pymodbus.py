"""Stock pymodbus, as its documentation uses it: an AsyncModbusTcpClient a line, whole blocks or a read a point.

`python -m peers.client_pymodbus blocks|points asyncio|uvloop PORTS WARM_S WINDOW_S LAYOUT` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import numpy as np
import uvloop
from peers.layout import Layout, wrong_values
from pymodbus.client import AsyncModbusTcpClient

Row = tuple[int, int, float, int, int, int]


class Taken:
    """Rows of line, point, value, quality, wall and monotonic time; replies that failed."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failed = 0
        self.over = False


async def poll(port: int, line: int, blocks: list[tuple[int, int, int, int]], period_s: float, taken: Taken) -> None:
    """Reads all blocks (unit, first register, count, first point) over and over, at once again or each period."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    kind, loop = client.DATATYPE.FLOAT32, asyncio.get_running_loop()
    slot_s = loop.time()
    while not taken.over:
        for unit, first, count, point in blocks:
            reply = await client.read_holding_registers(first, count=count, device_id=unit)
            if reply.isError():
                taken.failed += count // 2
                continue
            wall_ms, monotonic_ns = time.time_ns() // 1_000_000, time.monotonic_ns()
            for k in range(count // 2):
                value = client.convert_from_registers(reply.registers[2 * k : 2 * k + 2], kind)
                taken.rows.append((line, point + k, value, 0, wall_ms, monotonic_ns))
        slot_s += period_s
        await asyncio.sleep(max(slot_s - loop.time(), 0) if period_s else 0)
    client.close()


async def measure(
    ports: list[int], layout: Layout, asked: list[tuple[int, int, int, int]], *, warm_s: float, window_s: float
) -> tuple[list[Row], int, float, float]:
    """Rows of the window, what failed in it, CPU and wall time [s]."""
    taken = Taken()
    period_s = layout.period_s if layout.period_s >= 1 else 0.0
    tasks = [asyncio.create_task(poll(port, line, asked, period_s, taken)) for line, port in enumerate(ports)]
    await asyncio.sleep(warm_s)
    taken.rows, taken.failed = [], 0
    begun, used = time.monotonic(), _cpu_s()
    await asyncio.sleep(window_s)
    cpu_s, wall_s, rows, failed = _cpu_s() - used, time.monotonic() - begun, taken.rows, taken.failed
    taken.over = True  # pymodbus takes a cancel for itself
    await asyncio.wait(tasks, timeout=5)
    return rows, failed, cpu_s, wall_s


def requests_of(layout: Layout, way: str) -> list[tuple[int, int, int, int]]:
    """Of one line: unit, first register, count, place of its first point among the line's points."""
    asked = []
    for unit in range(layout.units):
        point = unit * len(layout.pairs)
        blocks = [(2 * pair, 2, (pair,)) for pair in layout.pairs] if way == "points" else layout.blocks()
        for first, count, pairs in blocks:
            asked.append((unit + 1, first, count, point))
            point += len(pairs)
    return asked


def main() -> None:
    """See the module."""
    way, loop, ports, warm_s, window_s, shape = sys.argv[1:7]
    told = json.loads(shape)
    layout = Layout(**{**told, "pairs": tuple(told["pairs"])})
    asked = requests_of(layout, way)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        rows, failed, cpu_s, wall_s = runner.run(
            measure(
                [int(port) for port in ports.split()], layout, asked, warm_s=float(warm_s), window_s=float(window_s)
            )
        )
    identity = np.stack([layout.identities(line) for line in range(layout.lines)])
    columns = np.array(rows, dtype=np.float64).reshape(-1, 6)
    line, point = columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64)
    monotonic_ns = np.array([row[5] for row in rows], dtype=np.int64)
    wrong = wrong_values(columns[:, 2], identity[line, point], monotonic_ns, tick_ms=layout.tick_ms, oldest_s=1.0)
    print(json.dumps({"points": len(rows), "cpu_s": cpu_s, "wall_s": wall_s, "lost": failed, "wrong": wrong}))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
