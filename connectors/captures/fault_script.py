"""Faults on top of a served capture: `KIND[=VALUE][@FROM-TO]`, from and to in seconds of serving. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SILENCE, EXCEPTION, DELAY, HANGUP = "silence", "exception", "delay", "hangup"
EXPECTED: Final = "silence, exception=CODE, delay=MS or hangup, each with @FROM-TO [s] behind it if not always"
_FORM: Final = re.compile(r"(?P<kind>[a-z]+)(=(?P<value>\d+))?(@(?P<begin>\d+(\.\d+)?)-(?P<end>\d+(\.\d+)?)?)?")
_VALUED: Final = {EXCEPTION: 255, DELAY: 600_000}
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; it stands from `begin_s` on, before `end_s` [s of serving]."""

    kind: str
    value: int = 0
    begin_s: float = 0.0
    end_s: float = math.inf

    def stands(self, elapsed_ns: int) -> bool:
        """Whether it is there now."""
        return self.begin_s * _NS <= elapsed_ns < self.end_s * _NS


def parse_fault(text: str) -> Fault:
    """The fault that a text names.

    Raises:
        ValueError: it names none.
    """
    found = _FORM.fullmatch(text)
    kind = found["kind"] if found else ""
    if found is None or kind not in (SILENCE, EXCEPTION, DELAY, HANGUP) or (kind in _VALUED) != bool(found["value"]):
        raise ValueError(f"{text!r} is no fault; expected {EXPECTED}")
    value = int(found["value"] or 0)
    if kind in _VALUED and not 1 <= value <= _VALUED[kind]:
        raise ValueError(f"{text!r}: {value} is not allowed; expected 1 to {_VALUED[kind]}")
    begin_s = float(found["begin"] or 0.0)
    end_s = float(found["end"]) if found["end"] else math.inf
    if end_s <= begin_s:
        raise ValueError(f"{text!r} ends before it begins; expected @FROM-TO [s]")
    return Fault(kind, value, begin_s, end_s)


class FaultScript:
    """All faults of one serving."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._faults = tuple(faults)

    def standing(self, kind: str, elapsed_ns: int) -> Fault | None:
        """The first fault of this kind that is there now."""
        return next((each for each in self._faults if each.kind == kind and each.stands(elapsed_ns)), None)
