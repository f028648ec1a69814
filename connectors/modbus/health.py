"""How the units of a line are doing: failures, rests, counters and the report. Pure: loop time [s] is an argument.

A unit that goes silent is asked again at once, once; then it rests, twice as long each time, and is only probed: so it
costs its line one timeout per step. The same holds for one request that stays unanswered while its unit answers others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from connectors.modbus.device_check import DeviceCheck, Proofs
from connectors.modbus.mbap import Answer
from connectors.modbus.plan import ReadRequest
from connectors.modbus.plausibility import Plausibility
from mines.model import LinkReport, LinkState
from mines.quality import Reason

RESTS: Final = frozenset({Reason.DEVICE_BUSY, Reason.GATEWAY_PATH, Reason.GATEWAY_NO_RESPONSE})
"""Answers after which a unit is left alone although the line lives."""
REFUSALS: Final = frozenset({Reason.ILLEGAL_FUNCTION, Reason.ILLEGAL_ADDRESS, Reason.ILLEGAL_VALUE})
"""Exceptions 1, 2 and 3: the device will not read this as it was asked for."""


WRONG_DEVICE: Final = "wrong device"
SLOW_FOR_MS: Final = 30_000
"""So long after a slow answer a unit is said to be slow (project default): a few reports."""


def delay_s(failures: int, first_s: float, most_s: float) -> float:
    """Rest after so many failures in a row [s]: none, then doubling from `first_s` up to `most_s`. No jitter."""
    return min(first_s * 2.0 ** min(failures - 1, 30), most_s) if failures > 0 else 0.0


class Inquiry:
    """One planned request and how it fares."""

    __slots__ = ("asked_s", "failures", "measures", "reason", "request", "rest_until_s", "unit", "word")

    def __init__(self, request: ReadRequest, unit: UnitHealth, *, measures: bool = False) -> None:
        self.request = request
        self.unit = unit
        self.measures = measures  # it has measured values, not only switches
        self.asked_s = 0.0
        self.failures = 0  # silences in a row
        self.rest_until_s = 0.0
        self.reason = Reason.NONE  # of the last answer
        self.word = ""  # for it

    def forget(self) -> None:
        """After an outage: ask as if for the first time."""
        self.failures, self.rest_until_s = 0, 0.0


class UnitHealth:
    """One unit on a line."""

    def __init__(
        self, unit: int, now_ms: int, *, check: DeviceCheck | None = None, odd: Plausibility | None = None
    ) -> None:
        """
        Args:
            unit: Its number.
            now_ms: Box time.
            check: What it must prove before it is believed; None = nothing.
            odd: Looks for answers that cannot be; None = nobody does.
        """
        self.unit = unit
        self.proofs = None if check is None else Proofs(check)
        self._odd = odd
        self.inquiries: list[Inquiry] = []
        self.state = LinkState.CONNECTING
        self.reason = Reason.WAITING_FOR_INITIAL_DATA  # of its last failure
        self.asked = False  # since the last outage
        self.proven = False  # answered since the last outage
        self.failures = 0  # in a row
        self.failed_s = -1.0
        self.rest_until_s = 0.0
        self.counters: Counter[str] = Counter()
        self.undecided = 0  # refused blocks whose parts are being asked: until all have answered nothing is well
        self._ailing = 0  # inquiries whose last answer was no value
        self._since_ms = now_ms
        self._last_answer_ms: int | None = None
        self._last_error = ""
        self._duration_ms: float | None = None
        self._slow_ms: int | None = None  # its last slow answer

    @property
    def quarantined(self) -> int:
        """Requests that the device refuses and that rest."""
        return self.counters["quarantined requests"]

    def adopt(self, inquiry: Inquiry) -> None:
        """The inquiry is asked from now on, as if for the first time."""
        inquiry.forget()
        inquiry.reason = Reason.NONE
        self.inquiries.append(inquiry)
        if self._odd is not None and inquiry.measures:
            self._odd.expect(inquiry)

    def drop(self, inquiry: Inquiry) -> None:
        """The inquiry is not asked any more: what it suffered from is its unit's ailment no longer."""
        self._ailing -= inquiry.reason is not Reason.NONE
        self.inquiries.remove(inquiry)
        if self._odd is not None:
            self._odd.forget(inquiry)

    @property
    def silent(self) -> bool:
        """True while it is only probed: unanswered twice in a row, or once where it never answered."""
        return self.failures >= (2 if self.proven else 1)

    def holds_back(self, cycle_start_s: float) -> bool:
        """True where a poll cycle leaves it out: silent, or failed in this cycle already."""
        return self.silent or (self.failures > 0 and self.failed_s >= cycle_start_s)

    def take(self, inquiry: Inquiry, answer: Answer, now_s: float, *, backoff_s: tuple[float, float]) -> bool:
        """Counts an answer; True where the state has changed by it.

        Args:
            inquiry: What was asked of this unit.
            answer: What came of it.
            now_s: Loop time.
            backoff_s: First and longest rest.
        """
        if answer.reason is Reason.NONE is inquiry.reason and self.state is LinkState.GOOD and not self.undecided:
            self._count(answer)  # as nearly always: well, and well before
            self._last_answer_ms, self._duration_ms = answer.receive_time_ms, answer.duration_ms
            if not self._is_odd(inquiry, answer, now_s):
                return False
            return self._enter(self._judged_state(), answer.receive_time_ms)
        self._is_odd(inquiry, answer, now_s)
        self._count(answer)
        self._ailing += (answer.reason is not Reason.NONE) - (inquiry.reason is not Reason.NONE)
        inquiry.reason, inquiry.word = answer.reason, answer.word
        if answer.heard:
            if self.silent and self._odd is not None:
                self._odd.resume(now_s)
            inquiry.forget()
            self._last_answer_ms, self._duration_ms = answer.receive_time_ms, answer.duration_ms
        else:
            inquiry.failures += 1
            inquiry.rest_until_s = now_s + delay_s(inquiry.failures - 1, *backoff_s)
        if answer.heard and answer.reason not in RESTS:
            self.failures, self.proven = 0, True
        else:
            self.failures += 1
            self.failed_s, self.reason = now_s, answer.reason
            self.rest_until_s = now_s + delay_s(self.failures - (1 if self.proven else 0), *backoff_s)
        return self._enter(self._judged_state(), answer.receive_time_ms)

    def was_slow(self, answer: Answer) -> None:
        """It took more than half the time that it has to begin to answer."""
        self.counters["slow replies"] += 1
        self._slow_ms = answer.receive_time_ms

    def line_lost(self, word: str, now_ms: int) -> bool:
        """The connection is gone or cannot be made; True where the state has changed by it."""
        self._last_error = word
        return self._enter(LinkState.LOST, now_ms)

    def forget(self, now_s: float) -> None:
        """The line is back after an outage: everything is asked afresh."""
        self.failures, self.asked, self.proven, self.rest_until_s = 0, False, False, 0.0
        for inquiry in self.inquiries:
            inquiry.forget()
        if self._odd is not None:
            self._odd.resume(now_s)

    def report(self, source: str, endpoint: str, now_ms: int, line: Mapping[str, int]) -> LinkReport:
        """The report of this moment; `line` holds what is counted for the line as a whole."""
        counters = {**line, **self.counters}
        if self._slow_ms is not None and abs(now_ms - self._slow_ms) <= SLOW_FOR_MS:
            counters["slow lately"] = 1
        return LinkReport(
            source=source,
            unit=self.unit,
            state=self.state,
            since_ms=self._since_ms,
            last_answer_ms=self._last_answer_ms,
            last_error=self._told(),
            duration_ms=self._duration_ms,
            polls=counters.pop("polls", 0),
            good=counters.pop("good", 0),
            bad=counters.pop("bad", 0),
            reconnects=counters.pop("reconnects", 0),
            endpoint=endpoint,
            time_ms=now_ms,
            counters=counters,
        )

    def _is_odd(self, inquiry: Inquiry, answer: Answer, now_s: float) -> bool:
        """Looks at what came; True where what is odd of the unit has changed by it."""
        if self._odd is None or not inquiry.measures:
            return False
        if answer.payload is None:
            if answer.heard:
                self._odd.refused(inquiry)
            return False
        if not self._odd.take(inquiry, answer.payload, now_s):
            return False
        if self._odd.word:
            self.counters[self._odd.word] += 1
            self._last_error = self._odd.word
        return True

    def _count(self, answer: Answer) -> None:
        self.asked = True
        self.counters["polls"] += 1
        if answer.reason is Reason.NONE:
            self.counters["good"] += 1
        else:
            self.counters["bad"] += 1
            self.counters[answer.word.partition(": ")[0]] += 1
            self._last_error = answer.word

    def _told(self) -> str:
        """Its last error; where the unit answers, one that still holds."""
        if self.state is not LinkState.DEGRADED or self.failures:
            return self._last_error
        if self.proofs is not None and self.proofs.fault:
            return f"{WRONG_DEVICE}: {self.proofs.fault}"
        words = [inquiry.word for inquiry in self.inquiries if inquiry.reason is not Reason.NONE]
        if not words:
            return (self._odd.word if self._odd is not None else "") or self._last_error
        return self._last_error if self._last_error in words else words[-1]

    def _judged_state(self) -> LinkState:
        if self.silent:
            return LinkState.DEGRADED if self.reason is Reason.DEVICE_BUSY else LinkState.LOST
        if self.failures or self._ailing or self.undecided or (self._odd is not None and self._odd.word):
            return LinkState.DEGRADED
        return LinkState.GOOD

    def _enter(self, state: LinkState, now_ms: int) -> bool:
        if state is LinkState.GOOD:
            self._last_error = ""
        if state is self.state:
            return False
        self.state, self._since_ms = state, now_ms
        return True
