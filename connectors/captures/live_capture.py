"""A stretch of our own record as a capture: its ticks as they were, the site, and all that stood at its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from connectors.captures.folder import (
    LEAD_FILE,
    PICTURE_FILE,
    SAMPLES_FILE,
    STATE_FILE,
    CaptureHeader,
    CaptureKind,
    copy_site,
    new_folder,
    write_header,
)
from connectors.captures.picture import PictureTaker
from connectors.captures.samples_file import write_samples
from connectors.captures.stretch import Stretch, Wanted, choose_stretch, frame_facts
from mines.errors import CaptureError
from mines.events import Event
from mines.model import RowKind
from mines.site.site_file import load_site
from mines.store.frame import Frame


class Record(Protocol):
    """What is read of the box's record: `mines.store.reader.Reader`."""

    def frames(self, after_seq: int = 0) -> Iterator[Frame]:
        """Journal frames after a seq, in their order."""
        ...

    def events(self, from_ms: int | None = None, to_ms: int | None = None) -> list[Event]:
        """Events of a time range in seq order."""
        ...


@dataclass(slots=True)
class _Counts:
    """What the frames of a stretch hold."""

    frames: int = 0
    ticks: int = 0
    rows: int = 0
    links: int = 0
    acts: int = 0
    held: list[Event] = field(default_factory=list)
    first_tick: int = 0

    def document(self) -> dict[str, int]:
        """For `[counts]`."""
        plain = ("frames", "ticks", "rows", "links", "acts")
        return {name: getattr(self, name) for name in plain} | {"events": len(self.held)}

    def passed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames, counted as they go."""
        for frame in frames:
            self._add(frame)
            yield frame

    def _add(self, frame: Frame) -> None:
        self.first_tick = self.first_tick or (frame.ticks[0].number if frame.ticks else 0)
        self.held += frame.events
        batches = [item.batch for tick in frame.ticks for item in tick.batches]
        self.frames += 1
        self.ticks += len(frame.ticks)
        self.rows += sum(len(batch) for batch in batches if batch.kind != RowKind.CONFIRM)
        self.links += sum(len(tick.links) for tick in frame.ticks)
        self.acts += sum(len(tick.acts) for tick in frame.ticks)


def write_live_capture(
    out: Path, *, site_folder: Path, record: Record, wanted: Wanted, software: str = ""
) -> CaptureHeader:
    """Makes a capture of a stretch of the record.

    Args:
        out: The capture folder to make.
        site_folder: The site that the record is of.
        record: The box's record; the box may go on running.
        wanted: The time asked for; the stretch is at most a second longer at each end.
        software: Name and version.
    Returns:
        The header: `events` of the box from `from_ms` to `to_ms` are exactly those of the stretch.
    Raises:
        CaptureError: there is no such stretch, the site is another one, or `out` is not empty.
        ConfigError: the site is wrong.
        StoreError: the record cannot be read.
    """
    facts = [frame_facts(frame) for frame in record.frames(wanted.after_seq)]
    stretch = choose_stretch(facts, wanted)
    site = load_site(site_folder)
    if site.sha256 != stretch.site_sha256:
        raise CaptureError(f"{site_folder}:0: site: is not the one that the record is of; expected it unchanged")
    before = record.events(None, stretch.from_ms)
    expected = record.events(stretch.from_ms, stretch.to_ms)
    counts = _Counts()
    with new_folder(out) as folder:
        write_samples(folder / SAMPLES_FILE, counts.passed(_frames_of(record, stretch)))
        _compare(counts.held, expected)
        (folder / STATE_FILE).write_bytes(b"".join(event.canonical() for event in before))
        taker = _taken(record, stretch, points=len(site.points), after_seq=wanted.after_seq)
        picture = taker.picture()
        ticks = () if picture is None else (picture,)
        at_begin = Frame(0, stretch.boot_id, stretch.site_sha256, ticks)
        write_samples(folder / PICTURE_FILE, [at_begin])
        lead = Frame(0, stretch.boot_id, stretch.site_sha256, taker.lead)
        write_samples(folder / LEAD_FILE, [lead] if lead.ticks else [])
        copy_site(site_folder, folder)
        header = CaptureHeader(
            kind=CaptureKind.LIVE,
            software=software,
            site_sha256=stretch.site_sha256,
            from_ms=stretch.from_ms,
            to_ms=stretch.to_ms,
            boot_id=stretch.boot_id,
            first_tick=counts.first_tick,
            next_event_seq=_next_seq(before, counts.held),
            counts=counts.document() | {"events_before": len(before)},
        )
        write_header(folder, header)
    return header


def _frames_of(record: Record, stretch: Stretch) -> Iterator[Frame]:
    for frame in record.frames(stretch.first_seq - 1):
        if frame.seq > stretch.last_seq:
            return
        yield frame


def _taken(record: Record, stretch: Stretch, *, points: int, after_seq: int) -> PictureTaker:
    """What stood at the beginning. Looks back further and further until every point has a row of this boot: a point
    whose value does not change may have none for hours."""
    last = stretch.first_seq - 1
    reach = max(last - after_seq, 1)
    while True:
        taker = PictureTaker()
        boot_began = _take_until(record.frames(max(last - reach, 0)), stretch, taker)
        if taker.points >= points or boot_began or reach >= last:
            return taker
        reach *= 8


def _take_until(frames: Iterator[Frame], stretch: Stretch, taker: PictureTaker) -> bool:
    """Gives the frames of the boot before the stretch to the taker; True where there are none further back."""
    boot_began = False
    for frame in frames:
        if frame.seq >= stretch.first_seq:
            break
        if frame.boot_id == stretch.boot_id:
            taker.take(frame)
        else:
            boot_began = True
    return boot_began


def _compare(held: Sequence[Event], expected: Sequence[Event]) -> None:
    """The stretch's own events must be those of the box in that time: else it could not replay to their hash."""
    if [event.seq for event in held] != [event.seq for event in expected]:
        raise CaptureError(
            f"the record's journal holds {len(held)} events of the stretch and its event log {len(expected)}; "
            "expected the same events"
        )


def _next_seq(before: Sequence[Event], held: Sequence[Event]) -> int:
    if held:
        return held[0].seq
    return before[-1].seq + 1 if before else 1
