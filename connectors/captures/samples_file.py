"""`samples.frames`: rows of our own record with their ticks, as the journal keeps them: a length, then a frame, again
and again. Every frame carries its own check sum."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from mines.errors import CaptureError, StoreError
from mines.store.frame import Frame, decode_frame, encode_frame

_LENGTH = struct.Struct("<I")
_LARGEST = 1 << 28
"""A longer frame is damage: a commit holds about a second."""


def write_samples(path: Path, frames: Iterable[Frame]) -> int:
    """Writes the file; gives the number of frames."""
    count = 0
    with path.open("wb") as file:
        for frame in frames:
            data = encode_frame(frame)
            file.write(_LENGTH.pack(len(data)) + data)
            count += 1
    return count


def read_samples(path: Path, expected: int | None = None) -> Iterator[Frame]:
    """The frames in file order.

    Args:
        path: Of the file.
        expected: How many there must be; None = not known.
    Raises:
        CaptureError: the file is cut or damaged; the message names the frame and the byte where it begins.
    """
    try:
        file = path.open("rb")
    except OSError as err:
        raise CaptureError(f"{path}:0: file: {err.strerror}; expected a file of a capture") from err
    number, offset = 0, 0
    with file:
        while head := file.read(_LENGTH.size):
            number += 1
            place = f"{path}:{number}: byte {offset}"
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            data = file.read(length) if 0 < length <= _LARGEST else b""
            if not data or len(data) < length:
                raise CaptureError(f"{place}: the frame is cut or its length is damaged; expected a whole frame")
            try:
                yield decode_frame(data)
            except StoreError as err:
                raise CaptureError(f"{place}: {err}; expected an undamaged frame") from err
            offset += len(head) + length
    if expected is not None and number != expected:
        raise CaptureError(f"{path}:{number}: file: ends after {number} frames; expected {expected}")
