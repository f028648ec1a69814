"""What the answers to publish requests mean: values, a keep-alive, a hole in the numbers, the end of the subscription.

Pure. An answer is whatever has the field names of the standard's PublishResult; no protocol library is known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from connectors.opcua.bulk import Notification
from connectors.opcua.decode import Heard, Values, columns
from connectors.opcua.scalars import HandleArray
from mines.errors import LinkLost

_LAST_NUMBER: Final = 2**32 - 1  # then 1 again


class Notifications:
    """Those of one subscription. `ended` = why no more can be trusted to come; what came before it is kept."""

    def __init__(self) -> None:
        self.ended = ""
        self.to_acknowledge: list[int] = []  # numbers of messages, for the next publish request
        self._known: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # by handle
        self._all_known = True  # below the length of that
        self._last: int | None = None

    def expect(self, handles: Iterable[int]) -> None:
        """Points that are subscribed to from now on."""
        new = np.fromiter(handles, dtype=np.int64)
        missing = int(new.max(initial=-1)) + 1 - len(self._known)
        self._known = np.append(self._known, np.zeros(max(missing, 0), dtype=np.bool_))
        self._known[new] = True
        self._all_known = bool(self._known.all())

    def take(self, result: Any, heard: Heard) -> Values:  # noqa: ANN401
        """The values of one answer; no rows = a keep-alive.

        Raises:
            LinkLost: a value of a point that nobody subscribed to: what else it may be is unknown.
        """
        parts = result.NotificationMessage.NotificationData
        if not parts:
            return columns([], heard)
        self._number(result.NotificationMessage.SequenceNumber)
        items: list[tuple[int, Any]] = []
        for part in parts:
            if hasattr(part, "MonitoredItems"):
                items += [(item.ClientHandle, item.Value) for item in part.MonitoredItems]
            else:
                status = getattr(part, "Status", None)
                self.ended = f"subscription ended: {status.name}" if status is not None else "wrong reply"
        self._require_known(np.array([handle for handle, _ in items], dtype=np.int64))
        return columns(items, heard, more=bool(result.MoreNotifications))

    def take_bulk(self, answer: Notification, heard: Heard) -> Values:
        """As `take`, of an answer that was read in bulk."""
        changes = answer.changes
        if changes is None:
            return columns([], heard)
        self._number(answer.number)
        self._require_known(changes.handle)
        index = changes.handle.astype(np.int32)
        return Values(index, changes.value, changes.status, changes.source_time_ms, heard, answer.more)

    def _require_known(self, handles: HandleArray | npt.NDArray[np.int64]) -> None:
        if (handles >= len(self._known)).any() or not (self._all_known or self._known[handles].all()):
            raise LinkLost("wrong reply")

    def _number(self, number: int) -> None:
        if self._last is not None and number != self._last % _LAST_NUMBER + 1:
            self.ended = "notification lost"
        self._last = number
        self.to_acknowledge.append(number)
