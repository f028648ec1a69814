"""Small sites for captures, and captures of wire frames made by hand."""

from connectors.captures.folder import CaptureHeader, CaptureKind, write_header
from connectors.captures.wire_frames import WireFrame, write_wire_frames

T0_NS = 1_700_000_000_000_000_000
MS = 1_000_000
SERVER = "192.168.7.20:502"
SITE_TOML = """schema = 1
[mine]
id = "m1"
name_zh = "试验矿"
[subsystem.power]
"""
SOURCE_TOML = """[source.{id}]
kind = "modbus_tcp"
host = "{host}"
port = {port}
timeout_s = {timeout_s}
"""
HEADER = (
    "id,name_zh,subsystem,kind,unit,source,address,data_type,scale,range_low,range_high,period_s,high_alarm,on_delay_s,"
    "formerly"
)


def source(id="s1", host="192.168.7.20", port=502, timeout_s=1.0):
    return SOURCE_TOML.format(id=id, host=host, port=port, timeout_s=timeout_s)


def point(id, address, source="s1", **cells):
    """A row of points.csv by HEADER."""
    kind = "switch" if cells.get("data_type") == "bool" else "analog"
    row = {
        "id": id, "name_zh": id, "subsystem": "power", "kind": kind, "unit": "", "source": source, "address": address,
        "data_type": "uint16", "period_s": "1",
    }  # fmt: skip
    row.update({key: str(value) for key, value in cells.items()})
    return ",".join(row.get(column, "") for column in HEADER.split(","))


def write_site(folder, sources, points):
    """The folder of a site."""
    folder.mkdir(parents=True)
    (folder / "site.toml").write_text(SITE_TOML + "".join(sources), encoding="utf-8")
    (folder / "points.csv").write_text("\n".join([HEADER, *points]) + "\n", encoding="utf-8")
    return folder


def frame(ms, request, reply, rtt_ms=5, **other):
    """An exchange `ms` after the beginning."""
    fields = {
        "time_ns": T0_NS + round(ms * MS),
        "server": SERVER,
        "client": "192.168.7.10:49152",
        "unit": 1,
        "transaction": 1,
        "function": request[0],
        "request": request,
        "reply": reply,
        "reply_time_ns": None if reply is None else T0_NS + round((ms + rtt_ms) * MS),
    } | other
    return WireFrame(**({"reply_unit": None if reply is None else fields["unit"]} | fields))


def write_import(folder, frames):
    """An import made by hand, without a site of its own."""
    folder.mkdir()
    count = write_wire_frames(folder, frames)
    from_ms = T0_NS // MS
    header = CaptureHeader(CaptureKind.IMPORT, "test", "", from_ms, from_ms + 1, counts={"exchanges": count})
    write_header(folder, header)
    return folder
