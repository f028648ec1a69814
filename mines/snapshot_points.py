"""The points of a snapshot as JSON text, in pieces: made beside the loop, and no object is made for a point.

The picture is copied at a tick; making text of it takes a hundred times as long and may be done by another thread. A
piece is small, so that the loop, which needs the same interpreter, never waits long for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from mines.clock import NO_TIME_MS
from mines.model import Point, TimeArray, ValueArray
from mines.process_image import FreshnessArray, ProcessImage
from mines.quality import QualityArray

_PIECE: Final = 250  # points
_NULL: Final = "null"
_Make = Callable[[np.ndarray], list[str]]
_ROW: Final = "{}:[{},{},{},{},{},{},{},{}]".format


@dataclass(frozen=True, slots=True, eq=False)
class PointsPicture:
    """The process image of one moment, all of shape (points,)."""

    value: ValueArray
    quality: QualityArray
    age_ms: TimeArray  # -1 = never
    freshness: FreshnessArray
    receive_time_ms: TimeArray
    source_time_ms: TimeArray
    usable_value: ValueArray
    usable_time_ms: TimeArray

    @classmethod
    def of(cls, image: ProcessImage, monotonic_ns: int) -> Self:
        """A copy: what comes later does not change it."""
        return cls(
            value=image.value.copy(),
            quality=image.quality.copy(),
            age_ms=image.age_ms(monotonic_ns),
            freshness=image.freshness(monotonic_ns),
            receive_time_ms=image.receive_time_ms.copy(),
            source_time_ms=image.source_time_ms.copy(),
            usable_value=image.usable_value.copy(),
            usable_time_ms=image.usable_time_ms.copy(),
        )


def id_texts(points: Sequence[Point]) -> tuple[str, ...]:
    """The ids as JSON."""
    return tuple(json.dumps(point.id, ensure_ascii=False) for point in points)


def points_text(ids: Sequence[str], picture: PointsPicture) -> Iterator[str]:
    """The members of the snapshot's object `points`, some at a time, to be joined by commas.

    Args:
        ids: From `id_texts`.
        picture: Of the same points in the same order.
    """
    for start in range(0, len(ids), _PIECE):
        part = slice(start, start + _PIECE)
        value, receive = _numbers(picture.value[part]), _times(picture.receive_time_ms[part])
        columns = (
            ids[part],
            value,
            map(str, picture.quality[part].tolist()),
            _unless(picture.age_ms[part] < 0, picture.age_ms[part]),
            map(str, picture.freshness[part].tolist()),
            receive,
            _times(picture.source_time_ms[part]),
            _where_other(picture.usable_value[part], picture.value[part], value, _numbers),
            _where_other(picture.usable_time_ms[part], picture.receive_time_ms[part], receive, _times),
        )
        yield ",".join(map(_ROW, *columns))


def _numbers(values: np.ndarray) -> list[str]:
    """JSON numbers, null for what JSON cannot carry (NaN, ±Inf)."""
    texts = list(map(repr, values.tolist()))
    for at in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[at] = _NULL
    return texts


def _times(times_ms: np.ndarray) -> list[str]:
    return _unless(times_ms == NO_TIME_MS, times_ms)


def _unless(missing: npt.NDArray[np.bool_], numbers: np.ndarray) -> list[str]:
    """Whole numbers, null where missing; nearly all of them are alike, as the rows of one reply are."""
    if not missing.any() and (numbers == numbers[0]).all():
        return [str(numbers[0])] * len(numbers)
    texts = list(map(str, numbers.tolist()))
    for at in np.flatnonzero(missing).tolist():
        texts[at] = _NULL
    return texts


def _where_other(column: np.ndarray, like: np.ndarray, texts: list[str], make: _Make) -> list[str]:
    """The texts of a column that is nearly always like another one, whose texts are there already."""
    other = np.flatnonzero(column.view(np.int64) != like.view(np.int64))
    if not len(other):
        return texts
    own = texts.copy()
    for at, text in zip(other.tolist(), make(column[other]), strict=True):
        own[at] = text
    return own
