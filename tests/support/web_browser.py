"""A made-up mine with live pages on loopback, and a headless Chromium that looks at them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from web_site import make_site
from web_snapshots import SnapshotBuilder, make_desk, quick_app

from mines.clock import SystemClock
from mines.site.site_file import Site
from mines.snapshot import publish
from web.app import open_server

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = (
    "--no-sandbox --headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser with a fresh profile; skips where there is none."""
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium: install the Debian package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=_ARGUMENTS)
        yield browser
        browser.close()


DESK_REFRESH_MS = 2_400
"""A desk asks every 2 s ± 20 %."""


def see(page: Any, mine: LiveMine) -> None:
    """Runs a page's own clock ahead, refresh after refresh, until the newest snapshot stands on the page."""
    for _ in range(40):
        page.clock.run_for(DESK_REFRESH_MS)
        page.wait_for_timeout(40)
        if page.locator("#live").get_attribute("data-seq") == str(mine.builder.seq):
            return
    raise AssertionError(f"snapshot {mine.builder.seq} is not on the page")


def ask_again(page: Any) -> None:
    """Runs a page's own clock past one refresh and waits until the whole answer has come, whatever is in it."""
    with page.expect_response(lambda answer: "part=1" in answer.url):
        page.clock.run_for(DESK_REFRESH_MS)
    page.wait_for_timeout(200)


def stop_server(server: Any, thread: threading.Thread) -> None:
    """Ends waitress with all its connections; from within its own loop, which then has nothing left to wait for."""
    if not thread.is_alive():
        return
    server.task_dispatcher.shutdown()
    server.trigger.pull_trigger(lambda: [channel.close() for channel in list(server._map.values())])
    thread.join(5)
    assert not thread.is_alive()


@dataclass
class LiveMine:
    """Pages under waitress and the snapshot that a `run` would publish, in this machine's real time."""

    folder: Path
    site: Site | None = None
    builder: SnapshotBuilder = field(init=False)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.site = self.site or make_site(self.folder)
        self.builder = SnapshotBuilder(self.site)
        self.clock = SystemClock()
        desk = make_desk(self.folder, self.site)
        self.readers = replace(desk.readers, clock=self.clock)
        app = quick_app(self.readers)
        app.before_request(self._count)
        self.server = open_server(app, "127.0.0.1", 0, 8)
        self.url = f"http://127.0.0.1:{self.server.effective_port}"
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._beat = threading.Event()
        self._beating: threading.Thread | None = None
        self._publishing = threading.Lock()
        self._thread.start()

    def _count(self) -> None:
        from flask import request

        self.requests.append(request.full_path)

    def publish(self, **changes: Any) -> None:
        """The next snapshot, with what changed in it."""
        with self._publishing:
            for name, value in changes.items():
                setattr(self.builder, name, value)
            if "seq" not in changes:
                self.builder.seq += 1
            now = {"time_ms": self.clock.wall_ms(), "mono_ms": self.clock.monotonic_ns() // 1_000_000}
            publish(self.readers.snapshot_path, self.builder.document() | now)

    def beat(self) -> None:
        """From now on a snapshot every quarter of a second, as after events."""
        self._beat.clear()
        self._beating = threading.Thread(target=self._beat_on, daemon=True)
        self._beating.start()

    def _beat_on(self) -> None:
        while not self._beat.wait(0.25):
            self.publish()

    def pause(self) -> None:
        """`run` goes silent; the pages' server lives."""
        self._beat.set()
        if self._beating is not None:
            self._beating.join()
            self._beating = None

    def stop(self) -> None:
        """The pages' server goes away as well, with every open connection."""
        self.pause()
        stop_server(self.server, self._thread)
