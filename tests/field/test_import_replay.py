"""Other people's traffic through import and replay: limits on its registers give events, the same ones every time, and
one altered value or limit that matters alters their hash."""

import csv
import json
import shutil
import subprocess
import sys

import pytest
from reference_data import reference

CAPTURE = "icsnpp-modbus/modbus_example.pcap"
LIMITS = {"s2.u5.holding.1": "170", "s2.u5.input.2": "8000"}


def minewatch(*arguments):
    command = [sys.executable, "-P", "-m", "minewatch", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def set_limits(folder, limits):
    path = folder / "site" / "points.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["high_alarm"] = limits.get(row["id"], "")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("import") / "C"
    minewatch("import", reference(CAPTURE), "--out", folder)
    set_limits(folder, LIMITS)
    return folder


def altered(imported, tmp_path, limits=None, frames=None):
    folder = tmp_path / "C"
    shutil.copytree(imported, folder)
    if limits:
        set_limits(folder, LIMITS | limits)
    if frames:
        text = (folder / "frames.jsonl").read_text(encoding="utf-8")
        assert text.count(frames[0]) == 1
        (folder / "frames.jsonl").write_text(text.replace(*frames), encoding="utf-8")
    return minewatch("replay", folder)


def test_two_limits_give_at_least_three_events_and_the_same_hash_twice(imported, tmp_path):
    first, second = minewatch("replay", imported), minewatch("replay", imported, "--out", tmp_path / "data")
    assert first["event_log_sha256"] == second["event_log_sha256"]
    assert first["events"] == second["events"] >= 3
    assert first["rows"] == 51
    kept = minewatch("events", imported / "site", "--data", tmp_path / "data")
    assert kept["sha256"] == first["event_log_sha256"]
    raised = [(e["point"], e["value"]) for e in kept["events"] if e["kind"] == "alarm_raised"]
    assert raised == [("s2.u5.holding.1", 170.0), ("s2.u5.input.2", 8059.0)]


def test_one_altered_value_that_crosses_a_limit_alters_the_hash(imported, tmp_path):
    plain = minewatch("replay", imported)
    block = '"function":3,"request":"0300010008","reply":"031000aa'
    crossed = altered(imported, tmp_path, frames=(block, block[:-2] + "a9"))
    assert crossed["event_log_sha256"] != plain["event_log_sha256"]
    assert crossed["events"] == plain["events"] - 1


def test_one_altered_limit_that_was_crossed_alters_the_hash(imported, tmp_path):
    plain = minewatch("replay", imported)
    changed = altered(imported, tmp_path, limits={"s2.u5.input.2": "8060"})
    assert changed["event_log_sha256"] != plain["event_log_sha256"]


def test_one_altered_limit_that_is_on_no_value_alters_nothing(imported, tmp_path):
    plain = minewatch("replay", imported)
    other = altered(imported, tmp_path, limits={"s2.u5.input.3": "60000"})
    assert other["event_log_sha256"] == plain["event_log_sha256"]
    assert other["site_sha256"] != plain["site_sha256"]
