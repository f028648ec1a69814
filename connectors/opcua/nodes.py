"""The address of an OPC UA point: the standard's expanded NodeId text, resolved by namespace URI at each connect.

Pure: no OPC UA library. A namespace index is never stored: servers renumber them at a restart.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mines.errors import Problem
from mines.model import Point

OPCUA_NAMESPACE: Final = "http://opcfoundation.org/UA/"
"""The URI of namespace 0."""

EXPECTED: Final = (
    "nsu=URI;s=TEXT, nsu=URI;i=NUMBER, nsu=URI;g=GUID or nsu=URI;b=BASE64 (in URI write ; as %3B and % as %25), "
    "or i=NUMBER for namespace 0"
)

Identifier = int | str | uuid.UUID | bytes
Node = tuple[int, Identifier]  # namespace index of today, identifier

_MAX_NUMBER: Final = 2**32 - 1
_MAX_TEXT: Final = 4096  # Part 3, 8.2.4
_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node by the URI of its namespace. The type of the identifier is its kind: int i, str s, UUID g, bytes b."""

    namespace_uri: str
    identifier: Identifier


@dataclass(frozen=True, slots=True)
class AddressFault:
    """Why a text is no address."""

    what: str
    expected: str = EXPECTED


def parse_address(text: str) -> NodeAddress | AddressFault:
    """The node that an address text names, or what is wrong with the text.

    Args:
        text: `nsu=URI;s=…`, `nsu=URI;i=…`, `nsu=URI;g=…`, `nsu=URI;b=…`, or `i=…` for namespace 0.
    Source: OPC UA Part 6, 5.3.1.10 and 5.3.1.11.
    """
    if text.startswith("svr="):
        return AddressFault("svr= names another server")
    if text.startswith("ns="):
        return AddressFault("ns= is an index, which a server may renumber at any restart", "the namespace by URI, nsu=")
    if not text.startswith("nsu="):
        if text.startswith("i="):
            return _addressed(OPCUA_NAMESPACE, text)
        return AddressFault(f'"{text}" names no namespace' if text else "the address is empty")
    escaped, separator, rest = text[len("nsu=") :].partition(";")
    if not escaped or not separator:
        return AddressFault("nsu= has no URI" if not escaped else "there is no identifier after the URI")
    if escaped != escaped.strip():
        return AddressFault("there is a space at an end of the URI")
    return _addressed(_unescaped(escaped), rest)


def _unescaped(uri: str) -> str:
    return re.sub("%3[Bb]", ";", uri).replace("%25", "%")


def _addressed(uri: str, text: str) -> NodeAddress | AddressFault:
    identifier = _identifier(text[:2], text[2:])
    return identifier if isinstance(identifier, AddressFault) else NodeAddress(uri, identifier)


def _identifier(kind: str, text: str) -> Identifier | AddressFault:
    match kind:
        case "i=":
            if text.isascii() and text.isdigit() and int(text) <= _MAX_NUMBER:
                return int(text)
            return AddressFault(f'"{text}" is no node number', "a whole number from 0 to 4294967295 after i=")
        case "s=":
            if 0 < len(text) <= _MAX_TEXT:
                return text
            return AddressFault(f"the text after s= has {len(text)} characters", "1 to 4096 characters")
        case "g=":
            if _GUID.fullmatch(text):
                return uuid.UUID(text)
            return AddressFault(f'"{text}" is no GUID', "a GUID such as 09087e75-8e5e-499b-954f-f2a9603db28a after g=")
        case "b=":
            return _opaque(text)
        case _:
            return AddressFault(f'"{kind}{text}" begins with none of i= s= g= b=')


def _opaque(text: str) -> bytes | AddressFault:
    try:
        opaque = base64.b64decode(text, validate=True)
    except binascii.Error:
        opaque = b""
    return opaque or AddressFault(f'"{text}" is no base64', "base64 of at least one byte after b=")


def address_problems(points: Sequence[Point]) -> list[Problem]:
    """What is wrong with the addresses of a source's points, each with its line in the point list."""
    return [
        Problem(point.file, point.line, "address", fault.what, fault.expected)
        for point in points
        if isinstance(fault := parse_address(point.address), AddressFault)
    ]


def namespace_index(address: NodeAddress, namespaces: Sequence[str]) -> int | None:
    """The index that a server gives the address's namespace today; None where it has no such namespace.

    Args:
        namespaces: The server's NamespaceArray as read after this connect.
    """
    if address.namespace_uri == OPCUA_NAMESPACE:
        return 0
    return next((i for i, uri in enumerate(namespaces) if uri == address.namespace_uri), None)
