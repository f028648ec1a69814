"""`minewatch run` as a process that is killed at a chosen moment, and what must hold of its data folder afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mines.events import Event
from mines.model import Actor
from mines.store.layout import DataFolder
from mines.store.ledger import Ledger
from mines.store.reader import Reader

UNITS, POINTS_A_UNIT = 20, 100
_HEAD = "id,name_zh,subsystem,role,kind,unit,source,address,data_type,period_s,high_alarm\n"


def write_counting_site(folder: Path, port: int) -> Path:
    """2,000 points of a counting server; each point of unit 1 has a limit that the count reaches sooner or later."""
    folder.mkdir(parents=True)
    (folder / "site.toml").write_text(
        'schema = 1\n[mine]\nid = "k"\nname_zh = "计数矿"\n[storage]\ndata = "../data"\n[subsystem.power]\n'
        f'[source.count]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\nport = {port}\n',
        encoding="utf-8",
    )
    lines = [
        f"u{unit}.p{i},计数{unit}-{i},power,other,total,,count,{unit}/holding/{2 * i},uint32,1,"
        + (str(2 * i + 2) if unit == 1 else "")
        + "\n"
        for unit in range(1, UNITS + 1)
        for i in range(POINTS_A_UNIT)
    ]
    (folder / "points.csv").write_text(_HEAD + "".join(lines), encoding="utf-8")
    return folder


class Run:
    """One life of `minewatch run`."""

    def __init__(self, site: Path, data: Path) -> None:
        self.snapshot_path = data / "runtime" / "snapshot.json"
        before = self.snapshot()
        self._old_boot = before.get("boot_id")
        command = [sys.executable, "-P", "-m", "minewatch", "run", str(site)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def snapshot(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self.snapshot_path.read_bytes())
        except FileNotFoundError:
            return {}
        return document

    def wait(self, condition: Any, seconds: float = 30.0) -> dict[str, Any]:
        """The first snapshot of this life for which the condition holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(f"run ended by itself: {self.process.stderr.read().decode()}")
            document = self.snapshot()
            if document and document["boot_id"] != self._old_boot and condition(document):
                return document
            time.sleep(0.01)
        raise AssertionError("the state did not come in time")

    def kill(self) -> dict[str, Any]:
        """Kills the process; returns the last snapshot it had published before."""
        document = self.snapshot()
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return document


def acknowledge(data: Path, alarms: list[dict[str, Any]]) -> int | None:
    """Writes one ledger row for the alarms as a page would; the id once it is durable."""
    chosen = [(row["id"], row["version"]) for row in alarms if row["state"] == "unacked"][:3]
    if not chosen:
        return None
    ledger = Ledger(DataFolder(data).ledger_db)
    return ledger.append(Actor("", "甲", "dispatcher", "1"), "acknowledge", chosen, time_ms=int(time.time() * 1000))


def standing(events: list[Event]) -> set[str]:
    """Alarms that stand after a log, by the plain reading of its events: raised, or returned and not acknowledged."""
    active: set[str] = set()
    unacked: set[str] = set()
    for event in events:
        alarm = f"{event.point}/{event.cause}"
        if event.kind == "alarm_raised":
            active.add(alarm)
            unacked.add(alarm)
        elif event.kind == "alarm_cleared":
            active.discard(alarm)
        elif event.kind == "alarm_acknowledged":
            unacked.discard(alarm)
    return active | unacked


def check_record(data: Path, last: dict[str, Any], events_before: list[Event], ledger_ids: set[int]) -> list[Event]:
    """What must hold after a kill, against the last snapshot that was published; returns the log as it stands."""
    reader = Reader(data)
    rows = 0
    for frame in reader.frames():
        rows += sum(len(item.batch) for tick in frame.ticks for item in tick.batches)
    assert rows >= last["durable"]["rows"]
    _check_no_hole(reader)
    events = reader.events()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[: len(events_before)] == events_before
    assert len(events) >= last["durable"]["event_seq"]
    ledger = Ledger(DataFolder(data).ledger_db)
    assert ledger_ids <= {act.ledger_id for act in ledger.acts_after(0)}
    assert ledger.verify() is None
    return events


def _check_no_hole(reader: Reader) -> None:
    """Within a boot: frames, batch numbers and the server's own count go on without a gap, for every point.

    A bad row stands for an answer that did not come; the count after it may be further by more than one.
    """
    last_frame, last_batch, last_count = 0, {}, {}
    missed: set[tuple[str, int]] = set()
    for frame in reader.frames():
        assert frame.seq == last_frame + 1
        last_frame = frame.seq
        for tick in frame.ticks:
            for item in tick.batches:
                batch = item.batch
                assert batch.batch_no == last_batch.get(frame.boot_id, 0) + 1
                last_batch[frame.boot_id] = batch.batch_no
                for index, value, word in zip(batch.index.tolist(), batch.value.tolist(), batch.quality, strict=True):
                    key = (frame.boot_id, index)
                    if (
                        word != 0
                    ):  # the server may have counted an answer that came too late: the count may go on by more
                        missed.add(key)
                        continue
                    if key in last_count:
                        step = value - last_count[key]
                        assert step == 1 or (step > 1 and key in missed), (key, value, step)
                    missed.discard(key)
                    last_count[key] = value
