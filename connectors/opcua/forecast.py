"""What an OPC UA server will be asked, before it is. Pure.

How long it takes is not foretold: the server samples its own device and the box listens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from connectors.opcua.parts import Parts
from connectors.opcua.settings import OpcUaSettings

_OPENING: Final = 5  # OpenSecureChannel, CreateSession, ActivateSession, NamespaceArray, first heartbeat


@dataclass(frozen=True, slots=True)
class ServerForecast:
    """One server. `requests` are those of one connect, where the server bears them whole and refuses no node."""

    source: str
    endpoint: str
    nodes: int
    requests: int
    read: str  # subscribe or poll
    publishing_ms: float
    sampling_ms: float

    def to_json(self) -> dict[str, Any]:
        """As it stands in `plan --json`."""
        return {name: getattr(self, name) for name in ServerForecast.__slots__}


def server_forecast(source_id: str, settings: OpcUaSettings, nodes: int) -> ServerForecast:
    """What one server is asked at each connect.

    Args:
        source_id: Of the source.
        settings: Its settings.
        nodes: How many points it has.
    """
    parts = -(-nodes // Parts().at_once)
    subscribed = settings.read == "subscribe"
    requests = _OPENING + (1 + 2 * parts if subscribed else parts)  # CreateSubscription; each node is read first
    if settings.security is not None:
        requests += 2  # the endpoints are asked for over a channel of their own
    return ServerForecast(
        source_id, settings.url, nodes, requests, settings.read, settings.publishing_ms, settings.sampling_ms
    )
