"""Handover: a sealed journal segment becomes a packed part, is read back and compared, and only then may go.

Every step may be the last before a power cut: repeated from any of them it comes to the same end. Damaged frames stop
nothing: a segment that does not decode stays where it is and is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from mines.errors import StoreError
from mines.quality import Flag
from mines.store.disk import Damaged, Database, Disk, reading, store_errors
from mines.store.events_log import read_applied_frame
from mines.store.frame import decode_columns
from mines.store.journal import SEGMENT_MS, read_boots, read_span, remove_segment
from mines.store.layout import SIDE_FILES, DataFolder, first_seq_of
from mines.store.raw_file import PartHeader, month_of, next_part, open_raw, read_headers, read_part, write_part
from mines.store.raw_part import Content, content_of, pack_content
from mines.store.row_gather import Gathered, KeyLookup, gather

_LOG = logging.getLogger("minewatch.packing")
FRAMES_KEPT_MS: Final = 2 * SEGMENT_MS
"""So long a packed segment stays, frames and all, behind the newest: a capture may still want it (project default)."""

Step = Callable[[str], None]
"""Called before and after every step, with its name: where tests cut the power or kill."""


@dataclass(frozen=True, slots=True)
class PackedSegment:
    """What became of one segment."""

    path: Path
    header: PartHeader
    journal_bytes: int


def pack_sealed(folder: DataFolder, disk: Disk, *, step: Step = lambda _: None) -> list[PackedSegment]:
    """Packs every sealed segment that is not packed yet, oldest first; then removes those that need not stay.

    Args:
        folder: Whose journal it is; `run` may be writing its newest segment meanwhile.
        disk: Where it lies.
        step: See `Step`.
    Raises:
        StoreError: the disk refused; what was packed until then stands, and no segment of anything else is gone.
    """
    headers = packed_headers(folder)
    done = []
    for path in sealed_segments(folder):
        if first_seq_of(path) not in headers:
            try:
                packed = pack_segment(folder, path, disk, step=step)
            except Damaged as err:
                _LOG.error("not packed, and kept: %s", err)
                continue
            headers[packed.header.first_seq] = packed.header
            done.append(packed)
    _remove_old(folder, disk, headers, step)
    return done


def sealed_segments(folder: DataFolder) -> list[Path]:
    """Segments that never change again: not the newest, a single file, and all their events in the event log."""
    applied = read_applied_frame(folder.events_db)
    segments = folder.segments()
    sealed = []
    for path, following in pairwise(segments):
        alone = not any(path.with_name(path.name + side).exists() for side in SIDE_FILES)
        if alone and first_seq_of(following) - 1 <= applied:
            sealed.append(path)
    return sealed


def pack_segment(folder: DataFolder, path: Path, disk: Disk, *, step: Step = lambda _: None) -> PackedSegment:
    """Packs one sealed segment and proves what stands: it is read back from the disk and compared.

    Raises:
        Damaged: the segment does not decode, or what was written does not read back as it was.
        StoreError: the disk refused.
    """
    content, header = _read_segment(path)
    packed = pack_content(content)
    with store_errors(folder.raw):
        folder.raw.mkdir(exist_ok=True)
        disk.sync_folder(folder.path)
    month = folder.raw_month(month_of(header.hour_ms))
    step("before the part is written")
    database = open_raw(month, disk)
    try:
        with store_errors(month):
            number = next_part(database, header.hour_ms, header.first_seq)
        header = PartHeader(
            header.first_seq, header.last_seq, header.frames, header.hour_ms, number, content.rows,
            header.confirmations, header.first_row_ms, header.last_row_ms, header.clock_unsure, packed.bytes,
            content.sha256(),
        )  # fmt: skip
        write_part(database, month, header, packed)
        step("after the part is written")
        if read_part(database, month, header.first_seq).sha256() != header.sha256:
            raise Damaged(f"{month}: part of frame {header.first_seq} does not read back as it was written")
        step("after the part is compared")
    finally:
        database.close()
    return PackedSegment(path, header, path.stat().st_size)


def packed_headers(folder: DataFolder) -> dict[int, PartHeader]:
    """Every packed part, by the number of its segment's first frame."""
    headers: dict[int, PartHeader] = {}
    for month in folder.raw_months():
        with reading(month) as database:
            if database is not None:
                headers |= {header.first_seq: header for header in read_headers(database)}
    return headers


def _remove_old(folder: DataFolder, disk: Disk, headers: dict[int, PartHeader], step: Step) -> None:
    """Removes segments that are packed, from the oldest on; frames of the last two hours stay."""
    segments = folder.segments()
    if not headers or not segments:
        return
    newest_ms = max(header.hour_ms for header in headers.values())
    for path in segments[:-1]:
        header = headers.get(first_seq_of(path))
        if header is None or newest_ms - header.hour_ms < FRAMES_KEPT_MS:
            continue
        step("before the segment is removed")
        remove_segment(path, disk)
        step("after the segment is removed")


def _read_segment(path: Path) -> tuple[Content, PartHeader]:
    """Every row of a sealed segment, and what the part will say of itself but for its number, size and hash."""
    with reading(path) as database:
        if database is None:
            raise StoreError(f"{path}: is gone")
        boots = read_boots(database)
        keys = sorted({key for boot in boots for source in boot.sources for key in source.keys})
        lookups = {boot.id: KeyLookup.of(boot.sources, keys) for boot in boots}
        samples, confirmations, seqs, first_tick_ms = _gather_frames(database, path, lookups)
        span = read_span(database) or (None, None)
    if not seqs:
        raise Damaged(f"{path}: holds no frame")
    content = content_of(keys, samples, confirmations)
    unsure = bool((samples.quality & np.uint16(Flag.CLOCK_UNSURE)).any())
    hour_ms = first_tick_ms // SEGMENT_MS * SEGMENT_MS
    counts = (len(samples), len(confirmations))
    return content, PartHeader(seqs[0], seqs[-1], len(seqs), hour_ms, 0, *counts, *span, unsure, 0, b"")


def _gather_frames(
    database: Database, path: Path, lookups: dict[str, KeyLookup | None]
) -> tuple[Gathered, Gathered, Sequence[int], int]:
    samples: list[Gathered] = []
    confirmations: list[Gathered] = []
    seqs: list[int] = []
    first_tick_ms = 0
    for seq, boot_id, tick_ms, body in database.execute(
        "SELECT seq, boot_id, first_tick_ms, body FROM frames ORDER BY seq"
    ):
        first_tick_ms = first_tick_ms if seqs else tick_ms
        seqs.append(seq)
        lookup = lookups.get(boot_id)
        if lookup is None:
            continue  # a boot without a point has no row
        try:
            columns = decode_columns(body)
        except StoreError as err:
            raise Damaged(f"{path}: frame {seq}: {err}") from err
        samples.append(gather(columns, lookup, (None, None), confirmations=False))
        if not columns.stored.all():
            confirmations.append(gather(columns, lookup, (None, None), confirmations=True))
    return Gathered.joined(samples), Gathered.joined(confirmations), seqs, first_tick_ms
