"""`/score`: the compliance score as the worker last wrote it; this page reads it and computes nothing of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from compliance.rule_pack import RulePack, scoring_rules
from web.pages.masthead import masthead
from web.readers import Picture

OLD_AFTER_MS: Final = 15 * 60_000
"""Project default: the worker scores once a minute, so a result older than a quarter of an hour is said to be old."""

_ADDS_UP_WITHIN: Final = 0.01


def score(picture: Picture) -> dict[str, Any]:
    """The score document with its age; `state` is `absent`, `unreadable` or `read`.

    `adds_up`: 100 − Σ lost = high and high − Σ unknown = low, to 0.01, as the contract says; None where not read.
    """
    found, state = _read(picture.readers.score_path)
    as_of_ms = found.get("as_of_ms") if found else None
    age_ms = None if as_of_ms is None else max(picture.now_ms - as_of_ms, 0)
    return {
        "page": "score",
        "head": masthead(picture),
        "state": state,
        "age_ms": age_ms,
        "old": age_ms is not None and age_ms > OLD_AFTER_MS,
        "adds_up": None if found is None else _adds_up(found),
        "rules": None if found is None else _rules(found),
        "result": found,
    }


def _read(path: Path) -> tuple[dict[str, Any] | None, str]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None, "absent"
    except (OSError, ValueError):
        return None, "unreadable"
    whole = isinstance(found, dict) and {"low", "high"} <= set(found.get("score") or ()) and "items" in found
    return (found, "read") if whole else (None, "unreadable")


def _rules(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the rules of the result come from; None where it was computed by other rules than this program has."""
    pack = _own_rules()
    if found.get("rules_sha256") != pack.sha256:
        return None
    rules = [indicator.rule for indicator in pack.indicators]
    sources = pack.rulebook.sources
    return {
        "editions": sorted({rule.edition for rule in rules}),
        "sources": sorted({sources.get(rule.source, rule.source) for rule in rules}),
        "tags": sorted({rule.tag for rule in rules}),
        "verified": sum(rule.verified for rule in rules),
        "count": len(rules),
    }


@cache
def _own_rules() -> RulePack:
    return scoring_rules()


def _adds_up(found: Mapping[str, Any]) -> bool:
    low, high = found["score"]["low"], found["score"]["high"]
    lost = sum(item["lost"] for item in found["items"])
    unknown = sum(item["unknown"] for item in found["items"])
    return bool(abs(100 - lost - high) <= _ADDS_UP_WITHIN and abs(high - unknown - low) <= _ADDS_UP_WITHIN)
