"""points.db: which permanent key each point has, what the key stood for and when, and every site that was accepted.

Never purged. A key is given once and never again; its rows of `validity` say what id, scale and range it had and when.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mines.model import Point
from mines.store.disk import Database, Disk, open_writer, store_errors, transaction
from mines.store.journal import SourceKeys
from mines.store.point_identity import KnownPoint, assign_keys
from mines.store.site_change import SiteChange, point_fields, site_change

if TYPE_CHECKING:
    from mines.site.site_file import Site

TABLES: Final = (
    "CREATE TABLE keys (point_key INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL) STRICT",
    """CREATE TABLE validity (
        row INTEGER PRIMARY KEY, point_key INTEGER NOT NULL REFERENCES keys, id TEXT NOT NULL, formerly TEXT NOT NULL,
        scale REAL NOT NULL, offset REAL NOT NULL, range_low REAL, range_high REAL,
        valid_from_ms INTEGER NOT NULL, valid_to_ms INTEGER, site_sha256 TEXT NOT NULL) STRICT""",
    "CREATE INDEX validity_by_key ON validity (point_key)",
    """CREATE TABLE sites (
        number INTEGER PRIMARY KEY AUTOINCREMENT, sha256 TEXT NOT NULL, time_ms INTEGER NOT NULL,
        points TEXT NOT NULL, change TEXT NOT NULL, announced INTEGER NOT NULL) STRICT""",
    """CREATE TABLE site_files (
        sha256 TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (sha256, name)) STRICT""",
)
# A key's latest row says what it is called now, and whether the last accepted site has it.
_LATEST: Final = (
    "FROM validity JOIN keys USING (point_key) WHERE row IN (SELECT max(row) FROM validity GROUP BY point_key)"
)


@dataclass(frozen=True, slots=True)
class AcceptedSite:
    """A site that passed and was taken into use at that time."""

    sha256: str
    time_ms: int


class PointsRegistry:
    """The writing end of points.db. StoreError from every method where the file cannot be read or written."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._database = open_writer(disk, path, TABLES)

    def accept(self, site: Site, files: Mapping[str, bytes], *, time_ms: int) -> SiteChange | None:
        """Takes a site into use: gives keys to its points and keeps its files.

        Args:
            site: As read.
            files: Its files by name, as they were on disk.
            time_ms: Box time: from now on this site's ids, scales and ranges hold.
        Returns:
            What is different from the last accepted site; None where it is the same one, and `announced`.
        """
        with store_errors(self._path):
            last = self._database.execute(
                "SELECT sha256, change, announced FROM sites ORDER BY number DESC LIMIT 1"
            ).fetchone()
            if last is not None and last[0] == site.sha256:
                return None if last[2] else SiteChange.from_json(json.loads(last[1]))
        with transaction(self._database, self._path):
            return self._take(site, files, last[0] if last else None, time_ms)

    def announced(self) -> None:
        """The change of the last accepted site stands in the event log: it need not be told again."""
        with transaction(self._database, self._path):
            self._database.execute("UPDATE sites SET announced = 1")

    def source_keys(self, site: Site) -> tuple[SourceKeys, ...]:
        """The keys of every source's points, in process order, of the accepted site."""
        with store_errors(self._path):
            key_of = {entry.id: entry.key for entry in read_known(self._database) if entry.live}
        return tuple(
            SourceKeys(source.id, tuple(key_of[point.id] for point in site.points_of(source.id)))
            for source in site.sources
        )

    def close(self) -> None:
        """Closes the file."""
        with store_errors(self._path):
            self._database.close()

    def _take(self, site: Site, files: Mapping[str, bytes], previous: str | None, time_ms: int) -> SiteChange:
        known = read_known(self._database)
        old_fields = self._last_fields()
        old = {entry.key: old_fields[entry.id] for entry in known if entry.live and entry.id in old_fields}
        keys = self._keys(site.points, known)
        new = {key: point_fields(point) for key, point in zip(keys, site.points, strict=True)}
        change = site_change((previous, site.sha256), old, new)
        self._end_validity(set(old) - set(new), time_ms)
        for key, point in zip(keys, site.points, strict=True):
            self._hold(key, point, site.sha256, time_ms)
        self._database.execute(
            "INSERT INTO sites (sha256, time_ms, points, change, announced) VALUES (?, ?, ?, ?, 0)",
            (site.sha256, time_ms, _json(list(new.values())), _json(change.to_json())),
        )
        for name, body in files.items():
            self._database.execute("INSERT OR REPLACE INTO site_files VALUES (?, ?, ?)", (site.sha256, name, body))
        return change

    def _last_fields(self) -> dict[str, dict[str, object]]:
        row = self._database.execute("SELECT points FROM sites ORDER BY number DESC LIMIT 1").fetchone()
        return {fields["id"]: fields for fields in json.loads(row[0])} if row else {}

    def _keys(self, points: Sequence[Point], known: Sequence[KnownPoint]) -> list[int]:
        return [
            self._new_key(point) if key is None else key
            for key, point in zip(assign_keys(points, known), points, strict=True)
        ]

    def _new_key(self, point: Point) -> int:
        row = self._database.execute("INSERT INTO keys (unit) VALUES (?) RETURNING point_key", (point.unit,)).fetchall()
        return int(row[0][0])

    def _hold(self, key: int, point: Point, sha256: str, time_ms: int) -> None:
        """From now on the key stands for this: a new row of validity, if it is not what it stood for already."""
        now = (point.id, point.formerly, point.scale, point.offset, point.range_low, point.range_high)
        was = self._database.execute(
            "SELECT id, formerly, scale, offset, range_low, range_high FROM validity"
            " WHERE point_key = ? AND valid_to_ms IS NULL",
            (key,),
        ).fetchone()
        if was is not None and tuple(was) == now:
            return
        self._end_validity({key}, time_ms)
        self._database.execute(
            "INSERT INTO validity (point_key, id, formerly, scale, offset, range_low, range_high, valid_from_ms,"
            " site_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, *now, time_ms, sha256),
        )

    def _end_validity(self, keys: set[int], time_ms: int) -> None:
        for key in keys:
            self._database.execute(
                "UPDATE validity SET valid_to_ms = ? WHERE point_key = ? AND valid_to_ms IS NULL", (time_ms, key)
            )


def read_known(database: Database) -> list[KnownPoint]:
    """Every key ever given, as it last stood."""
    rows = database.execute(f"SELECT point_key, id, unit, formerly, valid_to_ms IS NULL, row {_LATEST}").fetchall()
    return [KnownPoint(key, point, unit, formerly, bool(live), row) for key, point, unit, formerly, live, row in rows]


def read_key(database: Database, point_id: str) -> int | None:
    """The key that an id means: of the live point, else of the one last so called; None = there never was one."""
    row = database.execute(
        f"SELECT point_key FROM validity WHERE id = ?1 ORDER BY"
        f" point_key IN (SELECT point_key {_LATEST} AND id = ?1) DESC, valid_to_ms IS NULL DESC, row DESC LIMIT 1",
        (point_id,),
    ).fetchone()
    return None if row is None else int(row[0])


def read_periods(database: Database) -> dict[int, int]:
    """Period of every key [ms], as the last accepted site that had its point said."""
    keys: dict[str, set[int]] = {}
    for key, point in database.execute("SELECT DISTINCT point_key, id FROM validity").fetchall():
        keys.setdefault(point, set()).add(key)
    periods: dict[int, int] = {}
    for (points,) in database.execute("SELECT points FROM sites ORDER BY number").fetchall():
        for fields in json.loads(points):
            periods |= {key: round(1000 * fields["period_s"]) for key in keys.get(fields["id"], ())}
    return periods


def read_sites(database: Database) -> list[AcceptedSite]:
    """Accepted sites, oldest first; one that was taken back into use stands twice."""
    return [
        AcceptedSite(*row) for row in database.execute("SELECT sha256, time_ms FROM sites ORDER BY number").fetchall()
    ]


def read_site_files(database: Database, sha256: str) -> dict[str, bytes]:
    """The files of an accepted site by name, byte for byte; {} where none were kept."""
    rows = database.execute("SELECT name, body FROM site_files WHERE sha256 = ? ORDER BY name", (sha256,)).fetchall()
    return {name: bytes(body) for name, body in rows}


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
