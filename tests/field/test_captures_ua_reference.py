"""The seven reference OPC UA captures: the published figures, their draft sites, and the values that they hold."""

import json

import numpy as np
import pytest
from reference_data import reference

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.pcap import read_packets
from connectors.captures.pcap_import import import_pcap
from connectors.sources import check_sources
from mines.quality import Severity, severity_of
from mines.site.site_file import read_site

MAINLOOP = {
    "GetEndpoints": 2, "CloseSecureChannel": 2, "CreateSession": 1, "ActivateSession": 1, "Browse": 2,
    "CreateSubscription": 1, "CreateMonitoredItems": 1, "Read": 1, "Write": 2, "Call": 1, "AddNodes": 4,
    "DeleteSubscriptions": 1, "CloseSession": 1,
}  # fmt: skip
NO_SUBSCRIPTION = "0x80790000"  # BadNoSubscription
FIGURES = {
    "icsnpp-opcua/open62541_client-server_mainloop-not-localhost.pcap": {
        "packets": 152, "span_s": 1.861, "link": 0, "messages": {"HEL": 2, "ACK": 2, "OPN": 4, "MSG": 58, "CLO": 2},
        "services": MAINLOOP | {"Publish": 11}, "policies": ["None"], "faults": {NO_SUBSCRIPTION: 10},
    },
    "icsnpp-opcua/open62541_client-server_mainloop-ActivateSession-diagInfo.pcap": {
        "packets": 170, "span_s": 1.852, "link": 0, "messages": {"HEL": 2, "ACK": 2, "OPN": 4, "MSG": 78, "CLO": 2},
        "services": MAINLOOP | {"Publish": 21}, "policies": ["None"], "faults": {NO_SUBSCRIPTION: 20},
    },
    "icsnpp-opcua/open62541_read_service_test_data.pcap": {
        "packets": 385, "span_s": 9.324, "link": 0, "messages": {"HEL": 1, "ACK": 1, "OPN": 2, "MSG": 180, "CLO": 1},
        "services": {"Read": 86, "GetEndpoints": 1, "CreateSession": 1, "ActivateSession": 1, "CloseSession": 1,
                     "CloseSecureChannel": 1},
        "policies": ["None"], "faults": {},
    },
    "icsnpp-opcua/open62541_create_monitored_items.pcap": {
        "packets": 316, "span_s": 34.088, "link": 0, "messages": {"HEL": 2, "ACK": 2, "OPN": 4, "MSG": 20},
        "services": {"CreateSession": 2, "ActivateSession": 2, "CreateSubscription": 2, "Browse": 2,
                     "CreateMonitoredItems": 2},
        "policies": ["None"], "faults": {},
    },
    "icsnpp-opcua/python_opcua-client-server_minimal-2.pcap": {
        "packets": 48, "span_s": 0.013, "link": 0, "messages": {"HEL": 1, "ACK": 1, "OPN": 2, "MSG": 14, "CLO": 1},
        "services": {"CreateSession": 1, "ActivateSession": 1, "Browse": 1, "TranslateBrowsePathsToNodeIds": 2,
                     "Read": 1, "CloseSession": 1, "CloseSecureChannel": 1},
        "policies": ["None"], "faults": {},
    },
    "icsnpp-opcua/python_opcua-client-server_encrypted.pcap": {
        "packets": 46, "span_s": 0.058, "link": 0, "messages": {"HEL": 2, "ACK": 2, "OPN": 4, "MSG": 8, "CLO": 1},
        "services": {"GetEndpoints": 1, "CloseSecureChannel": 1, "CreateSession": 1, "ActivateSession": 1, "Browse": 1},
        "policies": ["None", "Basic256Sha256"], "faults": {},
    },
    "open62541-replay/unified_cpp_none.pcap": {
        "packets": 43, "span_s": 0.021, "link": 1, "messages": {"HEL": 2, "ACK": 2, "OPN": 4, "MSG": 14, "CLO": 2},
        "services": {"FindServers": 1, "GetEndpoints": 1, "CreateSession": 1, "ActivateSession": 1, "Read": 2,
                     "CloseSession": 1, "CloseSecureChannel": 2},
        "policies": ["None"], "faults": {},
    },
}  # fmt: skip
DRAFTED = {
    "icsnpp-opcua/open62541_client-server_mainloop-not-localhost.pcap": 1,
    "icsnpp-opcua/open62541_client-server_mainloop-ActivateSession-diagInfo.pcap": 1,
    "icsnpp-opcua/open62541_read_service_test_data.pcap": 11,
    "icsnpp-opcua/python_opcua-client-server_minimal-2.pcap": 1,
}
"""Captures in which a single number, or nothing but bad, was read; the others are listed in FIGURES alone: without a
read value (create_monitored_items, encrypted), or with the server's own namespaces only (unified_cpp)."""


def imported(tmp_path, name):
    out = tmp_path / "capture"
    result = import_pcap(reference(name), out)
    assert result.problem is None
    return out, result


@pytest.mark.parametrize("name", FIGURES)
def test_published_figures_come_out(tmp_path, name):
    figures = FIGURES[name]
    _, result = imported(tmp_path, name)
    report = result.report
    for key in ("packets", "messages", "services", "policies", "faults"):
        assert report[key] == figures[key], key
    assert round(report["span_s"], 3) == figures["span_s"]
    assert next(read_packets(reference(name))).link_type == figures["link"]
    requests = sum(figures["services"].values()) - figures["services"].get("CloseSecureChannel", 0)
    assert (report["requests"], report["replies"], report["matched"]) == (requests,) * 3
    assert (report["protocol"], report["unanswered"], report["orphans"]) == ("opcua", 0, 0)
    assert (report["malformed"], report["encrypted"]) == (0, False)
    assert not any("encrypted" in warning for warning in result.warnings)


def test_publishing_without_a_subscription_is_a_fault_of_publish_and_of_nothing_else(tmp_path):
    _, result = imported(tmp_path, "icsnpp-opcua/open62541_client-server_mainloop-ActivateSession-diagInfo.pcap")
    assert result.report["exceptions"] == {f"Publish/{NO_SUBSCRIPTION}": 20}


def test_the_clients_writes_are_seen(tmp_path):
    _, result = imported(tmp_path, "icsnpp-opcua/open62541_client-server_mainloop-not-localhost.pcap")
    counts = {(row["client"], row["function"]): row["count"] for row in result.report["writes"]}
    client = "192.168.224.102"
    assert counts == {(client, "AddNodes"): 4, (client, "Call"): 1, (client, "Write"): 2}


@pytest.mark.parametrize("name", FIGURES)
def test_the_draft_site_passes_check_or_there_is_none(tmp_path, name):
    out, result = imported(tmp_path, name)
    if name not in DRAFTED:
        assert not (out / "site").exists()
        assert any("no draft site" in warning for warning in result.warnings)
        return
    reading = read_site(out / "site")
    assert (reading.errors, reading.warnings) == ((), ())
    assert len(reading.site.points) == DRAFTED[name]
    assert check_sources(reading.site) == []


def test_the_namespaces_that_were_read_stand_with_the_capture(tmp_path):
    out, _ = imported(tmp_path, "open62541-replay/unified_cpp_none.pcap")
    lines = (out / "samples.opcua.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["rows"][0][:2] for line in lines] == [["i=2255", "String[]"]] * 2
    assert json.loads(lines[0])["server"] == "192.168.56.1:48010"


def test_every_type_of_the_test_server_is_read_and_replayed_as_it_was(tmp_path):
    out, result = imported(tmp_path, "icsnpp-opcua/open62541_read_service_test_data.pcap")
    kinds = {each["type"] for each in result.report["nodes"]}
    assert {"Boolean", "SByte", "Byte", "Int16", "UInt64", "Float", "Double", "String", "DateTime", "Guid"} <= kinds
    assert any("urn:minewatch:unknown-namespace" in warning for warning in result.warnings)
    capture = capture_ticks(out)
    batches = [item.batch for tick in capture.ticks for item in tick.batches]
    assert sum(len(batch) for batch in batches) == 11
    assert {severity_of(word) for batch in batches for word in batch.quality.tolist()} == {Severity.GOOD}
    assert capture.warnings == ()


def test_a_bad_read_is_replayed_as_bad(tmp_path):
    out, _ = imported(tmp_path, "icsnpp-opcua/open62541_client-server_mainloop-not-localhost.pcap")
    (batch,) = [item.batch for tick in capture_ticks(out).ticks for item in tick.batches]
    assert np.isnan(batch.value).all()
    assert severity_of(int(batch.quality[0])) == Severity.BAD
