"""What stands at the head and foot of every page: whose mine, as of when, how old, how much of it is heard of."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mines.process_image import Freshness
from web.readers import Picture

UNACKED = ("unacked", "returned_unacked", "latched_unacked")
RETURNED = "returned_unacked"
"""The condition is gone and nobody has acknowledged it: counted apart, shown hollow (pages §1.3)."""


def masthead(picture: Picture) -> dict[str, Any]:
    """Head of every page's document.

    `as_of_ms` is box time of the snapshot, `age_ms` how long ago it was written; both None where there is none.
    `alive` False: every value is LOST and the banner stands. `site_differs`: the web process and `run` read two sites.
    """
    document, site = picture.document, picture.readers.site
    return {
        "mine": {"id": site.mine.id, "name_zh": site.mine.name_zh, "name_en": site.mine.name_en},
        "now_ms": picture.now_ms,
        "as_of_ms": document.get("time_ms"),
        "age_ms": picture.view.silent_ms,
        "alive": picture.alive,
        "stopped": bool(document.get("stopped", False)),
        "seq": document.get("seq"),
        "boot_id": document.get("boot_id"),
        "software": picture.readers.software,
        "run_software": document.get("software"),
        "site_sha256": site.sha256,
        "site_differs": bool(document) and document.get("site_sha256") != site.sha256,
        "origin": _origin(picture),
        "clock_unsure": bool(document.get("clock_unsure", False)),
        "durable": document.get("durable"),
        "subsystems": [subsystem.value for subsystem in picture.index.subsystems],
        "lag_ms": document.get("poller", {}).get("lag_ms"),
        **_counts(picture),
    }


def _origin(picture: Picture) -> str:
    fallback = "simulated" if picture.readers.site.simulated else "live"
    return str(picture.document.get("origin", fallback))


def _counts(picture: Picture) -> dict[str, Any]:
    links = picture.document.get("links", [])
    alarms = picture.document.get("alarms", [])
    levels = Counter(alarm["level"] for alarm in alarms if alarm["state"] != RETURNED)
    states = picture.states()
    good = sum(link["state"] == "good" for link in links) if picture.alive else 0
    return {
        "links": {"good": good, "total": len(links)},
        "points": {"total": len(states), "unknown": sum(state >= Freshness.STALE for state in states)},
        "alarms": {str(level): levels[level] for level in (1, 2, 3, 4)},
        "returned": sum(alarm["state"] == RETURNED for alarm in alarms),
        "unacked": sum(alarm["state"] in UNACKED for alarm in alarms),
    }
