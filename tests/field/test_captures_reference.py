"""The five reference Modbus captures: the published figures, a draft site that passes, and a replay of it."""

from itertools import pairwise

import pytest
from reference_data import reference

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.pcap_import import import_pcap
from connectors.sources import check_sources
from mines.model import LinkState
from mines.quality import Reason, Severity, reason_of, severity_of
from mines.site.site_file import read_site

FIGURES = {
    "icsnpp-modbus/modbus_example.pcap": {
        "packets": 100, "span_s": 230_225.169, "connections": 2, "units": [0, 1, 2, 4, 5, 6, 7, 8, 10],
        "requests": 24, "replies": 24, "matched": 24, "unanswered": 0, "orphans": 0, "late": 0,
        "function_codes": {"1": 2, "2": 2, "3": 3, "4": 2, "5": 1, "6": 1, "7": 1, "8": 1, "15": 1, "16": 1, "17": 1,
                           "20": 1, "21": 1, "22": 2, "23": 2, "24": 1, "43": 1},
        "exceptions": {"3/2": 1}, "rtt_ms": (0.04, 0.06, 0.22, 100.08), "malformed": 0, "encrypted": False,
        "writes": {5: 1, 6: 1, 15: 1, 16: 1, 21: 1, 22: 2, 23: 2}, "points": 50,
    },
    "zeek-modbus/modbusBig.pcap": {
        "packets": 13_622, "span_s": 57.827, "connections": 1, "units": [255],
        "requests": 2774, "replies": 2775, "matched": 2774, "unanswered": 0, "orphans": 1, "late": 0,
        "function_codes": {"1": 1387, "5": 1387}, "exceptions": {}, "rtt_ms": (4.81, 6.73, 19.05, 31.61),
        "malformed": 0, "encrypted": False, "writes": {5: 1387}, "points": 1,
    },
    "zeek-modbus/modbusSmall.pcap": {
        "packets": 166, "span_s": 55.844, "connections": 16, "units": [1],
        "requests": 16, "replies": 16, "matched": 16, "unanswered": 0, "orphans": 0, "late": 0,
        "function_codes": {"1": 8, "15": 8}, "exceptions": {}, "rtt_ms": (0.03, 0.06, 0.11, 0.11),
        "malformed": 0, "encrypted": False, "writes": {15: 8}, "points": 3,
    },
    "zeek-modbus/4SICS-GeekLounge-151022-min.pcap": {
        "packets": 2, "span_s": 0.003, "connections": 1, "units": [1],
        "requests": 1, "replies": 1, "matched": 1, "unanswered": 0, "orphans": 0, "late": 0,
        "function_codes": {"23": 1}, "exceptions": {"23/10": 1}, "rtt_ms": (2.76, 2.76, 2.76, 2.76),
        "malformed": 0, "encrypted": False, "writes": {23: 1}, "points": 0,
    },
    "zeek-modbus/modbus-eit.pcap": {
        "packets": 4, "span_s": 3.047, "connections": 2, "units": [0, 255],
        "requests": 2, "replies": 2, "matched": 2, "unanswered": 0, "orphans": 0, "late": 1,
        "function_codes": {"43": 2}, "exceptions": {"43/4": 1}, "rtt_ms": (22.53, None, None, 3019.52),
        "malformed": 0, "encrypted": False, "writes": {}, "points": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_published_figures_come_out(tmp_path, name):
    figures = FIGURES[name]
    result = import_pcap(reference(name), tmp_path / "capture")
    assert result.problem is None
    report = result.report
    for key in set(figures) - {"span_s", "rtt_ms", "writes", "points"}:
        assert report[key] == figures[key], key
    assert round(report["span_s"], 3) == figures["span_s"]
    assert report["unanswered_by_unit"] == {}
    for quantile, expected in zip(("min", "p50", "p95", "max"), figures["rtt_ms"], strict=True):
        assert expected is None or round(report["rtt_ms"][quantile], 2) == expected, quantile
    writes = {}
    for row in report["writes"]:
        writes[row["function"]] = writes.get(row["function"], 0) + row["count"]
    assert writes == figures["writes"]


@pytest.mark.parametrize("name", FIGURES)
def test_the_draft_site_passes_check(tmp_path, name):
    result = import_pcap(reference(name), tmp_path / "capture")
    site = tmp_path / "capture" / "site"
    if FIGURES[name]["points"] == 0:
        assert not site.exists()
        assert any("no draft site" in warning for warning in result.warnings)
        return
    reading = read_site(site)
    assert (reading.errors, reading.warnings) == ((), ())
    assert len(reading.site.points) == FIGURES[name]["points"]
    assert check_sources(reading.site) == []


def replayed(tmp_path, name):
    import_pcap(reference(name), tmp_path / "capture")
    capture = capture_ticks(tmp_path / "capture")
    return capture, list(capture.ticks)


def test_a_hole_of_days_is_jumped_and_the_exception_is_told_apart(tmp_path):
    capture, ticks = replayed(tmp_path, "icsnpp-modbus/modbus_example.pcap")
    assert capture.warnings == ()
    assert capture.sources == ("s1", "s2")
    times = [tick.time_ms for tick in ticks]
    assert len(ticks) <= 6
    assert max(later - earlier for earlier, later in pairwise(times)) > 2 * 86_400_000
    last = ticks[-2].batches[0].batch
    assert len(last) == 10
    assert {reason_of(word) for word in last.quality.tolist()} == {Reason.ILLEGAL_ADDRESS}
    reports = [report for tick in ticks for report in tick.links]
    assert {(report.source, report.unit, report.state) for report in reports} == {
        ("s1", 0, LinkState.DEGRADED),
        *(("s2", unit, LinkState.GOOD) for unit in (4, 5, 6)),
    }


def test_every_read_back_is_a_row(tmp_path):
    capture, ticks = replayed(tmp_path, "zeek-modbus/modbusBig.pcap")
    batches = [item.batch for tick in ticks for item in tick.batches]
    assert len(batches) == 1387
    assert [batch.batch_no for batch in batches] == list(range(1, 1388))
    assert {severity_of(word) for batch in batches for word in batch.quality.tolist()} == {Severity.GOOD}
    assert capture.site.points[0].period_s == pytest.approx(0.036, abs=0.006)
