"""Import → replay → serve → polled by our own sources → the same values (Shows 4)."""

import asyncio

import pytest
from capture_polls import compare, replayed_states
from reference_data import reference

from connectors.captures.pcap_import import import_pcap

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


@pytest.mark.parametrize("name", WITH_VALUES)
def test_what_is_served_of_a_reference_capture_is_what_its_replay_says(tmp_path, name):
    folder = tmp_path / "capture"
    import_pcap(reference(name), folder)
    moments = len(replayed_states(folder))
    picked = sorted({0, moments // 3, 2 * moments // 3, moments - 1})
    assert asyncio.run(compare(folder, tmp_path / "site", picked)) == WITH_VALUES[name] * len(picked)
