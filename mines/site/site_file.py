"""The site as one frozen thing, read from its folder: the seam to every other room."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os.path import exists, isdir  # False where a folder may not be searched; Path's raise
from pathlib import Path
from typing import Any

from mines.errors import ConfigError, Problem
from mines.model import Mine, Point, Subsystem
from mines.site.point_list import PointList, read_points
from mines.site.problems import POINTS_CSV, POINTS_FILES, POINTS_XLSX, SITE_TOML, Findings, in_order
from mines.site.site_checks import warn_about
from mines.site.site_tables import SiteTables, read_tables
from mines.site.source_table import SourceTable
from mines.site.tables import Certificate, MineTable, RunSettings, ShiftSettings, SubsystemTable, WebSettings

__all__ = [
    "Certificate",
    "RunSettings",
    "ShiftSettings",
    "Site",
    "SiteReading",
    "SourceTable",
    "SubsystemTable",
    "WebSettings",
    "load_site",
    "read_site",
]


@dataclass(frozen=True, slots=True)
class Site:
    """One mine's site: who it is, what it has, where it keeps it. Sources and points stand in file order.

    `sha256` is over the bytes of both files, so that two sites with the same hash are the same to the byte.
    """

    folder: Path
    mine: Mine
    simulated: bool
    subsystems: Mapping[Subsystem, SubsystemTable]  # those that site.toml has a table for
    data: Path
    runtime: Path
    run: RunSettings
    shift: ShiftSettings
    web: WebSettings
    certificates: tuple[Certificate, ...]
    sources: tuple[SourceTable, ...]
    points: tuple[Point, ...]
    sha256: str
    uploads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # [upload.ID] as written
    bureau: Mapping[str, Any] = field(default_factory=dict)  # [bureau] as written

    def points_of(self, source_id: str) -> tuple[Point, ...]:
        """The points of one source, in file order: what `Batch.index` counts in."""
        return tuple(point for point in self.points if point.source == source_id)

    @property
    def process_points(self) -> tuple[Point, ...]:
        """All points in process order: one source after the other, each source's points in file order."""
        by_source: dict[str, list[Point]] = {source.id: [] for source in self.sources}
        for point in self.points:
            by_source[point.source].append(point)
        return tuple(point for points in by_source.values() for point in points)


@dataclass(frozen=True, slots=True)
class SiteReading:
    """A site as read: None where there is an error. Problems are ordered by file and line."""

    site: Site | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def load_site(folder: Path, data: Path | None = None) -> Site:
    """The site of a folder.

    Args:
        folder: Holds site.toml and points.csv or points.xlsx.
        data: Stands in for `[storage] data` (`--data`).
    Raises:
        ConfigError: anything is wrong with it; holds all of it.
    """
    reading = read_site(folder, data)
    if reading.site is None:
        raise ConfigError(reading.errors)
    return reading.site


def read_site(folder: Path, data: Path | None = None) -> SiteReading:
    """The site of a folder, every error and warning at once; arguments as in `load_site`. No file makes it raise."""
    folder = folder.absolute()
    findings = Findings()
    if not isdir(folder):
        return SiteReading(None, (Problem(SITE_TOML, 0, "folder", f"{folder} is no folder", "the site folder"),), ())
    toml = _bytes_of(folder, SITE_TOML, findings)
    list_file = _list_file(folder, findings)
    rows = None if list_file is None else _bytes_of(folder, list_file, findings)
    tables = None if toml is None else read_tables(toml, findings)
    source_ids = None if tables is None else tables.source_ids
    points = PointList()
    if rows is not None:
        points = read_points(rows, source_ids, findings, file=list_file or POINTS_CSV)
    if tables is not None:
        warn_about(tables, points, findings)
    site = None
    if tables is not None and not findings.errors:
        digest = _sha256(toml or b"", rows or b"")
        site = _site(folder, data, tables=tables, points=points.points, sha256=digest)
    return SiteReading(site, in_order(findings.errors), in_order(findings.warnings))


def _list_file(folder: Path, findings: Findings) -> str | None:
    """The name of the site's point list; None where there are two, of which either may be the one that was mended."""
    there = [name for name in POINTS_FILES if exists(folder / name)]
    if len(there) < 2:
        return there[0] if there else POINTS_CSV
    findings.errors.append(Problem(POINTS_XLSX, 0, "file", f"stands beside {POINTS_CSV}", "one of the two"))
    return None


def _bytes_of(folder: Path, name: str, findings: Findings) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        what, expected = "is missing", f"{SITE_TOML} and {POINTS_CSV} or {POINTS_XLSX} in the site folder"
    except OSError as err:
        what, expected = f"cannot be read: {err.strerror}", "a file that this user may read"
    findings.errors.append(Problem(name, 0, "file", what, expected))
    return None


def _sha256(*files: bytes) -> str:
    """Over each file's length (8 bytes, big-endian) and bytes: no two pairs of files make the same stream."""
    digest = hashlib.sha256()
    for data in files:
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def _site(
    folder: Path, data: Path | None, *, tables: SiteTables, points: tuple[Point, ...], sha256: str
) -> Site | None:
    """Puts the site together. There was no error, so there is a mine."""
    mine = tables.mine
    if mine is None:
        return None
    data = folder / tables.storage.data if data is None else data.absolute()
    return Site(
        folder=folder,
        mine=_mine(mine),
        simulated=mine.simulated,
        subsystems=tables.subsystems,
        data=data,
        runtime=data / "runtime" if tables.storage.runtime is None else folder / tables.storage.runtime,
        run=tables.run,
        shift=tables.shift,
        web=tables.web,
        certificates=tables.certificates,
        sources=tuple(replace(source, folder=folder) for source in tables.sources),
        points=points,
        sha256=sha256,
        uploads=tables.uploads,
        bureau=tables.bureau,
    )


def _mine(table: MineTable) -> Mine:
    own_fields = {"id", "name_zh", "name_en", "simulated"}
    return Mine(table.id, table.name_zh, table.name_en, settings=table.model_dump(exclude=own_fields))
