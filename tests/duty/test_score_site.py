"""The entry that the command, the worker and the demo call, on a real data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compliance.score_site import score_site
from mines.model import Batch, RowKind, SourcedBatch, Tick, make_batch
from mines.quality import GOOD
from mines.site.site_file import Site, load_site
from mines.store.box_store import BoxStore
from mines.store.frame import Frame
from mines.store.reader import Reader

START_MS = 1_795_500_000_000
HEAD = (
    "id,name_zh,subsystem,area,role,principle,kind,unit,range_low,range_high,source,address,period_s,high_alarm,rule\n"
)
SITE = """schema = 1

[mine]
id = "m"
name_zh = "煤矿"
simulated = true

[source.plc]
kind = "modbus_tcp"
host = "127.0.0.1"

[source.ua]
kind = "opcua"
url = "opc.tcp://127.0.0.1:4840"
"""


def methane(n: int, area: str) -> str:
    return f"gas.{n},甲烷,gas,{area},methane,laser,analog,%CH4,0,4,plc,1/holding/{n},1,1.0,gas.ch4.face\n"


FAN = (
    "fan.run,运行,ventilation,fan,main_fan_run,,switch,,,,ua,ns=1;i=1,1,,\n"
    "fan.flow,风量,ventilation,fan,main_fan_flow,,analog,m3/min,0,8000,ua,ns=1;i=2,1,,\n"
)


def write_site(folder: Path, points: str) -> Site:
    folder.mkdir(exist_ok=True)
    (folder / "site.toml").write_text(SITE, encoding="utf-8")
    (folder / "points.csv").write_text(HEAD + points, encoding="utf-8")
    return load_site(folder)


def at(second: int, values: list[float], batch_no: int, kind: RowKind = RowKind.SAMPLE) -> Batch:
    time_ms = START_MS + 1000 * second
    return make_batch(
        np.arange(len(values)),
        values,
        GOOD,
        receive_time_ms=time_ms,
        monotonic_ns=time_ms * 1_000_000,
        batch_no=batch_no,
        kind=kind,
    )


def fill(site: Site, first: int, seconds: int, boot: str) -> None:
    """A poll of every Modbus point a second; OPC UA says its values once and confirms them every second."""
    store = BoxStore.open(site.data, site, boot_id=boot, time_ms=START_MS + 1000 * first)
    ticks = []
    for i in range(seconds):
        poll = at(first + i, [0.3] * len(site.points_of("plc")), i + 1)
        ua = at(first, [1.0, 5100.0], 1) if i == 0 else at(first + i, [np.nan, np.nan], i + 1, RowKind.CONFIRM)
        batches = (SourcedBatch(0, poll), SourcedBatch(1, ua)) if site.points_of("ua") else (SourcedBatch(0, poll),)
        ticks.append(Tick(i + 1, START_MS + 1000 * (first + i), 0, batches))
    for start in range(0, seconds, 60):
        store.commit(Frame(store.next_frame_seq, boot, site.sha256, tuple(ticks[start : start + 60])))
    store.close()


def test_three_minutes_of_a_whole_mine_are_scored(tmp_path):
    site = write_site(tmp_path / "site", "".join(methane(n, f"place {n % 10}") for n in range(340)) + FAN)
    fill(site, 0, 180, "b1")

    document = score_site(site, Reader(site.data), START_MS + 180_000).to_json()
    gas, ventilation = (document["subsystems"][name]["duty"] for name in ("gas", "ventilation"))
    window_ms = document["window"]["to_ms"] - document["window"]["from_ms"]
    assert gas["low"] == pytest.approx(179_000 / window_ms, rel=1e-2)
    assert ventilation["low"] == gas["low"]
    assert (gas["observed"], ventilation["observed"], gas["high"]) == (1.0, 1.0, 1.0)
    assert document["subsystems"]["gas"]["points"]["answered"] == 340


def test_a_data_folder_that_is_not_there_leaves_everything_open(tmp_path):
    site = write_site(tmp_path / "site", methane(0, "A"))

    document = score_site(site, Reader(site.data), START_MS).to_json()

    assert document["score"] == {"low": 0.0, "high": 97.0}
    assert document["targets"]["2026"]["state"] == "not_enough_data"


def test_rows_after_the_moment_do_not_count(tmp_path):
    site = write_site(tmp_path / "site", methane(0, "A"))
    fill(site, 0, 120, "b1")

    early = score_site(site, Reader(site.data), START_MS + 60_000).to_json()
    late = score_site(site, Reader(site.data), START_MS + 120_000).to_json()

    proved = [next(i for i in d["items"] if i["id"] == "G1")["evidence"]["proved_ms"] for d in (early, late)]
    assert proved == [59_000, 119_000]


def test_a_point_taken_out_of_an_accepted_site_stays_expected(tmp_path):
    with_both = write_site(tmp_path / "site", methane(0, "A") + methane(1, "A"))
    fill(with_both, 0, 60, "b1")
    with_one = write_site(tmp_path / "site", methane(0, "A"))
    fill(with_one, 60, 60, "b2")

    document = score_site(with_one, Reader(with_one.data), START_MS + 120_000).to_json()

    gas = document["subsystems"]["gas"]
    assert gas["points"]["vanished"] == ["gas.1"]
    item = next(i for i in document["items"] if i["id"] == "G1")
    assert item["evidence"]["proved_ms"] == 59_000  # while both were read


def test_the_document_says_whose_score_it_is_and_what_it_is_not(tmp_path):
    site = write_site(tmp_path / "site", methane(0, "A"))

    document = score_site(site, Reader(site.data), START_MS).to_json()

    assert document["mine"]["id"] == "m"
    assert document["simulated"] is True
    assert document["verified"] is False
    assert document["statement_zh"].startswith("项目默认口径,非主管部门评定结论")
    assert len(document["rules_sha256"]) == 64
    assert document["as_of_ms"] == START_MS
