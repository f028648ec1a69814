"""Replies to their requests, within one connection: by transaction id, oldest first. Pure.

Among open requests of one transaction id those of the reply's own unit come first: behind a gateway a master that never
counts its ids up has one open request a unit. Only where there is none the oldest of the same function is taken, and
the exchange keeps the unit that answered.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from connectors.captures.modbus_wire import EXCEPTION_BIT, Adu


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its reply. `request` is None for an orphan reply, `reply` for a request that nobody answered.

    `sure` is False where other requests were open under the same id and unit and asked for something else: then it
    is counted as matched, but what the reply's data belongs to is not known.
    """

    unit: int
    transaction: int
    request: bytes | None
    time_ns: int
    reply: bytes | None = None
    reply_time_ns: int | None = None
    reply_unit: int | None = None
    sure: bool = True

    @property
    def function(self) -> int:
        """Function code, without the exception bit."""
        pdu = self.request if self.request is not None else self.reply
        return pdu[0] & ~EXCEPTION_BIT if pdu else 0

    @property
    def rtt_ns(self) -> int | None:
        """From the request's last byte to the reply's [ns]; None where one of them is missing."""
        if self.request is None or self.reply_time_ns is None:
            return None
        return self.reply_time_ns - self.time_ns


@dataclass(slots=True)
class _Waiting:
    """Open requests of one transaction id and unit, oldest first, and how often each request stands among them."""

    queue: deque[Exchange] = field(default_factory=deque)
    requests: Counter[bytes] = field(default_factory=Counter)

    def add(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        self.queue.append(exchange)
        self.requests[exchange.request] += 1

    def take(self) -> Exchange:
        exchange = self.queue.popleft()
        assert exchange.request is not None
        exchange.sure = len(self.requests) == 1
        self.requests[exchange.request] -= 1
        if not self.requests[exchange.request]:
            del self.requests[exchange.request]
        return exchange


class Pairs:
    """Matches one connection's messages, which come in the order of the wire."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._open: dict[int, dict[int, _Waiting]] = {}

    def request(self, adu: Adu) -> None:
        """A master asked."""
        exchange = Exchange(adu.unit, adu.transaction, adu.pdu, adu.time_ns)
        self.exchanges.append(exchange)
        units = self._open.setdefault(adu.transaction, {})
        units.setdefault(adu.unit, _Waiting()).add(exchange)

    def reply(self, adu: Adu) -> None:
        """A device answered."""
        exchange = self._oldest(adu)
        if exchange is None:
            exchange = Exchange(adu.unit, adu.transaction, None, adu.time_ns)
            self.exchanges.append(exchange)
        exchange.reply, exchange.reply_time_ns, exchange.reply_unit = adu.pdu, adu.time_ns, adu.unit

    def _oldest(self, adu: Adu) -> Exchange | None:
        units = self._open.get(adu.transaction, {})
        unit = adu.unit if adu.unit in units else _unit_of_same_function(units, adu)
        if unit is None:
            return None
        exchange = units[unit].take()
        if not units[unit].queue:
            del units[unit]
        if not units:
            del self._open[adu.transaction]
        return exchange


def _unit_of_same_function(units: dict[int, _Waiting], adu: Adu) -> int | None:
    function = adu.pdu[0] & ~EXCEPTION_BIT
    fitting = [(w.queue[0].time_ns, unit) for unit, w in units.items() if w.queue[0].function == function]
    return min(fitting)[1] if fitting else None
