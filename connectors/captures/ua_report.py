"""The report of `import` for OPC UA, as one JSON document with the keys of the one for Modbus and its own. Pure.

`requests` and `replies` are of services within sessions and discovery (messages of kind MSG); CloseSecureChannel, which
has no reply, stands in `services`. Round trips leave Publish out: its reply waits until there is something to say.
`faults` counts replies with a bad result, be they service faults or not, and messages of kind ERR, by status code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.captures.report import LATE_NS, PacketCount, rtt_quantiles_ms
from connectors.captures.tcp_packets import Endpoint, address_text, endpoint_text
from connectors.captures.ua_nodes import UaNodes
from connectors.captures.ua_services import WRITE_SERVICES
from connectors.captures.ua_traffic import UaConversation, UaExchange
from connectors.opcua.nodes import Node

PROTOCOL = "opcua"
_CLOSE = "CloseSecureChannel"


def opcua_report(
    counted: PacketCount, conversations: Sequence[UaConversation], nodes: Mapping[Endpoint, UaNodes]
) -> dict[str, Any]:
    """The document; its keys are the contract of `import --json`, with `nodes` beside them."""
    exchanges = [exchange for each in conversations for exchange in each.exchanges]
    asked = [each for each in exchanges if each.has_request]
    replied = [each for each in exchanges if each.reply_time_ns is not None]
    rtts = _round_trips(asked)
    matched = [each for each in asked if each.reply_time_ns is not None]
    return {
        "protocol": PROTOCOL,
        "packets": counted.packets,
        "span_s": round(counted.span_s, 6),
        "connections": sum(1 for each in conversations if each.messages),
        "units": [],
        "requests": len(asked),
        "replies": len(replied),
        "matched": len(matched),
        "unanswered": len(asked) - len(matched),
        "orphans": len(exchanges) - len(asked),
        "unanswered_by_unit": {},
        "late": sum(rtt > LATE_NS for rtt in rtts),
        "exceptions": _exceptions(replied),
        "function_codes": {},
        "rtt_ms": rtt_quantiles_ms(rtts),
        "writes": _writes(conversations),
        "malformed": sum(each.malformed for each in conversations),
        "encrypted": any(each.encrypted for each in conversations),
        "messages": _total(each.messages for each in conversations),
        "services": _services(asked, conversations),
        "faults": _faults(replied, conversations),
        "policies": list(dict.fromkeys(policy for each in conversations for policy in each.policies)),
        "devices": _devices(conversations),
        "nodes": _nodes(conversations, nodes),
    }


def _devices(conversations: Iterable[UaConversation]) -> list[dict[str, Any]]:
    """Each server: what was asked of it and what became of it."""
    exchanges: dict[Endpoint, list[UaExchange]] = {}
    for conversation in conversations:
        exchanges.setdefault(conversation.server, []).extend(conversation.exchanges)
    return [{"server": endpoint_text(server), "unit": None, **_device(of)} for server, of in sorted(exchanges.items())]


def _device(exchanges: Sequence[UaExchange]) -> dict[str, Any]:
    asked = [each for each in exchanges if each.has_request]
    matched = [each for each in asked if each.reply_time_ns is not None]
    rtts = _round_trips(asked)
    return {
        "requests": len(asked),
        "matched": len(matched),
        "unanswered": len(asked) - len(matched),
        "late": sum(rtt > LATE_NS for rtt in rtts),
        "exceptions": _exceptions(each for each in exchanges if each.reply_time_ns is not None),
        "function_codes": {},
        "rtt_ms": rtt_quantiles_ms(rtts),
    }


def _round_trips(asked: Iterable[UaExchange]) -> list[int]:
    return [each.rtt_ns for each in asked if each.rtt_ns is not None and each.service != "Publish"]


def _total(counts: Iterable[Counter[str]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))


def _services(asked: Iterable[UaExchange], conversations: Iterable[UaConversation]) -> dict[str, int]:
    counts = Counter(each.service for each in asked)
    counts[_CLOSE] += sum(each.closings for each in conversations)
    return {name: count for name, count in sorted(counts.items()) if count}


def _faults(replied: Iterable[UaExchange], conversations: Iterable[UaConversation]) -> dict[str, int]:
    counts = Counter(each.result for each in replied if each.result >> 31)
    for conversation in conversations:
        counts.update(conversation.errors)
    return {status_text(code): count for code, count in sorted(counts.items())}


def _exceptions(replied: Iterable[UaExchange]) -> dict[str, int]:
    counts = Counter((each.service, each.result) for each in replied if each.result >> 31)
    return {f"{service}/{status_text(code)}": count for (service, code), count in sorted(counts.items())}


def status_text(code: int) -> str:
    """A StatusCode as the standard's tables write it: `0x80790000`."""
    return f"0x{code:08X}"


def _writes(conversations: Iterable[UaConversation]) -> list[dict[str, Any]]:
    counts: Counter[tuple[str, str]] = Counter()
    for conversation in conversations:
        client = address_text(conversation.client)
        for each in conversation.exchanges:
            if each.has_request and each.service in WRITE_SERVICES:
                counts[client, each.service] += 1
    return [
        {"client": client, "unit": None, "function": service, "count": count}
        for (client, service), count in sorted(counts.items())
    ]


def _nodes(conversations: Iterable[UaConversation], nodes: Mapping[Endpoint, UaNodes]) -> list[dict[str, Any]]:
    """Nodes that were read: server, address, type, how many values, and how many of them bad."""
    seen: dict[tuple[Endpoint, Node], tuple[str, int, int]] = {}
    for conversation in conversations:
        server = conversation.server
        for row in (row for exchange in conversation.exchanges for row in exchange.rows):
            kind, count, bad = seen.get((server, row.node), ("Null", 0, 0))
            kind = row.data.kind if row.data.kind != "Null" else kind
            seen[server, row.node] = (kind, count + 1, bad + (row.data.status >> 31))
    return [
        {"server": endpoint_text(server), "node": nodes[server].address(node), "type": kind, "values": n, "bad": bad}
        for (server, node), (kind, n, bad) in seen.items()
    ]
