"""Whole OPC UA replies of scalar numbers as arrays: PublishResponse and ReadResponse, proved to the last byte.

Pure. The layout is proved, not assumed: every item's encoding mask and type is looked at, every length must add up, and
the last byte must be the last. What does not fit (texts, lists, structures, diagnostics, unknown bits, a status that is
not bad without a value) gives None: then the library's own decoder has the word.
OPC UA Part 4, 5.14.5 (Publish), 5.11.2 (Read), 7.25 (NotificationData); Part 6, 5.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from connectors.opcua.scalars import Foreign, Scalars, joined, read_items

# …_Encoding_DefaultBinary as four-byte node ids
_PUBLISH_RESPONSE: Final = b"\x01\x00" + struct.pack("<H", 829)
_READ_RESPONSE: Final = b"\x01\x00" + struct.pack("<H", 634)
_DATA_CHANGE: Final = b"\x01\x00" + struct.pack("<H", 811) + b"\x01"  # an extension object with a body of bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """One answer to a publish request."""

    subscription: int
    number: int  # SequenceNumber
    more: bool
    changes: Scalars | None  # None = a keep-alive


def notification(body: bytes) -> Notification | None:
    """A PublishResponse whose parts are data changes of scalar numbers, or a keep-alive; None = not for this decoder.

    Args:
        body: The message behind channel and sequence header, decrypted.
    """
    reader = _Reader(body)
    try:
        reader.header(_PUBLISH_RESPONSE)
        subscription = reader.number("<I")
        reader.skip(4 * reader.count())  # AvailableSequenceNumbers
        more, number = reader.number("<B"), reader.number("<I")
        reader.skip(8)  # PublishTime
        parts = [_data_change(reader) for _ in range(reader.count())]
        reader.skip(4 * reader.count())  # results of the acknowledgements
        reader.nothing()  # diagnostics
        reader.end()
    except (Foreign, struct.error):
        return None
    return Notification(subscription, number, more != 0, joined(parts) if parts else None)


def results(body: bytes) -> Scalars | None:
    """A ReadResponse all of whose results are scalar numbers; None = not for this decoder.

    Args:
        body: The message behind channel and sequence header, decrypted.
    """
    reader = _Reader(body)
    try:
        reader.header(_READ_RESPONSE)
        columns = reader.items(prefix=0)
        reader.nothing()  # diagnostics
        reader.end()
    except (Foreign, struct.error):
        return None
    return columns


def _data_change(reader: _Reader) -> Scalars:
    reader.constant(_DATA_CHANGE)
    size = reader.number("<i")
    end = reader.at + size
    columns = reader.items(prefix=4)
    reader.nothing()  # diagnostics
    if reader.at != end:
        raise Foreign
    return columns


class _Reader:
    """Goes through one body; raises Foreign, or struct.error at its end, where something is not as expected."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def number(self, form: str) -> int:
        (number,) = struct.unpack_from(form, self._body, self.at)
        self.at += struct.calcsize(form)
        return int(number)

    def constant(self, expected: bytes) -> None:
        if not self._body.startswith(expected, self.at):
            raise Foreign
        self.at += len(expected)

    def count(self) -> int:
        """The length of an array; -1 is none."""
        count = self.number("<i")
        if not -1 <= count <= len(self._body):
            raise Foreign
        return max(count, 0)

    def nothing(self) -> None:
        if self.count():
            raise Foreign

    def skip(self, size: int) -> None:
        self.at += size

    def end(self) -> None:
        if self.at != len(self._body):
            raise Foreign

    def header(self, type_id: bytes) -> None:
        """Type and ResponseHeader: a good result without diagnostics, texts and additions."""
        self.constant(type_id)
        self.skip(12)  # time and request handle: replies are told apart by the request id of the sequence header
        self.constant(b"\0\0\0\0\0")  # ServiceResult, no ServiceDiagnostics
        self.nothing()  # StringTable
        self.constant(b"\0\0\0")  # AdditionalHeader

    def items(self, *, prefix: int) -> Scalars:
        count = self.count()
        columns, self.at = read_items(self._body, self.at, count, prefix=prefix)
        return columns
