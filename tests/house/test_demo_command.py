"""The demo as a person starts it: one address on one line, live pages, and a record that adds up."""

import hashlib
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mines.store.reader import Reader


def demo(folder, seconds):
    command = [sys.executable, "-P", "-m", "minewatch", "demo", "--for", f"{seconds}s", "--data", str(folder)]
    return subprocess.Popen(
        [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process, seconds):
    stdout, stderr = process.communicate(timeout=seconds + 60)
    assert process.returncode == 0, stderr
    return json.loads(stdout)


def check(document, least_share):
    """What must hold of every demo, whatever its length."""
    fields = {
        "url", "data_dir", "site_dir", "started_ms", "seconds", "points", "samples", "read", "stored", "rejected",
        "durable", "sources", "subsystems", "alarms_raised", "alarms_cleared", "event_log_sha256", "score",
    }  # fmt: skip
    assert set(document) == fields
    states = {source["id"]: source["state"] for source in document["sources"]}
    assert [name for name, state in states.items() if state != "good"] == ["door_station"]
    assert document["points"] >= 300
    assert document["read"] == document["stored"] + sum(document["rejected"].values())
    for source in document["sources"]:
        expected = source["points"] * document["seconds"] * 1000 / source["period_ms"]
        if source["kind"] != "opcua":
            assert source["samples"] >= least_share * expected, source["id"]
    reader = Reader(Path(document["data_dir"]))
    rows = reader.samples_of(sorted(reader.known_points()), document["started_ms"], None)
    assert sum(len(columns.value) for columns in rows.values()) == document["stored"]
    assert 0 <= document["score"]["low"] <= document["score"]["high"] <= 100


def recomputed(site_dir):
    command = [sys.executable, "-P", "-m", "minewatch", "events", site_dir, "--json"]
    events = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)["events"]
    lines = [json.dumps(e, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False) for e in events]
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest(), events


def test_short_demo_serves_live_pages_and_its_record_adds_up(tmp_path):
    process = demo(tmp_path / "data", 20)
    address = process.stderr.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert "演示数据·虚构煤矿" in answer.read().decode()
    document = finish(process, 20)
    assert document["url"] == address
    check(document, least_share=0.8)
    assert recomputed(document["site_dir"])[0] == document["event_log_sha256"]


@pytest.mark.long
def test_three_minutes_of_demo_raise_and_clear_an_alarm(tmp_path):
    document = finish(demo(tmp_path / "data", 180), 180)
    check(document, least_share=0.9)
    assert document["alarms_raised"] >= 1
    assert document["alarms_cleared"] >= 1
    digest, events = recomputed(document["site_dir"])
    assert digest == document["event_log_sha256"]
    kinds = [(e["kind"], e["cause"]) for e in events if e["point"] == "gas.f1602.t1.ch4"]
    assert kinds == [("alarm_raised", "high_alarm"), ("alarm_cleared", "high_alarm")]
