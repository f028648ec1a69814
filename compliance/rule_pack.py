"""The rules of scoring as typed views: indicators, required roles, duty, gates, targets. Data, no arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from mines.errors import ConfigError, Problem
from mines.model import Subsystem
from mines.rule_file import Rule
from mines.rulebook import Rulebook, load_rulebook
from mines.site.roles import ROLES

COMMON: Final = "common"
"""The block of indicators that belongs to no one subsystem."""

EVIDENCE_LETTERS: Final = ("D", "L", "F", "S")
"""Data, ledger, document, on site."""

_FULL_WEIGHT = 100.0

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "window": ("months",),
    "vouching": ("periods", "slack_s"),
    "duty.gas": (),
    "duty.ventilation": ("signals", "run_state", "range_fraction"),
    "duty.dewatering": ("auto_mode", "available"),
    "duty.hoisting": ("ready", "live"),
    "gate.coverage": ("least_pct",),
    "gate.acceptance": (),
    "gate.required_set": (),
    "gate.subsystem_points": ("least_pct",),
    "gate.common_points": ("least_pct",),
    "gate.veto": (),
    "gate.integrity": (),
    "gate.hazard": (),
    "target.2025": (),
    "target.260": (),
    "target.2026": (),
    "indicator.D1": ("empty_fraction", "longest_h"),
}
"""Rules that code looks up by id, with the numbers it needs of them."""

_LINEAR: Final = ("C1", "C2", "G1", "V1", "D1")
"""Indicators that are computed: they need `full` and `zero` as numbers."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """One row of the indicator table. `full` and `zero` are None where no one number says it."""

    id: str
    block: str  # a subsystem id, or `common`
    weight: float  # points, before redistribution
    full: float | None
    zero: float | None
    scale: str  # full / zero as printed
    evidence: tuple[str, ...]
    rule: Rule


@dataclass(frozen=True, slots=True)
class RulePack:
    """Everything that a score is computed by. `sha256` is over all of it."""

    rulebook: Rulebook
    indicators: tuple[Indicator, ...]
    required_roles: Mapping[Subsystem, tuple[tuple[str, ...], ...]]  # each entry: one of these roles

    @property
    def sha256(self) -> str:
        """Hash of the content, as printed beside every score."""
        return self.rulebook.sha256

    def rule(self, rule_id: str) -> Rule:
        """The newest rule of that id."""
        return self.rulebook.rule(rule_id)

    def number(self, rule_id: str, name: str) -> float:
        """One number of one rule."""
        return self.rulebook.rule(rule_id).numbers[name]

    def indicator(self, indicator_id: str) -> Indicator:
        """The row of that id (`G1`)."""
        return next(row for row in self.indicators if row.id == indicator_id)


def scoring_rules() -> RulePack:
    """The rule pack that comes with the program: `compliance/rules/*.toml`.

    Raises:
        ConfigError: with everything that is wrong in it, each with file and line.
    """
    return make_rule_pack(load_rulebook(files("compliance").joinpath("rules")))


def make_rule_pack(rulebook: Rulebook) -> RulePack:
    """The typed views of a rulebook.

    Raises:
        ConfigError: a rule that code needs is absent, or says less than it must; weights that do not sum to 100.
    """
    problems = list(_problems(rulebook))
    if problems:
        raise ConfigError(problems)
    indicators = sorted(rulebook.under("indicator"), key=lambda rule: (rule.file, rule.line))
    roles = {Subsystem(_tail(rule)): _role_choices(rule) for rule in rulebook.under("required")}
    return RulePack(rulebook, tuple(_indicator(rule) for rule in indicators), roles)


def _indicator(rule: Rule) -> Indicator:
    return Indicator(
        id=_tail(rule),
        block=rule.words["subsystem"],
        weight=rule.numbers["weight"],
        full=rule.numbers.get("full"),
        zero=rule.numbers.get("zero"),
        scale=rule.words["scale"],
        evidence=tuple(rule.words["evidence"].split()),
        rule=rule,
    )


def _role_choices(rule: Rule) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(choice.split("|")) for choice in rule.words["roles"].split())


def _tail(rule: Rule) -> str:
    return rule.id.partition(".")[2]


def _problems(rulebook: Rulebook) -> Iterator[Problem]:
    for rule_id, names in _NEEDED.items():
        rule = rulebook.find(rule_id)
        if rule is None:
            yield Problem("rules", 0, rule_id, "missing", "a [[rule]] with this id")
            continue
        for name in names:
            if name not in rule.numbers:
                yield _problem(rule, f"numbers.{name}", "missing", "a number")
    for subsystem in Subsystem:
        if f"required.{subsystem}" not in rulebook:
            yield Problem("rules", 0, f"required.{subsystem}", "missing", "a [[rule]] with this id")
    for rule in rulebook.under("required"):
        yield from _required_problems(rule)
    for rule in rulebook.under("indicator"):
        yield from _indicator_problems(rule)
    weights = [rule.numbers.get("weight", 0.0) for rule in rulebook.under("indicator")]
    if abs(sum(weights) - _FULL_WEIGHT) > 1e-9:
        first = rulebook.under("indicator")[:1]
        file, line = (first[0].file, first[0].line) if first else ("rules", 0)
        yield Problem(file, line, "numbers.weight", f"the weights sum to {sum(weights):g}", "100")


def _required_problems(rule: Rule) -> Iterator[Problem]:
    if _tail(rule) not in set(Subsystem):
        yield _problem(rule, "id", f'"{_tail(rule)}" is no subsystem', ", ".join(Subsystem))
    for role in rule.words.get("roles", "").replace("|", " ").split() or [""]:
        if role not in ROLES:
            yield _problem(rule, "words.roles", f'"{role}" is no role', "roles of mines/site/roles.py")


def _indicator_problems(rule: Rule) -> Iterator[Problem]:
    for name in ("subsystem", "measured_zh", "measured_en", "scale", "evidence"):
        if name not in rule.words:
            yield _problem(rule, f"words.{name}", "missing", "a text")
    block = rule.words.get("subsystem", COMMON)
    if block != COMMON and block not in set(Subsystem):
        yield _problem(rule, "words.subsystem", f'"{block}"', f"{COMMON} or a subsystem")
    for letter in rule.words.get("evidence", "").split():
        if letter not in EVIDENCE_LETTERS:
            yield _problem(rule, "words.evidence", f'"{letter}"', "letters of " + " ".join(EVIDENCE_LETTERS))
    if rule.numbers.get("weight", 0.0) <= 0:
        yield _problem(rule, "numbers.weight", "missing or not positive", "points above 0")
    full, zero = rule.numbers.get("full"), rule.numbers.get("zero")
    if (full is None) != (zero is None) or (full is not None and full == zero):
        yield _problem(rule, "numbers.full", "full and zero do not make a scale", "both or neither, and different")
    if _tail(rule) in _LINEAR and full is None:
        yield _problem(rule, "numbers.full", "missing, but the indicator is computed", "full and zero")


def _problem(rule: Rule, key: str, what: str, expected: str) -> Problem:
    return Problem(rule.file, rule.line, key, what, expected)
