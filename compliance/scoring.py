"""The score of one mine: an interval, with every lost and every unknown point and its reason. Pure.

Missing data never raises LOW: at LOW only what is proved counts, at HIGH everything that is not disproved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from compliance.evidence import Evidence
from compliance.gates import Block, Gate, Reached, block_points, gates
from compliance.items import FULL_SCORE, ScoreItem, score_items
from compliance.measures import connected, fresh_data, measures
from compliance.mine_record import MineRecord
from compliance.operating import Duty, duties
from compliance.rule_pack import COMMON, RulePack
from compliance.targets import Target, targets
from compliance.template import Template
from compliance.window import Window, mine_day
from mines.model import Subsystem
from mines.words import word

STATEMENT: Final = "statement.score"
"""What must stand beside every score: 项目默认口径, not an assessment by the authority."""

_DECIMALS = 8


@dataclass(frozen=True, slots=True, eq=False)
class SubsystemScore:
    """One subsystem in a score: papers, duty, points. `duty` is None where none is measured yet."""

    subsystem: Subsystem
    template: Template
    answered: int  # expected points that gave a good value in the window
    duty: Duty | None
    block: Block

    @property
    def required(self) -> bool:
        """Whether it counts."""
        return self.subsystem in self.template.required

    def to_json(self, record: MineRecord) -> dict[str, Any]:
        """One entry of `subsystems` in `score --json`."""
        table = record.subsystems.get(self.subsystem)
        return {
            "title_zh": word(f"subsystem.{self.subsystem}", "zh"),
            "title_en": word(f"subsystem.{self.subsystem}", "en"),
            "required": self.required,
            "reason": record.reason(self.subsystem),
            "accepted": _paper(table.acceptance_document, table.acceptance_date) if table else None,
            "upgraded": _paper(table.upgrade_version, table.upgrade_date) if table else None,
            "duty": self._duty(),
            "score": self.block.to_json(),
            "points": {
                "expected": self.template.count,
                "bound": len(self.template.bound),
                "answered": self.answered,
                "vanished": [point.id for point in self.template.vanished],
                "missing_roles": ["|".join(missing.roles) for missing in self.template.missing],
            },
        }

    def _duty(self) -> dict[str, Any] | None:
        if not self.required:
            return None
        if self.duty is None:
            return {
                "low": 0.0,
                "high": 1.0,
                "coverage": 0.0,
                "observed": None,
                "reason": "not_measured_yet",
                "places": [],
            }
        measured = self.duty.share
        return {
            "low": round(measured.low, _DECIMALS),
            "high": round(measured.high, _DECIMALS),
            "coverage": round(measured.coverage, _DECIMALS),
            "observed": None if measured.observed is None else round(measured.observed, _DECIMALS),
            "reason": "measured" if self.duty.places else "no_points",
            "places": [place.area for place in self.duty.places],
        }


@dataclass(frozen=True, slots=True, eq=False)
class ScoreDocument:
    """A score as of a moment. `low` and `high` are hundredths of a point."""

    record: MineRecord
    window: Window
    rules_sha256: str
    months: int
    coverage: float  # good data ÷ expected [fraction]
    items: tuple[ScoreItem, ...]
    subsystems: tuple[SubsystemScore, ...]
    gates: tuple[Gate, ...]
    targets: Mapping[str, Target]

    @property
    def high(self) -> int:
        """100 − Σ lost [hundredths of a point]."""
        return FULL_SCORE - sum(item.lost for item in self.items)

    @property
    def low(self) -> int:
        """high − Σ unknown [hundredths of a point]."""
        return self.high - sum(item.unknown for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """What `score --json` prints (docs/score.md)."""
        mine = self.record.mine
        return {
            "mine": {"id": mine.id, "name_zh": mine.name_zh, "name_en": mine.name_en},
            "simulated": self.record.simulated,
            "as_of_ms": self.window.to_ms,
            "window": {"from_ms": self.window.from_ms, "to_ms": self.window.to_ms, "months": self.months},
            "score": {"low": self.low / 100, "high": self.high / 100},
            "coverage": round(self.coverage, _DECIMALS),
            "rules_sha256": self.rules_sha256,
            "verified": all(item.indicator.rule.verified for item in self.items),
            "statement": STATEMENT,
            "statement_zh": word(STATEMENT, "zh"),
            "statement_en": word(STATEMENT, "en"),
            "common": block_points(self.items, COMMON).to_json(),
            "subsystems": {part.subsystem.value: part.to_json(self.record) for part in self.subsystems},
            "items": [item.to_json(self.window) for item in self.items],
            "redistributed": self._redistributed(),
            "gates": [gate.to_json() for gate in self.gates],
            "vetoes": [],  # a veto counts only after a person confirms it; nobody can yet (gate `veto`)
            "targets": {name: target.to_json() for name, target in self.targets.items()},
        }

    def _redistributed(self) -> list[dict[str, Any]]:
        """What is not applicable, with its reason and the weight that went to the rest."""
        return [
            {
                "subsystem": part.subsystem.value,
                "weight": sum(i.indicator.weight for i in self.items if i.indicator.block == part.subsystem),
                "reason": self.record.reason(part.subsystem),
            }
            for part in self.subsystems
            if not part.required
        ]


def score(record: MineRecord, template: Template, evidence: Evidence, pack: RulePack) -> ScoreDocument:
    """The score of one mine over one window.

    Args:
        record: Its papers.
        template: What is expected of it; also says which subsystems count.
        evidence: Of every expected point; its window is the window of the score.
        pack: The rules.
    Returns:
        An interval in which 100 − Σ lost = high and high − Σ unknown = low.
    Source: indicators §1 and §2; every cut-off a project default (compliance/rules/).
    """
    duty = duties(template, evidence, pack)
    measured = measures(template, evidence, duty, pack)
    items = score_items(pack, template.required, measured)
    coverage = measured["C2"].low / 100
    personnel = _stand_in(template.of(Subsystem.PERSONNEL), evidence, pack)
    judged = gates(record, Reached(items, personnel, template.required, coverage), pack)
    day = mine_day(evidence.window.to_ms)
    return ScoreDocument(
        record=record,
        window=evidence.window,
        rules_sha256=pack.sha256,
        months=round(pack.number("window", "months")),
        coverage=coverage,
        items=items,
        subsystems=tuple(_subsystem(s, template.of(s), evidence, duty, items) for s in Subsystem),
        gates=judged,
        targets=targets(record, judged, template.required, day, pack),
    )


def _subsystem(
    subsystem: Subsystem,
    template: Template,
    evidence: Evidence,
    duty: Mapping[Subsystem, Duty],
    items: tuple[ScoreItem, ...],
) -> SubsystemScore:
    answered = sum(evidence.of(point).answered for point in template.bound)
    return SubsystemScore(subsystem, template, answered, duty.get(subsystem), block_points(items, subsystem))


def _stand_in(personnel: Template, evidence: Evidence, pack: RulePack) -> Block:
    """Personnel has no indicator of its own: C1 and C2 over its points stand in (indicators §1)."""
    measured = {"C1": connected(personnel, evidence), "C2": fresh_data(personnel, evidence)}
    own = [item for item in score_items(pack, (), measured) if item.indicator.id in measured]
    points, lost = sum(item.points for item in own), sum(item.lost for item in own)
    return Block(points, points - lost - sum(item.unknown for item in own), points - lost)


def _paper(text: str, day: object) -> dict[str, str | None] | None:
    return {"document": text, "date": str(day) if day else None} if text else None
