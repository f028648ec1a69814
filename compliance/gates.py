"""Gates: what must hold for the 2026 target besides points. Pure. What nobody recorded yet is said to be unrecorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from compliance.items import ScoreItem
from compliance.mine_record import MineRecord
from compliance.rule_pack import COMMON, RulePack
from mines.model import Subsystem
from mines.rule_file import Rule
from mines.words import word


class GateState(StrEnum):
    """Where a gate stands."""

    MET = "met"
    NOT_MET = "not_met"
    UNDER_REVIEW = "under_review"  # the mine says so, nobody verified it
    NOT_RECORDED = "not_recorded"  # this system has no record of it yet


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate. `detail` names what stands against it: subsystem ids or figures."""

    rule: Rule
    state: GateState
    detail: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`coverage`, `acceptance`, …"""
        return self.rule.id.partition(".")[2]

    def to_json(self) -> dict[str, Any]:
        """One entry of `gates` in `score --json`."""
        return {
            "id": self.id,
            "state": self.state.value,
            "state_zh": word(f"gate_state.{self.state}", "zh"),
            "state_en": word(f"gate_state.{self.state}", "en"),
            "title_zh": self.rule.title_zh,
            "title_en": self.rule.title_en,
            "detail": list(self.detail),
            "article": self.rule.article,
            "verified": self.rule.verified,
        }


@dataclass(frozen=True, slots=True)
class Block:
    """Points of one subsystem, or of the common block [hundredths of a point]."""

    points: int
    low: int
    high: int

    @property
    def low_pct(self) -> float:
        """Points at LOW of the block's own [%]."""
        return 100.0 * self.low / self.points if self.points else 0.0

    def to_json(self) -> dict[str, float]:
        """As it stands in `score --json`, in points."""
        return {
            "points": self.points / 100,
            "low": self.low / 100,
            "high": self.high / 100,
            "low_pct": round(self.low_pct, 2),
        }


def block_points(items: Sequence[ScoreItem], block: str) -> Block:
    """Points of one block of the table.

    Source: indicators §1 (each subsystem by its own points).
    """
    own = [item for item in items if item.indicator.block == block]
    points, lost = sum(item.points for item in own), sum(item.lost for item in own)
    return Block(points, points - lost - sum(item.unknown for item in own), points - lost)


@dataclass(frozen=True, slots=True)
class Reached:
    """What a mine reached in points and data, before any gate."""

    items: tuple[ScoreItem, ...]
    personnel: Block  # C1 and C2 over its points stand in for indicators of its own
    required: tuple[Subsystem, ...]
    coverage: float  # good data ÷ expected [fraction]


def gates(record: MineRecord, reached: Reached, pack: RulePack) -> tuple[Gate, ...]:
    """Every gate of the rule pack, in the order in which they are judged.

    Args:
        record: The mine's papers.
        reached: Its points and data.
        pack: The rules.
    Source: indicators §1 (met) and §3 (gates that are not points); compliance/rules/duty.toml "gate.*".
    """
    return (
        _coverage(pack, reached.coverage),
        _acceptance(pack, record, reached.required),
        _required_set(pack, reached.required),
        _subsystem_points(pack, reached),
        _common_points(pack, reached.items),
        *(Gate(pack.rule(f"gate.{name}"), GateState.NOT_RECORDED) for name in ("veto", "integrity", "hazard")),
    )


def _coverage(pack: RulePack, coverage: float) -> Gate:
    rule = pack.rule("gate.coverage")
    enough = 100.0 * coverage >= rule.numbers["least_pct"]
    return Gate(rule, GateState.MET if enough else GateState.NOT_MET, (f"{100.0 * coverage:.2f} %",))


def _acceptance(pack: RulePack, record: MineRecord, required: Sequence[Subsystem]) -> Gate:
    """A document that stands in the mine's own file alone is under review, never met."""
    without = tuple(s.value for s in required if not record.acceptance(s))
    state = GateState.NOT_MET if without else GateState.UNDER_REVIEW
    return Gate(pack.rule("gate.acceptance"), state, without)


def _required_set(pack: RulePack, required: Sequence[Subsystem]) -> Gate:
    """What the mine itself declares not applicable waits for the bureau."""
    left_out = tuple(s.value for s in Subsystem if s not in required)
    return Gate(pack.rule("gate.required_set"), GateState.UNDER_REVIEW if left_out else GateState.MET, left_out)


def _subsystem_points(pack: RulePack, reached: Reached) -> Gate:
    rule = pack.rule("gate.subsystem_points")
    blocks = {s: block_points(reached.items, s) for s in reached.required}
    if Subsystem.PERSONNEL in blocks:
        blocks[Subsystem.PERSONNEL] = reached.personnel
    short = tuple(s.value for s, block in blocks.items() if block.low_pct < rule.numbers["least_pct"])
    return Gate(rule, GateState.NOT_MET if short else GateState.MET, short)


def _common_points(pack: RulePack, items: Sequence[ScoreItem]) -> Gate:
    rule = pack.rule("gate.common_points")
    reached = block_points(items, COMMON).low_pct
    state = GateState.MET if reached >= rule.numbers["least_pct"] else GateState.NOT_MET
    return Gate(rule, state, (f"{reached:.2f} %",))
