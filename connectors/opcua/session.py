"""One session with an OPC UA server: connect, read, subscribe, publish, close. The client side's only asyncua.

Nothing of asyncua's own upkeep runs: no reconnect (libraries U1, U2), no queue that drops (U3), no task a notification,
no watchdog. A session is used once and thrown away; whoever owns it reconnects with a new one. Only read-side services
pass the single send point. Security policies and users enter later, in `_client`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.crypto.security_policies import SecurityPolicy
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from connectors.opcua.decode import Heard, Values, columns, time_ms
from connectors.opcua.nodes import Identifier
from connectors.opcua.notifications import Notifications
from connectors.opcua.parts import Parts, TooMuch, Undecodable
from connectors.opcua.services import require_read_side
from connectors.opcua.settings import OpcUaSettings, queue_size
from connectors.opcua.tap import ChunkSplitter, TappedTransport, WireTap
from mines.clock import NO_TIME_MS, Clock
from mines.errors import LinkLost

Node = tuple[int, Identifier]  # namespace index of today, identifier

_NAMESPACE_ARRAY: Final = 2255
_CURRENT_TIME: Final = 2258
_FROM_CACHE_MS: Final = 2**31 - 1  # MaxAge that asks for what the server has: a read must not make it poll its devices
_MISSED_KEEP_ALIVES: Final = 3
_CLOSE_S: Final = 1.0
_TOO_MUCH: Final = frozenset(
    {
        StatusCodes.BadTooManyOperations,
        StatusCodes.BadRequestTooLarge,
        StatusCodes.BadResponseTooLarge,
        StatusCodes.BadEncodingLimitsExceeded,
    }
)
# What a reply that is no proper OPC UA makes asyncua raise while it decodes (fuzzed: its own asserts are among it).
_UNREADABLE: Final = (
    UaError, struct.error, ValueError, LookupError, TypeError, OverflowError, AssertionError, AttributeError,
)  # fmt: skip


@contextmanager
def _link() -> Iterator[None]:
    """Whatever goes wrong between box and server comes out as LinkLost with one word for the link report."""
    try:
        yield
    except (OSError, *_UNREADABLE) as error:
        raise LinkLost(error_word(error)) from error


def error_word(error: BaseException) -> str:
    """A short word for what went wrong: timeout, refused, unknown host, closed, a status name, wrong reply."""
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "refused"
        case socket.gaierror():
            return "unknown host"
        case ConnectionError():
            return "closed"
        case OSError():
            return "unreachable"
        case UaStatusCodeError():
            return str(ua.StatusCode(ua.UInt32(error.code)).name)
        case UaError() if "No matching endpoints" in str(error):
            return "no endpoint without security"
        case _:
            return "wrong reply"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to one heartbeat."""

    heard: Heard
    duration_ms: float  # round trip
    server_time_ms: int  # the server's own clock; NO_TIME_MS = it gave none


@dataclass(frozen=True, slots=True)
class Orphan:
    """A session that a server may still hold because its close never got there. Servers allow few sessions."""

    token: ua.NodeId
    policies: Sequence[ua.UserTokenPolicy]
    nonce: bytes | None


class Session:
    """A session from `open` to `close`. Every call raises LinkLost, with a word for it, where link or server fails."""

    def __init__(
        self, settings: OpcUaSettings, orphans: list[Orphan], *, clock: Clock, tap: WireTap | None = None
    ) -> None:
        """Touches no network.

        Args:
            settings: Where the server is and how fast it is read.
            orphans: What earlier sessions left behind: ended here, and added to where this one cannot be closed.
            clock: Stamps what is heard.
            tap: Sees every chunk.
        """
        self._settings, self._orphans, self._clock = settings, orphans, clock
        self._client = _ReadOnlyClient(settings, tap)
        self._services: UaSession = self._client.uaclient.session
        self._parts = Parts()
        self._subscription = 0
        self._notifications = Notifications()
        self._renew_at_s = self._publishing_s = 0.0
        self.silence_s = 0.0  # so long a publish may be awaited, once the subscription stands
        self.lag_s = 0.0  # so long server and subscription may take to tell a change

    async def open(self) -> None:
        """Connects, ends what earlier sessions left behind, activates this one and creates an empty subscription."""
        with _link():
            async with asyncio.timeout(2 * self._settings.timeout_s):
                await self._client.connect_sessionless()
                while self._orphans:
                    await self._client.end(self._orphans.pop())
                await self._client.create_session()
                await self._client.activate_session()
                self._schedule_renewal()
                await self._create_subscription()

    async def close(self) -> None:
        """Gives everything back, within a second, whatever state it is in; raises nothing."""
        orphan = self._client.orphan()
        try:
            with _link():
                async with asyncio.timeout(min(_CLOSE_S, self._settings.timeout_s)):
                    connected = self._client.connected
                    await self._client.close_session()
                    orphan = None if connected else orphan
                    await self._client.close_secure_channel()
        except LinkLost:
            pass  # it is gone already
        finally:
            self._client.drop()
        if orphan is not None:
            self._orphans.append(orphan)
        await asyncio.sleep(0)  # lets the transport say good-bye to its protocol

    async def namespaces(self) -> list[str]:
        """The server's NamespaceArray as it is today."""
        with _link():
            (answer,) = await self._read([_node_id((0, _NAMESPACE_ARRAY))])
            found = answer.Value.Value if answer.Value is not None else None
            return [str(uri) for uri in found] if isinstance(found, list) else []

    async def heartbeat(self, deadline_s: float) -> Heartbeat:
        """Reads the server's clock: proof that the session answers."""
        asked_ns = self._clock.monotonic_ns()
        with _link():
            async with asyncio.timeout(deadline_s):
                (answer,) = await self._read([_node_id((0, _CURRENT_TIME))])
        heard = self._heard()
        now = answer.Value.Value if answer.Value is not None else None
        server_time_ms = time_ms(now) if isinstance(now, datetime) else NO_TIME_MS
        return Heartbeat(heard, (heard.monotonic_ns - asked_ns) / 1e6, server_time_ms)

    async def read(self, nodes: Sequence[tuple[int, Node]]) -> Values:
        """The values that the server holds for nodes, in their order; a node whose value cannot be decoded is bad.

        Args:
            nodes: (point index, node) pairs.
        """
        with _link():
            answers = await self._parts.ask([_node_id(node) for _, node in nodes], self._read_part, _bad_value)
        return columns(list(zip((index for index, _ in nodes), answers, strict=True)), self._heard())

    async def monitor(self, nodes: Sequence[tuple[int, Node]]) -> tuple[dict[int, int], int]:
        """Subscribes to nodes, each for itself.

        Args:
            nodes: (point index, node) pairs.
        Returns:
            StatusCode of each point index that was refused, and how many queues the server made too short to be sure
            that nothing is lost between two publishes.
        """
        requests = [self._item_request(index, node) for index, node in nodes]
        with _link():
            results = await self._parts.ask(requests, self._create_items, _refused_item)
        refused = {
            index: result.StatusCode.value
            for (index, _), result in zip(nodes, results, strict=True)
            if not result.StatusCode.is_good()
        }
        self._notifications.expect(index for index, _ in nodes if index not in refused)
        sampling_s = max((r.RevisedSamplingInterval for r in results), default=0.0) / 1000
        self.lag_s = max(self.lag_s, 2 * (max(sampling_s, 0.0) + self._publishing_s))
        needed = self._settings.publishing_ms / self._settings.sampling_ms
        return refused, sum(r.StatusCode.is_good() and r.RevisedQueueSize < needed for r in results)

    async def publish(self) -> Values:
        """Waits for the next word of the subscription: changes, or no rows, which is a keep-alive.

        Raises:
            LinkLost: also where a notification cannot be decoded and, at the call after it, where one was lost or the
                server ended the subscription: what was missed is unknown, and only a new session gives it again.
        """
        if self._notifications.ended:
            raise LinkLost(self._notifications.ended)
        numbers, self._notifications.to_acknowledge = self._notifications.to_acknowledge, []
        subscription = ua.UInt32(self._subscription)
        with _link():
            response = await self._services.publish(
                [ua.SubscriptionAcknowledgement(subscription, ua.UInt32(number)) for number in numbers]
            )
            if response.Parameters.SubscriptionId != self._subscription:
                raise LinkLost("wrong reply")  # the session has this one only
            return self._notifications.take(response.Parameters, self._heard())

    async def renew_channel(self, now_s: float) -> None:
        """Renews the secure channel when three quarters of its life are over; `now_s` is the loop's time."""
        if now_s < self._renew_at_s:
            return
        with _link():
            await self._client.open_secure_channel(renew=True)
            self._client.uaclient.revolve_security_token()
        self._schedule_renewal()

    # Pieces

    def _heard(self) -> Heard:
        return Heard(self._clock.wall_ms(), self._clock.monotonic_ns())

    def _schedule_renewal(self) -> None:
        self._renew_at_s = asyncio.get_running_loop().time() + 0.75 * self._client.secure_channel_timeout / 1000

    async def _create_subscription(self) -> None:
        interval_ms = self._settings.publishing_ms
        keep_alive = max(1, round(self._settings.keep_alive_s * 1000 / interval_ms))
        lifetime = max(3 * keep_alive, round(self._settings.session_timeout_s * 1000 / interval_ms))
        result = await self._services.create_subscription(
            ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=ua.Double(interval_ms),
                RequestedLifetimeCount=ua.UInt32(lifetime),
                RequestedMaxKeepAliveCount=ua.UInt32(keep_alive),
                PublishingEnabled=True,
            ),
            lambda _: None,
        )
        self._subscription = result.SubscriptionId
        every_s = result.RevisedPublishingInterval * max(result.RevisedMaxKeepAliveCount, 1) / 1000
        self.silence_s = _MISSED_KEEP_ALIVES * every_s + self._settings.timeout_s
        self._publishing_s = result.RevisedPublishingInterval / 1000

    def _item_request(self, index: int, node: Node) -> ua.MonitoredItemCreateRequest:
        sampling_ms = self._settings.sampling_ms
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=_node_id(node), AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=ua.UInt32(index),
                SamplingInterval=ua.Double(sampling_ms),
                QueueSize=ua.UInt32(queue_size(self._settings.publishing_ms, sampling_ms)),
                DiscardOldest=True,
            ),
        )

    async def _create_items(
        self, requests: Sequence[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=ua.UInt32(self._subscription),
            TimestampsToReturn=ua.TimestampsToReturn.Source,
            ItemsToCreate=list(requests),
        )
        with _size():
            return await self._services.create_monitored_items(parameters)

    async def _read_part(self, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
        try:
            with _size():
                return await self._read(nodes)
        except UaStatusCodeError:
            raise
        except _UNREADABLE as error:
            raise Undecodable(error_word(error)) from error

    async def _read(self, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
        parameters = ua.ReadParameters(
            MaxAge=ua.Double(_FROM_CACHE_MS),
            TimestampsToReturn=ua.TimestampsToReturn.Source,
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
        )
        return await self._services.read(parameters)


@contextmanager
def _size() -> Iterator[None]:
    try:
        yield
    except UaStatusCodeError as error:
        if error.code in _TOO_MUCH:
            raise TooMuch(error.code) from error
        raise


def _node_id(node: Node) -> ua.NodeId:
    identifier: Any = node[1]  # asyncua tells the kinds apart by the type: int, str, UUID, bytes
    return ua.NodeId(identifier, ua.Int16(node[0]))


def _bad_value(status: int) -> ua.DataValue:
    return ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(status)))


def _refused_item(status: int) -> ua.MonitoredItemCreateResult:
    return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.UInt32(status)))


# The single send point: every request of a connection passes `_ReadOnlyWire._send_request`.


class _ReadOnlyClient(Client):
    def __init__(self, settings: OpcUaSettings, tap: WireTap | None) -> None:
        super().__init__(settings.url, timeout=settings.timeout_s)
        self.name = self.description = "minewatch"
        self.application_uri = self.product_uri = "urn:minewatch"
        self.session_timeout = round(settings.session_timeout_s * 1000)
        self.secure_channel_timeout = round(settings.channel_lifetime_s * 1000)
        self.uaclient = _ReadOnlyServices(settings.timeout_s, tap)

    @property
    def connected(self) -> bool:
        return self.uaclient.protocol is not None and not self.uaclient.protocol.is_closed

    def orphan(self) -> Orphan | None:
        token = self.uaclient.session.authentication_token
        return None if token.is_null() else Orphan(token, self._policy_ids, self._server_nonce)

    async def end(self, orphan: Orphan) -> None:
        """Takes over a session of an earlier connection (Part 4, 6.7), only to close it with its subscriptions."""
        self._policy_ids = list(orphan.policies)
        self._server_nonce = orphan.nonce  # type: ignore[assignment]  # asyncua declares it as None only
        self.uaclient.session.restore_authentication_token(orphan.token)
        try:
            await self.activate_session()
            await self.uaclient.session.close_session(True)
        except UaStatusCodeError:
            pass  # forgotten already, or the server does not let it go to another channel
        self.uaclient.session.reset_authentication_token()

    def drop(self) -> None:
        """Lets go of the socket, whatever state the connection is in."""
        wire = self.uaclient.protocol
        transport = wire.transport if wire is not None else None
        self.disconnect_socket()
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()  # the peer takes nothing any more: a plain close would wait for it for ever


class _ReadOnlyServices(UaClient):
    def __init__(self, timeout_s: float, tap: WireTap | None) -> None:
        super().__init__(timeout_s)
        self.session = _PublishlessSession(self)
        self._tap = tap

    def _make_protocol(self) -> UASocketProtocol:
        self.protocol = _ReadOnlyWire(self._timeout, self.security_policy, self._tap)
        self.protocol.on_connection_lost = self._on_transport_lost
        self.protocol.is_session_closing = self._is_session_closing
        return self.protocol


class _PublishlessSession(UaSession):
    def ensure_publish_loop(self) -> None:
        """Nothing: the source publishes itself, so that what cannot be decoded is noticed and not skipped."""


class _ReadOnlyWire(UASocketProtocol):
    def __init__(self, timeout_s: float, security_policy: SecurityPolicy, tap: WireTap | None) -> None:
        super().__init__(timeout_s, security_policy)
        self._tap = tap
        self._received = ChunkSplitter()

    def _send_request(  # asyncua's own types: a request is any of a hundred classes
        self,
        request: Any,  # noqa: ANN401
        timeout: float = 1,
        message_type: ua.MessageType = ua.MessageType.SecureMessage,  # type: ignore[assignment]
    ) -> asyncio.Future[Any]:
        type_id = request.TypeId
        require_read_side(type_id.NamespaceIndex, type_id.Identifier, type(request).__name__)
        return super()._send_request(request, timeout, message_type)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)  # uvloop's is one in all but descent
        super().connection_made(plain if self._tap is None else TappedTransport(plain, self._tap))

    def data_received(self, data: bytes) -> None:
        if self._tap is not None:
            for chunk in self._received.feed(data):
                self._tap(False, chunk)
        super().data_received(data)
