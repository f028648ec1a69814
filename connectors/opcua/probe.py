"""`probe opcua`: what a server offers, who it says it is, and its variables as a draft of points.csv.

Asks, browses and reads; subscribes to nothing and writes nothing. Every wait has an end, and what could not be had is
said beside what could.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from connectors.opcua.browse import MOST_REFERENCES, BrowseSession, list_endpoints
from connectors.opcua.endpoints import Endpoint
from connectors.opcua.point_draft import Attributes, Draft, draft_points
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.walk import Node, Variable, Walk, walk
from mines.clock import Clock
from mines.errors import LinkLost
from mines.model import Subsystem

_VALUE: Final = 13  # numbers of attributes: Part 6, A.1
_DATA_TYPE, _VALUE_RANK, _ACCESS, _SAMPLING, _HISTORIZING = 14, 15, 17, 19, 20
_ASKED: Final = (_DATA_TYPE, _VALUE_RANK, _ACCESS, _SAMPLING, _HISTORIZING)
_PROPERTIES: Final = ("EngineeringUnits", "EURange", "EnumStrings")
_SERVER: Final = {  # nodes of namespace 0: Opc.Ua.NodeIds.csv
    "product": 2261, "product_uri": 2262, "manufacturer": 2263, "version": 2264, "build": 2265, "state": 2259,
    "started": 2257, "time": 2258,
}  # fmt: skip
_LIMITS: Final = {
    "MaxNodesPerRead": 11705, "MaxNodesPerBrowse": 11710, "MaxNodesPerHistoryReadData": 12165,
    "MaxNodesPerTranslateBrowsePathsToNodeIds": 11712, "MaxMonitoredItemsPerCall": 11714,
    "MaxBrowseContinuationPoints": 2735, "MaxSessions": 24095, "MaxSubscriptions": 24096,
    "MinSupportedSampleRate": 2272,
}  # fmt: skip
_HISTORY_OFFERED: Final = 11193
_NAMESPACES: Final = 2255
_STATES: Final = ("running", "failed", "no configuration", "suspended", "shutdown", "test", "communication fault")
_PART: Final = 500  # variables whose attributes are asked for before the bar moves


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a probe goes. All of it project defaults."""

    most_nodes: int = 20_000
    within_s: float = 300.0
    browse: bool = True  # False: endpoints and server facts only
    references: int = MOST_REFERENCES  # of one node in one answer


@dataclass(slots=True)
class OpcUaProbe:
    """What was found. `trouble` are words for what could not be had; empty = nothing."""

    url: str
    endpoints: list[Endpoint]
    server: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    namespaces: list[str] = field(default_factory=list)
    history: bool | None = None  # offered by the server; None = it did not say
    walk: Walk | None = None
    variables: list[tuple[Variable, Attributes]] = field(default_factory=list)
    requests: int = 0
    trouble: list[str] = field(default_factory=list)

    def draft(self, source: str, subsystem: Subsystem) -> Draft:
        """The variables as rows of points.csv."""
        return draft_points(self.variables, self.namespaces, source=source, subsystem=subsystem)


async def probe_opcua(
    settings: OpcUaSettings,
    clock: Clock,
    bounds: Bounds,
    told: Callable[[str, int], None] = lambda *_: None,
) -> OpcUaProbe:
    """Everything that can be had of one server within the bounds.

    Args:
        settings: Where it is, and papers and user where it wants them.
        clock: By which certificates are valid or not.
        bounds: Of nodes and time.
        told: What is being done and how many nodes or attributes are done, for a bar.
    Raises:
        LinkLost: it cannot be reached or is no OPC UA server; the message is a word for it.
    """
    end_s = asyncio.get_running_loop().time() + bounds.within_s
    told("endpoints", 0)
    found = OpcUaProbe(settings.url, await list_endpoints(settings))
    session = BrowseSession(settings, clock, bounds.references)
    try:
        await session.open()
        await _facts(session, found, clock)
        if bounds.browse:
            async with asyncio.timeout_at(end_s):
                await _look_around(session, found, bounds, end_s, told)
    except LinkLost as lost:
        found.trouble.append(f"session: {lost}")
    except TimeoutError:
        found.trouble.append(f"not done within {bounds.within_s:g} s")
    finally:
        found.requests = session.requests
        await session.close()
    return found


async def _facts(session: BrowseSession, found: OpcUaProbe, clock: Clock) -> None:
    names = [*_SERVER, *_LIMITS]
    numbers = [*_SERVER.values(), *_LIMITS.values(), _HISTORY_OFFERED, _NAMESPACES]
    values = await session.read([((0, number), _VALUE) for number in numbers])
    told = dict(zip(names, values, strict=False))
    found.history, namespaces = values[-2:]
    found.namespaces = session.namespaces = [str(uri) for uri in namespaces or ()]
    found.server = {name: _shown(told[name]) for name in _SERVER}
    state, time = told["state"], told["time"]
    if isinstance(state, int) and 0 <= state < len(_STATES):
        found.server["state"] = _STATES[state]
    if isinstance(time, datetime):
        found.server["skew_ms"] = round(time.timestamp() * 1000) - clock.wall_ms()
    found.limits = {name: told[name] for name in _LIMITS if told[name] is not None}
    session.keep_to(int(told["MaxNodesPerBrowse"] or 0), int(told["MaxNodesPerRead"] or 0))


async def _look_around(
    session: BrowseSession, found: OpcUaProbe, bounds: Bounds, end_s: float, told: Callable[[str, int], None]
) -> None:
    left_s = end_s - asyncio.get_running_loop().time()
    found.walk = await walk(
        session,
        at_once=session.nodes_at_once,
        most_nodes=bounds.most_nodes,
        within_s=max(left_s, 0.0),
        told=lambda so_far: told("browse", so_far.nodes),
    )
    if found.walk.ended:
        found.trouble.append(f"browse: {found.walk.ended}")
    variables = found.walk.variables
    for at in range(0, len(variables), _PART):
        part = variables[at : at + _PART]
        found.variables += zip(part, await _attributes(session, part), strict=True)
        told("attributes", len(found.variables))


async def _attributes(session: BrowseSession, variables: Sequence[Variable]) -> list[Attributes]:
    asked = [(variable.node, number) for variable in variables for number in _ASKED]
    values = iter(await session.read(asked))
    plain = [dict(zip(_ASKED, [next(values) for _ in _ASKED], strict=True)) for _ in variables]
    properties = [
        (at, name, v.properties[name]) for at, v in enumerate(variables) for name in _PROPERTIES if name in v.properties
    ]
    more: list[dict[str, Any]] = [{} for _ in variables]
    for (at, name, _), value in zip(
        properties, await session.read([(node, _VALUE) for _, _, node in properties]), strict=True
    ):
        more[at][name] = value
    kinds = await _kinds(session, variables, [told[_DATA_TYPE] for told in plain])
    return [_judged(kind, told, extra) for kind, told, extra in zip(kinds, plain, more, strict=True)]


async def _kinds(session: BrowseSession, variables: Sequence[Variable], data_types: Sequence[Any]) -> list[Node | None]:
    """The data type of each variable; of one that is no built-in one the value that it has now is looked at."""
    kinds: list[Node | None] = [told if isinstance(told, tuple) else None for told in data_types]
    unclear = [at for at, kind in enumerate(kinds) if kind is None or kind[0] != 0 or kind == (0, 24)]
    values = await session.read([(variables[at].node, _VALUE) for at in unclear])
    for at, value in zip(unclear, values, strict=True):
        match value:
            case bool():
                kinds[at] = (0, 1)
            case float():
                kinds[at] = (0, 26)
            case int():
                kinds[at] = (0, 27)
            case _:
                pass
    return kinds


def _judged(kind: Node | None, told: dict[int, Any], extra: dict[str, Any]) -> Attributes:
    unit, span, words = (extra.get(name) for name in _PROPERTIES)
    sampling = told[_SAMPLING]
    return Attributes(
        data_type=kind,
        value_rank=told[_VALUE_RANK] if isinstance(told[_VALUE_RANK], int) else None,
        access=told[_ACCESS] if isinstance(told[_ACCESS], int) else None,
        sampling_ms=float(sampling) if isinstance(sampling, int | float) else None,
        historizing=told[_HISTORIZING] is True,
        unit=str(unit["name"]) if isinstance(unit, dict) and "name" in unit else "",
        low=span.get("low") if isinstance(span, dict) else None,
        high=span.get("high") if isinstance(span, dict) else None,
        words=tuple(map(str, words)) if isinstance(words, list) else (),
    )


def _shown(value: Any) -> Any:  # noqa: ANN401 - what a server tells
    return value.isoformat() if isinstance(value, datetime) else value
