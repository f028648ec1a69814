"""A packed part: every row of one journal segment, point by point, as columns; its bytes and its hash. Pure.

Points that came in the same replies share one time column: times cost more than the values of a methane sensor. The
hash is over the decoded rows, never over the bytes, so packing anew with another codec changes nothing that is proved.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mines.model import TimeArray
from mines.store.column_codec import Ints
from mines.store.raw_codec import (
    Pieces,
    decode_ints,
    decode_source_times,
    decode_values,
    encode_ints,
    encode_source_times,
    encode_values,
    words,
)
from mines.store.row_gather import Gathered

_FORMAT: Final = 1
_HEAD: Final = struct.Struct("<BI")  # format, CRC-32 of what follows


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When rows came, shape (n,) each: shared by all points that came in the same replies."""

    receive_time_ms: TimeArray
    batch_no: Ints
    kind: Ints  # RowKind

    @property
    def identity(self) -> bytes:
        """Equal where every row is."""
        columns = (self.receive_time_ms, self.batch_no, self.kind)
        return hashlib.blake2b(b"".join(column.tobytes() for column in columns), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of one point in a part: which time column is theirs, and the rest as bytes."""

    key: int  # permanent key of the point
    times_no: int
    rows: int
    first_ms: int  # on the axis of history
    last_ms: int
    body: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a segment holds: stored rows and confirmations of each point key that has any, in journal order."""

    samples: Mapping[int, Gathered]
    confirmations: Mapping[int, Gathered]

    @property
    def rows(self) -> int:
        """How many are stored rows."""
        return sum(len(rows) for rows in self.samples.values())

    def sha256(self) -> bytes:
        """Over every row of every point, key by key: the same for the same rows, however they are packed."""
        digest = hashlib.sha256()
        for name, points in (("samples", self.samples), ("confirmations", self.confirmations)):
            digest.update(f"{name} {len(points)}\n".encode("ascii"))
            for key in sorted(points):
                digest.update(struct.pack("<qq", key, len(points[key])))
                for column in _logical(points[key], whole=name == "samples"):
                    digest.update(column)
        return digest.digest()


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A part as it goes to disk."""

    times: tuple[bytes, ...]  # by number
    samples: tuple[Chunk, ...]
    confirmations: tuple[Chunk, ...]

    @property
    def bytes(self) -> int:
        """What it takes, without the database around it."""
        chunks = (*self.samples, *self.confirmations)
        return sum(map(len, self.times)) + sum(len(chunk.body) for chunk in chunks)


def content_of(slots: Sequence[int], samples: Gathered, confirmations: Gathered) -> Content:
    """Rows of a segment, gathered with `slots` as the wanted keys, point by point."""
    return Content(_by_key(slots, samples), _by_key(slots, confirmations))


def pack_content(content: Content) -> Packed:
    """The part as bytes."""
    times: dict[bytes, int] = {}
    bodies: list[bytes] = []

    def number(rows: Gathered) -> int:
        column = Times(rows.receive_time_ms, rows.batch_no, rows.kind.astype(np.int64))
        found = times.setdefault(column.identity, len(bodies))
        if found == len(bodies):
            bodies.append(encode_times(column))
        return found

    samples = [_chunk(key, number(rows), rows, encode_rows(rows)) for key, rows in sorted(content.samples.items())]
    confirmations = [_chunk(key, number(rows), rows, b"") for key, rows in sorted(content.confirmations.items())]
    return Packed(tuple(bodies), tuple(samples), tuple(confirmations))


def unpack(packed: Packed) -> Content:
    """What `pack_content` packed. ValueError or struct.error where the bytes are no part."""
    times = [decode_times(body) for body in packed.times]
    return Content(
        {chunk.key: decode_rows(chunk.body, times[chunk.times_no]) for chunk in packed.samples},
        {chunk.key: confirmation_rows(times[chunk.times_no]) for chunk in packed.confirmations},
    )


def encode_times(times: Times) -> bytes:
    """A time column as bytes."""
    out = Pieces()
    for column in (times.receive_time_ms, times.batch_no, times.kind):
        out.put(encode_ints(column))
    return _closed(out)


def decode_times(data: bytes) -> Times:
    """What `encode_times` made. ValueError where the bytes are no time column."""
    pieces = _opened(data)
    receive, batch_no, kind = (decode_ints(pieces.take()) for _ in range(3))
    pieces.end()
    if not len(receive) == len(batch_no) == len(kind):
        raise ValueError("columns of different lengths")
    return Times(receive, batch_no, kind)


def encode_rows(rows: Gathered) -> bytes:
    """A point's rows without their times, as bytes."""
    out = Pieces()
    out.put(encode_values(rows.value))
    out.put(encode_ints(rows.quality.astype(np.int64)))
    out.put(encode_source_times(rows.source_time_ms, rows.receive_time_ms))
    return _closed(out)


def decode_rows(data: bytes, times: Times) -> Gathered:
    """What `encode_rows` made, with the time column that belongs to it. ValueError where the bytes do not fit."""
    pieces = _opened(data)
    value, quality = decode_values(pieces.take()), words(decode_ints(pieces.take()))
    source = decode_source_times(pieces.take(), times.receive_time_ms)
    pieces.end()
    if not len(value) == len(quality) == len(times.receive_time_ms):
        raise ValueError("columns of different lengths")
    return Gathered(
        slot=np.zeros(len(value), dtype=np.int32),
        receive_time_ms=times.receive_time_ms,
        source_time_ms=source,
        value=value,
        quality=quality,
        batch_no=times.batch_no,
        kind=times.kind.astype(np.uint8),
    )


def confirmation_rows(times: Times) -> Gathered:
    """Confirmations have times only."""
    n = len(times.receive_time_ms)
    return Gathered(
        slot=np.zeros(n, dtype=np.int32),
        receive_time_ms=times.receive_time_ms,
        source_time_ms=np.zeros(n, dtype=np.int64),
        value=np.full(n, np.nan),
        quality=np.zeros(n, dtype=np.uint16),
        batch_no=times.batch_no,
        kind=times.kind.astype(np.uint8),
    )


def _closed(pieces: Pieces) -> bytes:
    body = pieces.getvalue()
    return _HEAD.pack(_FORMAT, zlib.crc32(body)) + body


def _opened(data: bytes) -> Pieces:
    format_, crc = _HEAD.unpack_from(data)
    if format_ != _FORMAT:
        raise ValueError(f"format {format_}; this program reads {_FORMAT}")
    if crc != zlib.crc32(data[_HEAD.size :]):
        raise ValueError("check sum is wrong")
    return Pieces(data[_HEAD.size :])


def _by_key(slots: Sequence[int], rows: Gathered) -> dict[int, Gathered]:
    return {key: mine for key, mine in zip(slots, rows.split(len(slots)), strict=True) if len(mine)}


def _chunk(key: int, times_no: int, rows: Gathered, body: bytes) -> Chunk:
    axis = rows.axis_time_ms()
    return Chunk(key, times_no, len(rows), int(axis.min()), int(axis.max()), body)


def _logical(rows: Gathered, *, whole: bool) -> list[bytes]:
    columns = [rows.receive_time_ms, rows.batch_no, rows.kind]
    if whole:
        columns += [rows.source_time_ms, rows.value, rows.quality]
    return [np.ascontiguousarray(column).tobytes() for column in columns]
