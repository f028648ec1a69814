"""A capture as ticks for replay: whatever its kind, on the points and sources of one site."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from connectors.captures.folder import (
    LEAD_FILE,
    PICTURE_FILE,
    SAMPLES_FILE,
    SITE_FOLDER,
    STATE_FILE,
    CaptureHeader,
    CaptureKind,
    read_header,
    read_lines,
)
from connectors.captures.frames_decode import WireDecoder
from connectors.captures.samples_file import read_samples
from connectors.captures.ua_files import UaReading, read_ua_samples
from connectors.captures.wire_frames import WireFrame, read_wire_frames
from mines.errors import CaptureError
from mines.events import Event, event_from_json
from mines.model import Batch, Point, SourcedBatch, Tick
from mines.site.site_file import Site, load_site


@dataclass(frozen=True, slots=True)
class CaptureTicks:
    """A capture ready for replay.

    `ticks` is read once, and raises CaptureError where the capture is damaged. `sources` are ids in the site's order.
    `before` are the events to fold first, `next_event_seq` numbers the first new one; `picture` is what stood at the
    beginning, `lead` the minute before it, to prime the watch with. An import has none of them.
    """

    header: CaptureHeader
    site: Site
    sources: tuple[str, ...]
    first_ms: int
    last_ms: int
    ticks: Iterator[Tick]
    warnings: tuple[str, ...]
    before: tuple[Event, ...] = ()
    next_event_seq: int = 1
    picture: Tick | None = None
    lead: tuple[Tick, ...] = ()


def capture_ticks(folder: Path, site: Site | None = None) -> CaptureTicks:
    """Opens a capture.

    Args:
        folder: Of the capture.
        site: Whose points the ticks shall be of; None = the capture's own.
    Raises:
        CaptureError: the capture is damaged, or has no site of its own where none is given.
        ConfigError: a site's files are wrong.
    """
    header = read_header(folder)
    if header.kind == CaptureKind.IMPORT:
        return _from_wire(folder, header, _own_site(folder) if site is None else site)
    own = _own_site(folder)
    if own.sha256 != header.site_sha256:
        raise CaptureError(f"{folder / SITE_FOLDER}:0: site: is not the one that was captured; expected it unchanged")
    return _from_record(folder, header, own, own if site is None else site)


def _own_site(folder: Path) -> Site:
    path = folder / SITE_FOLDER
    if not path.is_dir():
        raise CaptureError(f"{path}:0: site: the capture has none; expected a SITE beside the capture")
    return load_site(path)


def _from_wire(folder: Path, header: CaptureHeader, site: Site) -> CaptureTicks:
    frames, readings = wire_record(folder, header)
    decoder = WireDecoder(site, frames, readings)
    first_ms, last_ms = decoder.span_ms or (header.from_ms, header.from_ms)
    return CaptureTicks(
        header=header,
        site=site,
        sources=_source_ids(site),
        first_ms=first_ms,
        last_ms=last_ms,
        ticks=decoder.ticks(),
        warnings=tuple(decoder.warnings),
    )


def wire_record(folder: Path, header: CaptureHeader) -> tuple[Iterable[WireFrame], Iterable[UaReading]]:
    """What an import holds: Modbus exchanges and OPC UA readings; each may be missing where the other is there.

    Raises:
        CaptureError: while they are gone through: a line is damaged.
    """
    counts = header.counts
    readings = read_ua_samples(folder, counts["opcua_readings"]) if "opcua_readings" in counts else ()
    only_opcua = "opcua_readings" in counts and "exchanges" not in counts
    return () if only_opcua else read_wire_frames(folder, counts.get("exchanges")), readings


def _from_record(folder: Path, header: CaptureHeader, own: Site, site: Site) -> CaptureTicks:
    mapping = SiteMapping(own, site)
    frames = read_samples(folder / SAMPLES_FILE, header.counts.get("frames"))
    pictures = [tick for frame in read_samples(folder / PICTURE_FILE) for tick in frame.ticks]
    lead_path = folder / LEAD_FILE  # captures of before have none
    lead = [tick for frame in (read_samples(lead_path) if lead_path.exists() else ()) for tick in frame.ticks]
    return CaptureTicks(
        header=header,
        site=site,
        sources=_source_ids(site),
        first_ms=header.from_ms,
        last_ms=header.to_ms,
        ticks=mapping.ticks(tick for frame in frames for tick in frame.ticks),
        warnings=tuple(mapping.warnings),
        before=tuple(_read_events(folder / STATE_FILE, header.counts.get("events_before"))),
        next_event_seq=header.next_event_seq,
        picture=next(mapping.ticks(pictures), None),
        lead=tuple(mapping.ticks(lead)),
    )


def _source_ids(site: Site) -> tuple[str, ...]:
    return tuple(source.id for source in site.sources)


def _read_events(path: Path, expected: int | None) -> Iterator[Event]:
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        try:
            yield event_from_json(json.loads(line))
        except (ValueError, KeyError, TypeError) as err:
            raise CaptureError(f"{path}:{number}: event: cannot be read; expected a line of `events --json`") from err
    if expected is not None and len(lines) != expected:
        raise CaptureError(f"{path}:{len(lines)}: file: ends after {len(lines)} lines; expected {expected}")


class SiteMapping:
    """From the points of the captured site to those of another: by id, or by the former id of a renamed point."""

    def __init__(self, captured: Site, site: Site) -> None:
        self._same = captured.sha256 == site.sha256
        self._source_ids = frozenset(_source_ids(site))
        places = _places(site)
        self._targets = [
            _Target([places.get(point.id) for point in captured.points_of(source.id)]) for source in captured.sources
        ]
        known = {point.id for point in captured.points}
        self.warnings = [
            f"{point.file}:{point.line}: id: {point.id} is not in the capture; it stays 未接入 (never connected)"
            for point in site.process_points
            if not {point.id, point.formerly} & known
        ]

    def ticks(self, ticks: Iterable[Tick]) -> Iterator[Tick]:
        """The ticks with rows of the site's points only; unchanged where it is the captured site. Every tick stays:
        delays may fall due at one that has no rows left."""
        if self._same:
            yield from ticks
            return
        for tick in ticks:
            yield replace(
                tick,
                batches=tuple(mapped for item in tick.batches for mapped in self._targets[item.source].mapped(item)),
                links=tuple(report for report in tick.links if report.source in self._source_ids),
            )


_Place = tuple[int, int]
"""Position of a source, index of a point in it."""


def _places(site: Site) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for position, source in enumerate(site.sources):
        for index, point in enumerate(site.points_of(source.id)):
            places.update(dict.fromkeys(_names(point), (position, index)))
    return places


def _names(point: Point) -> Sequence[str]:
    return [name for name in (point.formerly, point.id) if name]


class _Target:
    """Where the points of one captured source are in the site."""

    def __init__(self, places: Sequence[_Place | None]) -> None:
        self._source = np.array([-1 if place is None else place[0] for place in places], dtype=np.int32)
        self._index = np.array([-1 if place is None else place[1] for place in places], dtype=np.int32)

    def mapped(self, item: SourcedBatch) -> Iterator[SourcedBatch]:
        """The batch, in as many parts as the site spreads its points over sources."""
        batch = item.batch
        sources = self._source[batch.index]
        for source in np.unique(sources[sources >= 0]).tolist():
            rows = np.flatnonzero(sources == source)
            yield SourcedBatch(source, _selected(batch, rows, self._index[batch.index[rows]]))


def _selected(batch: Batch, rows: np.ndarray, index: np.ndarray) -> Batch:
    return Batch(
        index=index,
        value=batch.value[rows],
        quality=batch.quality[rows],
        source_time_ms=batch.source_time_ms[rows],
        receive_time_ms=batch.receive_time_ms[rows],
        monotonic_ns=batch.monotonic_ns[rows],
        batch_no=batch.batch_no,
        kind=batch.kind,
    )
