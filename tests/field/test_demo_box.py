"""The box on the demo mine with a decoding proxy before every device: what it asks, what it keeps, and that a captured
stretch replays to the events of the box (R8, R9, R10)."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace

import pytest
from modbus_proxy import DecodingProxy
from opcua_proxy import Proxy

from connectors.simulator.demo.mine import DemoMine
from connectors.simulator.demo.site import write_demo_site
from mines.clock import SystemClock
from mines.events import Event, event_from_json, event_log_sha256
from mines.model import Actor
from mines.store.layout import DataFolder
from mines.store.ledger import Ledger
from mines.store.reader import Reader

READ_SIDE = {
    "GetEndpoints", "FindServers", "OpenSecureChannel", "CloseSecureChannel", "CreateSession", "ActivateSession",
    "CloseSession", "Read", "Browse", "BrowseNext", "TranslateBrowsePathsToNodeIds", "CreateSubscription",
    "ModifySubscription", "CreateMonitoredItems", "ModifyMonitoredItems", "DeleteMonitoredItems", "SetPublishingMode",
    "DeleteSubscriptions", "Publish", "Republish", "HistoryRead",
}  # fmt: skip


class ProxiedMine:
    """The demo mine in a thread of its own; only its proxies are told to anybody."""

    def __init__(self):
        self.modbus: dict[str, DecodingProxy] = {}
        self.opcua: dict[str, Proxy] = {}
        self.endpoints: dict[str, object] = {}
        self._ready, self._end = threading.Event(), threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="demo mine")

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(30)
        if self._failed:
            raise self._failed
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join(30)

    def _main(self):
        try:
            asyncio.run(self._serve())
        except BaseException as problem:  # handed to the test, which fails with it
            self._failed = problem
            self._ready.set()

    async def _serve(self):
        async with DemoMine(SystemClock()) as mine, contextlib.AsyncExitStack() as stack:
            for name, endpoint in mine.endpoints.items():
                if endpoint.kind == "opcua":
                    self.opcua[name] = await stack.enter_async_context(Proxy(endpoint.port))
                    port = self.opcua[name].port
                else:
                    self.modbus[name] = stack.enter_context(DecodingProxy(endpoint.host, endpoint.port))
                    port = self.modbus[name].port
                self.endpoints[name] = replace(endpoint, port=port)
            self._ready.set()
            while not self._end.is_set():
                await asyncio.sleep(0.05)


@dataclass
class Ran:
    mine: ProxiedMine
    site: object
    data: object
    capture: dict
    during: dict
    last: dict


def minewatch(*arguments, check=True):
    command = [sys.executable, "-P", "-m", "minewatch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=check)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo-box")
    site, data = folder / "site", folder / "data"
    snapshot = data / "runtime" / "snapshot.json"
    with ProxiedMine() as mine:
        write_demo_site(site, mine.endpoints, data=data, web_port=0)
        run = subprocess.Popen([sys.executable, "-P", "-m", "minewatch", "run", str(site)], stderr=subprocess.PIPE)
        try:
            wait(lambda: snapshot.exists() and json.loads(snapshot.read_bytes())["durable"]["frame"] >= 2)
            with acts_meanwhile(data):
                done = minewatch("capture", site, "--for", "6s", "--out", folder / "capture", "--json")
            during = json.loads(snapshot.read_bytes())
            wait(lambda: json.loads(snapshot.read_bytes())["counters"]["read"] > during["counters"]["read"] + 600)
        finally:
            run.send_signal(signal.SIGTERM)
            _, stderr = run.communicate(timeout=30)
        assert run.returncode == 0, stderr.decode()
        last = json.loads(snapshot.read_bytes())
        yield Ran(mine, site, data, json.loads(done.stdout) | {"folder": folder / "capture"}, during, last)


def wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


@contextlib.contextmanager
def acts_meanwhile(data):
    """Acts on an alarm that does not stand: each is refused, and so an event inside the captured stretch."""
    ledger, actor, over = Ledger(DataFolder(data).ledger_db), Actor("", "甲", "dispatcher", "1"), threading.Event()

    def act():
        while not over.wait(0.7):
            ledger.append(actor, "acknowledge", [("gas.f1602.t1.ch4/high_cut", 9)], time_ms=int(time.time() * 1000))

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def test_every_source_but_the_dead_one_is_good(ran):
    states = {source["id"]: source["state"] for source in ran.during["sources"]}
    assert states.pop("door_station") == "lost"
    assert set(states.values()) == {"good"}
    assert len(states) >= 7


def test_modbus_devices_are_asked_with_reading_functions_only(ran):
    for name, proxy in ran.mine.modbus.items():
        assert proxy.read_only, (name, proxy.functions, proxy.undecodable)
        assert set(proxy.functions) <= {1, 2, 3, 4, 43}
    assert sum(sum(proxy.functions.values()) for proxy in ran.mine.modbus.values()) > 50


def test_opcua_server_is_asked_for_read_side_services_only(ran):
    (proxy,) = ran.mine.opcua.values()
    assert set(proxy.requests) <= READ_SIDE
    assert {"CreateSubscription", "CreateMonitoredItems", "Publish"} <= set(proxy.requests)


def test_what_was_read_is_stored_and_counted_the_same_by_everybody(ran):
    counters = ran.last["counters"]
    assert counters["read"] == counters["stored"] + sum(counters["rejected"].values())
    rows = Reader(ran.data).samples_of(list(ran.last["points"]))
    assert sum(len(columns.value) for columns in rows.values()) == counters["stored"] == ran.last["durable"]["rows"]
    assert sum(source["samples"] for source in ran.last["sources"]) == counters["read"]


def test_confirmed_opcua_values_stay_live_without_samples(ran):
    (source,) = [s for s in ran.last["sources"] if s["kind"] == "opcua"]
    states = {name: row[3] for name, row in ran.during["points"].items() if name in points_of(ran.site, source["id"])}
    assert set(states.values()) == {0}


def points_of(site, source):
    from mines.site.site_file import load_site

    return {point.id for point in load_site(site).points_of(source)}


def test_captured_stretch_replays_to_the_events_of_the_box(ran):
    box = json.loads(
        minewatch("events", ran.site, "--from", ran.capture["from_ms"], "--to", ran.capture["to_ms"], "--json").stdout
    )
    replayed = json.loads(minewatch("replay", ran.capture["folder"], "--json").stdout)
    assert replayed["event_log_sha256"] == box["sha256"] == ran.capture["event_log_sha256"]
    assert replayed["events"] == len(box["events"]) >= 1
    assert "act_refused" in [event["kind"] for event in box["events"]]
    assert replayed["rows"] == ran.capture["rows"] > 1000
    by_span = minewatch("events", ran.site, "--from", replayed["first_ms"], "--to", replayed["last_ms"], "--json")
    assert json.loads(by_span.stdout)["sha256"] == replayed["event_log_sha256"]


def test_a_lower_limit_in_another_site_changes_the_replayed_events(ran, tmp_path):
    other = tmp_path / "site"
    other.mkdir()
    (other / "site.toml").write_bytes((ran.site / "site.toml").read_bytes())
    text = (ran.site / "points.csv").read_text(encoding="utf-8").splitlines()
    head = text[0].split(",")
    rows = [line.split(",") for line in text[1:]]
    row = next(row for row in rows if row[0] == "gas.f1602.t0.ch4")
    for column in ("high_alarm", "high_clear"):
        row[head.index(column)] = "0.05"
    (other / "points.csv").write_text("\n".join([text[0], *map(",".join, rows)]) + "\n", encoding="utf-8")
    replayed = json.loads(minewatch("replay", ran.capture["folder"], other, "--json").stdout)
    assert replayed["event_log_sha256"] != ran.capture["event_log_sha256"]
    assert replayed["events"] > ran.capture["events"]


def test_event_hash_is_everybodys_to_recompute(ran):
    document = json.loads(minewatch("events", ran.site, "--json").stdout)
    events = [event_from_json(event) for event in document["events"]]
    assert isinstance(events[0], Event)
    assert event_log_sha256(events) == document["sha256"]
    assert [event["seq"] for event in document["events"]] == list(range(1, len(events) + 1))
