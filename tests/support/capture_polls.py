"""A served capture polled by our own sources, and what a replay says that they must see."""

import asyncio
import re
import shutil
from contextlib import aclosing

import numpy as np

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.serving import CaptureServer, ServeOptions
from connectors.sources import build_sources
from mines.clock import ManualClock, SystemClock
from mines.model import Batch
from mines.quality import Severity, severity_of
from mines.site.site_file import load_site

NS_PER_MS = 1_000_000


def replayed_states(folder):
    """Moments [ms] of the replay's ticks, and at each: source id → list of (value, good) a point, None = not yet."""
    opened = capture_ticks(folder)
    state = {table.id: [None] * len(opened.site.points_of(table.id)) for table in opened.site.sources}
    moments = []
    for tick in opened.ticks:
        for item in tick.batches:
            of_source = state[opened.sources[item.source]]
            for row, index in enumerate(item.batch.index.tolist()):
                good = severity_of(int(item.batch.quality[row])) == Severity.GOOD
                of_source[index] = (float(item.batch.value[row]), good)
        moments.append((tick.time_ms, {name: list(rows) for name, rows in state.items()}))
    return moments


def redirected(folder, target, served):
    """A copy of the capture's site whose sources point to where they are served."""
    shutil.copytree(folder / "site", target)
    text = (target / "site.toml").read_text(encoding="utf-8")
    for each in served:
        host, _, port = each.recorded.rpartition(":")
        here, _, new_port = each.url.split("//")[1].split("/")[0].rpartition(":")
        text = text.replace(f'host = "{host.strip("[]")}"\nport = {port}', f'host = "{here}"\nport = {new_port}')
        text = re.sub(rf'url = "opc\.tcp://{re.escape(each.recorded)}[^"]*"', f'url = "{each.url}"', text)
    (target / "site.toml").write_text(text, encoding="utf-8")
    return load_site(target)


async def polled(source, within_s=10.0):
    """One (value, good) a point, the first that the source yields which is no mere waiting."""
    values = [None] * len(source.points)
    async with asyncio.timeout(within_s), aclosing(source.stream()) as stream:
        async for item in stream:
            if not isinstance(item, Batch):
                continue
            for row, index in enumerate(item.index.tolist()):
                good = severity_of(int(item.quality[row])) == Severity.GOOD
                values[index] = (float(item.value[row]), good)
            if None not in values:
                return values
    raise AssertionError("the stream ended")


def first_states(moments):
    """What each point shows before its own first row: that row."""
    first = {name: [None] * len(rows) for name, rows in moments[0][1].items()}
    for _, state in moments:
        for name, rows in state.items():
            first[name] = [old or new for old, new in zip(first[name], rows, strict=True)]
    return first


async def compare(folder, scratch, picked):
    """Serves the capture, stands at the picked moments one after the other, polls every source and compares; gives how
    many values were compared."""
    moments = replayed_states(folder)
    first, compared = first_states(moments), 0
    clock = ManualClock(wall_ms=SystemClock().wall_ms())
    async with CaptureServer(folder, ServeOptions(), clock) as server:
        site = redirected(folder, scratch, server.served)
        for number in picked:
            time_ms, state = moments[number]
            clock.set(SystemClock().wall_ms(), elapsed_to(server.playback, time_ms * NS_PER_MS))
            await server.show()
            for source in build_sources(site, SystemClock()):
                seen = await polled(source)
                expected = [new or old for new, old in zip(state[source.id], first[source.id], strict=True)]
                assert [good for _, good in seen] == [good for _, good in expected]
                np.testing.assert_array_equal([value for value, _ in seen], [value for value, _ in expected])
                compared += len(seen)
    return compared


def elapsed_to(playback, time_ns):
    """The latest serving time at which nothing later than `time_ns` has happened."""
    low, high = 0, playback.length_ns
    while low < high:
        middle = (low + high + 1) // 2
        if playback.place(middle).time_ns <= time_ns:
            low = middle
        else:
            high = middle - 1
    return low
