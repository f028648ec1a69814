"""Which nodes of imported OPC UA traffic can be points of a draft site. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final

from connectors.captures.tcp_packets import Endpoint, endpoint_text
from connectors.captures.ua_binary import NUMERIC
from connectors.captures.ua_nodes import UaNodes
from connectors.captures.ua_traffic import UaConversation
from connectors.opcua.nodes import AddressFault, Node, parse_address

_DATA_TYPES: Final = {
    "Boolean": "bool", "Int16": "int16", "UInt16": "uint16", "Int32": "int32", "UInt32": "uint32", "Int64": "int64",
    "UInt64": "uint64", "Float": "float32", "Double": "float64",
}  # fmt: skip
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True)
class ReadNode:
    """A node that may be a point. `period_s` is the median time between two values, None where there was only one;
    `data_type` is "" where points.csv has no word for it, or none of its values was good."""

    server: Endpoint
    address: str
    data_type: str
    period_s: float | None


@dataclass(frozen=True, slots=True)
class ReadNodes:
    """Ordered by server and address; `urls` are the servers' own. `left_out` counts nodes that are no points, by
    reason; `unknown` those whose namespace was not named in the traffic."""

    nodes: tuple[ReadNode, ...]
    urls: Mapping[Endpoint, str]
    left_out: Counter[str]
    unknown: int


@dataclass(slots=True)
class _Seen:
    times_ns: list[int] = field(default_factory=list)
    kind: str = "Null"


def read_nodes(conversations: Sequence[UaConversation], servers: Mapping[Endpoint, UaNodes]) -> ReadNodes:
    """Every node whose value was read and is one number or truth value, or was bad each time."""
    left_out: Counter[str] = Counter()
    nodes, unknown = [], 0
    for (server, node), seen in _seen(conversations).items():
        address = servers[server].address(node)
        reason = _no_point(node, seen.kind, address)
        if reason:
            left_out[reason] += 1
            continue
        unknown += servers[server].is_unknown(node)
        nodes.append(ReadNode(server, address, _DATA_TYPES.get(seen.kind, ""), _period_s(seen.times_ns)))
    ordered = sorted(nodes, key=lambda each: (each.server, each.address))
    return ReadNodes(tuple(ordered), _urls(conversations), left_out, unknown)


def _seen(conversations: Iterable[UaConversation]) -> dict[tuple[Endpoint, Node], _Seen]:
    found: dict[tuple[Endpoint, Node], _Seen] = {}
    for conversation in conversations:
        server = conversation.server
        for exchange in conversation.exchanges:
            for row in exchange.rows:
                seen = found.setdefault((server, row.node), _Seen())
                assert exchange.reply_time_ns is not None
                seen.times_ns.append(exchange.reply_time_ns)
                seen.kind = row.data.kind if row.data.kind != "Null" else seen.kind
    return found


def _no_point(node: Node, kind: str, address: str) -> str:
    if node[0] == 0:
        return "of the server itself"
    if kind not in NUMERIC and kind != "Null":
        return "no single numbers"
    return "" if address.isprintable() and not isinstance(parse_address(address), AddressFault) else "no address"


def _period_s(times_ns: Sequence[int]) -> float | None:
    steps = [later - earlier for earlier, later in pairwise(sorted(times_ns))]
    return median(steps) / 1e9 if steps else None


def _urls(conversations: Iterable[UaConversation]) -> dict[Endpoint, str]:
    """Address as captured, with the path by which its clients asked for it."""
    urls: dict[Endpoint, str] = {}
    for conversation in conversations:
        _, _, rest = conversation.url.removeprefix("opc.tcp://").partition("/")
        path = f"/{rest}" if rest and _PATH.fullmatch(f"/{rest}") else ""
        if path or conversation.server not in urls:
            urls[conversation.server] = f"opc.tcp://{endpoint_text(conversation.server)}{path}"
    return urls
