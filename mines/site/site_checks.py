"""What is no error of a site but should be known before a start: warnings across its tables and its points."""

from __future__ import annotations

from mines.model import Subsystem
from mines.site.point_list import PointList
from mines.site.problems import Findings
from mines.site.site_tables import SiteTables


def warn_about(tables: SiteTables, points: PointList, findings: Findings) -> None:
    """Adds the warnings."""
    _idle_sources(tables, points, findings)
    _subsystems_without_table(tables, points, findings)
    _reasons(tables, findings)
    _stop_order(tables, findings)


def _idle_sources(tables: SiteTables, points: PointList, findings: Findings) -> None:
    if points.named_sources is None:
        return
    for source in tables.source_ids:
        if source not in points.named_sources:
            findings.warnings.append(
                tables.problem(("source", source), "has no point", f"a row in {points.file} that names it")
            )


def _subsystems_without_table(tables: SiteTables, points: PointList, findings: Findings) -> None:
    with_points = {point.subsystem for point in points.points}
    for subsystem in Subsystem:
        if subsystem in with_points and subsystem not in tables.subsystem_ids:
            what = f"is missing, though {points.file} has points of it"
            findings.warnings.append(
                tables.problem(("subsystem", subsystem.value), what, "a table that says whether it is required")
            )


def _reasons(tables: SiteTables, findings: Findings) -> None:
    """What is not applicable is listed with its reason (indicators §1)."""
    for subsystem, table in tables.subsystems.items():
        if not table.required and not table.reason:
            path = ("subsystem", subsystem.value, "reason")
            what = "is empty, though the subsystem is not required"
            findings.warnings.append(tables.problem(path, what, "the reason and its document"))


def _stop_order(tables: SiteTables, findings: Findings) -> None:
    """停产 needs order number, issuer, dates and expected resumption (indicators §3)."""
    mine = tables.mine
    if mine is None or mine.production_state != "stopped":
        return
    for key in ("stop_order", "stop_issuer", "stop_from", "stop_until"):
        if not getattr(mine, key):
            what = 'is not given, though production_state is "stopped"'
            expected = "order, issuer and dates: without them the mine does not count as stopped by order"
            findings.warnings.append(tables.problem(("mine", key), what, expected))
