"""`kill -9` of run under 2,000 samples a second: nothing below the published watermark is lost, whatever the moment
(R1, R2, F01)."""

import random

import pytest
from killed_run import Run, acknowledge, check_record, standing, write_counting_site
from modbus_servers import CountingServer

from mines.store.reader import Reader


def rounds(tmp_path, count, seed):
    """Kills the same box again and again; each life begins from what the one before left."""
    chance = random.Random(seed)
    data = tmp_path / "data"
    ledger_ids: set[int] = set()
    with CountingServer() as server:
        site = write_counting_site(tmp_path / "site", server.port)
        events = []
        for _ in range(count):
            run = Run(site, data)
            first = run.wait(lambda s: s["durable"]["frame"] > 0)
            assert standing(events) <= {row["id"] for row in first["alarms"]}
            run.wait(lambda s: s["counters"]["stored"] >= 2_000)
            moment = chance.uniform(0.0, 1.5)
            done = acknowledge(data, run.snapshot()["alarms"])
            ledger_ids |= set() if done is None else {done}
            stop_at = run.snapshot()["mono_ms"] + 1000 * moment
            run.wait(lambda s, end=stop_at: s["mono_ms"] >= end or chance.random() < 0.02)
            last = run.kill()
            events = check_record(data, last, events, ledger_ids)
            assert standing(events) >= {row["id"] for row in last["alarms"] if row["state"] == "unacked"} - unseen(last)
    return Reader(data), ledger_ids


def unseen(snapshot):
    """Alarms of events that the snapshot itself says are not durable yet."""
    after = snapshot["durable"]["event_seq"]
    return {f"{e['point']}/{e['cause']}" for e in snapshot["events"] if e["seq"] > after}


def test_ten_kills_lose_nothing_below_the_watermark(tmp_path):
    reader, ledger_ids = rounds(tmp_path, 10, seed=1)
    kinds = [event.kind for event in reader.events()]
    assert kinds.count("box_started") == 10
    assert kinds.count("alarm_raised") >= 10
    assert ledger_ids


@pytest.mark.long
def test_fifty_kills_lose_nothing_below_the_watermark(tmp_path):
    reader, _ = rounds(tmp_path, 50, seed=2)
    assert [event.kind for event in reader.events()].count("box_started") == 50
