"""What a link suffers from, in one word: a dead line, a dead unit, an exception, a slow device, quarantine …

Made of what the link report says; nothing is guessed: a report that fits no word is shown by its own last error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SLOW_MS: Final = 500.0
"""An answer of a server that takes longer is slow (project default). A unit of a line says itself that it was slow:
more than half the time that it has to begin to answer."""
FINDINGS: Final = (
    "dead_line", "dead_unit", "wrong_device", "certificate", "exception", "quarantine", "busy", "implausible", "clock",
    "slow", "overrun", "other", "none",
)  # fmt: skip
_UNIT_SILENT: Final = ("timeout", "exception 10", "exception 11")
_BUSY: Final = ("exception 5", "exception 6")
_ODD: Final = ("all zeros", "all ones", "frozen")
_CYCLE: Final = "cycle ms"  # of the points of the shortest period
_CYCLE_OF: Final = "cycle ms of "  # and of others: "cycle ms of 10 s"
_RIGHT: Final = (None, "right")


def finding(link: Mapping[str, Any], period_ms: int | None = None) -> str:
    """One of FINDINGS.

    Args:
        link: As in the snapshot's `links`.
        period_ms: The shortest of the source's points; None = it has none.
    """
    error, state, counters = link["last_error"], link["state"], link["counters"]
    if state == "lost":
        return _of_a_lost_link(error)
    if state == "degraded":
        found = _of_a_degraded_link(error, counters)
        if found:
            return found
    if error.startswith(("certificate", "server certificate", "own certificate", "issuer certificate")):
        return "certificate"
    if link.get("clock") not in _RIGHT:
        return "clock"
    if _slow(link):
        return "slow"
    if _overruns(counters, period_ms):
        return "overrun"
    return "other" if state == "degraded" else "none"


def _slow(link: Mapping[str, Any]) -> bool:
    if link["unit"] is not None:
        return bool(link["counters"].get("slow lately", 0))
    return link["duration_ms"] is not None and link["duration_ms"] >= SLOW_MS


def _overruns(counters: Mapping[str, int], period_ms: int | None) -> bool:
    """True where the newest poll cycle of a line took longer than its period: every unit on it is polled too rarely."""
    return any(
        lasted_ms > 1000 * float(name.removeprefix(_CYCLE_OF).removesuffix(" s"))
        if name.startswith(_CYCLE_OF)
        else name == _CYCLE and period_ms is not None and lasted_ms > period_ms
        for name, lasted_ms in counters.items()
    )


def _of_a_lost_link(error: str) -> str:
    if error in _UNIT_SILENT:
        return "dead_unit"
    if error.startswith("certificate") or error.startswith("issuer certificate"):
        return "certificate"
    return "dead_line"


def _of_a_degraded_link(error: str, counters: Mapping[str, int]) -> str:
    if error.startswith("wrong device"):
        return "wrong_device"
    if error in _ODD:
        return "implausible"
    if counters.get("quarantined requests", 0):
        return "quarantine"
    if error in _BUSY:
        return "busy"
    if error.startswith("exception"):
        return "exception"
    return "dead_unit" if error in _UNIT_SILENT else ""
