"""What people ask for: read from the request, written to the ledger, shown until the supervisor answers.

The web never changes an alarm. It writes a ledger row and says 已记录,待执行; the supervisor applies it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mines.alarms.limits import LIMIT_OF_WORD
from mines.errors import MineError
from mines.model import OperatorAct
from web.access import NAME_LIMIT, NOTE_LIMIT, acting_person
from web.readers import SiteIndex

if TYPE_CHECKING:
    from mines.store.ledger import Ledger

_REMEMBERED: Final = 2_000
"""Newest ledger rows that pages keep in mind: an alarm's version changes with the answer, so older ones are moot."""


class Refused(MineError):
    """The request is not one that may be recorded; `code` is a word of `request.*` in words.csv."""

    def __init__(self, code: str, given: str = "") -> None:
        super().__init__(f"{code}: {given[:100]}")
        self.code, self.given = code, given[:100]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to act, checked for form only: whether it may be done is the supervisor's to say."""

    alarms: tuple[tuple[str, int], ...]
    name: str
    station: str
    note: str


def asked(fields: Mapping[str, Any], alarms: Sequence[Any], index: SiteIndex) -> Asked:
    """A request from form fields or a JSON object.

    Args:
        fields: `name`, `station`, `note`.
        alarms: Texts `ID@VERSION` or objects {id, version}, as the page showed them.
        index: Points of the site.

    Raises:
        Refused: empty list, unknown alarm, no name, or a text that is too long or no text.
    """
    if not alarms:
        raise Refused("nothing_chosen")
    chosen = tuple(dict.fromkeys(_alarm(text, index) for text in alarms))
    name = _text(fields, "name", NAME_LIMIT)
    if not name:
        raise Refused("name_missing")
    return Asked(chosen, name, _text(fields, "station", NAME_LIMIT), _text(fields, "note", NOTE_LIMIT))


def _alarm(given: object, index: SiteIndex) -> tuple[str, int]:
    text = f"{given.get('id')}@{given.get('version')}" if isinstance(given, Mapping) else str(given)
    alarm_id, _, version = text.rpartition("@")
    point_id, _, limit = alarm_id.rpartition("/")
    known = point_id in index.points and limit in LIMIT_OF_WORD
    if not (known and version.isascii() and version.isdecimal() and len(version) < 19):
        raise Refused("no_such_alarm", text)
    return alarm_id, int(version)


def _text(fields: Mapping[str, Any], key: str, limit: int) -> str:
    given = fields.get(key, "")
    if not isinstance(given, str) or len(given) > limit:
        raise Refused("text_too_long", key)
    return given.strip()


class ActLedger:
    """The ledger as the web uses it: appends, and follows it by reading only what is new. Opened when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._newest_id = 0
        self._of_alarm: dict[tuple[str, int], OperatorAct] = {}

    def record(self, action: str, wish: Asked, time_ms: int) -> int:
        """Durable on return. Gives the ledger id.

        Raises:
            StoreError: nothing was recorded.
        """
        actor = acting_person(wish.name, wish.station)
        return self._opened().append(actor, action, wish.alarms, time_ms=time_ms, note=wish.note)

    def by_alarm(self) -> Mapping[tuple[str, int], OperatorAct]:
        """The newest ledger row for each (alarm id, version).

        Raises:
            StoreError: the ledger cannot be read.
        """
        if self._ledger is None and not self._path.exists():
            return {}
        ledger = self._opened()
        with self._lock:
            for act in ledger.acts_after(self._newest_id):
                self._newest_id = act.ledger_id
                for alarm in act.alarms:
                    self._of_alarm.pop(alarm, None)
                    self._of_alarm[alarm] = act
            while len(self._of_alarm) > _REMEMBERED:
                del self._of_alarm[next(iter(self._of_alarm))]
            return dict(self._of_alarm)

    def _opened(self) -> Ledger:
        from mines.store.ledger import Ledger

        with self._lock:
            if self._ledger is None:
                self._ledger = Ledger(self._path)
            return self._ledger
