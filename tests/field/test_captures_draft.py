"""The draft site of imported traffic: what becomes a point, in which order, how often read; and it passes check."""

import csv

import pytest
from pcap_writer import MS, T0_NS, Dialog, adu, pcap_bytes, read_request, words_reply

from connectors.captures.capture_ticks import capture_ticks
from connectors.captures.pcap_import import import_pcap
from connectors.sources import check_sources
from mines.site.columns import COLUMNS
from mines.site.site_file import load_site


def imported(tmp_path, *talks):
    """The capture of some talks: (dialog settings, turns of (side, ms, bytes))."""
    packets = []
    for settings, turns in talks:
        line = Dialog(**settings)
        packets += line.handshake(T0_NS)
        packets += [line.send(side, T0_NS + round(ms * MS), data) for side, ms, data in turns]
    file = tmp_path / "talk.pcap"
    file.write_bytes(pcap_bytes(sorted(packets)))
    out = tmp_path / "capture"
    return out, import_pcap(file, out)


def polls(request, reply, times_ms, unit=1):
    """A request that is asked and answered again and again."""
    turns = []
    for n, ms in enumerate(times_ms):
        turns += [(0, ms, adu(n, unit, request)), (1, ms + 1, adu(n, unit, reply))]
    return turns


def rows(out):
    with (out / "site" / "points.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_answered_register_is_a_point_with_all_columns(tmp_path):
    turns = [
        *polls(read_request(3, 600, 2), words_reply(3, 1, 2), [10]),
        (0, 50, adu(9, 1, read_request(2, 7, 1))), (1, 51, adu(9, 1, bytes([2, 1, 1]))),
        (0, 60, adu(10, 1, read_request(4, 900, 1))), (1, 61, adu(10, 1, bytes([0x84, 2]))),
        (0, 70, adu(11, 1, read_request(4, 901, 1))),
        (0, 80, adu(12, 1, bytes.fromhex("0600010001"))), (1, 81, adu(12, 1, bytes.fromhex("0600010001"))),
    ]  # fmt: skip
    out, _ = imported(tmp_path, ({}, turns))
    found = rows(out)
    assert tuple(found[0]) == COLUMNS
    places = [(row["id"], row["address"], row["data_type"], row["kind"]) for row in found]
    assert places == [
        ("s1.u1.discrete.7", "1/discrete/7", "bool", "switch"),
        ("s1.u1.holding.600", "1/holding/600", "uint16", "analog"),
        ("s1.u1.holding.601", "1/holding/601", "uint16", "analog"),
        ("s1.u1.input.900", "1/input/900", "uint16", "analog"),  # by an exception: bad, but there
    ]
    assert not any(row[column] for row in found for column in COLUMNS if column.startswith(("high_", "low_")))


@pytest.mark.parametrize(
    ("times_ms", "period_s"),
    [([0], "10"), ([0, 500, 1000, 1500, 9000], "0.5"), ([0, 60_000], "10"), ([0, 0.1, 0.2], "0.001")],
    ids=["once", "median", "longest", "shortest"],
)
def test_the_period_is_the_median_between_two_reads(tmp_path, times_ms, period_s):
    out, _ = imported(tmp_path, ({}, polls(read_request(3, 0, 1), words_reply(3, 1), times_ms)))
    assert [row["period_s"] for row in rows(out)] == [period_s]


@pytest.mark.parametrize(
    "request_pdu",
    [read_request(3, 0, 126), read_request(1, 0, 2001), read_request(3, 65_535, 2), read_request(3, 0, 0)],
    ids=["registers", "bits", "beyond the last", "none"],
)
def test_what_no_device_can_answer_is_no_point(tmp_path, request_pdu):
    refusal = bytes([request_pdu[0] | 0x80, 3])
    out, result = imported(tmp_path, ({}, polls(request_pdu, refusal, [0])))
    assert result.report["exceptions"] == {f"{request_pdu[0]}/3": 1}
    assert not (out / "site").exists()


def test_the_order_of_the_traffic_does_not_matter(tmp_path):
    one = ({"server": ("10.0.0.9", 502)}, polls(read_request(3, 5, 1), words_reply(3, 1), [0, 100]))
    two = ({"server": ("10.0.0.8", 502)}, polls(read_request(3, 6, 1), words_reply(3, 1), [50, 150]))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, _ = imported(tmp_path / "a", one, two)
    second, _ = imported(tmp_path / "b", two, one)
    for name in ("site.toml", "points.csv"):
        assert (first / "site" / name).read_bytes() == (second / "site" / name).read_bytes()
    assert [row["address"] for row in rows(first)] == ["1/holding/6", "1/holding/5"]


def test_unit_0_beside_others_is_the_broadcast_address_and_no_point(tmp_path):
    read, reply = read_request(3, 5, 1), words_reply(3, 7)
    turns = [*polls(read, reply, [0], unit=0), (0, 10, adu(5, 3, read)), (1, 11, adu(5, 3, reply))]
    out, result = imported(tmp_path, ({}, turns))
    assert result.report["units"] == [0, 3]
    assert result.warnings == (
        "192.168.7.20:502: unit 0 beside other units is the broadcast address: the draft site leaves it out",
    )
    assert [row["id"] for row in rows(out)] == ["s1.u3.holding.5"]
    assert check_sources(load_site(out / "site")) == []


def test_an_ipv6_server_is_replayed_on_its_draft(tmp_path):
    ends = {"client": ("fd00::1", 4000), "server": ("fd00::2", 502)}
    out, _ = imported(tmp_path, (ends, polls(read_request(3, 5, 1), words_reply(3, 7), [0])))
    capture = capture_ticks(out)
    assert capture.warnings == ()
    assert [item.batch.value.tolist() for tick in capture.ticks for item in tick.batches] == [[7.0]]
