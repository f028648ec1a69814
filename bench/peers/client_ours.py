"""Our own client: the real sources of a site folder, streamed on uvloop; what they yield is held and checked later.

`python -m peers.client_ours modbus|opcua SITE WARM_S WINDOW_S [LAYOUT as JSON]` prints one JSON object.
CPU is getrusage of this process over the window: sources and their streams, without store, alarms and snapshot.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from peers.layout import IDENTITIES, Layout, wrong_values
from peers.times import grid_deviation_ms, spread

from connectors.sources import build_sources
from mines.clock import SystemClock
from mines.model import Batch, RowKind
from mines.site.site_file import load_site
from mines.source import Source


def cpu_s() -> float:
    """User and system time of this process [s]."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Taken:
    """Batches of all sources, in the order of their coming."""

    def __init__(self) -> None:
        self.items: list[tuple[int, Batch]] = []

    async def take(self, position: int, source: Source) -> None:
        """Streams one source for ever."""
        async with aclosing(source.stream()) as stream:
            async for item in stream:
                if isinstance(item, Batch) and item.kind is RowKind.SAMPLE:
                    self.items.append((position, item))


async def measure(site: Path, warm_s: float, window_s: float, part_s: float) -> tuple[list[tuple[int, Batch]], Any]:
    """What came within the window, and what it cost: CPU of the whole, and of its parts [% of a core]."""
    taken = Taken()
    sources = build_sources(load_site(site), SystemClock())
    tasks = [asyncio.create_task(taken.take(i, source)) for i, source in enumerate(sources)]
    await asyncio.sleep(warm_s)
    taken.items = []
    begun, used = time.monotonic(), cpu_s()
    marks = [(begun, used)]
    while (now := time.monotonic()) < begun + window_s:
        await asyncio.sleep(min(part_s, begun + window_s - now))
        marks.append((time.monotonic(), cpu_s()))
    items, taken.items = taken.items, []
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    defects = [repr(each) for each in done if not isinstance(each, asyncio.CancelledError)]
    parts = [100 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(marks) if b[0] - a[0] > 0.5]
    cost = {"cpu_s": marks[-1][1] - used, "wall_s": marks[-1][0] - begun, "parts_pct": parts, "defects": defects}
    return items, cost


def judge_modbus(items: list[tuple[int, Batch]], layout: Layout) -> dict[str, Any]:
    """Points that came good; rows that were bad, wrong, or stand in a batch that is missing; the grid of each unit."""
    good = lost = wrong = 0
    times: dict[tuple[int, int], list[int]] = {}
    last: dict[int, int] = {}
    for position, batch in items:
        fine = batch.quality == 0
        good += int(fine.sum())
        lost += int((~fine).sum())
        lost += (batch.batch_no - last.get(position, batch.batch_no - 1) - 1) * len(batch)
        last[position] = batch.batch_no
        identity = layout.identities(position)[batch.index]
        wrong += wrong_values(
            batch.value[fine], identity[fine], batch.monotonic_ns[fine], tick_ms=layout.tick_ms, oldest_s=1.0
        )
        for unit in range(layout.units if layout.period_s >= 1 else 0):
            row = unit * len(layout.pairs)
            times.setdefault((position, unit), []).append(int(batch.monotonic_ns[row]))
    found: dict[str, Any] = {"points": good, "lost": lost, "wrong": wrong}
    if times:
        deviation = [grid_deviation_ms(np.array(each), layout.period_s) for each in times.values()]
        found["grid_ms"] = spread(np.concatenate(deviation))
    return found


def judge_opcua(items: list[tuple[int, Batch]], points: int) -> dict[str, Any]:
    """Every point's own count of ticks: what is missing between its first and last value is lost."""
    index = np.concatenate([batch.index for _, batch in items])
    fine = np.concatenate([batch.quality for _, batch in items]) == 0
    value = np.concatenate([batch.value for _, batch in items])[fine].astype(np.int64)
    wrong = int((value % IDENTITIES != index[fine]).sum())
    return {"points": int(fine.sum()), "bad": int((~fine).sum()), "wrong": wrong} | lost_ticks(
        index[fine], value // IDENTITIES, points
    )


def lost_ticks(index: np.ndarray, tick: np.ndarray, points: int) -> dict[str, int]:
    """Values missing between the first and last tick that anybody saw, but for those two; and values seen twice."""
    pairs = np.unique(np.stack([index, tick]), axis=1)
    first, last = int(tick.min()), int(tick.max())
    whole = int(((pairs[1] > first) & (pairs[1] < last)).sum())
    return {"lost": max(last - first - 1, 0) * points - whole, "twice": len(index) - pairs.shape[1]}


def main() -> None:
    """See the module."""
    kind, site, warm_s, window_s, shape = sys.argv[1:6]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        items, cost = runner.run(measure(Path(site), float(warm_s), float(window_s), max(float(window_s) / 6, 1.0)))
    if kind == "modbus":
        told = json.loads(shape)
        found = judge_modbus(items, Layout(**{**told, "pairs": tuple(told["pairs"])}))
    else:
        found = judge_opcua(items, int(shape))
    print(json.dumps(found | cost))


if __name__ == "__main__":
    main()
