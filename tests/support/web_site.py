"""A small made-up mine for page tests: one frozen Site, no folder behind it, points of every kind and subsystem."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mines.model import Mine, Point, PointKind, Subsystem
from mines.site.site_file import Site
from mines.site.source_table import SourceTable
from mines.site.tables import RunSettings, ShiftSettings, WebSettings

SHA = "5e" * 32


def make_point(point_id: str, name: str, *, unit: str = "%CH4", source: str = "kj", **more) -> Point:
    """A point with plain defaults; `more` overrides any field."""
    subsystem = Subsystem(point_id.split(".")[0])
    fields = {
        "name_en": "",
        "area": "",
        "kind": PointKind.ANALOG,
        "address": "1/holding/0",
        "period_s": 1.0,
    } | more
    return Point(id=point_id, name_zh=name, subsystem=subsystem, unit=unit, source=source, **fields)


def methane(point_id: str, name: str, **more) -> Point:
    """A methane point with its statutory pairs."""
    limits = {"high_alarm": 1.0, "high_clear": 1.0, "high_cut": 1.5, "high_restore": 1.0, "level": 2}
    return make_point(point_id, name, range_low=0.0, range_high=4.0, **(limits | more))


STATES = {0: "停", 1: "开"}
POINTS = (
    methane("gas.f1602.t1.ch4", "1602工作面T1甲烷", area="1602工作面", name_en="Face 1602 T1 methane"),
    methane("gas.f1602.t2.ch4", "1602回风巷T2甲烷", area="1602回风巷", name_en="Face 1602 T2 methane"),
    methane("gas.h1603.t1.ch4", "1603运输巷掘进面T1甲烷", area="1603运输巷"),
    make_point(
        "gas.h1603.co", "1603回风一氧化碳", unit="ppm", range_low=0.0, range_high=100.0, high_alarm=24.0, decimals=0
    ),
    make_point(
        "ventilation.main.pressure",
        "主通风机负压",
        unit="Pa",
        source="fan",
        range_low=0.0,
        range_high=4000.0,
        low_alarm=900.0,
        decimals=0,
    ),
    make_point("ventilation.main1.run", "1号主通风机运行", unit="", source="fan", kind=PointKind.SWITCH, states=STATES),
    make_point("gas_drainage.flow", "抽采混合流量", unit="m3/min", source="drain", range_low=0.0, range_high=200.0),
    make_point(
        "dewatering.sump.level",
        "主水仓水位",
        unit="m",
        source="pump",
        range_low=0.0,
        range_high=5.0,
        high_alarm=3.5,
        latch=True,
        level=3,
    ),
    make_point(
        "dewatering.p1.current", "1号水泵电流", unit="A", source="pump", range_low=0.0, range_high=400.0, decimals=1
    ),
    make_point(
        "hoisting.aux.speed",
        "副斜井提升速度",
        unit="m/s",
        source="hoist",
        range_low=0.0,
        range_high=6.0,
        high_alarm=3.68,
    ),
    make_point(
        "power.line1.voltage", "10kV一回电压", unit="kV", source="power", range_low=0.0, range_high=12.0, low_alarm=9.3
    ),
    make_point(
        "compressed_air.pressure",
        "空压机排气压力",
        unit="MPa",
        source="air",
        range_low=0.0,
        range_high=1.6,
        low_alarm=0.5,
    ),
    make_point(
        "transport.belt.co",
        "皮带机头一氧化碳",
        unit="ppm",
        source="belt",
        range_low=0.0,
        range_high=100.0,
        high_alarm=10.0,
        decimals=0,
    ),
    make_point("personnel.total", "井下总人数", unit="person", source="people", kind=PointKind.TOTAL, decimals=0),
)


def make_site(folder: Path, points: tuple[Point, ...] = POINTS, *, simulated: bool = False) -> Site:
    """A site of these points; every source named by a point exists."""
    sources = dict.fromkeys(point.source for point in points)
    return Site(
        folder=folder,
        mine=Mine("test-mine", "云岭煤矿(虚构)", "Yunling Mine (fictitious)"),
        simulated=simulated,
        subsystems={},
        data=folder / "data",
        runtime=folder / "runtime",
        run=RunSettings(),
        shift=ShiftSettings(),
        web=WebSettings(),
        certificates=(),
        sources=tuple(SourceTable(name, "opcua" if name == "kj" else "modbus_tcp", {}) for name in sources),
        points=points,
        sha256=SHA,
    )


def many_points(count: int) -> tuple[Point, ...]:
    """That many points over all subsystems, a third of them methane with limits."""
    names = [subsystem.value for subsystem in Subsystem]
    return tuple(
        methane(f"gas.m{i:04}.ch4", f"测点{i}甲烷", period_s=2.0)
        if i % 3 == 0
        else make_point(f"{names[i % len(names)]}.p{i:04}", f"测点{i}", unit="A", range_high=100.0, high_alarm=90.0)
        for i in range(count)
    )


def renamed(point: Point, name: str) -> Point:
    """The same point under another Chinese name."""
    return replace(point, name_zh=name)
