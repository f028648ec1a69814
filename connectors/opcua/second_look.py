"""Does the subscription still tell the truth? Now and then some nodes are read and held against what stands. Pure.

A server, or a library, may go on with keep-alives while changes no longer come (opcua-asyncio issue 1925: for twelve
hours). Without a second look such a point would be confirmed, and shown as live, for ever.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np

from connectors.opcua.decode import ValueDecoder, Values
from connectors.opcua.standing import Standing
from mines.model import ValueArray
from mines.quality import severities

_NODES_A_LOOK: Final = 100  # project default


class SecondLook:
    """Suspicions about the points of one source. Times are seconds on the caller's clock."""

    def __init__(self, standing: Standing) -> None:
        self._decoder = ValueDecoder(standing.points)
        self._standing = standing
        self._suspected_s: ValueArray = np.full(
            len(standing.points), np.nan
        )  # since when a read and what stands differ
        self._next = 0

    def forget(self) -> None:
        """A new session: nothing is suspected."""
        self._suspected_s[:] = np.nan

    def choose(self, subscribed: Sequence[int]) -> list[int]:
        """Which of the subscribed points to read now: those suspected, then the next in turn."""
        if not subscribed:
            return []
        suspected = np.flatnonzero(~np.isnan(self._suspected_s)).tolist()
        if suspected:
            here = set(subscribed)
            suspected = [index for index in suspected if index in here]
        start = self._next % len(subscribed)
        self._next = start + _NODES_A_LOOK
        in_turn = itertools.chain(subscribed[start : start + _NODES_A_LOOK], subscribed[:_NODES_A_LOOK])
        return list(dict.fromkeys([*suspected, *in_turn]))[:_NODES_A_LOOK]

    def frozen(self, values: Values, now_s: float, lag_s: float) -> bool:
        """True where a point has differed from what stands for longer than a notification may take, and none came.

        Args:
            values: As just read.
            now_s: When that was [s].
            lag_s: The longest that server and subscription may take to tell a change [s].
        """
        index = np.asarray(values.index, dtype=np.int32)
        value, word = self._decoder.decode(values)
        standing = self._standing.value[index]
        same = (value == standing) | (np.isnan(value) & np.isnan(standing))
        differs = ~same | (severities(word) != severities(self._standing.word[index]))
        since = self._suspected_s[index]
        silent = self._standing.heard_s[index] <= since  # False where nothing was suspected
        self._suspected_s[index] = np.where(differs, np.where(silent, since, now_s), np.nan)
        return bool((differs & silent & (now_s - since > lag_s)).any())
