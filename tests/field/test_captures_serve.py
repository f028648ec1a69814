"""Import → replay → serve → polled by our own sources → the same values (Shows 4)."""

import asyncio

import pytest
from capture_polls import compare, polled, redirected, replayed_states
from reference_data import reference

from connectors.captures.fault_script import parse_fault
from connectors.captures.pcap_import import import_pcap
from connectors.captures.serving import CaptureServer, ServeOptions
from connectors.sources import build_sources
from mines.clock import SystemClock

WITH_VALUES = {
    "icsnpp-modbus/modbus_example.pcap": 50,
    "zeek-modbus/modbusBig.pcap": 1,
    "zeek-modbus/modbusSmall.pcap": 3,
    "icsnpp-opcua/open62541_client-server_mainloop-not-localhost.pcap": 1,
    "icsnpp-opcua/open62541_client-server_mainloop-ActivateSession-diagInfo.pcap": 1,
    "icsnpp-opcua/open62541_read_service_test_data.pcap": 11,
    "icsnpp-opcua/python_opcua-client-server_minimal-2.pcap": 1,
}
"""Points of the draft. The others hold no value of a point: 4SICS (one refused request), modbus-eit (identification
only), create_monitored_items and encrypted (nothing was read), unified_cpp (the server's own namespaces)."""


NAMES = [pytest.param(name, marks=pytest.mark.long) if "mainloop" in name else name for name in WITH_VALUES]
"""Each OPC UA server takes seconds to start: two captures with one bad value each are left to the long tests."""


@pytest.mark.parametrize("name", NAMES)
def test_what_is_served_of_a_reference_capture_is_what_its_replay_says(tmp_path, name):
    folder = tmp_path / "capture"
    import_pcap(reference(name), folder)
    moments = len(replayed_states(folder))
    picked = sorted({0, moments // 3, 2 * moments // 3, moments - 1})
    assert asyncio.run(compare(folder, tmp_path / "site", picked)) == WITH_VALUES[name] * len(picked)


def test_an_exception_on_top_makes_every_opcua_value_bad(tmp_path):
    folder = tmp_path / "capture"
    import_pcap(reference("icsnpp-opcua/python_opcua-client-server_minimal-2.pcap"), folder)
    options = ServeOptions(faults=(parse_fault("exception=4"),))

    async def run():
        async with CaptureServer(folder, options, SystemClock()) as server:
            (source,) = build_sources(redirected(folder, tmp_path / "site", server.served), SystemClock())
            return await polled(source)

    assert [good for _, good in asyncio.run(run())] == [False]
