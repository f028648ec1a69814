"""A recorded Modbus device: what it answers at a moment of its capture, to requests that were recorded and to others on
the same registers. Pure.

A register stands with what was last seen of it: a word, an exception, or silence. Before anything was seen of one, its
first is taken: a client that asks at the start gets values, not refusals that were never given.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.captures.modbus_wire import EXCEPTION_BIT, Access, read_access, reply_data
from connectors.captures.playback import Place
from connectors.captures.registers import BIT_TABLES
from connectors.captures.wire_frames import WireFrame

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, GATEWAY_NO_RESPONSE = 1, 2, 3, 11
_MOST_BITS, _MOST_REGISTERS = 2000, 125
_SILENT: Final = -1
"""State of a register whose last request nobody answered; an exception is -2 - code, a word or bit itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the device does: a reply PDU, None for silence, and how long it took to answer when it was recorded."""

    reply: bytes | None
    delay_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Event:
    """One exchange as it changes the device. `states` are of the registers from `access.first` on."""

    time_ns: int
    unit: int
    request: bytes
    outcome: Outcome
    access: Access | None
    states: Sequence[int]


class RecordedDevice:
    """One server of an import: its units, and what each register is at a moment.

    Args:
        frames: Of this server.
    """

    def __init__(self, frames: Iterable[WireFrame]) -> None:
        found = sorted(_events(frames), key=lambda event: event.time_ns)
        self._read = {key for event in found for key in _good_keys(event)}
        self._events = found
        self._exact: dict[tuple[int, bytes], Outcome] = {}
        self._states: dict[tuple[int, str, int], int] = {}
        self._delays: dict[int, int] = {}
        self._count = 0
        self._place = Place(0, -1)
        self._prime()

    @property
    def times_ns(self) -> list[int]:
        """When each of its events was [ns since 1970 UTC], ascending."""
        return [event.time_ns for event in self._events]

    @property
    def units(self) -> list[int]:
        """The units that were asked."""
        return sorted({event.unit for event in self._events})

    def run_to(self, place: Place) -> None:
        """Lets all have happened that had by this place; at an earlier one, or in another lap, it begins anew."""
        if place.lap != self._place.lap or place.time_ns < self._place.time_ns:
            self._prime()
        self._place = place
        while self._count < len(self._events) and self._events[self._count].time_ns <= place.time_ns:
            self._apply(self._events[self._count])
            self._count += 1

    def answer(self, unit: int, request: bytes) -> Outcome:
        """What it does with a request PDU now."""
        delay_ns = self._delays.get(unit)
        if delay_ns is None:
            return Outcome(_refusal(request[0], GATEWAY_NO_RESPONSE))
        exact = self._exact.get((unit, request))
        access = read_access(request)
        if access is None or request[0] == 23:
            return exact or Outcome(_refusal(request[0], ILLEGAL_FUNCTION), delay_ns)
        if exact is not None and (exact.reply is None or exact.reply[0] & EXCEPTION_BIT):
            return exact
        return Outcome(self._composed(unit, request[0], access), delay_ns)

    def _composed(self, unit: int, function: int, access: Access) -> bytes | None:
        """The reply out of the states of its registers; the first that has no data decides."""
        most = _MOST_BITS if access.table in BIT_TABLES else _MOST_REGISTERS
        if not 1 <= access.count <= most:
            return _refusal(function, ILLEGAL_VALUE)
        registers = range(access.first, access.first + access.count)
        states = [self._states.get((unit, access.table, register)) for register in registers]
        words: list[int] = []
        for state in states:
            if state is None:
                return _refusal(function, ILLEGAL_ADDRESS)
            if state < 0:
                return None if state == _SILENT else _refusal(function, -2 - state)
            words.append(state)
        data = _packed(words) if access.table in BIT_TABLES else struct.pack(f">{len(words)}H", *words)
        return bytes([function, len(data)]) + data

    def _prime(self) -> None:
        self._exact.clear()
        self._states.clear()
        self._delays.clear()
        for event in reversed(self._events):
            self._apply(event)
        self._count = 0

    def _apply(self, event: _Event) -> None:
        self._exact[event.unit, event.request] = event.outcome
        self._delays[event.unit] = event.outcome.delay_ns
        if event.access is None:
            return
        for register, state in enumerate(event.states, start=event.access.first):
            key = (event.unit, event.access.table, register)
            if state != -2 - ILLEGAL_ADDRESS or key not in self._read:  # one of a block may be missing, not this one
                self._states[key] = state


def _events(frames: Iterable[WireFrame]) -> Iterator[_Event]:
    for frame in frames:
        if frame.request is None or not frame.sure:
            continue  # nobody knows what was asked
        access = read_access(frame.request)
        time_ns = frame.time_ns if frame.reply_time_ns is None else frame.reply_time_ns
        outcome = Outcome(frame.reply, max(time_ns - frame.time_ns, 0))
        yield _Event(time_ns, frame.unit, frame.request, outcome, access, _states(frame, access))


def _states(frame: WireFrame, access: Access | None) -> Sequence[int]:
    if access is None or frame.request is None:
        return ()
    if frame.reply is None:
        return (_SILENT,) * access.count
    if frame.reply[0] & EXCEPTION_BIT:
        return (-2 - frame.reply[1],) * access.count if len(frame.reply) > 1 else ()
    data = reply_data(frame.request, frame.reply)
    if data is None:
        return ()
    if access.table in BIT_TABLES:
        return [data[bit // 8] >> bit % 8 & 1 for bit in range(access.count)]
    return struct.unpack(f">{access.count}H", data)


def _good_keys(event: _Event) -> Iterator[tuple[int, str, int]]:
    if event.access is not None and event.states and event.states[0] >= 0:
        for register in range(event.access.first, event.access.first + event.access.count):
            yield event.unit, event.access.table, register


def _refusal(function: int, code: int) -> bytes:
    return bytes([function & ~EXCEPTION_BIT | EXCEPTION_BIT, code])


def _packed(bits: Sequence[int]) -> bytes:
    data = bytearray((len(bits) + 7) // 8)
    for bit, on in enumerate(bits):
        data[bit // 8] |= on << bit % 8
    return bytes(data)
