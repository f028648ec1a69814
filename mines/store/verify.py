"""`minewatch verify`: recomputes everything that the chain holds and names the first thing that is not as it was.

What is looked at: every link and signature; every packed part from its rows; statistics; sealed segments; the event log
and the ledger link by link; the registry of points; and the files themselves, by SQLite's own check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mines.errors import StoreError
from mines.store import events_log, ledger, points_registry, proof, raw_file, stats_file
from mines.store.chain import GENESIS, link
from mines.store.disk import Database, reading
from mines.store.events_log import first_broken_event
from mines.store.layout import DataFolder, first_seq_of
from mines.store.packing import packed_headers
from mines.store.proof import (
    POINT_TABLES,
    Head,
    canonical,
    dump_sha256,
    identity,
    part_subject,
    read_links,
    read_signed_heads,
)
from mines.store.raw_file import check_chunks, month_of, read_part
from mines.store.stats_file import read_heads, read_hour_sha256, year_of

Links = list[tuple[int, dict[str, Any], bytes]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `problem` names the first thing that is wrong; "" = all holds."""

    problem: str
    links: int
    parts: int
    rows: int
    head: Head | None

    def to_json(self) -> dict[str, Any]:
        """As `verify --json` prints it."""
        head = None if self.head is None else self.head.to_json()
        counts = {"links": self.links, "parts": self.parts, "rows": self.rows}
        return {"ok": not self.problem, "problem": self.problem, **counts, "head": head}


class _Wrong(Exception):
    """The first thing that is not as it was."""


def verify(folder: DataFolder, anchor: Head | None = None) -> Verdict:
    """Checks a data folder; alters nothing.

    Args:
        folder: The data folder, of a box that runs or does not.
        anchor: A head that somebody else kept: the chain must still go through it.
    """
    links: Links = []
    heads: list[Head] = []
    counts = {"parts": 0, "rows": 0}
    problem = ""
    try:
        folder.check()
        with reading(folder.proof_db) as database:
            if database is None:
                raise _Wrong(f"{folder.proof_db}: there is no chain")
            _sound(database, folder.proof_db, proof.TABLES)
            links, heads = read_links(database), read_signed_heads(database)
        _check_chain(folder, links, heads, anchor)
        for check in (_check_parts, _check_statistics, _check_segments, _check_logs, _check_points):
            check(folder, {identity(document): document for _, document, _ in links}, counts)
    except (_Wrong, StoreError) as wrong:
        problem = str(wrong)
    return Verdict(problem, len(links), counts["parts"], counts["rows"], heads[-1] if heads else None)


Known = Mapping[tuple[Any, ...], Mapping[str, Any]]
Check = Callable[[DataFolder, Known, dict[str, int]], None]


def _check_chain(folder: DataFolder, links: Links, heads: list[Head], anchor: Head | None) -> None:
    digest, by_number = GENESIS, {}
    for expected, (n, document, stored) in enumerate(links, start=1):
        if n != expected:
            raise _Wrong(f"{folder.proof_db}: link {expected} is missing")
        digest = link(digest, canonical(document))
        if digest != stored:
            raise _Wrong(f"{folder.proof_db}: link {n} ({_name(document)}) is altered or out of order")
        by_number[n] = digest
    for head in heads:
        _check_head(folder, by_number, head, f"head {head.n}")
    if links and (not heads or heads[-1].n != links[-1][0]):
        raise _Wrong(f"{folder.proof_db}: the newest head is missing")
    if anchor is None:
        return
    _check_head(folder, by_number, anchor, "the anchor")
    if heads and anchor.public_key != heads[-1].public_key:
        raise _Wrong(f"{folder.proof_db}: signed by another key than the anchor's")


def _check_head(folder: DataFolder, by_number: Mapping[int, bytes], head: Head, name: str) -> None:
    if not head.is_signed():
        raise _Wrong(f"{folder.proof_db}: the signature of {name} does not hold")
    if head.n not in by_number:
        raise _Wrong(f"{folder.proof_db}: cut off before link {head.n}, where {name} stands")
    if by_number[head.n] != head.hash:
        raise _Wrong(f"{folder.proof_db}: link {head.n} is not what {name} says: the chain was written anew")


def _check_parts(folder: DataFolder, known: Known, counts: dict[str, int]) -> None:
    headers = packed_headers(folder)
    removed = {part for document in _of_kind(known, "removed") for part in document["parts"]}
    for path in folder.raw_months():
        with reading(path) as database:
            if database is not None:
                _sound(database, path, raw_file.TABLES)
    for key, document in known.items():
        if key[0] != "part":
            continue
        header = headers.pop(key[1], None)
        if header is None and key[1] in removed:
            continue  # its age was over; the chain says so
        where = f"{folder.raw_month(month_of(document['hour_ms']))}: part of frame {key[1]}"
        if header is None:
            raise _Wrong(f"{where}: is missing")
        if part_subject(header) != document:
            raise _Wrong(f"{where}: its header is altered")
        path = folder.raw_month(month_of(header.hour_ms))
        with reading(path) as database:
            content = None if database is None else read_part(database, path, header.first_seq)
            if database is None or content is None or content.sha256() != header.sha256:
                raise _Wrong(f"{where}: its rows are altered")
            check_chunks(database, path, header.first_seq, content)
        counts["parts"] += 1
        counts["rows"] += header.rows
    # A part that was packed since the last head is not proved yet, and not wrong; one before it is one too many.
    linked = max((key[1] for key in known if key[0] == "part"), default=0)
    for first_seq in headers:
        if first_seq < linked:
            raise _Wrong(f"{folder.raw}: part of frame {first_seq} is in no link")


def _check_statistics(folder: DataFolder, known: Known, _: dict[str, int]) -> None:
    for path in folder.stats_years():
        with reading(path) as database:
            if database is not None:
                _sound(database, path, stats_file.TABLES)
                for head in read_heads(database).values():
                    if head.revision > 1 and ("statistics", head.hour_ms, head.revision - 1) not in known:
                        raise _Wrong(f"{path}: hour {head.hour_ms} has a revision that is in no link")
    for key, document in known.items():
        if key[0] == "statistics":
            path = folder.stats_year(year_of(key[1]))
            with reading(path) as database:
                found = None if database is None else read_hour_sha256(database, path, key[1], key[2])
            if found != document["sha256"]:
                raise _Wrong(f"{path}: statistics of hour {key[1]}, revision {key[2]}, are altered or missing")


def _check_segments(folder: DataFolder, known: Known, _: dict[str, int]) -> None:
    for path in folder.segments():
        document = known.get(("segment", first_seq_of(path)))
        if document is None:
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # packed and removed while we looked
        except OSError as err:
            raise _Wrong(f"{path}: {err}") from err
        if hashlib.sha256(content).hexdigest() != document["sha256"]:
            raise _Wrong(f"{path}: is altered")


def _check_logs(folder: DataFolder, known: Known, _: dict[str, int]) -> None:
    with reading(folder.events_db) as database:
        if database is not None:
            _sound(database, folder.events_db, events_log.TABLES)
            broken = first_broken_event(database)
            if broken is not None:
                raise _Wrong(f"{folder.events_db}: event {broken} is missing or altered")
            _check_log(database, folder.events_db, "SELECT hash FROM events WHERE seq = ?", _of_kind(known, "events"))
    if folder.ledger_db.exists():
        with reading(folder.ledger_db) as database:
            if database is not None:
                _sound(database, folder.ledger_db, ledger.TABLES)
                sql = "SELECT hash FROM ledger WHERE id = ?"
                _check_log(database, folder.ledger_db, sql, _of_kind(known, "ledger"))
        with ledger.Ledger(folder.ledger_db) as acts:
            row = acts.verify()
        if row is not None:
            raise _Wrong(f"{folder.ledger_db}: row {row} is missing or altered")
    elif any(key[0] == "ledger" for key in known):
        raise _Wrong(f"{folder.ledger_db}: is missing")


def _check_log(database: Database, path: Path, sql: str, documents: Iterator[Mapping[str, Any]]) -> None:
    for document in documents:
        row = database.execute(sql, (document["seq"],)).fetchone()
        if row is None:
            raise _Wrong(f"{path}: cut off before row {document['seq']}")
        if row[0].hex() != document["sha256"]:
            raise _Wrong(f"{path}: written anew before row {document['seq']}")


def _check_points(folder: DataFolder, known: Known, _: dict[str, int]) -> None:
    documents = list(_of_kind(known, "points"))
    with reading(folder.points_db) as database:
        if database is None:
            if documents:
                raise _Wrong(f"{folder.points_db}: is missing")
            return
        _sound(database, folder.points_db, points_registry.TABLES)
        if documents and dump_sha256(database, POINT_TABLES) != documents[-1]["sha256"]:
            raise _Wrong(f"{folder.points_db}: is not what the newest link says (altered, or a site taken since)")


def _of_kind(known: Known, kind: str) -> Iterator[Mapping[str, Any]]:
    return (document for key, document in known.items() if key[0] == kind)


def _sound(database: Database, path: Path, tables: Sequence[str]) -> None:
    """The tables are the program's own, and SQLite's check of pages and indexes holds: a query finds what is there."""
    found = {row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    expected = {statement for statement in tables if statement.startswith("CREATE")}
    if not expected <= found:
        raise _Wrong(f"{path}: its tables are altered")
    said = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if said != "ok":
        raise _Wrong(f"{path}: {said}")


def _name(document: Mapping[str, Any]) -> str:
    return str(document.get("kind", "of no kind"))
