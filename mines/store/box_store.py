"""The writing side of the data folder, as `run` has it: a frame goes to the journal first, then its events to the log.

One writer thread calls it. On return of `commit` the frame survives a power cut; what the journal has and the event log
lacks after a crash is appended again when the folder is next opened.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mines.errors import StoreError
from mines.events import Event, EventKind
from mines.store.disk import Disk, NotNow, SystemDisk, store_errors
from mines.store.events_log import EventsLog
from mines.store.folder_lock import FolderLock
from mines.store.frame import Frame, Watermark
from mines.store.journal import Boot, Journal
from mines.store.layout import DataFolder
from mines.store.points_registry import PointsRegistry
from mines.store.recovery import recover_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mines.site.site_file import Site
    from mines.store.site_change import SiteChange

SITE_FILES: Final = ("site.toml", "points.csv", "points.xlsx")
"""What a box needs to run a site again; it has one of the two point lists."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The open files of one data folder, in the order of a commit."""

    journal: Journal
    events: EventsLog
    registry: PointsRegistry
    boot: Boot


class BoxStore:
    """The one writer of a data folder.

    Attributes:
        watermark: What is durable.
        site_changed: What is different from the last accepted site; None where nothing is, or once a committed frame
            carries the `site_accepted` event.
        recovered: What was found damaged at opening and set aside, one sentence each.
    """

    def __init__(self, parts: _Parts, resources: ExitStack, site_changed: SiteChange | None, notes: list[str]) -> None:
        """Use `open`."""
        head = parts.events.head
        self.watermark = Watermark(head.frame, head.rows, head.event_seq)
        self.site_changed = site_changed
        self.recovered = notes
        self._parts = parts
        self._resources = resources
        self._journalled: Frame | None = None  # in the journal, its events not yet in the log
        self._journalled_rows = 0
        self._broken = ""
        self._open = True

    @classmethod
    def open(cls, data: Path, site: Site, *, boot_id: str, time_ms: int, disk: Disk | None = None) -> BoxStore:
        """Opens the folder for writing: locks it, recovers what the last life left, registers the site's points.

        Args:
            data: The data folder; made where it is not there.
            site: To run; its files are kept from its folder.
            boot_id: Of this life.
            time_ms: Box time: the site holds from now on.
            disk: For tests that cut the power.
        Raises:
            StoreError: another run writes it (the message names its pid), it is of another schema, or it is damaged.
        """
        disk, folder = disk or SystemDisk(), DataFolder(data)
        with ExitStack() as stack:
            folder.create(disk)
            stack.callback(FolderLock(folder.lock).release)
            events = EventsLog(folder.events_db, disk)
            stack.callback(events.close)
            registry = PointsRegistry(folder.points_db, disk)
            stack.callback(registry.close)
            notes = _catch_up(folder, disk, events, registry)
            change = registry.accept(site, _files_of(site.folder), time_ms=time_ms)
            boot = Boot(boot_id, site.sha256, registry.source_keys(site))
            journal = Journal(folder, boot, disk)
            stack.callback(journal.close)
            return cls(_Parts(journal, events, registry, boot), stack.pop_all(), change, notes)

    @property
    def next_frame_seq(self) -> int:
        """Number of the next frame."""
        return self.watermark.frame + 1

    @property
    def next_event_seq(self) -> int:
        """Number of the next event."""
        return self.watermark.event_seq + 1

    @property
    def log_tail(self) -> Sequence[Event]:
        """Every event of the folder's life, to fold the alarm state from. Read as it is gone through, never held."""
        return self._parts.events.events

    def commit(self, frame: Frame) -> Watermark:
        """Makes a frame durable.

        Args:
            frame: The next one, of this boot and site.
        Returns:
            The watermark, this frame included.
        Raises:
            NotNow: no room (DiskFull) or held by another (Locked); the same frame may be committed again later.
            StoreError: the disk failed, and nothing more is accepted: an error of a disk is never tried again
                (faults §2); the process ends, and the next start recovers.
        """
        self._check(frame)
        try:
            self._write(frame)
        except NotNow:
            raise
        except BaseException as err:
            self._broken = str(err) or type(err).__name__
            raise
        return self.watermark

    def close(self) -> None:
        """Seals the journal and lets the next run in. May be called twice."""
        with self._resources:
            if self._open and not self._broken and self._journalled is None:
                self._mark_applied()
            self._open = False

    def _check(self, frame: Frame) -> None:
        if self._broken:
            raise StoreError(f"nothing is written after an error: {self._broken}")
        if self._journalled is not None and frame is not self._journalled:
            raise StoreError(f"frame {self._journalled.seq} stands in the journal without its events: commit it again")
        if frame.seq != self.next_frame_seq:
            raise StoreError(f"frame {frame.seq} cannot follow frame {self.watermark.frame}")
        if (frame.boot_id, frame.site_sha256) != (self._parts.boot.id, self._parts.boot.site_sha256):
            raise StoreError(f"frame {frame.seq} is of another boot or site")
        if not frame.ticks and not frame.events:
            raise StoreError(f"frame {frame.seq} holds nothing")

    def _write(self, frame: Frame) -> None:
        # Before the journal has the frame: what it has and the log refuses would be refused at every start.
        events = self._parts.events.chained(frame.events)
        if self._journalled is None:
            if self._parts.journal.due(frame):
                self._mark_applied()  # whoever packs the segment may rely on it
            self._journalled_rows = self._parts.journal.append(frame)
            self._journalled = frame
        rows = self.watermark.rows + self._journalled_rows
        if frame.events:
            self._parts.events.append(events, frame=frame.seq, rows=rows)
        self._journalled = None
        self.watermark = Watermark(frame.seq, rows, events.event_seq)
        if self.site_changed is not None and _announces_site(frame):
            self.site_changed = None
            with suppress(NotNow):  # the frame is durable all the same; the change is then told once more
                self._parts.registry.announced()

    def _mark_applied(self) -> None:
        """Frames without events do not touch the event log; this says how far it is, all the same."""
        _apply(self._parts.events, (), frame=self.watermark.frame, rows=self.watermark.rows)


def _apply(log: EventsLog, events: Sequence[Event], *, frame: int, rows: int) -> None:
    log.append(log.chained(events), frame=frame, rows=rows)


def _announces_site(frame: Frame) -> bool:
    return any(event.kind == EventKind.SITE_ACCEPTED for event in frame.events)


def _catch_up(folder: DataFolder, disk: Disk, events: EventsLog, registry: PointsRegistry) -> list[str]:
    """Appends to the event log what the journal has beyond it. Returns what was set aside."""
    found = recover_journal(folder, disk, events.head.frame)
    rows = events.head.rows + found.rows - found.rows_lost
    for frame in found.unlogged:
        _apply(events, frame.events, frame=frame.seq, rows=rows)
        if _announces_site(frame):
            registry.announced()
    _apply(events, (), frame=found.last_seq, rows=rows)
    return found.notes


def _files_of(folder: Path) -> dict[str, bytes]:
    with store_errors(folder):
        return {name: (folder / name).read_bytes() for name in SITE_FILES if (folder / name).is_file()}
