"""Takes the pictures of docs/img from a live demo: `make pictures`.

The overview on a desk and on a wall, alarms, links with the dead device, the score, and the overview after `run` was
stopped for longer than ten seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

OUT = Path(__file__).parent / "img"
DESK, WALL = (1366, 768), (3840, 2160)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = [
    ("overview", "", DESK),
    ("overview-4k", "", WALL),
    ("overview-en", "?lang=en", DESK),
    ("alarms", "alarms", DESK),
    ("links", "links", DESK),
    ("score", "score", DESK),
    ("ventilation", "systems/ventilation", DESK),
]


def main() -> None:
    """Starts the demo, waits for its first alarm, takes the pictures, ends the demo."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "minewatch", "demo", "--data", folder, "--port", "0"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert demo.stdout is not None
            url = demo.stdout.readline().strip()
            snapshot = Path(folder) / "runtime" / "snapshot.json"
            _wait(lambda: _read(snapshot)["alarms"], "an alarm", 170)
            _wait(lambda: (snapshot.parent / "score.json").exists(), "a score", 90)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
                for name, path, size in PAGES:
                    _take(browser, url + path, name, size=size)
                _stopped(browser, url, _read(snapshot)["run"]["pid"])
                browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)


def _stopped(browser: Browser, url: str, pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(12)
        _take(browser, url, "overview-run-stopped", size=DESK)
    finally:
        os.kill(pid, signal.SIGCONT)


def _take(browser: Browser, url: str, name: str, *, size: tuple[int, int]) -> None:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(url)
    page.wait_for_timeout(2500)
    page.screenshot(path=OUT / f"{name}.png")
    page.close()
    print(OUT / f"{name}.png")


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"alarms": []}
    return document


def _wait(condition: Callable[[], object], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
