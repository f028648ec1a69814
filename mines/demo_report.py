"""What a demo did, as `demo --json` prints it: from the last snapshot of `run` and the event log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mines.errors import StoreError
from mines.events import Event, event_log_sha256

_SUBSYSTEM_KEYS = ("points", "good", "bad")


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The last snapshot and the hash of the whole log."""

    snapshot: Mapping[str, Any]
    event_log_sha256: str

    @property
    def ended_ms(self) -> int:
        """Box time of the last snapshot [ms]."""
        return int(self.snapshot["time_ms"])

    def to_json(self) -> dict[str, Any]:
        """Fields of design §7, but url, folders and score."""
        snapshot, counters = self.snapshot, self.snapshot["counters"]
        started_ms = snapshot["run"]["started_ms"]
        return {
            "started_ms": started_ms,
            "seconds": (self.ended_ms - started_ms) / 1000,
            "points": len(snapshot["points"]),
            "samples": sum(source["samples"] for source in snapshot["sources"]),
            "read": counters["read"],
            "stored": counters["stored"],
            "rejected": counters["rejected"],
            "durable": snapshot["durable"],
            "sources": snapshot["sources"],
            "subsystems": {
                name: {key: row[key] for key in _SUBSYSTEM_KEYS} for name, row in snapshot["subsystems"].items()
            },
            "alarms_raised": counters["alarms_raised"],
            "alarms_cleared": counters["alarms_cleared"],
            "event_log_sha256": self.event_log_sha256,
        }


def demo_report(snapshot_path: Path, events: Sequence[Event]) -> DemoReport:
    """Reads the snapshot that `run` left when it was stopped.

    Raises:
        StoreError: there is none.
    """
    try:
        snapshot = json.loads(snapshot_path.read_bytes())
    except (FileNotFoundError, ValueError) as problem:
        raise StoreError(f"{snapshot_path}: no snapshot of a finished run") from problem
    return DemoReport(snapshot, event_log_sha256(events))
