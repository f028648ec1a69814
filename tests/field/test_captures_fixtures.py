"""The captures of our own: import and replay give what stands beside each, and two of them are served and polled."""

import asyncio
import json
from pathlib import Path

import pytest
from capture_polls import compare, replayed_states

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.pcap_import import import_pcap
from connectors.sources import check_sources
from mines.replaying import replay_ticks
from mines.site.site_file import load_site

FOLDER = Path(__file__).parents[2] / "fixtures" / "captures"
NAMES = sorted(path.name for path in FOLDER.iterdir() if (path / "traffic.pcap").exists())
STORIES = [name for name in NAMES if (FOLDER / name / "site").exists()]


def expected(name, document):
    return json.loads((FOLDER / name / "expected" / f"{document}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folders = {}

    def of(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name) / "capture"
            folders[name, "result"] = import_pcap(FOLDER / name / "traffic.pcap", folders[name])
        return folders[name], folders[name, "result"]

    return of


def test_there_are_at_least_eight():
    assert len(STORIES) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_the_import_reports_what_was_recorded(imported, name):
    _, result = imported(name)
    assert result.problem is None
    wanted = expected(name, "report")
    assert {key: result.report[key] for key in wanted} == wanted


@pytest.mark.parametrize("name", STORIES)
def test_the_replay_gives_the_same_events_each_time(imported, name):
    folder, _ = imported(name)
    site = load_site(FOLDER / name / "site")
    assert check_sources(site) == []
    runs = []
    for _ in range(2):
        opened = capture_ticks(folder, site)
        assert opened.warnings == ()
        runs.append(replay_ticks(opened, opened.site))
    assert runs[0].event_log_sha256 == runs[1].event_log_sha256
    seen = [
        [round((event.time_ms - runs[0].first_ms) / 1000, 3), str(event.kind), event.point, event.value]
        for event in runs[0].events
    ]
    wanted = expected(name, "replay")
    assert (runs[0].rows, seen) == (wanted["rows"], wanted["events"])


SERVED = ["outburst_drill", "pump_loses_prime", pytest.param("opcua_subscription", marks=pytest.mark.long)]


@pytest.mark.parametrize("name", SERVED)
def test_what_is_served_is_what_the_replay_says(imported, tmp_path, name):
    folder, _ = imported(name)
    moments = replayed_states(folder)
    picked = [0, 10, len(moments) // 2, len(moments) - 1]
    points = sum(len(rows) for rows in moments[0][1].values())
    assert asyncio.run(compare(folder, tmp_path / "site", picked)) == points * len(picked)


def test_every_value_of_a_foreign_subscription_is_of_the_node_that_it_is_said_to_be_of(imported):
    """The peer's values say whose they are: key + 1000 × n, see tests/peers/node-opcua/server.mjs."""
    folder, _ = imported("opcua_subscription")
    lines = (folder / "samples.opcua.jsonl").read_text(encoding="utf-8").splitlines()
    seen = {}
    for address, kind, value, status, source_time_ms in (row for line in lines for row in json.loads(line)["rows"]):
        if not address.startswith("nsu=urn:demo:drainage;"):
            continue
        identifier = address.partition(";")[2]
        number = int(identifier[2:]) - 5000 if identifier.startswith("i=") else int(identifier.rpartition(".")[2])
        assert status == 0
        assert source_time_ms > 1_700_000_000_000
        assert value == (number % 2 == 1) if kind == "Boolean" else value % 1000 == number
        seen[identifier] = seen.get(identifier, 0) + 1
    assert len(seen) == 10
    assert sum(count > 5 for count in seen.values()) == 8  # all but the two truth values, which never change


def test_a_foreign_encrypted_session_is_called_encrypted_and_never_empty(imported):
    folder, result = imported("opcua_encrypted")
    assert result.problem is None
    assert result.report["encrypted"]
    assert any(line.startswith("encrypted: 78 OPC UA messages") for line in result.warnings)
    assert "已加密" in (folder / "report.html").read_text(encoding="utf-8")
    assert not (folder / "site").exists()
