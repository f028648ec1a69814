"""Only services that read may leave the box: seen on the wire, and refused at the single send point."""

import asyncio

import pytest
from asyncua import ua
from opcua_mine import listen, new_name, point, quick_source, settled, the_mine
from opcua_proxy import REQUESTS, Proxy

from connectors.opcua.services import READ_SIDE, require_read_side
from connectors.opcua.session import Session
from connectors.opcua.settings import OpcUaSettings
from mines.clock import SystemClock
from mines.errors import SourceError
from mines.model import RowKind

WRITING = {
    "AddNodes",
    "AddReferences",
    "Call",
    "DeleteNodes",
    "DeleteReferences",
    "HistoryUpdate",
    "RegisterServer",
    "RegisterServer2",
    "SetTriggering",
    "TransferSubscriptions",
    "Write",
}


def all_requests() -> dict[str, type]:
    """Every request that the library can send, by the name of its service."""
    found = {
        name.removesuffix("Request"): getattr(ua, name)
        for name in dir(ua)
        if name.endswith("Request") and hasattr(ua.ObjectIds, f"{name}_Encoding_DefaultBinary")
    }
    return {name: made for name, made in found.items() if hasattr(made(), "RequestHeader")}


def test_the_allow_list_is_by_the_standards_numbers():
    assert {getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary") for name in READ_SIDE.values()} == set(
        READ_SIDE
    )
    assert READ_SIDE.items() <= REQUESTS.items()


def test_no_writing_service_is_on_the_allow_list():
    assert WRITING <= set(all_requests())
    assert WRITING.isdisjoint(READ_SIDE.values())


@pytest.mark.parametrize("type_id", [673, 712, 0, "631", None], ids=["Write", "Call", "nothing", "text", "none"])
def test_what_is_not_on_the_list_is_refused(type_id):
    with pytest.raises(SourceError, match="not sent"):
        require_read_side(0, type_id, "WriteRequest")


def test_a_read_side_number_of_another_namespace_is_refused():
    with pytest.raises(SourceError, match="not sent"):
        require_read_side(1, 631, "ReadRequest")


def test_everything_a_source_sends_in_its_life_is_of_the_read_side():
    mine = the_mine()
    points = [point("p", mine.add(new_name(), 1.0)), point("missing", "nsu=urn:nobody;s=x")]

    async def life() -> Proxy:
        async with Proxy(mine.port) as proxy:
            source = quick_source(proxy.url, points, channel_lifetime_s=0.5, ask_refused_again_s=0.2, second_look_s=0.2)
            steps = iter([proxy.cut])

            def meanwhile(heard: object) -> None:
                if len(heard.batches(RowKind.CONFIRM)) == 3:
                    next(steps, lambda: None)()

            await listen(
                source,
                lambda heard: len(heard.batches(RowKind.CONFIRM)) >= 6 and heard.links[-1].reconnects == 1,
                meanwhile=meanwhile,
            )
        return proxy

    proxy = asyncio.run(life())
    assert set(proxy.requests) <= set(READ_SIDE.values())
    assert set(proxy.kinds) == {"HEL", "OPN", "MSG", "CLO"}
    for name in ("CreateSession", "ActivateSession", "Read", "CreateMonitoredItems", "Publish", "CloseSession"):
        assert name in proxy.requests


def test_every_other_request_of_the_library_stops_at_the_send_point():
    mine = the_mine()
    refused = {name: made for name, made in all_requests().items() if name not in READ_SIDE.values()}
    assert set(refused) >= WRITING

    async def attempts() -> tuple[Proxy, list[str]]:
        passed = []
        async with Proxy(mine.port) as proxy:
            session = Session(OpcUaSettings(proxy.url, timeout_s=1.0), [], clock=SystemClock())
            await session.open()
            wire = session._client.uaclient.protocol
            for name, made in refused.items():
                try:
                    await wire.send_request(made())
                except SourceError:
                    continue
                passed.append(name)
            await session.close()
        return proxy, passed

    proxy, passed = asyncio.run(attempts())
    assert passed == []
    assert set(proxy.requests) <= set(READ_SIDE.values())


def test_a_write_through_the_librarys_own_nodes_changes_nothing():
    mine = the_mine()
    name = new_name()
    address = mine.add(name, 1.0)
    node = mine.node_id(name)

    async def attempt() -> list[str]:
        async with Proxy(mine.port) as proxy:
            session = Session(OpcUaSettings(proxy.url, timeout_s=1.0), [], clock=SystemClock())
            await session.open()
            client = session._client
            with pytest.raises(SourceError):
                await client.get_node(node).write_value(2.0)
            with pytest.raises(SourceError):
                await client.get_node(ua.NodeId(2253)).call_method(ua.NodeId(11492), ua.UInt32(1))
            await session.close()
            return proxy.requests

    requests = asyncio.run(attempt())
    assert "Write" not in requests
    assert "Call" not in requests
    heard = asyncio.run(listen(source := quick_source(mine.url, [point("p", address)]), settled(source)))
    assert heard.values(0) == [1.0]
