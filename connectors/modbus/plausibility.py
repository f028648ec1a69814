"""Answers that fit and still cannot be: every register of a unit 0, every bit 1, or nothing that ever moves. Pure.

The values are kept as they came, and their quality too: a pump that stands is truly 0. The link says what is odd, and
an engineer looks. Only blocks with measured values are looked at: where no alarm stands, all switches of a unit are 0.
Registers that stand still are watched only where `frozen_s` asks for it: at night a pump station may not change for
hours.
"""

from __future__ import annotations

from typing import Final

LEAST_BYTES: Final = 16
"""So many data bytes of a unit must agree before they are odd (project default): eight registers."""
REST_S: Final = 600.0
"""After a unit has become plausible again it is called odd again only so much later (project default): noise of one
count around 0 is not told at each turn."""
ALL_ZEROS: Final = "all zeros"
ALL_ONES: Final = "all ones"
FROZEN: Final = "frozen"


class Plausibility:
    """The answers of one unit, block by block. `block` is any key that stays the same for a block.

    What is odd is said when every block has been heard of, and taken back by the first answer that is not.
    """

    __slots__ = ("_changed_s", "_flat", "_frozen_s", "_last", "_rest_until_s", "_settled", "_unheard", "word")

    def __init__(self, frozen_s: float | None = None) -> None:
        self.word = ""  # what is odd; "" = nothing
        self._frozen_s = frozen_s
        self._last: dict[object, bytes] = {}
        self._flat: dict[object, int | None] = {}  # 0, 255, None where it is neither
        self._unheard: set[object] = set()
        self._changed_s: float | None = None
        self._rest_until_s = 0.0
        self._settled = True  # an answer like the last one of its block changes nothing

    def expect(self, block: object) -> None:
        """The block has measured values and is asked from now on."""
        self._unheard.add(block)

    def refused(self, block: object) -> None:
        """The device will not read the block: it is not waited for."""
        if block in self._unheard:
            self._unheard.discard(block)
            self._settled = False

    def forget(self, block: object) -> None:
        """The block is not asked any more."""
        self._unheard.discard(block)
        self._last.pop(block, None)
        self._flat.pop(block, None)
        self._settled = False

    def resume(self, now_s: float) -> None:
        """The unit is back after a silence: what it was meanwhile nobody has seen."""
        if self._changed_s is not None:
            self._changed_s = now_s

    def take(self, block: object, payload: bytes, now_s: float) -> bool:
        """Looks at the data bytes of one answer; True where `word` has changed by it."""
        if payload == self._last.get(block):
            if self._settled:
                return False
        else:
            self._last[block], self._changed_s = payload, now_s
            flat = _flat(payload)
            self._flat[block] = flat
            self._unheard.discard(block)
            if flat is None and not self.word and self._frozen_s is None:
                self._settled = True  # as nearly always: of no block alone can it be undone
                return False
        return self._enter(self._judged(now_s), now_s)

    def _judged(self, now_s: float) -> str:
        kinds = set(self._flat.values())
        if len(kinds) == 1 and None not in kinds and sum(map(len, self._last.values())) >= LEAST_BYTES:
            return ALL_ONES if 255 in kinds else ALL_ZEROS
        if self._frozen_s is not None and self._changed_s is not None and now_s - self._changed_s > self._frozen_s:
            return FROZEN
        return ""

    def _enter(self, word: str, now_s: float) -> bool:
        held_back = bool(word) and word != self.word and (bool(self._unheard) or now_s < self._rest_until_s)
        self._settled = self._frozen_s is None and not held_back
        if held_back:
            word = ""
        changed = word != self.word
        if changed and not word:
            self._rest_until_s = now_s + REST_S
        self.word = word
        return changed


def _flat(payload: bytes) -> int | None:
    first = payload[0]
    return first if first in (0, 255) and payload.count(first) == len(payload) else None
