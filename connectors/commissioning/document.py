"""Site, plan and the running box as one plain document: the report before it is printed. Pure.

A value stands in it only where `run` is alive on exactly this site: of another site, the address behind an id may be
another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.commissioning.devices import Device, SourcePlan
from mines.model import Point
from mines.process_image import Freshness
from mines.quality import Flag, flags_of, reason_of, severity_of
from mines.site.site_file import Site
from mines.snapshot import SnapshotView


@dataclass(frozen=True, slots=True)
class Record:
    """What the data folder says beside the snapshot. Times [ms UTC]; None = it does not."""

    accepted_ms: int | None = None  # when this very site was taken into use first
    newest_ms: int | None = None  # tick of the newest frame


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a report is made of."""

    site: Site
    sources: Sequence[SourcePlan]
    view: SnapshotView
    record: Record = field(default_factory=Record)
    software: str = ""
    made_ms: int = 0


def commissioning_document(facts: Facts) -> dict[str, Any]:
    """The report as plain JSON: nested as it is printed, source by source, device by device, point by point."""
    site, snapshot = facts.site, facts.view.document
    values = facts.view.points if _of_this_site(facts) else {}
    links = snapshot.get("links", []) if facts.view.alive else []
    return {
        "report": "commissioning",
        "made_ms": facts.made_ms,
        "software": facts.software,
        "mine": {"id": site.mine.id, "name_zh": site.mine.name_zh, "name_en": site.mine.name_en},
        "simulated": site.simulated,
        "site": {"sha256": site.sha256, "points": len(site.points), "accepted_ms": facts.record.accepted_ms},
        "run": _run(facts),
        "sources": [_source(plan, links, values) for plan in facts.sources],
    }


def _of_this_site(facts: Facts) -> bool:
    return facts.view.alive and facts.view.document.get("site_sha256") == facts.site.sha256


def _run(facts: Facts) -> dict[str, Any]:
    view, snapshot = facts.view, facts.view.document
    return {
        "alive": view.alive,
        "this_site": _of_this_site(facts),
        "silent_ms": view.silent_ms,
        "time_ms": snapshot.get("time_ms"),
        "boot_id": snapshot.get("boot_id"),
        "software": snapshot.get("software"),
        "site_sha256": snapshot.get("site_sha256"),
        "clock_unsure": snapshot.get("clock_unsure"),
        "durable": snapshot.get("durable"),
        "newest_ms": facts.record.newest_ms,
    }


def _source(plan: SourcePlan, links: Sequence[Mapping[str, Any]], values: Mapping[str, list[Any]]) -> dict[str, Any]:
    own = [link for link in links if link["source"] == plan.id]
    return {
        "id": plan.id,
        "kind": plan.kind,
        "endpoint": plan.endpoint,
        "line": plan.line,
        "passive": plan.passive,
        "plan": list(plan.rows),
        "certificates": [paper.to_json() for paper in plan.papers],
        "devices": [_device(device, own, values) for device in plan.devices],
        "links": [dict(link) for link in own],
    }


def _device(device: Device, links: Sequence[Mapping[str, Any]], values: Mapping[str, list[Any]]) -> dict[str, Any]:
    link = next((link for link in links if link["unit"] == device.unit), None)
    return {
        "unit": device.unit,
        "profile": device.profile,
        "identity_expected": dict(device.identity),
        "signature_expected": dict(device.signature),
        "state": None if link is None else link["state"],
        "last_error": None if link is None else link["last_error"],
        "points": [_point(point, values.get(point.id)) for point in device.points],
    }


def _point(point: Point, row: Sequence[Any] | None) -> dict[str, Any]:
    return {
        "id": point.id,
        "name_zh": point.name_zh,
        "name_en": point.name_en,
        "address": point.address,
        "data_type": point.data_type,
        "byte_order": point.byte_order,
        "scale": point.scale,
        "offset": point.offset,
        "range": [point.range_low, point.range_high],
        "unit": point.unit,
        "decimals": point.decimals,
        "states": {str(value): word for value, word in point.states.items()},
        "period_s": point.period_s,
    } | _reading(row)


def _reading(row: Sequence[Any] | None) -> dict[str, Any]:
    """Of a row of the snapshot; all None where there is none, or the point never had a value."""
    if row is None or row[3] == Freshness.NEVER:
        never = None if row is None else Freshness.NEVER.name.lower()
        return dict.fromkeys(("value", "severity", "reason", "time_ms", "source_ms")) | {
            "flags": [],
            "freshness": never,
        }
    value, quality, _, state, receive_ms, source_ms = row[:6]
    return {
        "value": value,
        "severity": severity_of(quality).name.lower(),
        "reason": reason_of(quality).name.lower(),
        "flags": [str(flag.name).lower() for flag in Flag if flag in flags_of(quality)],
        "freshness": Freshness(state).name.lower(),
        "time_ms": receive_ms,
        "source_ms": source_ms,
    }
