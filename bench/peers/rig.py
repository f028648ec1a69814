"""One run of the bench: how long and how often, the folder it works in, its servers, and the rounds of its rows."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peers.children import Child, Core, PeerFailed
from peers.install import modbus_server
from peers.layout import Layout
from peers.times import rounds

Measured = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how often; `quick` is a look, not a result."""

    rounds: int = 5
    gateway_rounds: int = 3  # of those that take long to start
    window_s: float = 3.0
    gateway_window_s: float = 8.0
    mine_window_s: float = 60.0
    settle_s: float = 45.0  # the back-off of a dead unit reaches its longest rest in less
    opcua_rounds: int = 3
    opcua_window_s: float = 8.0


QUICK = Pace(1, 1, 2.0, 4.0, 15.0, 15.0, 1, 5.0)


@dataclass(slots=True)
class Bench:
    """Rows as they come in; `spins` is what the same piece of work took all through the run [ms of CPU]."""

    folder: Path
    pace: Pace
    quick: bool
    taken: dict[str, list[Measured]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    spins: list[float] = field(default_factory=list)
    count: int = 0

    def new(self, name: str) -> Path:
        """A path in the run's folder that nothing has yet."""
        self.count += 1
        return self.folder / f"{self.count:03d}-{name}"

    def measure(self, row: str, once: Callable[[], Measured]) -> None:
        """One round of one row; a peer that fails is left out from then on, and said."""
        if row in self.skipped:
            return
        begun = time.monotonic()
        self.spins.append(spin_ms())
        try:
            found = once()
        except PeerFailed as error:
            self.skipped[row] = str(error)
            print(f"{row}: left out: {error}", flush=True)
            return
        self.taken.setdefault(row, []).append(found)
        print(f"{row}: {_short(found)} ({time.monotonic() - begun:.0f} s)", flush=True)

    def rows(self) -> dict[str, Any]:
        """Of every row: minimum, median, maximum and noise of its rounds, losses and wrong values of all of them."""
        return {name: _joined(found) for name, found in self.taken.items()}


def _joined(found: Sequence[Measured]) -> dict[str, Any]:
    joined: dict[str, Any] = {
        "points_per_cpu_s": rounds([each["points"] / max(each["cpu_s"], 1e-6) for each in found]),
        "cpu_pct": rounds([pct for each in found for pct in each.get("parts_pct") or [cpu_pct(each)]]),
        "cpu_us_a_point": rounds([1e6 * each["cpu_s"] / max(each["points"], 1) for each in found]),
        "points": sum(each["points"] for each in found),
        "lost": sum(each["lost"] for each in found),
        "wrong": sum(each["wrong"] for each in found),
    }
    for key in ("grid_ms", "age_s", "interval_ms", "stored_grid_ms", "bad"):
        if found[-1].get(key):
            joined[key] = found[-1][key]
    return joined


def cpu_pct(found: Measured) -> float:
    """CPU of a round [% of a core]."""
    return float(100 * found["cpu_s"] / found["wall_s"])


def _short(found: Measured) -> str:
    kept = {key: value for key, value in found.items() if key not in ("cpu_s", "wall_s", "parts_pct") and value}
    speed = found["points"] / max(found["cpu_s"], 1e-6)
    return f"{speed:,.0f} points/CPU-s, {cpu_pct(found):.1f} % of a core, {json.dumps(kept)}"


def spin_ms() -> float:
    """CPU time of a fixed piece of work [ms]: its spread is the noise of the machine."""
    begun, total = time.process_time(), 0
    for number in range(400_000):
        total += number * number % 7
    return 1000 * (time.process_time() - begun)


@contextmanager
def served(
    bench: Bench, layout: Layout, log: Path | None = None, core: Core = Core.ANY
) -> Iterator[tuple[Child, list[int]]]:
    """The Modbus server of a layout and its ports, for as long as the block lasts."""
    words = [layout.lines, layout.units, layout.span, layout.tick_ms, log or "-"]
    with Child([modbus_server(), *(str(word) for word in words)], bench.new("server.log"), core=core) as server:
        yield server, [int(port) for port in server.line(10).split()]


def as_json(layout: Layout) -> str:
    """For a client's command line."""
    return json.dumps(asdict(layout))


def watched(
    child: Child, newest: Callable[[], Mapping[str, Any] | None], layout: Layout, settle_s: float, window_s: float
) -> Measured:
    """Points and CPU of a foreign process between two of the counts that it tells about once a second.

    Raises:
        PeerFailed: it delivers nothing.
    """
    first = _count(newest, lambda told: told["points"] > 0, 45)
    time.sleep(settle_s)
    first = _count(newest, lambda _: True, 10)
    begun, used = time.monotonic(), child.cpu_s()
    ages = []
    while True:
        last = _count(newest, lambda _: True, 10)
        ages.append(last["age_s"])
        if time.monotonic() - begun >= window_s:
            break
    cpu_s, wall_s, points = child.cpu_s() - used, time.monotonic() - begun, last["points"] - first["points"]
    expected = layout.points * wall_s / layout.period_s
    lost = expected - points if expected - points > layout.points else 0  # a count may fall within a period
    worst = max((age for age in ages if age), key=lambda age: age["p50"], default={})
    return {"points": points, "cpu_s": cpu_s, "wall_s": wall_s, "lost": round(lost), "age_s": worst} | {
        "wrong": last["wrong"] - first["wrong"]
    }


def _count(
    newest: Callable[[], Mapping[str, Any] | None], wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float
) -> Mapping[str, Any]:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        told = newest()
        if told is not None and wanted(told):
            return told
        time.sleep(0.02)
    raise PeerFailed(f"it delivered nothing within {timeout_s} s")


def machine() -> dict[str, Any]:
    """What it ran on."""
    import os

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {"cores": os.cpu_count(), "machine": platform.machine(), "processor": model} | {
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 2),
    }
