"""Site folders for tests: a good site as text, written where a test wants it, with one thing changed."""

from __future__ import annotations

from pathlib import Path

SITES = Path(__file__).parents[2] / "fixtures" / "sites"

SITE_TOML = """schema = 1

[mine]
id = "test-mine"
name_zh = "虚构煤矿"

[subsystem.gas]
[subsystem.dewatering]

[source.kj]
kind = "opcua"
url = "opc.tcp://192.0.2.20:4840"

[source.pump]
kind = "modbus_tcp"
host = "192.0.2.10"
"""

POINTS_CSV = """id,name_zh,subsystem,role,principle,kind,unit,source,address,period_s,high_alarm,rule
dewatering.sump.level,水仓水位,dewatering,sump_level,radar,analog,m,pump,1/holding/0,1,3.5,
gas.t1.ch4,工作面T1甲烷,gas,methane,laser,analog,%CH4,kj,i=1,2,1.0,gas.ch4.face
dewatering.p1.current,1号泵电流,dewatering,pump_current,transformer,analog,A,pump,1/holding/1,1,,
"""


def write_site(folder: Path, *, toml: str = SITE_TOML, points: str | bytes | None = POINTS_CSV) -> Path:
    """Writes the two files of a site; `points=None` leaves points.csv out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_bytes(toml.encode("utf-8"))
    if points is not None:
        (folder / "points.csv").write_bytes(points if isinstance(points, bytes) else points.encode("utf-8"))
    return folder
