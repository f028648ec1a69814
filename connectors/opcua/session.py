"""One session with an OPC UA server: connect, read, subscribe, publish, close.

Nothing of asyncua's own upkeep runs: no reconnect (libraries U1, U2), no queue that drops (U3), no task a notification,
no watchdog. A session is used once and thrown away; whoever owns it reconnects with a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaStatusCodeError

from connectors.opcua.bulk import Notification
from connectors.opcua.bulk_services import BulkServices, node_id
from connectors.opcua.decode import Heard, Values, columns, joined, time_ms
from connectors.opcua.expiry import ChannelFacts
from connectors.opcua.history import History
from connectors.opcua.nodes import Node as Node
from connectors.opcua.notifications import Notifications
from connectors.opcua.parts import Parts, TooMuch, Undecodable
from connectors.opcua.security import make_ready
from connectors.opcua.settings import OpcUaSettings, queue_size
from connectors.opcua.tap import WireTap
from connectors.opcua.wire import TOO_MUCH, UNREADABLE, Orphan, ReadOnlyClient, error_word, link_errors
from mines.clock import NO_TIME_MS, Clock
from mines.errors import LinkLost

_NAMESPACE_ARRAY: Final = 2255
_CURRENT_TIME: Final = 2258
_OPERATION_LIMITS: Final = (11705, 11714, 12165)  # MaxNodesPerRead, MaxMonitoredItemsPerCall, …PerHistoryReadData
_HISTORIES_AT_ONCE: Final = 100  # project default
_FROM_CACHE_MS: Final = 2**31 - 1  # MaxAge that asks for what the server has: a read must not make it poll its devices
_MISSED_KEEP_ALIVES: Final = 3
_CLOSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to one heartbeat."""

    heard: Heard
    duration_ms: float  # round trip
    server_time_ms: int  # the server's own clock; NO_TIME_MS = it gave none


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
        self._settings, self._orphans, self._clock, self._tap = settings, orphans, clock, tap
        self._client = ReadOnlyClient(settings, tap)
        self._services = self._client.services
        self._bulk = BulkServices(self._services)
        self._reads, self._items = Parts(), Parts()
        self.history = History(self._services, at_once=_HISTORIES_AT_ONCE)
        self._subscription = 0
        self._notifications = Notifications()
        self._renew_at_s = self._publishing_s = 0.0
        self.facts = ChannelFacts()  # about the channel, once it stands
        self.silence_s = 0.0  # so long a publish may be awaited, once the subscription stands
        self.lag_s = 0.0  # so long server and subscription may take to tell a change

    async def open(self) -> None:
        """Connects, ends what earlier sessions left behind, activates this one, learns the server's limits and, where
        changes are subscribed to, creates an empty subscription.
        """
        with link_errors():
            async with asyncio.timeout(2 * self._settings.timeout_s):
                facts = await make_ready(self._client, self._settings, self._clock, self._tap)
                await self._client.connect_sessionless()
                while self._orphans:
                    await self._client.end(self._orphans.pop())
                await self._client.create_session()
                host = self._client.server_url.hostname
                self.facts = replace(facts, host_kept=self._client.endpoint_host not in ("", host))
                await self._client.log_in()
                self._schedule_renewal()
                await self._learn_limits()
                if self._settings.read == "subscribe":
                    await self._create_subscription()

    async def close(self) -> None:
        """Gives everything back, within a second, whatever state it is in; raises nothing."""
        orphan = self._client.orphan()
        try:
            with link_errors():
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
        with link_errors():
            (answer,) = await self._read([node_id((0, _NAMESPACE_ARRAY))])
            found = answer.Value.Value if answer.Value is not None else None
            return [str(uri) for uri in found] if isinstance(found, list) else []

    async def heartbeat(self, deadline_s: float) -> Heartbeat:
        """Reads the server's clock: proof that the session answers."""
        asked_ns = self._clock.monotonic_ns()
        with link_errors():
            async with asyncio.timeout(deadline_s):
                (answer,) = await self._read([node_id((0, _CURRENT_TIME))])
        heard = self._heard()
        now = answer.Value.Value if answer.Value is not None else None
        server_time_ms = time_ms(now) if isinstance(now, datetime) else NO_TIME_MS
        return Heartbeat(heard, (heard.monotonic_ns - asked_ns) / 1e6, server_time_ms)

    async def read(self, nodes: Sequence[tuple[int, Node]]) -> Values:
        """The values that the server holds for nodes, in their order; a node whose value cannot be decoded is bad.

        Args:
            nodes: (point index, node) pairs.
        """
        with link_errors():
            blocks = await self._reads.blocks(nodes, self._read_values, _bad_values)
        return joined(blocks, self._heard())

    async def monitor(self, nodes: Sequence[tuple[int, Node]]) -> tuple[dict[int, int], int]:
        """Subscribes to nodes, each for itself.

        Args:
            nodes: (point index, node) pairs.
        Returns:
            StatusCode of each point index that was refused, and how many queues the server made too short to be sure
            that nothing is lost between two publishes.
        """
        requests = [self._item_request(index, node) for index, node in nodes]
        with link_errors():
            results = await self._items.ask(requests, self._create_items, _refused_item)
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
        with link_errors():
            answer = await self._bulk.publish(
                [ua.SubscriptionAcknowledgement(subscription, ua.UInt32(number)) for number in numbers]
            )
            if isinstance(answer, Notification):
                self._require_own(answer.subscription)
                return self._notifications.take_bulk(answer, self._heard())
            self._require_own(answer.SubscriptionId)
            return self._notifications.take(answer, self._heard())

    async def renew_channel(self, now_s: float, deadline_s: float) -> None:
        """Renews the secure channel when three quarters of its life are over; `now_s` is the loop's time."""
        if now_s < self._renew_at_s:
            return
        try:
            with link_errors():
                async with asyncio.timeout(deadline_s):
                    await self._client.open_secure_channel(renew=True)
                    self._client.uaclient.revolve_security_token()
        except LinkLost as error:
            raise LinkLost("channel renewal failed") from error
        self._schedule_renewal()

    def node_id(self, node: Node) -> ua.NodeId:
        """A node as the protocol library names it."""
        return node_id(node)

    # Pieces

    def _require_own(self, subscription: int) -> None:
        if subscription != self._subscription:
            raise LinkLost("wrong reply")  # the session has this one only

    def _heard(self) -> Heard:
        return Heard(self._clock.wall_ms(), self._clock.monotonic_ns())

    def _schedule_renewal(self) -> None:
        self._renew_at_s = asyncio.get_running_loop().time() + 0.75 * self._client.secure_channel_timeout / 1000

    async def _learn_limits(self) -> None:
        """Sizes requests by the server's OperationLimits, as far as it tells them; 0 = unlimited."""
        nodes = [node_id((0, number)) for number in _OPERATION_LIMITS]
        answers = await self._reads.ask(nodes, self._read_part, _bad_value)
        told = [answer.Value.Value if answer.Value is not None else 0 for answer in answers]
        reads, items, histories = (limit if isinstance(limit, int) and limit > 0 else None for limit in told)
        self._reads.at_once = min(self._reads.at_once, reads or self._reads.at_once)
        self._items.at_once = min(self._items.at_once, items or self._items.at_once)
        self.history.at_once = min(filter(None, (self.history.at_once, histories, reads)))

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
            ItemToMonitor=ua.ReadValueId(NodeId=node_id(node), AttributeId=AttributeIds.Value),
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

    async def _read_values(self, nodes: Sequence[tuple[int, Node]]) -> Values:
        with _part():
            return await self._bulk.read(nodes)

    async def _read_part(self, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
        with _part():
            return await self._read(nodes)

    async def _read(self, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
        parameters = ua.ReadParameters(
            MaxAge=ua.Double(_FROM_CACHE_MS),
            TimestampsToReturn=ua.TimestampsToReturn.Source,
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value) for node in nodes],
        )
        return await self._services.read(parameters)


@contextmanager
def _part() -> Iterator[None]:
    """One of many requests: what its size, or its reply alone, is the fault of."""
    try:
        with _size():
            yield
    except UaStatusCodeError:
        raise
    except UNREADABLE as error:
        raise Undecodable(error_word(error)) from error


@contextmanager
def _size() -> Iterator[None]:
    try:
        yield
    except UaStatusCodeError as error:
        if error.code in TOO_MUCH:
            raise TooMuch(error.code) from error
        raise


def _bad_value(status: int) -> ua.DataValue:
    return ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(status)))


def _bad_values(item: tuple[int, Node], status: int) -> Values:
    return columns([(item[0], _bad_value(status))], Heard(0, 0))


def _refused_item(status: int) -> ua.MonitoredItemCreateResult:
    return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.UInt32(status)))
