"""`[source.ID]` of kind opcua."""

import pytest
from opcua_mine import point

from connectors.opcua.settings import OpcUaSettings, queue_size, read_settings
from mines.site.source_table import SourceTable


def table(**settings: object) -> SourceTable:
    lines = {"": 10, **{key: 11 + i for i, key in enumerate(settings)}}
    return SourceTable("fan", "opcua", settings, lines=lines)


def test_a_url_alone_is_enough():
    settings, problems = read_settings(table(url="opc.tcp://10.0.0.5:4850/fan"), [])
    assert problems == []
    assert settings == OpcUaSettings("opc.tcp://10.0.0.5:4850/fan")


def test_all_keys_are_taken():
    settings, problems = read_settings(
        table(url="opc.tcp://h", publishing_ms=200, sampling_ms=50, timeout_s=2, backoff_s=0.5, backoff_max_s=9), []
    )
    assert problems == []
    assert settings == OpcUaSettings("opc.tcp://h:4840", 200.0, 50.0, 2.0, 0.5, 9.0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("opc.tcp://h", "opc.tcp://h:4840"),
        ("opc.tcp://h/", "opc.tcp://h:4840/"),
        ("opc.tcp://h:/x", "opc.tcp://h:4840/x"),
        ("opc.tcp://h:4840/x", "opc.tcp://h:4840/x"),
        ("opc.tcp://[::1]/x", "opc.tcp://[::1]:4840/x"),
        ("opc.tcp://[::1]:99", "opc.tcp://[::1]:99"),
    ],
)
def test_the_port_is_always_written_out(written, meant):
    settings, problems = read_settings(table(url=written), [])
    assert (settings and settings.url, problems) == (meant, [])


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://h", "opc.tcp://"),
        ("h:4840", "opc.tcp://"),
        ("opc.tcp://", "no host"),
        ("opc.tcp://:4840", "no host"),
        ("opc.tcp://h:0", "port 0"),
        ("opc.tcp://h:70000", "out of range"),
        ("opc.tcp://[::1", "IPv6"),
        ("opc.tcp://me:secret@h", "password"),
        ("opc.tcp://h/x?y=1", "query"),
        (" opc.tcp://h", "opc.tcp://"),
        (4840, "opc.tcp://"),
    ],
)
def test_a_bad_url_is_refused(url, what):
    settings, problems = read_settings(table(url=url), [])
    assert settings is None
    (problem,) = problems
    assert (problem.file, problem.line, problem.key) == ("site.toml", 11, "source.fan.url")
    assert what in problem.what
    assert "opc.tcp://HOST" in problem.expected


def test_a_missing_url_is_told_at_the_table():
    settings, problems = read_settings(table(), [])
    assert settings is None
    assert [(p.line, p.key, p.what) for p in problems] == [(10, "source.fan.url", "missing")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("publishing_ms", 0),
        ("publishing_ms", 60_001),
        ("sampling_ms", -1),
        ("timeout_s", 31),
        ("timeout_s", "4"),
        ("timeout_s", True),
        ("timeout_s", float("nan")),
        ("backoff_s", 0.0),
        ("backoff_max_s", float("inf")),
    ],
)
def test_a_number_out_of_its_bounds_is_refused(key, value):
    settings, problems = read_settings(table(url="opc.tcp://h", **{key: value}), [])
    assert settings is None
    assert [(p.key, p.line) for p in problems] == [(f"source.fan.{key}", 12)]


def test_the_first_wait_must_not_be_longer_than_the_longest():
    _, problems = read_settings(table(url="opc.tcp://h", backoff_s=40), [])
    assert [p.key for p in problems] == ["source.fan.backoff_s"]
    _, problems = read_settings(table(url="opc.tcp://h", backoff_max_s=0.5), [])
    assert [p.key for p in problems] == ["source.fan.backoff_max_s"]


def test_everything_wrong_is_told_at_once():
    settings, problems = read_settings(
        table(url="x", publishing_msec=1, timeout_s=0), [point("a", "ns=1;s=x", line=4), point("b", "i=1", line=5)]
    )
    assert settings is None
    assert sorted(p.key for p in problems) == [
        "address",
        "source.fan.publishing_msec",
        "source.fan.timeout_s",
        "source.fan.url",
    ]
    assert any("publishing_ms" in p.expected for p in problems)


@pytest.mark.parametrize(
    ("publishing_ms", "sampling_ms", "size"), [(500, 250, 100), (200, 100, 100), (60_000, 10, 60_000), (1000, 30, 340)]
)
def test_the_queue_holds_ten_times_what_can_come_between_two_publishes(publishing_ms, sampling_ms, size):
    assert queue_size(publishing_ms, sampling_ms) == size
