"""The three targets of the action plan for one mine: state, reason, clause. Pure.

2025 is counted by certificates, never by a score; the 260 by a list from outside and acceptance documents; 2026 by
gates at LOW. What a mine's own file says is the mine's word: it can bring a target under review, never make it met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from compliance.gates import Gate, GateState
from compliance.mine_record import MineRecord
from compliance.rule_pack import RulePack
from mines.model import Subsystem
from mines.rule_file import Rule
from mines.site.tables import Certificate
from mines.words import word

SMART_MINE_TYPES: Final = ("underground", "open_pit")
"""Certificates that count as a smart mine; preparation plants, single faces and mines awaiting acceptance do not."""


class TargetState(StrEnum):
    """Where a mine stands toward a target."""

    MET = "met"
    NOT_MET = "not_met"
    UNDER_REVIEW = "under_review"
    NOT_ENOUGH_DATA = "not_enough_data"
    NOT_COUNTED = "not_counted"


@dataclass(frozen=True, slots=True)
class Target:
    """One target for one mine, with its reason in both languages."""

    rule: Rule
    state: TargetState
    reason: str
    reason_en: str

    def to_json(self) -> dict[str, Any]:
        """One entry of `targets` in `score --json`."""
        return {
            "state": self.state.value,
            "reason": self.reason,
            "reason_en": self.reason_en,
            "clause": f"{self.rule.edition} {self.rule.article}",
            "quote": self.rule.words["quote_zh"],
            "deadline": self.rule.words.get("deadline"),
            "verified": self.rule.verified,
        }


class _Reason:
    """Sentences of a reason, in both languages at once."""

    def __init__(self) -> None:
        self._zh: list[str] = []
        self._en: list[str] = []

    def say(self, code: str, **values: object) -> _Reason:
        """Adds the sentence `target_reason.CODE`; a value may be a pair (zh, en)."""
        zh, en = ({k: v[i] if isinstance(v, tuple) else v for k, v in values.items()} for i in (0, 1))
        self._zh.append(word(f"target_reason.{code}", "zh").format(**zh))
        self._en.append(word(f"target_reason.{code}", "en").format(**en))
        return self

    def target(self, rule: Rule, state: TargetState) -> Target:
        """The target for this reason."""
        return Target(rule, state, "".join(self._zh), " ".join(self._en))


def targets(
    record: MineRecord, gates: Sequence[Gate], required: Sequence[Subsystem], day: date, pack: RulePack
) -> dict[str, Target]:
    """Where a mine stands toward each of the three targets.

    Args:
        record: Its papers.
        gates: Of its score.
        required: Subsystems that count.
        day: The day at the mine.
        pack: Holds the targets in the plan's own words.
    Source: indicators §1, §3 and §4; compliance/rules/targets.toml; action plan clause 11.
    """
    return {
        "2025": target_2025(record, day, pack),
        "260": target_260(record, required, pack),
        "2026": target_2026(record, gates, day, pack),
    }


def target_2025(record: MineRecord, day: date, pack: RulePack) -> Target:
    """Counted by certificates of a smart mine dated up to the deadline; the mine's own word is under review.

    Source: indicators §4; action plan clause 11.
    """
    rule = pack.rule("target.2025")
    deadline = date.fromisoformat(rule.words["deadline"])
    reason = _deadline(_Reason(), deadline, day)
    if record.simulated and record.certificates:
        reason.say("simulated")
    issued = [certificate for certificate in record.certificates if certificate.date <= day]
    smart = [certificate for certificate in issued if certificate.type in SMART_MINE_TYPES]
    in_time = [certificate for certificate in smart if certificate.date <= deadline]
    if in_time:
        for certificate in in_time:
            _certificate(reason, "certificate", certificate, day)
        return reason.target(rule, TargetState.UNDER_REVIEW)
    for certificate in smart:
        _certificate(reason, "certificate_late", certificate, day)
    if issued and not smart:
        reason.say("certificate_other")
    elif not smart:
        reason.say("no_certificate")
    return reason.target(rule, TargetState.NOT_MET)


def target_260(record: MineRecord, required: Sequence[Subsystem], pack: RulePack) -> Target:
    """Counted by acceptance documents of the mines on a list that comes from outside.

    Source: indicators §1 (accepted, upgraded, operating are three facts) and §4; action plan clause 11.
    """
    rule = pack.rule("target.260")
    reason = _Reason()
    if not record.in_260:
        return reason.say("not_in_260").target(rule, TargetState.NOT_COUNTED)
    without = [s for s in required if not record.acceptance(s)]
    if without:
        return reason.say("no_acceptance", names=_names(without)).target(rule, TargetState.NOT_MET)
    return reason.say("acceptance_claimed").target(rule, TargetState.UNDER_REVIEW)


def target_2026(record: MineRecord, gates: Sequence[Gate], day: date, pack: RulePack) -> Target:
    """Judged by the gates: data first, then what fails, then what waits for a person.

    Source: indicators §1 (met; below 90 % not enough data) and §3; action plan clause 11.
    """
    rule = pack.rule("target.2026")
    reason = _deadline(_Reason(), date.fromisoformat(rule.words["deadline"]), day)
    if record.stopped_by_order(day):
        settings = record.mine.settings
        reason.say(
            "stopped", order=settings["stop_order"], issuer=settings["stop_issuer"], until=settings["stop_until"]
        )
        return reason.target(rule, TargetState.NOT_COUNTED)
    if record.production_state in ("under_construction", "closed"):
        return reason.say(record.production_state).target(rule, TargetState.NOT_COUNTED)
    if record.production_state == "stopped":
        return reason.say("stopped_without_order").target(rule, TargetState.UNDER_REVIEW)
    return _by_gates(reason, gates, rule)


def _by_gates(reason: _Reason, gates: Sequence[Gate], rule: Rule) -> Target:
    coverage = next(gate for gate in gates if gate.id == "coverage")
    if coverage.state == GateState.NOT_MET:
        reason.say("coverage", share=coverage.detail[0], least=f"{coverage.rule.numbers['least_pct']:g} %")
        return reason.target(rule, TargetState.NOT_ENOUGH_DATA)
    for states, code, state in (
        ((GateState.NOT_MET,), "gates_not_met", TargetState.NOT_MET),
        ((GateState.UNDER_REVIEW, GateState.NOT_RECORDED), "gates_open", TargetState.UNDER_REVIEW),
    ):
        found = [gate for gate in gates if gate.state in states]
        if found:
            return reason.say(code, names=_titles(found)).target(rule, state)
    return reason.say("all_gates_met").target(rule, TargetState.MET)


def _deadline(reason: _Reason, deadline: date, day: date) -> _Reason:
    days = (day - deadline).days
    if days > 0:
        return reason.say("deadline_passed", deadline=deadline, days=days)
    return reason.say("deadline_ahead", deadline=deadline, days=-days)


def _certificate(reason: _Reason, code: str, certificate: Certificate, day: date) -> None:
    grade = certificate.grade
    reason.say(
        code,
        number=certificate.number,
        issuer=certificate.issuer,
        date=certificate.date,
        grade=(word(f"grade.{grade}", "zh"), word(f"grade.{grade}", "en")),
    )
    if certificate.valid_until is not None and certificate.valid_until < day:
        reason.say("certificate_expired", until=certificate.valid_until)


def _names(subsystems: Sequence[Subsystem]) -> tuple[str, str]:
    zh, en = ([word(f"subsystem.{s}", language) for s in subsystems] for language in ("zh", "en"))
    return "、".join(zh), ", ".join(en)


def _titles(gates: Sequence[Gate]) -> tuple[str, str]:
    return "、".join(gate.rule.title_zh for gate in gates), "; ".join(gate.rule.title_en for gate in gates)
