"""Which history a point of a new site goes on with. Pure: the points, what is known, and nothing else.

A point keeps its key by its id and unit, wherever it stands in the file. `formerly` moves a history to a new id when it
is news, that is, when the last accepted site did not say it already (the column may stay in the file for ever).
A new unit is a new key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mines.model import Point


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """What a key last stood for; `live` where the last accepted site has it. `order` grows with every change."""

    key: int
    id: str
    unit: str
    formerly: str
    live: bool
    order: int


def assign_keys(points: Sequence[Point], known: Sequence[KnownPoint]) -> list[int | None]:
    """The key that each point goes on with, None where it needs a new one.

    Args:
        points: Of the new site, ids unique, in any order.
        known: Every key ever given, as it last stood.
    Returns:
        One entry a point; no key twice.
    """
    live = {entry.id: entry for entry in known if entry.live}
    ended = _latest_ended(known)
    movers = _movers(points, live, ended)
    taken: set[int] = set()
    keys: list[int | None] = []
    for point in sorted(
        points, key=lambda point: point.id not in movers
    ):  # a move decides before what it leaves behind
        entry = movers.get(point.id) or live.get(point.id)
        key = entry.key if entry is not None and entry.unit == point.unit else None
        if key is None or key in taken:
            earlier = ended.get((point.id, point.unit))
            key = earlier.key if earlier is not None and earlier.key not in taken else None
        if key is not None:
            taken.add(key)
        keys.append(key)
    order = sorted(range(len(points)), key=lambda at: points[at].id not in movers)
    return [key for _, key in sorted(zip(order, keys, strict=True), key=lambda pair: pair[0])]


def _latest_ended(known: Sequence[KnownPoint]) -> dict[tuple[str, str], KnownPoint]:
    ended = sorted((entry for entry in known if not entry.live), key=lambda entry: entry.order)
    return {(entry.id, entry.unit): entry for entry in ended}


def _movers(
    points: Sequence[Point], live: Mapping[str, KnownPoint], ended: Mapping[tuple[str, str], KnownPoint]
) -> dict[str, KnownPoint]:
    """For each point that takes over another id's history: that history."""
    movers: dict[str, KnownPoint] = {}
    for point in points:
        entry = live.get(point.id)
        if not point.formerly or point.formerly == point.id or (entry is not None and entry.formerly == point.formerly):
            continue
        source = live.get(point.formerly)
        if source is None and entry is None and (point.id, point.unit) not in ended:
            source = ended.get((point.formerly, point.unit))
        if source is not None:
            movers[point.id] = source
    return _undisputed(movers, [point.id for point in points])


def _undisputed(movers: dict[str, KnownPoint], ids: Sequence[str]) -> dict[str, KnownPoint]:
    """Without moves of a history that two points claim, or that a point under its own id stays with."""
    while True:
        claims = Counter(entry.id for entry in movers.values())
        staying = {point_id for point_id in ids if point_id not in movers}
        kept = {
            point_id: entry for point_id, entry in movers.items() if claims[entry.id] == 1 and entry.id not in staying
        }
        if len(kept) == len(movers):
            return kept
        movers = kept
