"""A source in a few lines: yields what it is told, as often as it is told; store and site around it are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import numpy as np

from mines.clock import Clock
from mines.model import Batch, LinkReport, LinkState, Point, make_batch
from mines.quality import GOOD

SITE_TOML = """schema = 1

[mine]
id = "t1"
name_zh = "测试矿"
name_en = "Test mine"

[subsystem.gas]
required = true

[source.s]
kind = "modbus_tcp"
host = "127.0.0.1"
"""


def write_site(
    folder: Path, points: int = 3, extra: str = "", text: str = SITE_TOML, sources: Sequence[str] = ("s",)
) -> Path:
    """A small accepted site of gas points g0, g1 …; g0 has limits; point i is of the i-th source, or the last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_text(text + extra, encoding="utf-8")
    head = (
        "id,name_zh,subsystem,area,role,principle,kind,unit,source,address,data_type,period_s,range_low,range_high,"
        "high_alarm,high_clear,high_cut,high_restore\n"
    )
    lines = []
    for i in range(points):
        limits = "1.0,1.0,1.5,1.0" if i == 0 else ",,,"
        source = sources[min(i, len(sources) - 1)]
        lines.append(f"g{i},测点{i},gas,1602,methane,laser,analog,%CH4,{source},1/holding/{i},uint16,1,0,4,{limits}\n")
    (folder / "points.csv").write_text(head + "".join(lines), encoding="utf-8")
    return folder


class FakeSource:
    """Yields a batch of all points every `period_s`; `values` gives the values of poll n (from 1)."""

    kind = "fake"
    endpoint = "fake:0"

    def __init__(
        self,
        id: str,
        points: Sequence[Point],
        clock: Clock,
        values: Callable[[int], Sequence[float]],
        period_s: float = 0.05,
    ) -> None:
        self.id, self.points, self.clock, self.values, self.period_s = id, points, clock, values, period_s
        self.closed = 0

    async def stream(self) -> AsyncGenerator[Batch | LinkReport]:
        n = 0
        try:
            yield self.report(LinkState.GOOD)
            while True:
                n += 1
                values = self.values(n)
                yield make_batch(
                    np.arange(len(self.points), dtype=np.int32),
                    values,
                    GOOD,
                    receive_time_ms=self.clock.wall_ms(),
                    monotonic_ns=self.clock.monotonic_ns(),
                    batch_no=n,
                )
                await asyncio.sleep(self.period_s)
        finally:
            self.closed += 1

    def report(self, state: LinkState) -> LinkReport:
        now = self.clock.wall_ms()
        return LinkReport(self.id, 1, state, now, now, "", 0.1, 0, 0, 0, 0, endpoint=self.endpoint, time_ms=now)
