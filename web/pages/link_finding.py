"""What a link suffers from, in one word: a dead line, a dead unit, an exception, a slow device, quarantine …

Made of what the link report says; nothing is guessed: a report that fits no word is shown by its own last error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SLOW_MS: Final = 500.0
"""An answer that takes longer is slow (project default)."""
FINDINGS: Final = (
    "dead_line", "dead_unit", "wrong_device", "certificate", "exception", "quarantine", "busy", "implausible", "clock",
    "slow", "other", "none",
)  # fmt: skip
_UNIT_SILENT: Final = ("timeout", "exception 10", "exception 11")
_BUSY: Final = ("exception 5", "exception 6")
_ODD: Final = ("all zeros", "all ones", "frozen")
_RIGHT: Final = (None, "right")


def finding(link: Mapping[str, Any]) -> str:
    """One of FINDINGS.

    Args:
        link: As in the snapshot's `links`.
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
    if link["duration_ms"] is not None and link["duration_ms"] >= SLOW_MS:
        return "slow"
    return "other" if state == "degraded" else "none"


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
