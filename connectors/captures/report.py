"""The report of `import`: what was on the wire, as one JSON document. Pure.

Quantiles are by nearest rank; `late` = matched after more than 1 s; `connections` = those that carry a message;
`writes` are grouped by master address, unit and function (design §7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.captures.modbus_pairs import Exchange
from connectors.captures.modbus_traffic import Conversation
from connectors.captures.modbus_wire import EXCEPTION_BIT, WRITE_FUNCTIONS
from connectors.captures.registers import RegisterMap
from connectors.captures.tcp_packets import Endpoint, address_text, endpoint_text

PROTOCOL = "modbus"
LATE_NS = 1_000_000_000


@dataclass(slots=True)
class PacketCount:
    """Packets of the file, of any protocol, and the first and last of their times [ns]."""

    packets: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    def add(self, time_ns: int) -> None:
        """One more; times need not ascend."""
        self.packets += 1
        self.first_ns = time_ns if self.first_ns is None else min(self.first_ns, time_ns)
        self.last_ns = time_ns if self.last_ns is None else max(self.last_ns, time_ns)

    @property
    def span_s(self) -> float:
        """From the first to the last packet [s]."""
        return 0.0 if self.first_ns is None or self.last_ns is None else (self.last_ns - self.first_ns) / 1e9


def modbus_report(
    counted: PacketCount, conversations: Sequence[Conversation], registers: RegisterMap, *, encrypted: bool
) -> dict[str, Any]:
    """The document; its keys are the contract of `import --json`, with `registers` beside them."""
    speaking = [each for each in conversations if each.exchanges]
    exchanges = [exchange for each in speaking for exchange in each.exchanges]
    asked = [each for each in exchanges if each.request is not None]
    open_requests = [each for each in asked if each.reply is None]
    rtts = [each.rtt_ns for each in asked if each.rtt_ns is not None]
    replies = [each for each in exchanges if each.reply is not None]
    return {
        "protocol": PROTOCOL,
        "packets": counted.packets,
        "span_s": round(counted.span_s, 6),
        "connections": len(speaking),
        "units": sorted({each.unit for each in exchanges}),
        "requests": len(asked),
        "replies": len(replies),
        "matched": len(rtts),
        "unanswered": len(open_requests),
        "orphans": len(exchanges) - len(asked),
        "unanswered_by_unit": _sorted_counts(each.unit for each in open_requests),
        "late": sum(rtt > LATE_NS for rtt in rtts),
        "exceptions": _exceptions(replies),
        "function_codes": _sorted_counts(each.function for each in asked),
        "rtt_ms": rtt_quantiles_ms(rtts),
        "writes": _writes(speaking),
        "malformed": sum(each.malformed for each in conversations),
        "encrypted": encrypted,
        "devices": _devices(speaking),
        "registers": registers.document(),
    }


def _devices(conversations: Iterable[Conversation]) -> list[dict[str, Any]]:
    """Each server's units: what was asked of them and what became of it."""
    exchanges: dict[tuple[Endpoint, int], list[Exchange]] = {}
    for conversation in conversations:
        for each in conversation.exchanges:
            exchanges.setdefault((conversation.server, each.unit), []).append(each)
    return [
        {"server": endpoint_text(server), "unit": unit, **_device(of_unit)}
        for (server, unit), of_unit in sorted(exchanges.items(), key=lambda item: item[0])
    ]


def _device(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    asked = [each for each in exchanges if each.request is not None]
    rtts = [each.rtt_ns for each in asked if each.rtt_ns is not None]
    return {
        "requests": len(asked),
        "matched": len(rtts),
        "unanswered": len(asked) - len(rtts),
        "late": sum(rtt > LATE_NS for rtt in rtts),
        "exceptions": _exceptions(each for each in exchanges if each.reply is not None),
        "function_codes": _sorted_counts(each.function for each in asked),
        "rtt_ms": rtt_quantiles_ms(rtts),
    }


def rtt_quantiles_ms(rtts_ns: Sequence[int]) -> dict[str, float | None]:
    """min, p50, p95 and max [ms] of round trips [ns], by nearest rank; None each where there are none."""
    ordered = sorted(rtts_ns)
    return {
        "min": _ms(ordered[0]) if ordered else None,
        "p50": _ms(nearest_rank(ordered, 50)) if ordered else None,
        "p95": _ms(nearest_rank(ordered, 95)) if ordered else None,
        "max": _ms(ordered[-1]) if ordered else None,
    }


def nearest_rank(ordered: Sequence[int], pct: int) -> int:
    """The smallest value of an ascending, non-empty sequence that more than `pct` per cent of them do not exceed.

    Where the rank falls between two values (`pct` of n is whole) it is the upper one; for 100 it is the largest.

    Source: the published figures of the reference captures, which the lower one does not give.
    """
    return ordered[min(len(ordered) * pct // 100, len(ordered) - 1)]


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 6)


def _sorted_counts(numbers: Iterable[int]) -> dict[str, int]:
    return {str(number): count for number, count in sorted(Counter(numbers).items())}


def _exceptions(replies: Iterable[Exchange]) -> dict[str, int]:
    counts: Counter[tuple[int, int]] = Counter()
    for each in replies:
        if each.reply is not None and each.reply[0] & EXCEPTION_BIT:
            counts[each.reply[0] & ~EXCEPTION_BIT, each.reply[1]] += 1
    return {f"{function}/{code}": count for (function, code), count in sorted(counts.items())}


def _writes(conversations: Iterable[Conversation]) -> list[dict[str, Any]]:
    counts: Counter[tuple[str, int, int]] = Counter()
    for conversation in conversations:
        client = address_text(conversation.client)
        for each in conversation.exchanges:
            if each.request is not None and each.function in WRITE_FUNCTIONS:
                counts[client, each.unit, each.function] += 1
    return [
        {"client": client, "unit": unit, "function": function, "count": count}
        for (client, unit, function), count in sorted(counts.items())
    ]
