"""Imported traffic on a site: values by the live codec, bad rows with their reason, ticks on capture time."""

import math

import pytest
from capture_sites import MS, T0_NS, frame, point, source, write_import, write_site
from pcap_writer import read_request, words_reply

from connectors.captures.capture_ticks import capture_ticks
from mines.errors import CaptureError, ConfigError
from mines.events import EventKind
from mines.model import LinkState
from mines.quality import Flag, Reason, Severity, flags_of, reason_of, severity_of
from mines.site.site_file import load_site
from mines.watch import Watch

T0_MS = T0_NS // MS
READ2 = read_request(3, 10, 2)


def opened(tmp_path, frames, points, sources=None):
    site = load_site(write_site(tmp_path / "site", sources or [source()], points))
    capture = capture_ticks(write_import(tmp_path / "capture", frames), site)
    return capture, list(capture.ticks)


def rows_of(capture, ticks):
    """(point id, ms after the beginning, value, quality) of every row."""
    ids = [[p.id for p in capture.site.points_of(s)] for s in capture.sources]
    return [
        (ids[item.source][index], received - T0_MS, value, word)
        for tick in ticks
        for item in tick.batches
        for index, received, value, word in zip(
            item.batch.index.tolist(),
            item.batch.receive_time_ms.tolist(),
            item.batch.value.tolist(),
            item.batch.quality.tolist(),
            strict=True,
        )
    ]


def test_a_reply_gives_one_batch_of_the_points_that_lie_in_it(tmp_path):
    points = [
        point("outside", "1/holding/12"),
        point("float", "1/holding/10", data_type="float32"),
        point("scaled", "1/holding/11", scale=0.01),
        point("half", "1/holding/11", data_type="float32"),
        point("bit", "1/holding/10.14", data_type="bool"),
        point("other_unit", "2/holding/10"),
        point("other_table", "1/input/10"),
    ]
    capture, ticks = opened(tmp_path, [frame(0, READ2, words_reply(3, 0x4248, 57))], points)
    values = {name: value for name, _, value, _ in rows_of(capture, ticks)}
    assert values.keys() == {"float", "scaled", "bit"}
    assert values["float"] == pytest.approx(50.0, abs=1e-3)
    assert (values["scaled"], values["bit"]) == (0.57, 1.0)
    assert [line.split()[2] for line in capture.warnings] == ["outside", "half", "other_unit", "other_table"]


@pytest.mark.parametrize(
    ("function", "table"), [(1, "coil"), (2, "discrete"), (3, "holding"), (4, "input"), (23, "holding")]
)
def test_every_reading_function_reaches_its_table(tmp_path, function, table):
    bits = function < 3
    request = read_request(function, 10, 1) if function < 23 else bytes.fromhex("17000a0001000500010200ff")
    reply = bytes([function, 1, 1]) if bits else words_reply(function, 1)
    points = [point(name, f"1/{name}/10", data_type="bool" if name in ("coil", "discrete") else "uint16")
              for name in ("coil", "discrete", "holding", "input")]  # fmt: skip
    capture, ticks = opened(tmp_path, [frame(0, request, reply)], points)
    assert [(name, value) for name, _, value, _ in rows_of(capture, ticks)] == [(table, 1.0)]


@pytest.mark.parametrize(
    ("reply", "other", "reason", "state"),
    [
        (bytes([0x83, 2]), {}, Reason.ILLEGAL_ADDRESS, LinkState.DEGRADED),
        (bytes([0x83, 6]), {}, Reason.DEVICE_BUSY, LinkState.DEGRADED),
        (bytes([0x83, 10]), {}, Reason.GATEWAY_PATH, LinkState.LOST),
        (bytes([0x83, 99]), {}, Reason.BAD_OTHER, LinkState.DEGRADED),
        (words_reply(4, 1, 2), {}, Reason.WRONG_REPLY, LinkState.DEGRADED),
        (words_reply(3, 1), {}, Reason.WRONG_REPLY, LinkState.DEGRADED),
        (words_reply(3, 1, 2), {"reply_unit": 9}, Reason.WRONG_REPLY, LinkState.DEGRADED),
        (words_reply(3, 1, 2), {"sure": False}, Reason.WRONG_REPLY, LinkState.DEGRADED),
        (None, {}, Reason.TIMEOUT, LinkState.LOST),
    ],
    ids=["address", "busy", "gateway", "unknown", "function", "count", "unit", "unsure", "silence"],
)
def test_what_is_no_fitting_reply_is_bad_with_its_reason(tmp_path, reply, other, reason, state):
    points = [point("a", "1/holding/10"), point("b", "1/holding/11")]
    capture, ticks = opened(tmp_path, [frame(0, READ2, reply, **other)], points)
    found = rows_of(capture, ticks)
    assert [name for name, *_ in found] == ["a", "b"]
    for _, at, value, word in found:
        assert math.isnan(value)
        assert (severity_of(word), reason_of(word)) == (Severity.BAD, reason)
        assert at == (1000 if reply is None else 5)
    assert [report.state for tick in ticks for report in tick.links] == [state]


def test_silence_is_bad_when_the_time_of_the_source_is_over(tmp_path):
    capture, ticks = opened(
        tmp_path, [frame(0, READ2, None), frame(100, READ2, words_reply(3, 1, 2))],
        [point("a", "1/holding/10")], [source(timeout_s=2.5)],
    )  # fmt: skip
    assert [(at, reason_of(word)) for _, at, _, word in rows_of(capture, ticks)] == [
        (105, Reason.NONE),
        (2500, Reason.TIMEOUT),
    ]
    assert [item.batch.batch_no for tick in ticks for item in tick.batches] == [1, 2]


def test_a_late_reply_still_counts_when_it_came(tmp_path):
    capture, ticks = opened(
        tmp_path, [frame(0, READ2, words_reply(3, 1, 2), rtt_ms=3019)], [point("a", "1/holding/10")]
    )
    assert [(at, value) for _, at, value, _ in rows_of(capture, ticks)] == [(3019, 1.0)]


def test_values_outside_the_span_are_judged_as_live(tmp_path):
    capture, ticks = opened(
        tmp_path, [frame(0, READ2, words_reply(3, 900, 2))], [point("a", "1/holding/10", range_high=100)]
    )
    ((_, _, value, word),) = rows_of(capture, ticks)
    assert value == 900
    assert (severity_of(word), flags_of(word)) == (Severity.UNCERTAIN, Flag.OVER_RANGE)


def test_ticks_stand_on_the_grid_and_a_hole_of_days_is_jumped(tmp_path):
    day_ms = 86_400_000
    times = [0, 60, 240, 250, 3 * day_ms, 3 * day_ms + 10]
    frames = [frame(ms, READ2, words_reply(3, 1, 2), rtt_ms=1) for ms in times]
    _, ticks = opened(tmp_path, frames, [point("a", "1/holding/10")])
    assert [tick.time_ms - T0_MS for tick in ticks] == [250, 500, 3 * day_ms + 250, 3 * day_ms + 500]
    assert [len(tick.batches) for tick in ticks] == [3, 1, 2, 0]
    assert all(tick.monotonic_ns == (tick.time_ms - T0_MS) * MS for tick in ticks)
    assert [tick.number for tick in ticks] == sorted({tick.number for tick in ticks})
    for tick in ticks:
        for item in tick.batches:
            assert item.batch.receive_time_ms.max() <= tick.time_ms
            assert item.batch.monotonic_ns.max() <= tick.monotonic_ns


def test_within_a_tick_sources_stand_in_the_order_of_the_site(tmp_path):
    points = [point("b", "1/holding/10", "s2"), point("a", "1/holding/10", "s1")]
    sources = [source("s2", "192.168.7.21"), source("s1")]
    frames = [
        frame(0, READ2, words_reply(3, 1, 2)),
        frame(20, READ2, words_reply(3, 3, 4), server="192.168.7.21:502"),
        frame(40, READ2, words_reply(3, 5, 6)),
    ]
    capture, ticks = opened(tmp_path, frames, points, sources)
    assert [(name, value) for name, _, value, _ in rows_of(capture, ticks)] == [("b", 3.0), ("a", 1.0), ("a", 5.0)]
    assert [(item.source, item.batch.batch_no) for item in ticks[0].batches] == [(0, 1), (1, 1), (1, 2)]


def test_the_link_changes_as_a_whole_unit_and_does_not_flutter(tmp_path):
    other = read_request(3, 50, 1)
    turns = []
    for cycle in range(6):
        turns.append(frame(cycle * 100, READ2, words_reply(3, 1, 2)))
        turns.append(frame(cycle * 100 + 50, other, bytes([0x83, 2]) if cycle < 4 else words_reply(3, 7)))
    capture, ticks = opened(tmp_path, turns, [point("a", "1/holding/10"), point("c", "1/holding/50")])
    states = [report.state for tick in ticks for report in tick.links]
    assert states == [LinkState.GOOD, LinkState.DEGRADED, LinkState.GOOD]
    watch = Watch([capture.site.points_of(s) for s in capture.sources], 1)
    kinds = [(event.kind, event.cause) for tick in ticks for event in watch.step(tick)]
    assert kinds == [(EventKind.LINK_CHANGED, state.value) for state in states]


def test_traffic_of_a_server_that_the_site_lacks_is_a_warning(tmp_path):
    frames = [frame(0, READ2, words_reply(3, 1, 2), server="10.9.9.9:502")]
    capture, ticks = opened(tmp_path, frames, [point("a", "1/holding/10")])
    assert ticks == []
    assert capture.warnings == (
        "points.csv:2: id: a is not in the capture; it stays 未接入 (never connected)",
        "10.9.9.9:502 is in the capture and is no source of the site",
    )


def test_two_passes_give_the_same_ticks(tmp_path):
    frames = [frame(ms, READ2, words_reply(3, ms % 7, 2)) for ms in range(0, 3000, 90)]
    site = load_site(write_site(tmp_path / "site", [source()], [point("a", "1/holding/10", high_alarm=3)]))
    folder = write_import(tmp_path / "capture", frames)

    def events():
        capture = capture_ticks(folder, site)
        watch = Watch([site.points], 1)
        return [event.canonical() for tick in capture.ticks for event in watch.step(tick)]

    assert events() == events()
    assert len(events()) > 3


def test_a_capture_without_a_site_asks_for_one(tmp_path):
    folder = write_import(tmp_path / "capture", [frame(0, READ2, None)])
    with pytest.raises(CaptureError, match="expected a SITE"):
        capture_ticks(folder)


def test_an_address_that_cannot_be_understood_is_the_sites_problem(tmp_path):
    with pytest.raises(ConfigError, match=r"points\.csv:2: address"):
        opened(tmp_path, [frame(0, READ2, None)], [point("a", "nowhere")])
