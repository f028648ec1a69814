"""What may go, and when: whole months of packed history, the oldest first, at most one at a time. Pure plan, one act.

Age counts from the newest hour whose clock was sure, never from now: a clock that leaps ten years makes nothing old.
Within a day of a step of the clock nothing goes. The chain says what went before it goes, so that it stays provable.
Statistics, events, the ledger and the registry are not touched here: their floor is two years, and they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mines.errors import StoreError
from mines.events import Event, EventKind
from mines.store.disk import Disk, store_errors
from mines.store.layout import DataFolder
from mines.store.packing import packed_headers
from mines.store.proof import link_subject
from mines.store.raw_file import PartHeader, month_of

DAY_MS: Final = 86_400_000
RAW_FLOOR_DAYS: Final = 92
"""Real-time values of key points: at least three months (2016 proposals for the revision of AQ 1029). No setting goes
below it."""
RAW_DEFAULT_DAYS: Final = 730
"""Project default."""
QUIET_AFTER_STEP_MS: Final = DAY_MS


@dataclass(frozen=True, slots=True)
class Month:
    """A file of packed history: its newest row, and its size on disk [bytes]."""

    name: str
    newest_ms: int
    size: int
    parts: tuple[int, ...]  # first frames


def newest_sure_ms(headers: Sequence[PartHeader]) -> int | None:
    """The end of the newest packed hour whose clock was sure; None where there is none. Age counts from here."""
    sure = [header.last_row_ms for header in headers if not header.clock_unsure and header.last_row_ms is not None]
    return max(sure, default=None)


def month_to_remove(
    months: Sequence[Month], sure_ms: int, *, keep_days: int, most_bytes: int | None = None
) -> Month | None:
    """The one month that may go now.

    Args:
        months: What is there, in any order.
        sure_ms: From `newest_sure_ms`.
        keep_days: Raw history is kept so long; never less than the floor.
        most_bytes: What raw history may take; above it months beyond the floor go earlier. None = no bound.
    Returns:
        The oldest month all of whose rows are old enough; None where nothing may go.
    """
    if not months:
        return None
    oldest = min(months, key=lambda month: month.newest_ms)
    age_days = (sure_ms - oldest.newest_ms) / DAY_MS
    too_big = most_bytes is not None and sum(month.size for month in months) > most_bytes
    if age_days > max(keep_days, RAW_FLOOR_DAYS) or (too_big and age_days > RAW_FLOOR_DAYS):
        return oldest
    return None


def stepped_lately(events: Sequence[Event], now_ms: int) -> bool:
    """Whether the clock stepped within a day: then what is old is not sure."""
    return any(e.kind == EventKind.CLOCK_STEP and abs(now_ms - e.time_ms) <= QUIET_AFTER_STEP_MS for e in events)


def months_of(folder: DataFolder) -> list[Month]:
    """Every month of packed history."""
    by_month: dict[str, list[PartHeader]] = {}
    for header in packed_headers(folder).values():
        by_month.setdefault(month_of(header.hour_ms), []).append(header)
    months = []
    for name, headers in by_month.items():
        newest_ms = max(header.last_row_ms or header.hour_ms for header in headers)
        with store_errors(folder.raw):
            size = folder.raw_month(name).stat().st_size
        months.append(Month(name, newest_ms, size, tuple(sorted(header.first_seq for header in headers))))
    return months


def remove_month(folder: DataFolder, disk: Disk, month: Month, *, time_ms: int) -> None:
    """Says in the chain that a month goes, then removes its file. Repeated after a cut it comes to the same end.

    Args:
        folder: The data folder.
        disk: Where it lies.
        month: From `month_to_remove`.
        time_ms: Box time.
    Raises:
        StoreError: a part of the month is in no link yet, or the disk refused; the file is then still there.
    """
    subject: dict[str, Any] = {"kind": "removed", "month": month.name, "parts": list(month.parts)}
    if not link_subject(folder, disk, subject, time_ms=time_ms):
        raise StoreError(f"{folder.raw_month(month.name)}: not all of it is in the chain yet; it stays")
    path = folder.raw_month(month.name)
    with store_errors(path):
        disk.remove(path)
        disk.sync_folder(folder.raw)
