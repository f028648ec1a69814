"""HistoryRead on a session that stands: which nodes offer history, and one page of raw values of several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from connectors.opcua.wire import error_word, link_errors
from mines.errors import LinkLost, SourceError

VALUES_A_NODE: Final = 1000
"""In one answer at most (project default)."""

_HISTORY_READ: Final = 1 << 2  # of UserAccessLevel. Source: OPC UA Part 3, 8.57
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryRefused(SourceError):
    """The server answers a HistoryRead as a whole with a status that is no good."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one node gave. `values` have the standard's field names; `more` = a continuation point, b"" = none."""

    values: Sequence[Any]
    more: bytes
    refused: bool


class History:
    """Asks through the services of one session. Every call raises LinkLost where link or server fails."""

    def __init__(self, services: UaSession, *, at_once: int) -> None:
        """`at_once` nodes in one request at most."""
        self._services = services
        self.at_once = at_once

    async def offered(self, nodes: Sequence[ua.NodeId]) -> list[bool]:
        """Whether this user may read the history of each node; at most `at_once` of them."""
        wanted = [ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.UserAccessLevel) for node in nodes]
        with link_errors():
            answers = await self._services.read(ua.ReadParameters(NodesToRead=wanted))
            if len(answers) != len(nodes):
                raise LinkLost("wrong reply")
        levels = [answer.Value.Value if answer.Value is not None else 0 for answer in answers]
        return [isinstance(level, int) and bool(level & _HISTORY_READ) for level in levels]

    async def page(self, nodes: Sequence[tuple[ua.NodeId, bytes]], from_ms: int, to_ms: int) -> list[Page]:
        """Raw values, both ends included, oldest first, at most VALUES_A_NODE of each node.

        Args:
            nodes: (node, continuation point of its page before, b"" = none); at most `at_once` of them.
            from_ms: Source time [ms UTC].
            to_ms: Likewise, later.
        Raises:
            HistoryRefused: the whole request was refused.
        """
        parameters = self._parameters(nodes)
        parameters.HistoryReadDetails.StartTime = _moment(from_ms)
        parameters.HistoryReadDetails.EndTime = _moment(to_ms)
        with link_errors():
            try:
                results = await self._services.history_read(parameters)
            except UaStatusCodeError as error:
                raise HistoryRefused(error_word(error)) from error
            if len(results) != len(nodes):
                raise LinkLost("wrong reply")
            return [_page(result) for result in results]

    def _parameters(self, nodes: Sequence[tuple[ua.NodeId, bytes]]) -> ua.HistoryReadParameters:
        return ua.HistoryReadParameters(
            HistoryReadDetails=ua.ReadRawModifiedDetails(
                IsReadModified=False, NumValuesPerNode=ua.UInt32(VALUES_A_NODE), ReturnBounds=False
            ),
            TimestampsToReturn=ua.TimestampsToReturn.Source,
            ReleaseContinuationPoints=False,
            NodesToRead=[ua.HistoryReadValueId(NodeId=node, ContinuationPoint=more or None) for node, more in nodes],
        )


def _moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)


def _page(result: ua.HistoryReadResult) -> Page:
    values = getattr(result.HistoryData, "DataValues", None) or []
    return Page(values, result.ContinuationPoint or b"", not result.StatusCode.is_good())
