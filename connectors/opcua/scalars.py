"""Data values of scalar numbers as columns: items of one layout are a table, items of many are gathered by layout.

Pure. OPC UA Part 6, 5.2.2.16 (Variant), 5.2.2.17 (DataValue). Who reads messages around them is `bulk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from connectors.opcua.decode import StatusArray
from mines.clock import NO_TIME_MS
from mines.model import TimeArray, ValueArray

HandleArray = npt.NDArray[np.uint32]

# Bits of a data value's encoding mask. The parts come in this order: value, status, source time, its picoseconds,
# server time, its picoseconds.
_VALUE: Final = 0x01
_STATUS: Final = 0x02
_SOURCE_TIME: Final = 0x04
_SERVER_TIME: Final = 0x08
_SOURCE_PICOSECONDS: Final = 0x10
_SERVER_PICOSECONDS: Final = 0x20
_ALL_BITS: Final = 0x3F

# Type number of a scalar variant → how its value stands on the wire; 0 is null.
_FORMATS: Final = ("", "u1", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8")
_SIZES: Final = (0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8)
_BOOLEAN: Final = 1

_TICKS_TO_1970: Final = 116_444_736_000_000_000  # of 100 ns, since 1601
_TICKS_A_MS: Final = 10_000
_LAST_TICKS: Final = 2_650_467_743_990_000_000  # 9999-12-31 23:59:59: what is later counts as that
_WORTH_A_TABLE: Final = 64  # items of one layout in a row; fewer are gathered


class Foreign(Exception):
    """Something else than scalar numbers in whole messages: for the library's own decoder to say what."""


@dataclass(frozen=True, slots=True)
class Scalars:
    """Columns of equal length n, in the order of the reply."""

    handle: HandleArray  # ClientHandle; empty where the reply names none (Read)
    value: ValueArray  # NaN also where a bad status came without a value
    status: StatusArray
    source_time_ms: TimeArray  # NO_TIME_MS = the server gave none


def read_items(body: bytes, at: int, count: int, *, prefix: int) -> tuple[Scalars, int]:
    """The columns of data values that follow one another, each behind its handle, and where they end.

    Args:
        body: They are in it.
        at: Where the first begins [byte].
        count: How many.
        prefix: Bytes of handle before each: 4, or 0 for none.
    Raises:
        Foreign: one of them is no scalar number, or they do not end within the body.
    """
    blocks: list[Scalars] = []
    left = count
    while left:
        layout = _layout(body, at + prefix)
        dtype = _item_dtype(prefix, layout)
        items = np.frombuffer(body, dtype, min(left, max(len(body) - at, 0) // dtype.itemsize), at)
        run = _equal_run(items, layout)
        if run < min(left, _WORTH_A_TABLE):
            block, at = _gathered(body, at, left, prefix)
            blocks.append(block)
            break
        blocks.append(_columns(items[:run], layout))
        at += run * dtype.itemsize
        left -= run
    return joined(blocks), at


def joined(blocks: Sequence[Scalars]) -> Scalars:
    """Columns one after the other."""
    if len(blocks) == 1:
        return blocks[0]
    blocks = blocks or [_empty(0, 0)]
    return Scalars(
        np.concatenate([block.handle for block in blocks]),
        np.concatenate([block.value for block in blocks]),
        np.concatenate([block.status for block in blocks]),
        np.concatenate([block.source_time_ms for block in blocks]),
    )


def _empty(n: int, handles: int) -> Scalars:
    return Scalars(
        np.empty(handles, dtype=np.uint32), np.empty(n), np.empty(n, dtype=np.uint32), np.empty(n, dtype=np.int64)
    )


# A layout is the encoding mask and the type number in one: mask << 8 | type, type 0 where there is no value.


def _layout(body: bytes, at: int) -> int:
    """The layout of the data value at a place."""
    if at + 1 >= len(body):
        raise Foreign
    mask = body[at]
    kind = body[at + 1] if mask & _VALUE else 0
    if mask & ~_ALL_BITS or kind >= len(_SIZES):
        raise Foreign
    return mask << 8 | kind


def _data_size(layout: int) -> int:
    """Bytes of a data value, its encoding mask among them."""
    mask, kind = layout >> 8, layout & 0xFF
    return (
        1
        + (1 + _SIZES[kind] if mask & _VALUE else 0)
        + (4 if mask & _STATUS else 0)
        + (8 if mask & _SOURCE_TIME else 0)
        + (2 if mask & _SOURCE_PICOSECONDS else 0)
        + (8 if mask & _SERVER_TIME else 0)
        + (2 if mask & _SERVER_PICOSECONDS else 0)
    )


def _item_dtype(prefix: int, layout: int) -> np.dtype[Any]:
    """Handle and data value of a layout, packed; fields that nobody looks at are left out."""
    mask, kind = layout >> 8, layout & 0xFF
    fields: list[tuple[str, str, int]] = [("handle", "<u4", 0)] if prefix else []
    fields.append(("mask", "u1", prefix))
    at = prefix + 1
    if mask & _VALUE:
        fields.append(("kind", "u1", at))
        if kind:
            fields.append(("value", _FORMATS[kind], at + 1))
        at += 1 + _SIZES[kind]
    if mask & _STATUS:
        fields.append(("status", "<u4", at))
        at += 4
    if mask & _SOURCE_TIME:
        fields.append(("source_time", "<i8", at))
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype(
        {
            "names": list(names),
            "formats": list(formats),
            "offsets": list(offsets),
            "itemsize": prefix + _data_size(layout),
        }
    )


def _equal_run(items: npt.NDArray[Any], layout: int) -> int:
    """How many items from the first on are of this layout."""
    mask, kind = layout >> 8, layout & 0xFF
    same = items["mask"] == mask
    if mask & _VALUE:
        same &= items["kind"] == kind
    return len(items) if same.all() else int(np.argmin(same))


def _gathered(body: bytes, at: int, count: int, prefix: int) -> tuple[Scalars, int]:
    """Items whose layout changes all the time: found one by one, then read layout by layout, each into its place."""
    offsets: list[int] = []
    layouts: list[int] = []
    sizes: dict[int, int] = {}  # of the layouts seen
    end = len(body) - prefix - 1
    for _ in range(count):
        if at >= end:
            raise Foreign
        mask = body[at + prefix]
        layout = mask << 8 | body[at + prefix + 1] if mask & _VALUE else mask << 8
        offsets.append(at)
        layouts.append(layout)
        try:
            at += sizes[layout]
        except KeyError:
            sizes[layout] = prefix + _data_size(_layout(body, at + prefix))
            at += sizes[layout]
    if at > len(body):
        raise Foreign
    out = _empty(count, count if prefix else 0)
    octets, starts, of_layout = np.frombuffer(body, np.uint8), np.array(offsets), np.array(layouts)
    for layout in sizes:
        rows = np.flatnonzero(of_layout == layout)
        dtype = _item_dtype(prefix, layout)
        items = sliding_window_view(octets, dtype.itemsize)[starts[rows]].view(dtype).reshape(-1)
        block = _columns(items, layout)
        if prefix:
            out.handle[rows] = block.handle
        out.value[rows], out.status[rows] = block.value, block.status
        out.source_time_ms[rows] = block.source_time_ms
    return out, at


def _columns(items: npt.NDArray[Any], layout: int) -> Scalars:
    """Raises Foreign where a status that is not bad stands without a value."""
    fields, kind, n = items.dtype.names or (), layout & 0xFF, len(items)
    status = items["status"].astype(np.uint32) if "status" in fields else np.zeros(n, dtype=np.uint32)
    if "value" not in fields:
        if (status < 0x8000_0000).any():
            raise Foreign
        value = np.full(n, np.nan)
    elif kind == _BOOLEAN:
        value = (items["value"] != 0).astype(np.float64)
    else:
        with np.errstate(invalid="ignore"):  # a signalling NaN in a Float is a NaN
            value = items["value"].astype(np.float64)
    handle = items["handle"].astype(np.uint32) if "handle" in fields else np.empty(0, dtype=np.uint32)
    times = _time_ms(items["source_time"]) if "source_time" in fields else np.full(n, NO_TIME_MS, dtype=np.int64)
    return Scalars(handle, value, status, times)


def _time_ms(ticks: npt.NDArray[np.int64]) -> TimeArray:
    """DateTimes in whole milliseconds since 1970, as `decode.time_ms` has them: none up to 1601, the last in 9999."""
    ms: TimeArray = (np.minimum(ticks, _LAST_TICKS) - _TICKS_TO_1970) // _TICKS_A_MS
    ms[ticks < 10] = NO_TIME_MS  # a microsecond after 1601 is the first time there is
    return ms
