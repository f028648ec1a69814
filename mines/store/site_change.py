"""What is different in a newly accepted site: the detail of the event that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from mines.model import Point

Fields = Mapping[str, Any]
"""The fields of a point as plain JSON."""

_NO_CHANGE: Final = frozenset({"id", "formerly", "unit", "line"})  # told apart as renamed and re_united, or no content


@dataclass(frozen=True, slots=True)
class SiteChange:
    """The difference between the last accepted site and this one. Point ids, sorted."""

    site_sha256: str
    previous_sha256: str | None  # None = the first site of this folder
    added: tuple[str, ...]
    removed: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]  # (old id, new id)
    re_united: tuple[tuple[str, str, str], ...]  # (id, old unit, new unit): a new key began
    changed: Mapping[str, Mapping[str, Sequence[Any]]]  # id → field → [old, new]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, for the event's detail."""
        return {
            "site_sha256": self.site_sha256,
            "previous_sha256": self.previous_sha256,
            "added": list(self.added),
            "removed": list(self.removed),
            "renamed": [list(pair) for pair in self.renamed],
            "re_united": [list(triple) for triple in self.re_united],
            "changed": {
                point: {name: list(pair) for name, pair in both.items()} for point, both in self.changed.items()
            },
        }

    @classmethod
    def from_json(cls, detail: Mapping[str, Any]) -> Self:
        """The change that `to_json` printed."""
        return cls(
            site_sha256=detail["site_sha256"],
            previous_sha256=detail["previous_sha256"],
            added=tuple(detail["added"]),
            removed=tuple(detail["removed"]),
            renamed=tuple((old, new) for old, new in detail["renamed"]),
            re_united=tuple((point, old, new) for point, old, new in detail["re_united"]),
            changed=detail["changed"],
        )


def point_fields(point: Point) -> dict[str, Any]:
    """Every field of the point as plain JSON."""
    plain = {field.name: getattr(point, field.name) for field in fields(point)}
    document: dict[str, Any] = json.loads(json.dumps(plain, ensure_ascii=False))
    return document


def site_change(hashes: tuple[str | None, str], old: Mapping[int, Fields], new: Mapping[int, Fields]) -> SiteChange:
    """What is different, by key: a point that moved in the file or was renamed is the same point.

    Args:
        hashes: (previous, this) site.
        old: Key → fields of the points of the last accepted site.
        new: Likewise of this one.
    """
    gone = {fields["id"]: fields for key, fields in old.items() if key not in new}
    come = {fields["id"]: fields for key, fields in new.items() if key not in old}
    re_united = sorted(point for point in come if point in gone)
    same = [(old[key], new[key]) for key in new if key in old]
    return SiteChange(
        site_sha256=hashes[1],
        previous_sha256=hashes[0],
        added=tuple(sorted(come.keys() - gone.keys())),
        removed=tuple(sorted(gone.keys() - come.keys())),
        renamed=tuple(sorted((was["id"], now["id"]) for was, now in same if was["id"] != now["id"])),
        re_united=tuple((point, gone[point]["unit"], come[point]["unit"]) for point in re_united),
        changed={now["id"]: both for was, now in same if (both := _different(was, now))},
    )


def _different(was: Fields, now: Fields) -> dict[str, list[Any]]:
    # Only what both know: a field that a newer program added is no change of the site.
    names = sorted((was.keys() & now.keys()) - _NO_CHANGE)
    return {name: [was[name], now[name]] for name in names if was[name] != now[name]}
