"""A frame: what one commit makes durable. Pure: frame ↔ bytes, bit for bit, with a check sum over every byte.

Layout: a header (magic, format version, codec, frame number, length of the body, CRC-32 over header and body), then
the body, compressed as one piece: the length of the text, the text as JSON, the columns.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import zstandard

from mines.errors import StoreError
from mines.events import Event
from mines.model import Tick
from mines.store import frame_text
from mines.store.column_codec import ColumnReader, ColumnWriter
from mines.store.frame_columns import FrameColumns, batches_of, columns_of, put_columns, take_columns

_MAGIC: Final = b"MWFR"
_VERSION: Final = 1
_CODEC_ZSTD: Final = 1
_ZSTD_LEVEL: Final = 3
_HEADER: Final = struct.Struct("<4sBBHqI")  # magic, version, codec, 0, seq, length of the body
_CRC: Final = struct.Struct("<I")
_LENGTH: Final = struct.Struct("<I")
_BODY_AT: Final = _HEADER.size + _CRC.size
_MAX_BODY: Final = 1 << 30  # what a body may open to [bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What one commit makes durable: ticks with every row, and the events that they caused."""

    seq: int
    boot_id: str
    site_sha256: str
    ticks: tuple[Tick, ...]
    events: tuple[Event, ...] = ()

    @property
    def span_ms(self) -> tuple[int, int]:
        """Box time of its first and last tick; of its events where it has no tick. (0, 0) where it has neither."""
        times = [tick.time_ms for tick in self.ticks] or [event.time_ms for event in self.events] or [0]
        return times[0], times[-1]


@dataclass(frozen=True, slots=True)
class Watermark:
    """What survives a power cut: everything up to this frame, these stored rows of the folder's life, this event."""

    frame: int
    rows: int
    event_seq: int


def encode_frame(frame: Frame) -> bytes:
    """The frame as bytes."""
    return pack(frame, columns_of(frame.ticks))


def pack(frame: Frame, columns: FrameColumns) -> bytes:
    """As `encode_frame`, where the columns of its ticks are at hand."""
    writer = ColumnWriter()
    text = _text(frame)
    writer.raw(_LENGTH.pack(len(text)))
    writer.raw(text)
    put_columns(writer, columns)
    body = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(writer.getvalue())
    header = _HEADER.pack(_MAGIC, _VERSION, _CODEC_ZSTD, 0, frame.seq, len(body))
    return header + _CRC.pack(zlib.crc32(body, zlib.crc32(header))) + body


def decode_frame(data: bytes) -> Frame:
    """The frame that `encode_frame` made.

    Raises:
        StoreError: a byte is not as it was written, or another version wrote it.
    """
    seq, text, columns = _open(data)
    try:
        return _frame(seq, frame_text.from_bytes(text), columns)
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"frame {seq}: its content makes no frame: {err}") from err


def decode_columns(data: bytes) -> FrameColumns:
    """Only the columns of an encoded frame: what a query of samples needs. Errors as `decode_frame`."""
    return _open(data)[2]


def _open(data: bytes) -> tuple[int, bytes, FrameColumns]:
    seq, body = _checked(data)
    try:
        reader = ColumnReader(zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_BODY))
        text = reader.raw(_LENGTH.unpack(reader.raw(_LENGTH.size))[0])
        return seq, text, take_columns(reader)
    except (zstandard.ZstdError, ValueError, IndexError, struct.error) as err:
        raise StoreError(f"frame {seq}: its content makes no frame: {err}") from err


def _checked(data: bytes) -> tuple[int, bytes]:
    if not isinstance(data, bytes) or len(data) < _BODY_AT:  # a flipped bit in SQLite's own record may change the type
        raise StoreError("a frame is cut short, or no bytes at all")
    magic, version, codec, _, seq, length = _HEADER.unpack_from(data)
    body = data[_BODY_AT:]
    crc = zlib.crc32(body, zlib.crc32(data[: _HEADER.size]))
    if magic != _MAGIC or length != len(body) or crc != _CRC.unpack_from(data, _HEADER.size)[0]:
        raise StoreError(f"frame {seq}: check sum or length is wrong")
    if (version, codec) != (_VERSION, _CODEC_ZSTD):
        raise StoreError(f"frame {seq}: format {version}, codec {codec}; this program reads 1 and 1")
    return seq, body


def _text(frame: Frame) -> bytes:
    return frame_text.to_bytes(
        {
            "boot_id": frame.boot_id,
            "site_sha256": frame.site_sha256,
            "events": [frame_text.event_row(event) for event in frame.events],
            "links": [frame_text.link_row(report) for tick in frame.ticks for report in tick.links],
            "acts": [frame_text.act_row(act) for tick in frame.ticks for act in tick.acts],
        }
    )


def _frame(seq: int, text: dict[str, Any], columns: FrameColumns) -> Frame:
    batches = iter(batches_of(columns))
    links = iter([frame_text.link_of(row) for row in text["links"]])
    acts = iter([frame_text.act_of(row) for row in text["acts"]])
    ticks = tuple(
        Tick(
            number,
            time_ms,
            monotonic_ns,
            batches=tuple(islice(batches, n_batches)),
            links=tuple(islice(links, n_links)),
            acts=tuple(islice(acts, n_acts)),
            clock_step_ms=clock_step_ms,
        )
        for number, time_ms, monotonic_ns, n_batches, n_links, n_acts, clock_step_ms in zip(
            *(column.tolist() for column in columns.ticks.columns), strict=True
        )
    )
    return Frame(
        seq=seq,
        boot_id=text["boot_id"],
        site_sha256=text["site_sha256"],
        ticks=ticks,
        events=tuple(frame_text.event_of(row) for row in text["events"]),
    )
