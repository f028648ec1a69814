"""What a probe found of a line and its units, as a document and as hints. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from connectors.modbus.address import Table
from connectors.modbus.span_search import Finding, Span, readable


class TableState(StrEnum):
    """What became of a table."""

    PRESENT = "present"  # something in it can be read
    REFUSED = "refused"  # nothing of what was asked for can be read
    NO_FUNCTION = "no_function"  # exception 1: the unit has no such table
    SILENT = "silent"  # no answer
    FAILED = "failed"  # answers, but with nothing that says whether it is there
    NOT_ASKED = "not_asked"


@dataclass(slots=True)
class TableFound:
    """One table of a unit."""

    table: Table
    state: TableState = TableState.NOT_ASKED
    spans: tuple[Span, ...] = ()
    reads: int = 0
    largest_read: int = 0  # registers, or bits, that one answer brought
    too_large: int = 0  # the smallest read that was refused although all of it can be read in parts; 0 = none

    def to_json(self) -> dict[str, Any]:
        """As it stands in the document; spans are first and last register."""
        return {
            "table": self.table.value,
            "state": self.state.value,
            "spans": [list(span) for span in readable(self.spans)],
            "refused": _named(self.spans, Finding.REFUSED),
            "refused_together": _named(self.spans, Finding.REFUSED_TOGETHER),
            "not_asked": _named(self.spans, Finding.NOT_ASKED),
            "failed": _named(self.spans, Finding.FAILED),
            "never": _named(self.spans, Finding.NEVER),
            "reads": self.reads,
            "largest_read": self.largest_read,
        }


@dataclass(frozen=True, slots=True)
class Hint:
    """Something that an engineer should know, with a code for programs."""

    code: str
    zh: str
    en: str

    def to_json(self) -> dict[str, str]:
        """As it stands in the document."""
        return {"code": self.code, "zh": self.zh, "en": self.en}


@dataclass(slots=True)
class UnitFound:
    """One unit that said anything."""

    unit: int
    by: str  # how it was noticed: identification, or a table
    identity: Mapping[str, Any] | None = None
    identities: set[bytes] = field(default_factory=set)  # every different answer to 43/14
    tables: dict[Table, TableFound] = field(default_factory=dict)
    exceptions: Counter[str] = field(default_factory=Counter)  # "function/code" → how often
    wrong: int = 0  # answers that did not fit what was asked
    timeouts: int = 0
    durations_ms: list[float] = field(default_factory=list)
    byte_orders: list[dict[str, Any]] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the document."""
        return {
            "unit": self.unit,
            "by": self.by,
            "identity": dict(self.identity) if self.identity is not None else None,
            "tables": [found.to_json() for found in self.tables.values()],
            "exceptions": dict(sorted(self.exceptions.items())),
            "wrong_replies": self.wrong,
            "timeouts": self.timeouts,
            "rtt_ms": quantiles(self.durations_ms),
            "byte_orders": self.byte_orders,
            "hints": [hint.to_json() for hint in self.hints],
        }


@dataclass(slots=True)
class ModbusProbe:
    """One line. `ended` is "" where everything was asked, else why it was not."""

    address: str
    units: list[UnitFound] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)  # units that a gateway says are not there (exceptions 10 and 11)
    not_asked: list[int] = field(default_factory=list)
    requests: int = 0
    seconds: float = 0.0
    timeouts: int = 0
    late: int = 0
    connects: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    ended: str = ""
    hints: list[Hint] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The document of `probe modbus --json`."""
        return {
            "address": self.address,
            "ended": self.ended,
            "units": [unit.to_json() for unit in self.units],
            "silent": self.silent,
            "absent": self.absent,
            "not_asked": self.not_asked,
            "requests": self.requests,
            "seconds": round(self.seconds, 3),
            "timeouts": self.timeouts,
            "late": self.late,
            "connects": self.connects,
            "lost": dict(sorted(self.lost.items())),
            "hints": [hint.to_json() for hint in self.hints],
        }


def quantiles(durations_ms: Sequence[float]) -> dict[str, float] | None:
    """Least, median, 95th and most, by nearest rank [ms]; None where nothing was measured."""
    if not durations_ms:
        return None
    ordered = sorted(durations_ms)

    def rank(part: float) -> float:
        return round(ordered[max(math.ceil(part * len(ordered)) - 1, 0)], 3)

    return {"min": rank(0), "p50": rank(0.5), "p95": rank(0.95), "max": rank(1)}


def _named(spans: Sequence[Span], finding: Finding) -> list[list[int]]:
    return [[span.first, span.last] for span in spans if span.finding is finding]
