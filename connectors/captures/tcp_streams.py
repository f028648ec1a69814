"""TCP reassembly: from segments in any order to the bytes each side received, in the order in which it received them.

Pure. What was received is decided by sequence numbers, never by who came first in the file: retransmissions are
trimmed, segments that overtook others wait for them, and data waits for the other side's data that it acknowledges, so
that a reply never comes before its request. A hole that stays open is given up, and the next chunk says so.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.captures.tcp_packets import Endpoint, Segment

_MODULUS = 1 << 32
_FAR = 1 << 24
"""A sequence number farther than this from the expected one belongs to another connection under the same ports."""

PATIENCE_ACKED_NS = 1_000_000_000
"""A hole that the receiver acknowledged is the capture's own loss; it waits only for packets written late."""
PATIENCE_NS = 60_000_000_000
"""A hole that nobody acknowledged will be sent again; TCP's own retransmission timer stays below this."""
_MOST_HELD = 512
"""Segments of one connection that may wait, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """New bytes of one segment, in stream order. `side` is the index of the sender in `Connection.ends`; `after_gap`
    where bytes before it are missing."""

    side: int
    time_ns: int
    data: bytes
    after_gap: bool


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    """A segment that waits. Positions are absolute: they never wrap."""

    position: int
    number: int  # order of arrival: the first of two equal segments stands
    time_ns: int = field(compare=False)
    data: bytes = field(compare=False)
    phantom: int = field(compare=False)  # sequence numbers behind the data that carry none: lost bytes, a FIN
    lost: bool = field(compare=False)
    acked: int | None = field(compare=False)  # what it acknowledges of the other side

    @property
    def end(self) -> int:
        return self.position + len(self.data) + self.phantom


@dataclass(slots=True)
class _Flow:
    """One direction. `position` is the next byte expected; None until anything was seen of it."""

    position: int | None = None
    first: int = 0
    acked: int = 0
    gap: bool = False
    held: list[_Held] = field(default_factory=list)

    def begin(self, seq: int) -> None:
        self.position = self.first = self.acked = seq

    def place(self, seq: int) -> int:
        """The absolute position of a sequence number."""
        assert self.position is not None
        return self.position + (seq - self.position + _MODULUS // 2) % _MODULUS - _MODULUS // 2

    def is_far(self, seq: int) -> bool:
        return self.position is not None and abs(self.place(seq) - self.position) > _FAR


class Connection:
    """Both directions of one TCP connection. `opener` is the side that sent the SYN; None where that was not seen."""

    def __init__(self, ends: tuple[Endpoint, Endpoint]) -> None:
        self.ends = ends
        self.opener: int | None = None
        self.gaps = 0
        self._flows = (_Flow(), _Flow())
        self._number = 0

    def is_other(self, segment: Segment) -> bool:
        """True where the segment cannot be of this connection: the ports were used again."""
        flow = self._flows[self._side(segment)]
        if flow.position is None or segment.reset:
            return False
        if segment.syn:
            return (segment.seq + 1) % _MODULUS != flow.first % _MODULUS
        return flow.is_far(segment.seq)

    def push(self, segment: Segment) -> Iterator[Chunk]:
        """Takes one segment; gives what has become readable by it."""
        if segment.reset:
            return
        side = self._side(segment)
        flow, peer = self._flows[side], self._flows[1 - side]
        if segment.syn and self.opener is None:
            self.opener = side if segment.ack is None else 1 - side
        seq = (segment.seq + segment.syn) % _MODULUS
        if flow.position is None:
            flow.begin(seq)
        acked = self._acked(peer, segment.ack)
        if segment.payload or segment.lost or segment.fin:
            self._hold(flow, segment, flow.place(seq), acked)
        yield from self._release()
        while self._overdue(segment.time_ns):
            self._give_up()
            yield from self._release()

    def flush(self) -> Iterator[Chunk]:
        """What still waits: nothing more will come."""
        while any(flow.held for flow in self._flows):
            self._give_up()
            yield from self._release()

    def _side(self, segment: Segment) -> int:
        return 0 if segment.source == self.ends[0] else 1

    @staticmethod
    def _acked(peer: _Flow, ack: int | None) -> int | None:
        if ack is None or peer.is_far(ack):
            return None
        if peer.position is None:
            peer.begin(ack)  # joined in mid-stream: what was acknowledged before is of no interest
        acked = peer.place(ack)
        peer.acked = max(peer.acked, acked)
        return acked

    def _hold(self, flow: _Flow, segment: Segment, position: int, acked: int | None) -> None:
        self._number += 1
        insort(
            flow.held,
            _Held(
                position=position,
                number=self._number,
                time_ns=segment.time_ns,
                data=segment.payload,
                phantom=segment.lost + segment.fin,
                lost=segment.lost > 0,
                acked=acked,
            ),
        )

    def _release(self) -> Iterator[Chunk]:
        """Every held segment whose turn it is."""
        going = True
        while going:
            going = False
            for side, flow in enumerate(self._flows):
                while flow.held and self._is_due(flow, self._flows[1 - side]):
                    going = True
                    yield from self._take(side, flow)

    @staticmethod
    def _is_due(flow: _Flow, peer: _Flow) -> bool:
        head = flow.held[0]
        if flow.position is None or head.position > flow.position:
            return False
        return head.acked is None or peer.position is None or head.acked <= peer.position

    def _take(self, side: int, flow: _Flow) -> Iterator[Chunk]:
        head = flow.held.pop(0)
        assert flow.position is not None
        if head.end <= flow.position:
            return  # a retransmission: known already
        data = head.data[flow.position - head.position :]
        flow.position = head.end
        if data:
            yield Chunk(side, head.time_ns, data, flow.gap)
            flow.gap = False
        if head.lost:
            flow.gap = True
            self.gaps += 1

    def _overdue(self, now_ns: int) -> bool:
        waiting = sum(len(flow.held) for flow in self._flows)
        if not waiting:
            return False
        flow, _ = self._hole()
        acknowledged = flow.position is not None and flow.acked > flow.position
        patience = PATIENCE_ACKED_NS if acknowledged else PATIENCE_NS
        oldest = min(head.time_ns for each in self._flows for head in each.held)
        return waiting > _MOST_HELD or now_ns - oldest > patience

    def _hole(self) -> tuple[_Flow, int]:
        """The direction that the longest waiting segment waits for, and where it may go on. Something is held."""
        side = min((s for s in (0, 1) if self._flows[s].held), key=lambda s: self._flows[s].held[0].time_ns)
        flow, peer = self._flows[side], self._flows[1 - side]
        head = flow.held[0]
        if flow.position is not None and head.position > flow.position:
            return flow, head.position
        assert head.acked is not None
        return peer, min([head.acked, *(waiting.position for waiting in peer.held[:1])])

    def _give_up(self) -> None:
        flow, target = self._hole()
        assert flow.position is not None
        if target > flow.position:
            flow.position = target
            flow.gap = True
            self.gaps += 1
        else:  # both wait for each other's acknowledgements: let the held head of that direction go first
            flow.held[0] = _without_ack(flow.held[0])


def _without_ack(head: _Held) -> _Held:
    return _Held(head.position, head.number, head.time_ns, head.data, head.phantom, head.lost, None)


class ConnectionTable:
    """Every TCP connection of a capture."""

    def __init__(self) -> None:
        self._open: dict[tuple[Endpoint, Endpoint], Connection] = {}

    def push(self, segment: Segment) -> Iterator[tuple[Connection, Chunk]]:
        """Takes one segment; gives what has become readable by it, with its connection."""
        ends = (segment.source, segment.target)
        key = ends if ends[0] <= ends[1] else (ends[1], ends[0])
        connection = self._open.get(key)
        if connection is not None and connection.is_other(segment):
            yield from ((connection, chunk) for chunk in connection.flush())
            connection = None
        if connection is None:
            connection = self._open[key] = Connection(ends)
        for chunk in connection.push(segment):
            yield connection, chunk

    def flush(self) -> Iterator[tuple[Connection, Chunk]]:
        """What still waits in every connection."""
        for connection in self._open.values():
            yield from ((connection, chunk) for chunk in connection.flush())
