"""A session that only looks around: endpoints, server facts, browse and attributes. Nothing is subscribed.

With `session.py`, `wire.py` and their siblings the client side's only asyncua; every request passes their send point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.uaerrors import UaStatusCodeError

from connectors.opcua.endpoints import Endpoint, policy_word
from connectors.opcua.parts import Parts, TooMuch, Undecodable
from connectors.opcua.security import make_ready
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.walk import Child, Node, Page
from connectors.opcua.wire import TOO_MUCH, UNREADABLE, ReadOnlyClient, error_word, link_errors
from mines.clock import Clock
from mines.errors import LinkLost

_HIERARCHICAL: Final[Node] = (0, 33)  # reference types, Opc.Ua.NodeIds.csv
_HAS_PROPERTY: Final[Node] = (0, 46)
_CLOSE_S: Final = 2.0
_AT_ONCE: Final = 100  # nodes in a browse, project default; a server's own lower limit is kept to
_READS_AT_ONCE: Final = 500  # attributes in a read, project default
MOST_REFERENCES: Final = 1000
"""Of one node in one answer, project default: more come by continuation points, and no answer takes long to make."""
_TOKENS: Final = {0: "anonymous", 1: "user", 2: "certificate", 3: "issued token"}
_MODES: Final = {1: "None", 2: "Sign", 3: "SignAndEncrypt"}

Attribute = tuple[Node, int]  # a node and the number of one of its attributes


async def list_endpoints(settings: OpcUaSettings) -> list[Endpoint]:
    """What a server offers, asked for over a channel without security, as the standard has it.

    Raises:
        LinkLost: it cannot be reached or does not answer as an OPC UA server; the message is a word for it.
    """
    client = ReadOnlyClient(settings, None)
    try:
        with link_errors():
            async with asyncio.timeout(2 * settings.timeout_s):
                await client.connect_sessionless()
                found = await client.get_endpoints()
                await client.close_secure_channel()
    finally:
        client.drop()
        await asyncio.sleep(0)
    return [_endpoint(description) for description in found]


class BrowseSession:
    """From `open` to `close`. Every call raises LinkLost, with a word for it, where link or server fails."""

    def __init__(self, settings: OpcUaSettings, clock: Clock, references: int = MOST_REFERENCES) -> None:
        """Touches no network.

        Args:
            settings: Where the server is, and papers and user where it wants them.
            clock: By which certificates are valid or not.
            references: Of one node in one answer.
        """
        self._settings, self._clock, self._references = settings, clock, references
        self._client = ReadOnlyClient(settings, None)
        self._services: UaSession = self._client.uaclient.session
        self._browses, self._reads = Parts(_AT_ONCE), Parts(_READS_AT_ONCE)
        self.namespaces: list[str] = []
        self.requests = 0  # sent after the session stood

    @property
    def nodes_at_once(self) -> int:
        """How many nodes one browse may ask for."""
        return self._browses.at_once

    async def open(self) -> None:
        """Connects, and logs in as the settings say."""
        with link_errors():
            async with asyncio.timeout(2 * self._settings.timeout_s):
                await make_ready(self._client, self._settings, self._clock, None)
                await self._client.connect_sessionless()
                await self._client.create_session()
                await self._client.log_in()

    async def close(self) -> None:
        """Gives the session back, within two seconds, whatever state it is in; raises nothing."""
        try:
            with link_errors():
                async with asyncio.timeout(_CLOSE_S):
                    await self._client.close_session()
                    await self._client.close_secure_channel()
        except LinkLost:
            pass  # it is gone already
        finally:
            self._client.drop()
        await asyncio.sleep(0)

    def keep_to(self, nodes_per_browse: int, nodes_per_read: int) -> None:
        """Takes over the limits that the server has told; 0 = it has none."""
        self._browses.at_once = min(nodes_per_browse or _AT_ONCE, _AT_ONCE)
        self._reads.at_once = min(nodes_per_read or _READS_AT_ONCE, _READS_AT_ONCE)

    async def read(self, attributes: Sequence[Attribute]) -> list[Any]:
        """The values of attributes, in their order; None for one that the server will not tell."""
        with link_errors():
            answers = await self._reads.ask(attributes, self._read_part, lambda _: ua.DataValue())
        return [_value(answer) for answer in answers]

    async def browse(self, nodes: Sequence[Node]) -> list[Page]:
        """The first page of each node's forward hierarchical references, in their order."""
        with link_errors():
            return await self._browses.ask(nodes, self._browse_part, lambda status: Page(status))

    async def browse_next(self, points: Sequence[bytes], *, release: bool = False) -> list[Page]:
        """The next page of each continuation point; none where they are given back."""
        parameters = ua.BrowseNextParameters(ReleaseContinuationPoints=release, ContinuationPoints=list(points))
        with link_errors():
            self.requests += 1
            results = await self._services.browse_next(parameters)
            if release:
                return []
            if len(results) != len(points):
                raise LinkLost("wrong reply")
            return [self._page(result) for result in results]

    async def _browse_part(self, nodes: Sequence[Node]) -> list[Page]:
        parameters = ua.BrowseParameters(
            RequestedMaxReferencesPerNode=ua.UInt32(self._references),
            NodesToBrowse=[_description(node) for node in nodes],
        )
        with _size():
            self.requests += 1
            return [self._page(result) for result in await self._services.browse(parameters)]

    async def _read_part(self, attributes: Sequence[Attribute]) -> list[ua.DataValue]:
        wanted = [ua.ReadValueId(NodeId=_node_id(node), AttributeId=ua.UInt32(number)) for node, number in attributes]
        with _size():
            self.requests += 1
            return await self._services.read(
                ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Neither, NodesToRead=wanted)
            )

    def _page(self, result: ua.BrowseResult) -> Page:
        children = tuple(c for c in map(self._child, result.References or ()) if c is not None)
        return Page(result.StatusCode.value, children, result.ContinuationPoint or b"")

    def _child(self, reference: ua.ReferenceDescription) -> Child | None:
        target: Any = reference.NodeId
        if getattr(target, "ServerIndex", 0) or reference.NodeClass not in (ua.NodeClass.Object, ua.NodeClass.Variable):
            return None
        index, uri = target.NamespaceIndex, getattr(target, "NamespaceUri", None)
        if uri:
            if uri not in self.namespaces:
                return None
            index = self.namespaces.index(uri)
        return Child(
            node=(index, target.Identifier),
            name=reference.BrowseName.Name or "",
            display=reference.DisplayName.Text or "",
            variable=reference.NodeClass == ua.NodeClass.Variable,
            property=reference.ReferenceTypeId == _node_id(_HAS_PROPERTY),
        )


@contextmanager
def _size() -> Iterator[None]:
    try:
        yield
    except UaStatusCodeError as error:
        if error.code in TOO_MUCH:
            raise TooMuch(error.code) from error
        raise
    except OSError:
        raise
    except UNREADABLE as error:
        raise Undecodable(error_word(error)) from error


def _endpoint(description: ua.EndpointDescription) -> Endpoint:
    return Endpoint(
        url=description.EndpointUrl or "",
        policy=policy_word(description.SecurityPolicyUri or ""),
        mode=_MODES.get(int(description.SecurityMode), "?"),
        level=int(description.SecurityLevel),
        users=tuple(_TOKENS.get(int(token.TokenType), "?") for token in description.UserIdentityTokens or ()),
        application_uri=description.Server.ApplicationUri or "",
        application_name=description.Server.ApplicationName.Text or "",
        product_uri=description.Server.ProductUri or "",
        certificate=description.ServerCertificate or b"",
    )


def _description(node: Node) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=_node_id(node),
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=_node_id(_HIERARCHICAL),
        IncludeSubtypes=True,
        NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
        ResultMask=ua.UInt32(ua.BrowseResultMask.All),
    )


def _node_id(node: Node) -> ua.NodeId:
    identifier: Any = node[1]  # asyncua tells the kinds apart by the type: int, str, UUID, bytes
    return ua.NodeId(identifier, ua.Int16(node[0]))


def _value(answer: ua.DataValue) -> Any:  # noqa: ANN401 - an attribute is anything
    """The value as plain as it can be had: node ids as (index, identifier), texts as text."""
    if answer.Value is None or (answer.StatusCode is not None and not answer.StatusCode.is_good()):
        return None
    return _plain(answer.Value.Value)


def _plain(value: Any) -> Any:  # noqa: ANN401
    match value:
        case ua.NodeId():
            return (value.NamespaceIndex, value.Identifier)
        case ua.LocalizedText():
            return value.Text or ""
        case ua.EUInformation():
            return {"name": value.DisplayName.Text or "", "id": value.UnitId}
        case ua.Range():
            return {"low": value.Low, "high": value.High}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value
