"""When papers end, in days and words: for the links page, for `check`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALARM_DAYS: Final = (7, 30, 60)
"""A certificate that ends within so many days is told of."""

_DAY_MS: Final = 86_400_000


def days_left(end_ms: int, now_ms: int) -> int:
    """Whole days until a certificate ends; negative once it has ended."""
    return (end_ms - now_ms) // _DAY_MS


def expiry_word(whose: str, days: int) -> str:
    """A word for a certificate that ends soon; "" where it does not.

    Args:
        whose: `own` or `server`.
        days: From `days_left`.
    """
    if days < 0:
        return f"{whose} certificate expired"
    within = next((limit for limit in ALARM_DAYS if days <= limit), None)
    return "" if within is None else f"{whose} certificate ends within {within} days"


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What is known of the papers behind a channel that stands."""

    own_ends_ms: int | None = None  # None = no certificate
    server_ends_ms: int | None = None
    host_named: bool = True  # the server's certificate names the host that was dialled
    host_kept: bool = False  # the server's endpoint names another host: the one of site.toml was dialled all the same

    def counters(self, now_ms: int) -> dict[str, int]:
        """For the link report. `certificate days` are the server's."""
        days = {"certificate days": self.server_ends_ms, "own certificate days": self.own_ends_ms}
        left = {name: days_left(end_ms, now_ms) for name, end_ms in days.items() if end_ms is not None}
        return left | ({"endpoint of another host": 1} if self.host_kept else {})

    def notice(self, now_ms: int) -> str:
        """The most pressing word about a channel that works; "" = none."""
        ends = [("server", self.server_ends_ms), ("own", self.own_ends_ms)]
        soonest = sorted((days_left(end_ms, now_ms), whose) for whose, end_ms in ends if end_ms is not None)
        words = [expiry_word(whose, days) for days, whose in soonest]
        return next(filter(None, words), "" if self.host_named else "certificate of another host")
