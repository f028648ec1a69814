"""Takes docs/img/links-states.png: `make pictures`, or `python docs/link_states.py`.

A real box before devices that each suffer from something else: a dead unit beside a living one, a dead line, a device
that refuses, a slow one, one with refused registers, another device than the site means, registers that are all zero.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from probed_device import ProbedDevice, Unit

OUT = Path(__file__).parent / "img"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SIZES = {"links-states": (1366, 768), "links-states-4k": (3840, 2160)}
GOOD = {register: 200 + register for register in range(10)}
SLOW_S = 1.2


class SlowDevice(ProbedDevice):
    """Answers after a while."""

    def _pdu(self, unit: int, function: int, body: bytes) -> bytes | None:
        time.sleep(SLOW_S)  # this device has a thread of its own
        return super()._pdu(unit, function, body)


DEVICES = {
    "substation": ProbedDevice({1: Unit({3: GOOD}), 2: Unit({3: GOOD}, silent_for=frozenset({3}))}),
    "fan": ProbedDevice({1: Unit({3: GOOD}, exception=4)}),
    "hoist": SlowDevice({1: Unit({3: GOOD})}),
    "pump": ProbedDevice({1: Unit({3: {r: v for r, v in GOOD.items() if r not in (4, 5)}})}),
    "compressor": ProbedDevice({1: Unit({3: GOOD}, identity={0: b"Other Works", 1: b"C-9"})}),
    "drainage": ProbedDevice({1: Unit({3: dict.fromkeys(range(10), 0)})}),
}
MORE = {
    "hoist": "timeout_s = 2\nresponse_ms = 1200",
    "compressor": '[source.compressor.unit.1.identity]\nvendor = "KJ Works"',
}


def main() -> None:
    """Starts devices, box and pages; takes the pictures; ends them."""
    for device in DEVICES.values():
        _serve(device)
    with tempfile.TemporaryDirectory() as folder:
        site = _site(Path(folder) / "site")
        command = [sys.executable, "-P", "-m", "minewatch"]
        run = subprocess.Popen([*command, "run", str(site)])
        web = subprocess.Popen([*command, "web", str(site)])
        try:
            time.sleep(25)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
                for name, (width, height) in SIZES.items():
                    page = browser.new_page(viewport={"width": width, "height": height})
                    page.goto("http://127.0.0.1:8098/links")
                    page.wait_for_timeout(1500)
                    page.screenshot(path=OUT / f"{name}.png")
                    print(OUT / f"{name}.png")
                browser.close()
            with urllib.request.urlopen("http://127.0.0.1:8098/links.json") as answer:
                print(answer.read().decode("utf-8")[:200])
        finally:
            for process in (web, run):
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _serve(device: ProbedDevice) -> None:
    ready = threading.Event()

    async def forever() -> None:
        async with device:
            ready.set()
            await asyncio.sleep(300)

    threading.Thread(target=lambda: asyncio.run(forever()), daemon=True).start()
    ready.wait(5)


def _site(folder: Path) -> Path:
    folder.mkdir()
    toml = ['schema = 1\n[mine]\nid = "links"\nname_zh = "链路示例"\n[web]\nport = 8098\n[subsystem.dewatering]']
    rows = ["id,name_zh,subsystem,role,kind,unit,source,address,data_type,period_s"]
    for name, device in DEVICES.items():
        toml.append(
            f'[source.{name}]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\nport = {device.port}\n{MORE.get(name, "")}'
        )
        for unit in device.units:
            for k in range(10):
                rows.append(f"{name}.u{unit}.p{k},点{k},dewatering,other,analog,,{name},{unit}/holding/{k},uint16,2")
    toml.append('[source.switchgear]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\nport = 9')
    rows.append("switchgear.p,点,dewatering,other,analog,,switchgear,1/holding/0,uint16,2")
    (folder / "site.toml").write_text("\n".join(toml), encoding="utf-8")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
