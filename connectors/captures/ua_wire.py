"""OPC UA binary on the wire: chunks of a byte stream, and the messages that they make. Pure.

Source: OPC UA Part 6, 6.7.2 (structure of a message chunk) and 7.1.2 (UA connection protocol).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from connectors.captures.tcp_streams import Chunk

PORT: Final = 4840
KINDS: Final = (b"HEL", b"ACK", b"ERR", b"RHE", b"OPN", b"MSG", b"CLO")
_ENDS: Final = b"FCA"  # final, more to come, aborted
_HEADER: Final = 8
_LARGEST: Final = 1 << 24
"""A longer chunk is damage: buffers of a connection are far smaller."""
_SECURED: Final = frozenset({b"OPN", b"MSG", b"CLO"})
_SEQUENCE: Final = 8
_MOST_PARTS: Final = 4096
POLICY_URI: Final = "http://opcfoundation.org/UA/SecurityPolicy#"
NO_SECURITY: Final = "None"
_SIGNATURES: Final = {
    "Basic128Rsa15": 20, "Basic256": 20, "Basic256Sha256": 32, "Aes128_Sha256_RsaOaep": 32, "Aes256_Sha256_RsaPss": 32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class UaChunk:
    """One chunk. `time_ns` is when the last of its bytes was captured; `body` begins behind the eight common bytes."""

    side: int
    time_ns: int
    kind: bytes
    end: str
    body: bytes


@dataclass(frozen=True, slots=True)
class UaMessage:
    """One message, whole. `policy` is the short name of its channel's policy, None where that was not seen.

    `body` of a secured message begins with the type of the service, unless it is encrypted; `request_id` is then as
    meaningless as it.
    """

    side: int
    time_ns: int
    kind: bytes
    channel: int
    policy: str | None
    request_id: int
    body: bytes


class ChunkFramer:
    """Chunks of one direction. After an illegal header it drops the rest of that segment and tries the next one."""

    def __init__(self) -> None:
        self.malformed = 0
        self._buffer = b""
        self._time_ns = 0

    def push(self, chunk: Chunk) -> Iterator[UaChunk]:
        """Takes the next bytes; gives the chunks that they complete."""
        if chunk.after_gap:
            self._buffer = b""  # its rest is missing
            if not is_header(chunk.data):
                return
        self._time_ns = max(self._time_ns, chunk.time_ns) if self._buffer else chunk.time_ns
        data = self._buffer + chunk.data if self._buffer else chunk.data
        at = 0
        while len(data) - at >= _HEADER:
            if not is_header(data[at : at + _HEADER]):
                self.malformed += 1
                self._buffer = b""
                return
            end = at + int.from_bytes(data[at + 4 : at + 8], "little")
            if end > len(data):
                break
            yield UaChunk(chunk.side, self._time_ns, data[at : at + 3], chr(data[at + 3]), data[at + _HEADER : end])
            self._time_ns = chunk.time_ns
            at = end
        self._buffer = data[at:]


def is_header(data: bytes) -> bool:
    """Whether these bytes can begin a chunk."""
    if len(data) < _HEADER or data[:3] not in KINDS or data[3] not in _ENDS:
        return False
    return _HEADER <= int.from_bytes(data[4:8], "little") <= _LARGEST


class Assembler:
    """Messages of one connection, out of the chunks of both directions."""

    def __init__(self) -> None:
        self.malformed = 0
        self.aborted = 0
        self.policies: dict[int, str] = {}
        self._parts: dict[tuple[int, int], list[bytes]] = {}

    def push(self, chunk: UaChunk) -> UaMessage | None:
        """Takes one chunk; gives the message that it ends, None where more is to come or it is damaged."""
        if chunk.kind not in _SECURED:
            return UaMessage(chunk.side, chunk.time_ns, chunk.kind, 0, None, 0, chunk.body)
        if len(chunk.body) < 4:
            self.malformed += 1
            return None
        (channel,) = struct.unpack_from("<I", chunk.body)
        policy, at = self._security(chunk, channel)
        if at is None or len(chunk.body) < at + _SEQUENCE:
            self.malformed += 1
            return None
        (request_id,) = struct.unpack_from("<I", chunk.body, at + 4)
        content = chunk.body[at + _SEQUENCE :]
        body = self._joined(chunk, channel, content, policy)
        if body is None:
            return None
        return UaMessage(chunk.side, chunk.time_ns, chunk.kind, channel, policy, request_id, body)

    def _security(self, chunk: UaChunk, channel: int) -> tuple[str | None, int | None]:
        """Policy, and where the sequence header begins; None where the chunk is too short."""
        if chunk.kind != b"OPN":
            return self.policies.get(channel), 8
        uri, at = _bytes_at(chunk.body, 4)
        for _ in range(2):  # the sender's certificate, the receiver's thumbprint
            _, at = _bytes_at(chunk.body, at)
        policy = uri.decode("ascii", "replace").removeprefix(POLICY_URI)
        if at is not None and policy:
            self.policies[channel] = policy
        return policy, at

    def _joined(self, chunk: UaChunk, channel: int, content: bytes, policy: str | None) -> bytes | None:
        """The whole body, None while more is to come. Signatures stand behind each part and are taken off."""
        key = (chunk.side, channel)
        parts = self._parts.pop(key, [])
        if chunk.end == "A":
            self.aborted += 1
            return None
        if chunk.kind == b"MSG" and (parts or chunk.end == "C"):
            size = _SIGNATURES.get(policy or "", 0)
            content = content[: len(content) - size]
        parts.append(content)
        if chunk.end == "F":
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if len(parts) >= _MOST_PARTS:
            self.malformed += 1
        else:
            self._parts[key] = parts
        return None


def _bytes_at(data: bytes, at: int | None) -> tuple[bytes, int | None]:
    """A text or byte string with its length before it, and where it ends."""
    if at is None or len(data) < at + 4:
        return b"", None
    (length,) = struct.unpack_from("<i", data, at)
    end = at + 4 + max(length, 0)
    return (data[at + 4 : end], end) if end <= len(data) else (b"", None)
