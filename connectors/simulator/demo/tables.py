"""The point tables of the demo mine: package data, one CSV a device, its name the source's id.

Columns are those of points.csv that the demo uses (all but `source`, which the file's name says), and `signal`:

    steady LOW HIGH PERIOD_S              breathes between the two
    course NAME [AMPLITUDE PERIOD_S]      follows a course; with noise of that amplitude while it is not at rest
    fixed VALUE
    total START PER_HOUR                  counts evenly since 2020

Limits without a rule are project choices (temperatures, vibration, voltages, headcounts …), never the regulation's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from mines.errors import ConfigError
from mines.model import Point
from mines.site.columns import COLUMNS
from mines.site.point_list import read_points
from mines.site.problems import Findings

SIGNAL_COLUMN = "signal"


@dataclass(frozen=True, slots=True)
class Device:
    """One simulated device: a source of its own."""

    source: str
    kind: str
    name_zh: str
    port: int
    """The port it asks for; another where that one is taken."""
    silent: bool = False


DEVICES = (
    Device("gas_face", "modbus_tcp", "1602工作面与公共安全监控分站", 15021),
    Device("gas_heading", "modbus_tcp", "1603掘进安全监控分站", 15022),
    Device("main_fan", "modbus_tcp", "主通风机PLC", 15023),
    Device("pump_house", "modbus_tcp", "中央水泵房PLC", 15024),
    Device("hoist", "modbus_tcp", "副斜井提升与架空乘人PLC", 15025),
    Device("surface", "modbus_tcp", "地面变电所与压风机房", 15026),
    Device("belt", "modbus_tcp", "带式输送机PLC", 15027),
    Device("drainage", "opcua", "抽采泵站、人员位置与环境OPC UA服务器", 15040),
    Device("door_station", "modbus_tcp", "风门分站(无应答)", 15028, silent=True),
)
"""In the order of the site's sources."""


@dataclass(frozen=True, slots=True)
class Signal:
    """How one point's value is made: constant part or course, and bounded noise on it."""

    course: str = ""
    constant: float = 0.0
    amplitude: float = 0.0
    period_ms: int = 0
    per_hour: float = 0.0


class Tables:
    """All point tables, read once from package data."""

    def __init__(self) -> None:
        folder = files("connectors.simulator.demo")
        self._rows: list[dict[str, str]] = []
        for device in DEVICES:
            text = folder.joinpath(f"{device.source}.csv").read_text(encoding="utf-8")
            self._rows += [{**row, "source": device.source} for row in csv.DictReader(io.StringIO(text, newline=""))]

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every point, in process order.

        Raises:
            ConfigError: a table is wrong, which is a defect.
        """
        findings = Findings()
        points = read_points(self.points_csv().encode("utf-8"), None, findings).points
        if findings.errors:
            raise ConfigError(findings.errors)
        return points

    @cached_property
    def signals(self) -> Mapping[str, Signal]:
        """Each point's signal."""
        return {row["id"]: read_signal(row[SIGNAL_COLUMN]) for row in self._rows}

    def points_csv(self) -> str:
        """The text of points.csv: every column of the design, in its order."""
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return out.getvalue()


def read_signal(text: str) -> Signal:
    """A signal as the column says it.

    Raises:
        ValueError: it says nothing of the kind.
    """
    match text.split():
        case ["steady", low, high, period_s]:
            half = (float(high) - float(low)) / 2.0
            return Signal(constant=float(low) + half, amplitude=half, period_ms=_milliseconds(period_s))
        case ["course", name]:
            return Signal(course=name)
        case ["course", name, amplitude, period_s]:
            return Signal(course=name, amplitude=float(amplitude), period_ms=_milliseconds(period_s))
        case ["fixed", value]:
            return Signal(constant=float(value))
        case ["total", start, per_hour]:
            return Signal(constant=float(start), per_hour=float(per_hour))
        case _:
            raise ValueError(f"no signal: {text!r}")


def points_of(points: Sequence[Point], source: str) -> tuple[Point, ...]:
    """The points of one source, in order."""
    return tuple(point for point in points if point.source == source)


def _milliseconds(seconds: str) -> int:
    return round(float(seconds) * 1000)
