"""What the answers to publish requests mean: values, a keep-alive, a hole in the numbers, the end of the subscription.

Pure. An answer is whatever has the field names of the standard's PublishResult; no protocol library is known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from connectors.opcua.decode import Heard, Values, columns
from mines.errors import LinkLost

_LAST_NUMBER: Final = 2**32 - 1  # then 1 again


class Notifications:
    """Those of one subscription. `ended` = why no more can be trusted to come; what came before it is kept."""

    def __init__(self) -> None:
        self.ended = ""
        self.to_acknowledge: list[int] = []  # numbers of messages, for the next publish request
        self._handles: set[int] = set()
        self._last: int | None = None

    def expect(self, handles: Iterable[int]) -> None:
        """Points that are subscribed to from now on."""
        self._handles.update(handles)

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
        if not self._handles.issuperset(handle for handle, _ in items):
            raise LinkLost("wrong reply")
        return columns(items, heard, more=bool(result.MoreNotifications))

    def _number(self, number: int) -> None:
        if self._last is not None and number != self._last % _LAST_NUMBER + 1:
            self.ended = "notification lost"
        self._last = number
        self.to_acknowledge.append(number)
