"""A data folder with a life for store tests: commits frames that can be told apart, and knows what it committed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from store_frames import START_MS, event, frame_of, poll

from mines.events import Event, EventKind
from mines.model import Batch
from mines.site.site_file import Site
from mines.store.box_store import BoxStore
from mines.store.disk import Disk, SystemDisk
from mines.store.frame import Frame, Watermark
from mines.store.journal import open_segment
from mines.store.layout import DataFolder
from mines.store.reader import Reader


def open_box(site: Site, *, boot: str = "b1", disk: Disk | None = None, time_ms: int = START_MS) -> BoxStore:
    """The store of a site, in its data folder."""
    return BoxStore.open(site.data, site, boot_id=boot, time_ms=time_ms, disk=disk)


class Life:
    """One boot: commits one frame after the other. Every `event_every`-th frame carries two events."""

    def __init__(self, site: Site, *, boot: str = "b1", disk: Disk | None = None, event_every: int = 2) -> None:
        self.site, self.boot, self.event_every = site, boot, event_every
        self.store = open_box(site, boot=boot, disk=disk)
        self.frames: list[Frame] = []

    def frame(self, batches: Sequence[tuple[int, Batch]] | None = None, events: Sequence[Event] | None = None) -> Frame:
        """The next frame: a poll of every source, received at the second of the frame's number."""
        seq = self.store.next_frame_seq
        if batches is None:
            counts = [len(self.site.points_of(source.id)) for source in self.site.sources]
            batches = [(i, poll(count, seq, seed=seq * 100 + i)) for i, count in enumerate(counts)]
        if events is None:
            events = self.some_events(seq) if seq % self.event_every == 0 else []
        return frame_of(seq, boot_id=self.boot, site_sha256=self.site.sha256, batches=batches, events=events)

    def some_events(self, seq: int) -> list[Event]:
        """Two events at the second of the frame's number."""
        first, time_ms = self.store.next_event_seq, START_MS + 1000 * seq
        return [event(first, time_ms, frame=seq), event(first + 1, time_ms, frame=seq)]

    def site_accepted(self) -> list[Event]:
        """The event that tells the change of the site."""
        detail = self.store.site_changed.to_json()
        return [event(self.store.next_event_seq, START_MS, EventKind.SITE_ACCEPTED, **detail)]

    def commit(self, frame: Frame | None = None) -> Watermark:
        """Commits a frame, the next one where none is given."""
        frame = self.frame() if frame is None else frame
        watermark = self.store.commit(frame)
        self.frames.append(frame)
        return watermark

    def run(self, count: int) -> Watermark:
        """Commits so many frames."""
        for _ in range(count):
            self.commit()
        return self.store.watermark


def segments(folder: Path) -> list[str]:
    """Names of what lies in the journal."""
    return sorted(path.name for path in (folder / "journal").iterdir())


def killed(life: Life, to: str = "killed") -> Site:
    """The site with a copy of its folder as a kill of the process would leave it now."""
    data = life.site.data.with_name(to)
    shutil.copytree(life.site.data, data)
    return dataclasses.replace(life.site, data=data)


def frames_read(site: Site, after_seq: int = 0) -> list[Frame]:
    """What a reader finds."""
    return list(Reader(site.data).frames(after_seq))


def events_of(frames: Sequence[Frame]) -> list[Event]:
    """The events of frames, in order."""
    return [event for frame in frames for event in frame.events]


def damage(site: Site, frame: int, segment: int = 1) -> None:
    """Flips a bit in the middle of a frame as it lies in its segment."""
    database = open_segment(DataFolder(site.data).segment(segment), SystemDisk())
    body = bytearray(database.execute("SELECT body FROM frames WHERE seq = ?", (frame,)).fetchone()[0])
    body[len(body) // 2] ^= 0x10
    database.execute("UPDATE frames SET body = ? WHERE seq = ?", (bytes(body), frame))
    database.close()
