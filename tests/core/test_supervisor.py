"""The supervisor with a real store: what is read is stored, a defect stays where it is, nothing waits for the disk."""

import asyncio
import json
import threading
import time as wall
from dataclasses import replace

import pytest
from fake_source import FakeSource, write_site

from mines.box_time import BoxTime
from mines.clock import SystemClock
from mines.errors import StoreError
from mines.model import Actor, LinkReport, LinkState
from mines.run import snapshot_path
from mines.site.site_file import load_site
from mines.store.box_store import BoxStore
from mines.store.disk import DiskFull
from mines.store.layout import DataFolder
from mines.store.ledger import Ledger
from mines.store.reader import Reader
from mines.supervisor import Identity, Pace, Supervisor
from mines.watch import Watch

FAST = Pace(tick_ms=50, commit_ms=200, publish_ms=100)


class Box:
    """A supervisor over real parts, with fake sources."""

    def __init__(self, tmp_path, make_sources, wrap=lambda store: store, **site):
        self.site = load_site(write_site(tmp_path / "site", **site))
        self.site.runtime.mkdir(parents=True, exist_ok=True)
        clock = SystemClock()
        self.store = BoxStore.open(self.site.data, self.site, boot_id="b1", time_ms=clock.wall_ms())
        self.time = BoxTime(clock, 0)
        self.sources = make_sources(self.site, self.time)
        self.watch = Watch([s.points for s in self.sources], self.store.next_event_seq)
        self.watch.fold(self.store.log_tail)
        self.ledger = Ledger(DataFolder(self.site.data).ledger_db)
        self.snapshot = snapshot_path(self.site)
        identity = Identity("b1", self.site.sha256, "test", "live", {"id": "t1"}, 1, self.time.wall_ms())
        self.supervisor = Supervisor(
            self.sources,
            self.watch,
            wrap(self.store),
            time=self.time,
            identity=identity,
            snapshot_path=self.snapshot,
            new_acts=self.ledger.acts_after,
            pace=FAST,
        )

    def run(self, script):
        async def both():
            task = asyncio.create_task(self.supervisor.run([]))
            try:
                await asyncio.wait_for(script(self), 20)
            finally:
                self.supervisor.stop()
                await asyncio.wait_for(task, 20)

        try:
            asyncio.run(both())
        finally:
            self.store.close()
        return json.loads(self.snapshot.read_bytes())


def one(values):
    return lambda site, time: [FakeSource("s", site.points_of("s"), time, values)]


async def for_a_while(_box, seconds=0.8):
    await asyncio.sleep(seconds)


async def until(condition, seconds=10.0):
    """Waits for a state of the running box; its arrival is the proof, the deadline the failure."""
    end = wall.monotonic() + seconds
    while not condition():
        assert wall.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)


def test_every_row_that_was_read_is_stored_and_can_be_queried(tmp_path):
    box = Box(tmp_path, one(lambda n: [0.1, 0.2, n / 1000]))
    snapshot = box.run(for_a_while)
    counters = snapshot["counters"]
    assert counters["read"] == counters["stored"] + sum(counters["rejected"].values())
    assert counters["read"] == snapshot["durable"]["rows"] > 20
    reader = Reader(box.site.data)
    columns = reader.samples("g2")
    assert len(columns.value) * 3 == counters["stored"]
    assert columns.value.tolist() == [n / 1000 for n in range(1, len(columns.value) + 1)]
    assert columns.batch_no.tolist() == list(range(1, len(columns.value) + 1))


def test_a_delay_that_falls_due_at_a_quiet_tick_has_its_tick_in_the_journal(tmp_path):
    def sources(site, time):
        points = [replace(p, high_alarm=1.0, on_delay_s=0.3) for p in site.points_of("s")]
        return [FakeSource("s", points, time, lambda n: [1.2, 1.3, 1.4], period_s=30)]

    box = Box(tmp_path, sources)
    box.run(for_a_while)
    raised = [e for e in Reader(box.site.data).events() if e.kind == "alarm_raised"]
    assert [e.point for e in raised] == ["g0", "g1", "g2"]
    held = [(tick, frame.events) for frame in Reader(box.site.data).frames() for tick in frame.ticks]
    (tick,) = [tick for tick, events in held if tick.quiet and any(e in raised for e in events)]
    assert all(tick.time_ms >= e.time_ms for e in raised)  # seen at the tick, timed when it fell due


def test_alarm_is_in_the_log_and_in_the_snapshot_at_once(tmp_path):
    box = Box(tmp_path, one(lambda n: [0.5 if n < 5 else 1.7, 0.2, 0.2]))
    snapshot = box.run(for_a_while)
    assert [(row["id"], row["state"]) for row in snapshot["alarms"]] == [
        ("g0/high_cut", "unacked"),
        ("g0/high_alarm", "unacked"),
    ]
    kinds = [event.kind for event in Reader(box.site.data).events()]
    assert kinds == ["link_changed", "alarm_raised", "alarm_raised", "box_stopped"]
    assert snapshot["durable"]["event_seq"] == 4


def test_acknowledgement_goes_by_ledger_to_event_and_only_then_counts(tmp_path):
    box = Box(tmp_path, one(lambda n: [1.2, 0.2, 0.2]))

    async def script(box):
        await until(lambda: box.watch.alarms.standing)
        box.ledger.append(
            Actor("", "张三", "dispatcher", "1"), "acknowledge", [("g0/high_alarm", 1)], time_ms=box.time.wall_ms()
        )
        await until(lambda: box.watch.acts)

    snapshot = box.run(script)
    assert snapshot["acts"] == {"1": "applied"}
    (event,) = [e for e in Reader(box.site.data).events() if e.kind == "alarm_acknowledged"]
    assert event.detail["actor"]["name"] == "张三"
    assert event.detail["actor"]["authenticated"] is False


class Broken(FakeSource):
    async def stream(self):
        yield self.report(LinkState.GOOD)
        raise KeyError("a defect")


def test_defect_of_one_source_is_said_and_its_neighbour_does_not_notice(tmp_path):
    def sources(site, time):
        good = FakeSource("t", site.points_of("t"), time, lambda n: [0.2, 0.3])
        return [Broken("s", site.points_of("s"), time, lambda n: [0.0]), good]

    second = '[source.t]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\n'
    box = Box(tmp_path, sources, extra=second, sources=("s", "t"))
    snapshot = box.run(for_a_while)
    events = Reader(box.site.data).events()
    assert "source_restarted" in [event.kind for event in events]
    assert "KeyError" in next(e for e in events if e.kind == "source_restarted").detail["error"]
    value, quality, age_ms, *_ = snapshot["points"]["g0"]
    assert (value, age_ms) == (None, None)
    assert quality >> 14 == 2
    assert snapshot["sources"][1]["good"] > 20
    assert snapshot["sources"][1]["bad"] == 0


class SlowStore:
    """A disk that takes its time."""

    def __init__(self, store, gate):
        self._store, self._gate = store, gate

    def __getattr__(self, name):
        return getattr(self._store, name)

    def commit(self, frame):
        self._gate.wait(10)
        return self._store.commit(frame)


def test_pages_go_on_while_the_disk_does_not_and_nothing_is_lost(tmp_path):
    gate = threading.Event()
    box = Box(tmp_path, one(lambda n: [0.1, 0.1, 0.1]), wrap=lambda store: SlowStore(store, gate))

    async def script(box):
        await until(lambda: box.snapshot.exists())
        first = json.loads(box.snapshot.read_bytes())
        await until(lambda: json.loads(box.snapshot.read_bytes())["seq"] >= first["seq"] + 4)
        stuck = json.loads(box.snapshot.read_bytes())
        assert stuck["durable"]["rows"] == 0
        assert stuck["counters"]["read"] > first["counters"]["read"]
        gate.set()

    snapshot = box.run(script)
    assert snapshot["counters"]["read"] == snapshot["counters"]["stored"] == snapshot["durable"]["rows"]


class FullStore(SlowStore):
    """No room, until there is."""

    def commit(self, frame):
        if not self._gate.is_set():
            raise DiskFull("no room")
        return self._store.commit(frame)


def test_a_full_disk_stops_nothing_and_what_waited_is_kept_once_there_is_room(tmp_path):
    room = threading.Event()
    box = Box(tmp_path, one(lambda n: [1.2, 0.1, 0.1]), wrap=lambda store: FullStore(store, room))

    async def script(box):
        await until(lambda: box.snapshot.exists() and json.loads(box.snapshot.read_bytes())["alarms"])
        assert json.loads(box.snapshot.read_bytes())["durable"]["event_seq"] == 0
        room.set()
        await until(lambda: json.loads(box.snapshot.read_bytes())["durable"]["event_seq"] >= 2)

    snapshot = box.run(script)
    assert snapshot["counters"]["read"] == snapshot["counters"]["stored"] == snapshot["durable"]["rows"]


class Misnaming(FakeSource):
    """A defect of the worst kind: rows for a point that is not its own."""

    async def stream(self):
        async for item in super().stream():
            yield item if isinstance(item, LinkReport) else replace(item, index=item.index - 1)


def test_a_batch_that_names_a_foreign_point_is_a_defect_and_no_row_of_it_is_kept(tmp_path):
    box = Box(tmp_path, lambda site, time: [Misnaming("s", site.points_of("s"), time, lambda n: [0.1, 0.2, 0.3])])
    box.run(for_a_while)
    assert (
        "IndexError" in next(e for e in Reader(box.site.data).events() if e.kind == "source_restarted").detail["error"]
    )
    for columns in Reader(box.site.data).samples_of(["g0", "g1", "g2"]).values():
        assert set((columns.quality >> 14).tolist()) == {2}


class FailingStore(SlowStore):
    def commit(self, frame):
        raise StoreError("disk I/O error")


def test_a_disk_that_fails_ends_the_process_and_is_not_tried_again(tmp_path):
    box = Box(tmp_path, one(lambda n: [0.1, 0.1, 0.1]), wrap=lambda store: FailingStore(store, None))
    with pytest.raises(StoreError, match="disk I/O error"):
        asyncio.run(asyncio.wait_for(box.supervisor.run([]), 20))
    box.store.close()
    assert box.sources[0].closed == 1
