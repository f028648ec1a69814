"""The memory of `run` over half an hour of faults: rogue devices, dead ones, servers that restart. It does not grow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from modbus_devices import Connection, Device, Request, answer
from modbus_rogue import Rogue
from opcua_mine import MINE_URI, MineServer

ROGUES, UNITS, POINTS = 8, 5, 20
MINUTES, WARM_UP = 30, 8
MOST_MB = 1.5
"""Growth over the 22 minutes after the warm-up that is still noise of the allocator: well below a byte a sample."""


def silent(request: Request, connection: Connection) -> None:
    """A device that accepts and never answers."""


async def devices(ports: list[int], ready: threading.Event, stop: threading.Event) -> None:
    """Rogue devices, a dead one, and one that is restarted every half minute."""
    async with contextlib.AsyncExitStack() as stack:
        behaviours = [Rogue(seed, 0.5) for seed in range(ROGUES)]
        made = [await stack.enter_async_context(Device(behave)) for behave in (*behaviours, silent, answer)]
        ports += [device.port for device in made]
        ready.set()
        for beat in range(10**9):
            for device in made:
                device.requests.clear()
            if stop.is_set():
                return
            if beat % 60 == 59:
                await made[-1].stop()
                await asyncio.sleep(2)
                await made[-1].start()
            await asyncio.sleep(0.5)


def write_site(folder: Path, ports: list[int], opcua_url: str, nodes: list[str]) -> Path:
    folder.mkdir()
    toml = ['schema = 1\n[mine]\nid = "memory"\nname_zh = "内存"\n[subsystem.power]']
    rows = ["id,name_zh,subsystem,role,kind,unit,source,address,data_type,period_s,high_alarm"]
    for number, port in enumerate(ports):
        toml.append(f'[source.m{number}]\nkind = "modbus_tcp"\nhost = "127.0.0.1"\nport = {port}\ntimeout_s = 0.5')
        for unit in range(1, UNITS + 1):
            for k in range(POINTS):
                limit = "1000" if k == 0 else ""
                address = f"{unit}/holding/{3 * k}"
                rows.append(f"m{number}.u{unit}.p{k},点,power,other,analog,,m{number},{address},uint16,1,{limit}")
    toml.append(f'[source.ua]\nkind = "opcua"\nurl = "{opcua_url}"')
    rows += [f"ua.{k},点,power,other,analog,,ua,{node},,1," for k, node in enumerate(nodes)]
    (folder / "site.toml").write_text("\n".join(toml), encoding="utf-8")
    (folder / "points.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.long
def test_memory_does_not_grow_over_half_an_hour_of_faults(tmp_path):
    ports: list[int] = []
    ready, stop = threading.Event(), threading.Event()
    field = threading.Thread(target=lambda: asyncio.run(devices(ports, ready, stop)))
    field.start()
    mine = MineServer(uris=(MINE_URI,)).start()
    nodes = [mine.add(f"n{k}", 0.0) for k in range(50)]
    assert ready.wait(10)
    site = write_site(tmp_path / "site", ports, mine.url, nodes)
    command = [sys.executable, "-P", "-m", "minewatch", "run", str(site), "--data", str(tmp_path / "data")]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    minutes, megabytes, files = [], [], []
    try:
        begin = time.monotonic()
        while (minute := (time.monotonic() - begin) / 60) < MINUTES:
            for k in range(50):
                mine.write(f"n{k}", time.monotonic())
            time.sleep(5)
            assert run.poll() is None
            minutes.append(minute)
            megabytes.append(resident_mb(run.pid))
            files.append(open_files(run.pid))
    finally:
        run.send_signal(signal.SIGTERM)
        run.wait(30)
        stop.set()
        field.join(30)
        mine.stop()
    settled = np.array(minutes) > WARM_UP
    slope, _ = np.polyfit(np.array(minutes)[settled], np.array(megabytes)[settled], 1)
    growth = slope * (MINUTES - WARM_UP)
    print(f"{megabytes[0]:.1f} MB at first, {megabytes[-1]:.1f} MB at last, {growth:+.2f} MB by the slope")
    assert growth < MOST_MB
    assert max(files[len(files) // 2 :]) <= max(files[: len(files) // 2]) + 2
