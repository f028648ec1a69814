"""A box's life without a box: sources that poll, ticks, the watch, frames as `run` commits them. Seeded, no clock."""

import random
from dataclasses import dataclass, field, replace

import numpy as np

from mines.clock import NO_TIME_MS
from mines.events import Event, EventKind
from mines.model import Actor, Batch, LinkReport, LinkState, OperatorAct, SourcedBatch, Tick
from mines.quality import GOOD, Reason, bad
from mines.store.frame import Frame
from mines.watch import Watch

T0_MS = 1_700_000_000_000
ACTOR = Actor("li", "李", "dispatcher", "desk")


@dataclass
class Story:
    """Frames of one boot, and the log. `slow` = how often a cycle takes longer than a tick, 0 … 1."""

    site: object
    seed: int
    boot_id: str = "boot-1"
    slow: float = 0.0
    begin_ms: int = T0_MS
    log: list = field(default_factory=list)
    first_frame: int = 1
    frames: list = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)
        points = [self.site.points_of(source.id) for source in self.site.sources]
        self.watch = Watch(points, len(self.log) + 1)
        self.batch_no = [0] * len(points)
        self.due_ms = [self.begin_ms + 7 + 31 * i for i in range(len(points))]
        self.queue = []
        self.ticks, self.events = [], []
        self.committed_ms = self.now_ms = self.begin_ms
        self.number = self.acts = 0
        started = Event(0, self.begin_ms, EventKind.BOX_STARTED, cause="started", detail={"mono_ms": 0})
        self._record(self.watch.begin(self.log, started))

    def run(self, seconds):
        """Lives on for a while."""
        for _ in range(4 * seconds):
            self.now_ms += 250
            tick_ms = self.now_ms + self.random.choice([0, 0, 0, 1, 3])
            self._poll_until(tick_ms)
            self._tick(tick_ms)
        return self

    def stop(self):
        """The last event and the last commit."""
        self._record(self.watch.number([Event(0, self.now_ms + 5, EventKind.BOX_STOPPED, cause="asked")]))
        self._commit()
        return self

    def _record(self, events):
        self.events += events
        self.log += events

    def _poll_until(self, until_ms):
        for source in range(len(self.due_ms)):
            while self.due_ms[source] <= until_ms:
                begin = self.due_ms[source]
                length = 600 if self.random.random() < self.slow else self.random.choice([2, 9, 30])
                self.queue.append((begin + length, source, self._batch(source, begin, length)))
                self.due_ms[source] = max(begin + 200, begin + length)
            if self.random.random() < 0.05:
                state = self.random.choice([LinkState.GOOD, LinkState.DEGRADED, LinkState.LOST])
                self.queue.append((until_ms - 1, source, self._report(source, until_ms - 1, state)))

    def _batch(self, source, begin_ms, length_ms):
        n = len(self.site.points_of(self.site.sources[source].id))
        times = np.sort(np.array([begin_ms + self.random.randint(0, length_ms) for _ in range(n)], dtype=np.int64))
        words = np.array([self.random.choice([GOOD] * 9 + [bad(Reason.TIMEOUT)]) for _ in range(n)], dtype=np.uint16)
        values = np.array([float(self.random.choice([1, 2, 6, 9])) for _ in range(n)])
        values[words != GOOD] = np.nan
        self.batch_no[source] += 1
        return Batch(
            index=np.arange(n, dtype=np.int32),
            value=values,
            quality=words,
            source_time_ms=np.full(n, NO_TIME_MS, dtype=np.int64),
            receive_time_ms=times,
            monotonic_ns=(times - self.begin_ms) * 1_000_000,
            batch_no=self.batch_no[source],
        )

    def _report(self, source, time_ms, state):
        table = self.site.sources[source]
        return LinkReport(table.id, 1, state, time_ms, None, "timeout", None, 1, 1, 0, 0, time_ms=time_ms)

    def _act(self):
        standing = self.watch.alarms.standing
        if not standing or self.random.random() > 0.1:
            return ()
        cell = self.random.choice(sorted(standing))
        self.acts += 1
        version = int(self.watch.alarms.version[cell]) - self.random.choice([0, 0, 1])
        return (
            OperatorAct(self.acts, self.now_ms, ACTOR, "acknowledge", ((self.watch.alarms.alarm_id(cell), version),)),
        )

    def _tick(self, tick_ms):
        ready = sorted((item for item in self.queue if item[0] <= tick_ms), key=lambda item: item[:2])
        self.queue = [item for item in self.queue if item[0] > tick_ms]
        batches = sorted(
            (SourcedBatch(source, item) for _, source, item in ready if isinstance(item, Batch)), key=lambda b: b.source
        )
        self.number += 1
        tick = Tick(
            self.number,
            tick_ms,
            (tick_ms - self.begin_ms) * 1_000_000,
            batches=tuple(batches),
            links=tuple(item for _, _, item in ready if isinstance(item, LinkReport)),
            acts=self._act(),
        )
        events = self.watch.step(tick)
        if not tick.quiet or events:
            self.ticks.append(tick)
        self._record(events)
        if events or tick_ms - self.committed_ms >= 875:
            self.committed_ms = tick_ms
            self._commit()

    def _commit(self):
        if self.ticks or self.events:
            seq = self.first_frame + len(self.frames)
            self.frames.append(Frame(seq, self.boot_id, self.site.sha256, tuple(self.ticks), tuple(self.events)))
        self.ticks, self.events = [], []


def next_boot(story, seed, boot_id="boot-2"):
    """The box started again 10 s later on the same log."""
    return Story(
        story.site,
        seed,
        boot_id,
        slow=story.slow,
        begin_ms=story.now_ms + 10_000,
        log=list(story.log),
        first_frame=story.first_frame + len(story.frames),
    )


class MemoryRecord:
    """What `Reader` gives of these frames."""

    def __init__(self, *stories):
        self._frames = [frame for story in stories for frame in story.frames]
        self._log = stories[-1].log

    def frames(self, after_seq=0):
        return (replace(frame) for frame in self._frames if frame.seq > after_seq)

    def events(self, from_ms=None, to_ms=None):
        return [
            event
            for event in self._log
            if (from_ms is None or event.time_ms >= from_ms) and (to_ms is None or event.time_ms < to_ms)
        ]
