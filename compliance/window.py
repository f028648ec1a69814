"""The scoring window: whole calendar months back from a moment, on the calendar of the mine. Pure."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from compliance.intervals import Intervals, interval

MINE_ZONE: Final = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open [from_ms, to_ms), milliseconds UTC."""

    from_ms: int
    to_ms: int

    @property
    def length_ms(self) -> int:
        """How long it is [ms]."""
        return self.to_ms - self.from_ms

    @property
    def whole(self) -> Intervals:
        """All of it, as intervals."""
        return interval(self.from_ms, self.to_ms)


def months_before(as_of_ms: int, months: int) -> Window:
    """The window that ends at a moment and begins the same time of day that many calendar months earlier.

    Args:
        as_of_ms: Its end [ms UTC].
        months: Whole calendar months, 1 or more. A day the earlier month does not have becomes its last day.
    Returns:
        Its start and end [ms UTC].
    Source: indicators §2 (window 3 calendar months); compliance/rules/duty.toml "window".
    """
    end = datetime.fromtimestamp(as_of_ms / 1000, MINE_ZONE)
    index = end.year * 12 + end.month - 1 - months
    year, month = divmod(index, 12)
    day = min(end.day, calendar.monthrange(year, month + 1)[1])
    start = end.replace(year=year, month=month + 1, day=day, microsecond=0)
    return Window(round(start.timestamp()) * 1000 + as_of_ms % 1000, as_of_ms)


def mine_day(time_ms: int) -> date:
    """The calendar day at the mine.

    Source: design §4, time: Asia/Shanghai on pages.
    """
    return datetime.fromtimestamp(time_ms / 1000, MINE_ZONE).date()
