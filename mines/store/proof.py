"""proof.db: a chain over everything that is closed, and signed heads of it. Written by the worker.

A link names a thing and the hash of its decoded content: a packed part, statistics of an hour, a sealed segment, how
far the event log and the ledger go, the registry of points. Heads are signed with the box's own key and leave the box
by the outbox: what is older than a head that somebody else holds cannot be altered unseen. After the last such anchor
nothing is proved against the box's owner, who has the key. A signature proves that nothing was altered since, not that
the field was so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mines.errors import StoreError
from mines.store.chain import GENESIS, link
from mines.store.disk import Commit, Database, Disk, open_writer, reading, store_errors, transaction
from mines.store.layout import DataFolder, first_seq_of
from mines.store.packing import packed_headers, sealed_segments
from mines.store.raw_file import PartHeader
from mines.store.stats_file import read_heads, read_hour_sha256

TABLES: Final = (
    "CREATE TABLE links (n INTEGER PRIMARY KEY, canonical BLOB NOT NULL, hash BLOB NOT NULL) STRICT",
    "CREATE TABLE heads (n INTEGER PRIMARY KEY, canonical BLOB NOT NULL, signature BLOB NOT NULL) STRICT",
)


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head: link number, its hash, when it was signed, by which key. All hex in JSON."""

    n: int
    hash: bytes
    time_ms: int
    public_key: bytes
    signature: bytes

    @property
    def canonical(self) -> bytes:
        """What is signed."""
        return canonical(
            {"n": self.n, "hash": self.hash.hex(), "time_ms": self.time_ms, "public_key": self.public_key.hex()}
        )

    def to_json(self) -> dict[str, Any]:
        """As it leaves the box."""
        return {**json.loads(self.canonical), "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Head:
        """A head that came back. KeyError, TypeError or ValueError where it is none."""
        n, time_ms = document["n"], document["time_ms"]
        if not isinstance(n, int) or not isinstance(time_ms, int):
            raise ValueError("n and time_ms are whole numbers")
        digest, key, signature = (bytes.fromhex(document[name]) for name in ("hash", "public_key", "signature"))
        return cls(n, digest, time_ms, key, signature)

    def is_signed(self) -> bool:
        """Whether the signature is of its own key and content."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, self.canonical)
        except (InvalidSignature, ValueError):
            return False
        return True


def canonical(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON as UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def extend(folder: DataFolder, disk: Disk, *, time_ms: int) -> Head | None:
    """Links everything that was closed since, and signs the new head; None where nothing was.

    Args:
        folder: The data folder.
        disk: Where it lies.
        time_ms: Box time.
    Raises:
        StoreError: the disk refused; the chain stands as it was.
    """
    database = open_proof(folder, disk)
    try:
        with store_errors(folder.proof_db):
            links = read_links(database)
        new = list(_new_subjects(folder, [document for _, document, _ in links]))
        if not new:
            return None
        n, digest = (links[-1][0], links[-1][2]) if links else (0, GENESIS)
        key = box_key(folder, disk)
        with transaction(database, folder.proof_db):
            for subject in new:
                n, digest = n + 1, link(digest, canonical(subject))
                database.execute("INSERT INTO links VALUES (?, ?, ?)", (n, canonical(subject), digest))
            head = signed(key, n, digest, time_ms)
            database.execute("INSERT INTO heads VALUES (?, ?, ?)", (n, head.canonical, head.signature))
    finally:
        database.close()
    _to_outbox(folder, disk, head)
    return head


def link_subject(folder: DataFolder, disk: Disk, subject: Mapping[str, Any], *, time_ms: int) -> bool:
    """Links one thing more and signs; a thing that is linked already is not linked twice.

    Args:
        folder: The data folder.
        disk: Where it lies.
        subject: `removed`, with its month and the first frames of its parts.
        time_ms: Box time.
    Returns:
        False, and nothing is linked, where a part that it names is in no link.
    """
    database = open_proof(folder, disk)
    try:
        with store_errors(folder.proof_db):
            links = read_links(database)
        known = {identity(document) for _, document, _ in links}
        if not all(("part", part) in known for part in subject["parts"]):
            return False
        if identity(subject) not in known:
            n, digest = links[-1][0] + 1, link(links[-1][2], canonical(subject))
            head = signed(box_key(folder, disk), n, digest, time_ms)
            with transaction(database, folder.proof_db):
                database.execute("INSERT INTO links VALUES (?, ?, ?)", (n, canonical(subject), digest))
                database.execute("INSERT INTO heads VALUES (?, ?, ?)", (n, head.canonical, head.signature))
            _to_outbox(folder, disk, head)
    finally:
        database.close()
    return True


def open_proof(folder: DataFolder, disk: Disk) -> Database:
    """The chain for writing. Errors as `open_writer`."""
    return open_writer(disk, folder.proof_db, TABLES, Commit.ROLLBACK)


def signed(key: Ed25519PrivateKey, n: int, digest: bytes, time_ms: int) -> Head:
    """A head, signed."""
    public = key.public_key().public_bytes_raw()
    bare = Head(n, digest, time_ms, public, b"")
    return Head(n, digest, time_ms, public, key.sign(bare.canonical))


def box_key(folder: DataFolder, disk: Disk) -> Ed25519PrivateKey:
    """The box's own key; made at the first call, readable by its owner only.

    Raises:
        StoreError: it cannot be read or written, or is no key.
    """
    path = folder.keys / "box.key"
    with store_errors(path):
        if not path.exists():
            folder.keys.mkdir(exist_ok=True)
            folder.keys.chmod(0o700)
            disk.sync_folder(folder.path)
            disk.write_file(path, Ed25519PrivateKey.generate().private_bytes_raw())
            path.chmod(0o600)
        raw = path.read_bytes()
    try:
        return Ed25519PrivateKey.from_private_bytes(raw)
    except ValueError as err:
        raise StoreError(f"{path}: is no Ed25519 key: {err}") from err


def read_links(database: Database) -> list[tuple[int, dict[str, Any], bytes]]:
    """(number, document, hash) of every link, in order, as stored. StoreError where one cannot be read."""
    found = []
    for n, text, digest in database.execute("SELECT n, canonical, hash FROM links ORDER BY n").fetchall():
        try:
            document = json.loads(text)
            found.append((n, document, bytes(digest)))
        except (ValueError, TypeError) as err:
            raise StoreError(f"link {n} cannot be read: {err}") from err
        if not isinstance(document, dict):
            raise StoreError(f"link {n} cannot be read: it is no object")
    return found


def read_signed_heads(database: Database) -> list[Head]:
    """Every signed head, in order. StoreError where one cannot be read."""
    found = []
    for n, text, signature in database.execute("SELECT n, canonical, signature FROM heads ORDER BY n").fetchall():
        try:
            head = Head.from_json({**json.loads(text), "signature": bytes(signature).hex()})
        except (ValueError, TypeError, KeyError) as err:
            raise StoreError(f"head {n} cannot be read: {err}") from err
        if head.n != n:
            raise StoreError(f"head {n} says that it is head {head.n}")
        found.append(head)
    return found


def part_subject(header: PartHeader) -> dict[str, Any]:
    """What the chain holds of a packed part: all that its header says."""
    return {
        "kind": "part",
        "first_seq": header.first_seq,
        "last_seq": header.last_seq,
        "frames": header.frames,
        "hour_ms": header.hour_ms,
        "part": header.part,
        "rows": header.rows,
        "confirmations": header.confirmations,
        "first_row_ms": header.first_row_ms,
        "last_row_ms": header.last_row_ms,
        "clock_unsure": header.clock_unsure,
        "sha256": header.sha256.hex(),
    }


def dump_sha256(database: Database, tables: Sequence[str]) -> str:
    """Over every row of these tables, in order of rowid: content, not bytes of the file."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(f"{table}\n".encode("ascii"))
        for row in database.execute(f"SELECT * FROM {table} ORDER BY rowid"):
            digest.update(repr(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def read_head_file(path: Path) -> Head:
    """A head as it left the box by the outbox.

    Raises:
        StoreError: the file cannot be read, or is no head.
    """
    with store_errors(path):
        data = path.read_bytes()
    try:
        return Head.from_json(json.loads(data))
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"{path}: is no head of a chain: {err}") from err


POINT_TABLES: Final = ("keys", "validity", "sites", "site_files")


def _new_subjects(folder: DataFolder, linked: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    known = {identity(document) for document in linked}
    for _, header in sorted(packed_headers(folder).items()):
        subject = part_subject(header)
        if identity(subject) not in known:
            yield subject
    yield from _statistics(folder, known)
    yield from _segments(folder, known)
    latest = {document["kind"]: document for document in linked}
    for subject in (*_logs(folder), *_points(folder)):
        if latest.get(subject["kind"]) != subject:
            yield subject


def identity(document: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a link is about: two of one thing would be one too many."""
    names = {
        "part": ("first_seq",),
        "statistics": ("hour_ms", "revision"),
        "segment": ("first_seq",),
        "removed": ("month",),
    }
    return (document["kind"], *(document[name] for name in names.get(document["kind"], ("sha256",))))


def _statistics(folder: DataFolder, known: Set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for path in folder.stats_years():
        with reading(path) as database:
            for head in read_heads(database).values() if database is not None else ():
                for revision in range(1, head.revision + 1):
                    if ("statistics", head.hour_ms, revision) in known:
                        continue
                    digest = read_hour_sha256(database, path, head.hour_ms, revision)
                    yield {"kind": "statistics", "hour_ms": head.hour_ms, "revision": revision, "sha256": digest}


def _segments(folder: DataFolder, known: Set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for path in sealed_segments(folder):
        if ("segment", first_seq_of(path)) in known:
            continue
        with store_errors(path):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield {"kind": "segment", "first_seq": first_seq_of(path), "sha256": digest}


def _logs(folder: DataFolder) -> Iterator[dict[str, Any]]:
    with reading(folder.events_db) as database:
        row = None if database is None else _newest(database, "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
    if row is not None:
        yield {"kind": "events", "seq": row[0], "sha256": row[1].hex()}
    with reading(folder.ledger_db) as database:
        row = None if database is None else _newest(database, "SELECT id, hash FROM ledger ORDER BY id DESC LIMIT 1")
    if row is not None:
        yield {"kind": "ledger", "seq": row[0], "sha256": row[1].hex()}


def _newest(database: Database, sql: str) -> tuple[int, bytes] | None:
    row: tuple[int, bytes] | None = database.execute(sql).fetchone()
    return row


def _points(folder: DataFolder) -> Iterator[dict[str, Any]]:
    with reading(folder.points_db) as database:
        if database is not None:
            yield {"kind": "points", "sha256": dump_sha256(database, POINT_TABLES)}


def _to_outbox(folder: DataFolder, disk: Disk, head: Head) -> None:
    path = folder.outbox / "heads" / f"{head.n:010d}.json"
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_file(path, canonical(head.to_json()) + b"\n")
