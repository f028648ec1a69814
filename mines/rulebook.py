"""The one loader of rules, and what a site's points say against them.

A rule is data: edition, article, dates, source, tag, verified, numbers (`mines/rules/*.toml`,
`compliance/rules/*.toml`).
No limit of a regulation stands in code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import Any, Final

from mines.errors import ConfigError, Problem
from mines.model import Point
from mines.rule_file import Rule, RuleFile, parse_rule_file
from mines.site.problems import in_order, number
from mines.site.roles import METHANE_ROLES

LIMIT_COLUMNS: Final = (
    "high_alarm",
    "high_cut",
    "high_restore",
    "low_alarm",
    "low_cut",
    "low_restore",
)
"""Columns of points.csv that a rule may bound; a rule names its numbers by them."""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Rules that were read together, ordered by id and date. `sha256` is over what they say, not where they stand."""

    rules: tuple[Rule, ...]
    sources: Mapping[str, str]
    sha256: str

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __contains__(self, rule_id: str) -> bool:
        return any(rule.id == rule_id for rule in self.rules)

    def rule(self, rule_id: str, day: date | None = None) -> Rule:
        """The rule of that id: the one in force on `day`, or the newest where no day is given.

        Raises:
            KeyError: there is none.
        """
        found = self.find(rule_id, day)
        if found is None:
            raise KeyError(rule_id)
        return found

    def find(self, rule_id: str, day: date | None = None) -> Rule | None:
        """As `rule`, None where there is none."""
        fits = [rule for rule in self.rules if rule.id == rule_id and (day is None or rule.in_force(day))]
        return fits[-1] if fits else None

    def under(self, prefix: str) -> tuple[Rule, ...]:
        """Rules whose id begins with `prefix` and a dot, in order of id."""
        return tuple(rule for rule in self.rules if rule.id.startswith(prefix + "."))


def load_rulebook(*folders: Traversable) -> Rulebook:
    """Every `*.toml` of the folders as one rulebook; without folders the safety limits of `mines/rules/`.

    Raises:
        ConfigError: with everything that is wrong in any of them, each with file and line.
    """
    chosen = folders or (files("mines").joinpath("rules"),)
    found = [file for folder in chosen for file in folder.iterdir() if file.name.endswith(".toml")]
    return make_rulebook([parse_rule_file(file.name, file.read_bytes()) for file in found])


def make_rulebook(parts: Sequence[RuleFile]) -> Rulebook:
    """One rulebook of parsed files.

    Raises:
        ConfigError: a file has problems, or two rules of one id are in force on the same day.
    """
    rules = sorted((rule for part in parts for rule in part.rules), key=lambda rule: (rule.id, rule.valid_from))
    problems = [problem for part in parts for problem in part.problems] + list(_overlaps(rules))
    if problems:
        raise ConfigError(problems)
    sources = {key: text for part in parts for key, text in part.sources.items()}
    return Rulebook(tuple(rules), sources, _sha256(rules))


def bind_rules(
    points: Iterable[Point], rulebook: Rulebook, day: date | None = None
) -> tuple[list[dict[str, Any]], list[Problem], list[Problem]]:
    """Holds every point against the rule that its column `rule` names.

    Args:
        points: Of one site, with their lines in points.csv.
        rulebook: Safety limits.
        day: Which edition counts; None = the newest.
    Returns:
        {point, rule, edition, article, verified} of each point with a known rule, as `check --json` prints them;
        errors (unknown rule, unit that is not the rule's); warnings (a limit that is looser than the rule's or absent,
        a methane point without a rule).
    """
    rows: list[dict[str, Any]] = []
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for point in points:
        if not point.rule:
            warnings.extend(_missing_rule(point))
            continue
        rule = rulebook.find(point.rule, day)
        if rule is None:
            errors.append(_problem(point, "rule", f'"{point.rule}" is no rule', _known(point.rule, rulebook)))
            continue
        rows.append(_binding(point, rule))
        if rule.unit is not None and point.unit != rule.unit:
            errors.append(_problem(point, "unit", f'"{point.unit}" under rule {rule.id}', f'"{rule.unit}"'))
        else:
            warnings.extend(_loose_limits(point, rule))
    return rows, list(in_order(errors)), list(in_order(warnings))


def _binding(point: Point, rule: Rule) -> dict[str, Any]:
    return {
        "point": point.id,
        "rule": rule.id,
        "edition": rule.edition,
        "article": rule.article,
        "verified": rule.verified,
    }


def _missing_rule(point: Point) -> Iterator[Problem]:
    if point.role in METHANE_ROLES:
        yield _problem(
            point, "rule", "a methane point without a rule: its limits are held against nothing", "gas.ch4.…"
        )


def _loose_limits(point: Point, rule: Rule) -> Iterator[Problem]:
    for column in LIMIT_COLUMNS:
        bound = rule.numbers.get(column)
        if bound is None:
            continue
        limit: float | None = getattr(point, column)
        expected = f"{number(bound)} {rule.unit or ''} or {_stricter(column)} ({rule.edition} {rule.article})"
        if limit is None:
            yield _problem(point, column, f"absent, but rule {rule.id} has one", expected)
        elif limit > bound if column.startswith("high") else limit < bound:
            yield _problem(point, column, f"{number(limit)} is looser than rule {rule.id}", expected)


def _stricter(column: str) -> str:
    return "lower" if column.startswith("high") else "higher"


def _known(rule_id: str, rulebook: Rulebook) -> str:
    family = rule_id.rpartition(".")[0]
    near = rulebook.under(family) or rulebook.rules
    return "one of " + ", ".join(sorted({rule.id for rule in near}))


def _problem(point: Point, key: str, what: str, expected: str) -> Problem:
    return Problem(point.file, point.line, key, what, expected)


def _overlaps(rules: Sequence[Rule]) -> Iterator[Problem]:
    for earlier, later in pairwise(rules):
        if earlier.id == later.id and (earlier.valid_to is None or later.valid_from <= earlier.valid_to):
            what = f'"{later.id}" is in force twice: also at {earlier.file}:{earlier.line}'
            yield Problem(later.file, later.line, "id", what, "one rule of an id on a day")


def _sha256(rules: Sequence[Rule]) -> str:
    content = [rule.to_json() for rule in rules]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
