"""Built-in types of the OPC UA binary encoding, read from bytes. Pure; never reads beyond the end.

Source: OPC UA Part 6, 5.2.2.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from connectors.opcua.nodes import Node
from mines.clock import NO_TIME_MS

_TICKS_TO_1970: Final = 116_444_736_000_000_000  # of 100 ns, since 1601
_TICKS_A_MS: Final = 10_000
_LAST_TICKS: Final = 2_650_467_743_990_000_000  # 9999-12-31 23:59:59: what is later counts as that
_DEEPEST: Final = 32
"""Nesting that a decoder must bear at most (Part 6, 5.1.9: 100); deeper is damage here."""

TYPE_NAMES: Final = (
    "Null", "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double",
    "String", "DateTime", "Guid", "ByteString", "XmlElement", "NodeId", "ExpandedNodeId", "StatusCode", "QualifiedName",
    "LocalizedText", "ExtensionObject", "DataValue", "Variant", "DiagnosticInfo",
)  # fmt: skip
NUMERIC: Final = frozenset(TYPE_NAMES[1:12])
_FORMATS: Final = ("", "?", "b", "B", "h", "H", "i", "I", "q", "Q", "f", "d")
_STRUCTS: Final = tuple(struct.Struct("<" + form) for form in _FORMATS)


class DecodeError(ValueError):
    """The bytes are not what they should be."""


@dataclass(frozen=True, slots=True)
class DataValue:
    """What one variable read. `kind` is the type's name, with [] behind it for an array; `value` is None where the
    server sent none, where it is an array and where it is no number, truth value or text."""

    kind: str
    value: object
    status: int
    source_time_ms: int


class Reader:
    """Goes through one body."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at
        self._depth = 0
        self._others: dict[int, Callable[[], object]] = {
            12: self.text, 13: self.time_ms, 14: lambda: self.raw(16), 15: self.byte_string, 16: self.byte_string,
            17: self.node, 18: self.expanded_node, 19: self.u32, 20: self.qualified_name, 21: self.localized_text,
            22: self.extension, 23: self.data_value, 24: self.variant, 25: self.diagnostics,
        }  # fmt: skip

    def raw(self, size: int) -> bytes:
        """The next bytes."""
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise DecodeError("the body ends too early")
        part, self.at = self.data[self.at : end], end
        return part

    def u8(self) -> int:
        return self.raw(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.raw(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.raw(4), "little")

    def f64(self) -> float:
        number: float = _STRUCTS[11].unpack(self.raw(8))[0]
        return number

    def length(self) -> int:
        """Of an array or text; -1 is none. Each element takes a byte at least."""
        length = int.from_bytes(self.raw(4), "little", signed=True)
        if length > len(self.data) - self.at:
            raise DecodeError("a length beyond the end of the body")
        return max(length, 0)

    def byte_string(self) -> bytes:
        return self.raw(self.length())

    def text(self) -> str:
        return self.byte_string().decode("utf-8", "replace")

    def time_ms(self) -> int:
        """[ms UTC]; NO_TIME_MS for the null time."""
        ticks = int.from_bytes(self.raw(8), "little", signed=True)
        return NO_TIME_MS if ticks <= 0 else (min(ticks, _LAST_TICKS) - _TICKS_TO_1970) // _TICKS_A_MS

    def node(self) -> Node:
        """A NodeId."""
        node, flags = self._node()
        if flags:
            raise DecodeError("an expanded node id where a plain one must be")
        return node

    def expanded_node(self) -> Node:
        """An ExpandedNodeId, without its URI and server."""
        node, flags = self._node()
        if flags & 0x80:
            self.text()
        if flags & 0x40:
            self.u32()
        return node

    def _node(self) -> tuple[Node, int]:
        mask = self.u8()
        form, flags = mask & 0x3F, mask & 0xC0
        if form == 0:
            return (0, self.u8()), flags
        if form == 1:
            return (self.u8(), self.u16()), flags
        index = self.u16()
        match form:
            case 2:
                return (index, self.u32()), flags
            case 3:
                return (index, self.text()), flags
            case 4:
                return (index, uuid.UUID(bytes_le=self.raw(16))), flags
            case 5:
                return (index, self.byte_string()), flags
        raise DecodeError("a node id of no known form")

    def qualified_name(self) -> str:
        self.u16()
        return self.text()

    def localized_text(self) -> str:
        mask = self.u8()
        if mask & 1:
            self.text()
        return self.text() if mask & 2 else ""

    def extension(self) -> tuple[Node, bytes]:
        """Type and body of an extension object; no body where it is none of bytes or XML."""
        node = self.node()
        return node, self.byte_string() if self.u8() else b""

    def diagnostics(self) -> None:
        """A DiagnosticInfo, passed over."""
        with _Depth(self):
            mask = self.u8()
            for bit in (1, 2, 8, 4):
                if mask & bit:
                    self.u32()
            if mask & 0x10:
                self.text()
            if mask & 0x20:
                self.u32()
            if mask & 0x40:
                self.diagnostics()

    def variant(self) -> tuple[str, object]:
        """Name of the type and value: number, truth value or text; None for all else."""
        with _Depth(self):
            mask = self.u8()
            number = mask & 0x3F
            if number >= len(TYPE_NAMES):
                raise DecodeError("a variant of no known type")
            if not mask & 0x80:
                value = self._scalar(number)
                return TYPE_NAMES[number], value if number < 13 else None
            texts = self._array(number)
            if mask & 0x40:
                self.raw(4 * self.length())
            return TYPE_NAMES[number] + "[]", tuple(texts) if number == 12 else None

    def _array(self, number: int) -> list[object]:
        count = self.length()
        if 0 < number < 12:
            self.raw(count * _STRUCTS[number].size)
            return []
        return [self._scalar(number) for _ in range(count)]

    def _scalar(self, number: int) -> object:
        if number == 0:
            return None
        if number < 12:
            form = _STRUCTS[number]
            value: object = form.unpack(self.raw(form.size))[0]
            return value
        return self._others[number]()

    def data_value(self) -> DataValue:
        mask = self.u8()
        kind, value = self.variant() if mask & 0x01 else (TYPE_NAMES[0], None)
        status = self.u32() if mask & 0x02 else 0
        source_time_ms = self.time_ms() if mask & 0x04 else NO_TIME_MS
        self.raw((2 if mask & 0x10 else 0) + (8 if mask & 0x08 else 0) + (2 if mask & 0x20 else 0))
        return DataValue(kind, value, status, source_time_ms)


class _Depth:
    """Counts nesting while a variant or diagnostic is read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        self._reader._depth += 1
        if self._reader._depth > _DEEPEST:
            raise DecodeError("nested too deeply")

    def __exit__(self, *_: object) -> None:
        self._reader._depth -= 1
