"""opcua-client, the engineer's own browser of OPC UA servers: starts off-screen, connects to the demo's, browses it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.simulator.demo.mine import DemoMine
from mines.clock import SystemClock

VERSION = "0.8.4"  # as in docs/opcua-client.md
LOOK = Path(__file__).parent / "opcua-client" / "look.py"
NAME = "Drainage main concentration"


def _environment(home):
    settings = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "QT_QPA_PLATFORM": "offscreen"}
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | settings


def _installed(folder):
    """The Python of opcua-client's own environment; skips where it does not install or Qt's libraries are missing."""
    given = os.environ.get("MINEWATCH_OPCUA_CLIENT")
    python = Path(given) if given else folder / "venv" / "bin" / "python"
    if not given:
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"opcua-client=={VERSION}"]
        made = subprocess.run(pip, capture_output=True, text=True, timeout=900, check=False)
        if made.returncode:
            pytest.skip(f"opcua-client {VERSION} does not install here: {made.stderr.strip().splitlines()[-1][:200]}")
    loads = [python, "-c", "import PyQt5.QtWidgets, uaclient.mainwindow"]
    loaded = subprocess.run(loads, capture_output=True, text=True, timeout=120, check=False, env=_environment(folder))
    if loaded.returncode:
        last = loaded.stderr.strip().splitlines()[-1][:200]
        pytest.skip(f"Qt does not load: {last}; Debian packages libgl1 libglib2.0-0 libfontconfig1 libdbus-1-3")
    return python


async def _look(python, folder):
    """What opcua-client shows of the demo's server, and its exit code; it is ended where it does not end itself."""
    async with DemoMine(SystemClock()) as mine:
        url = next(str(endpoint) for endpoint in mine.endpoints.values() if endpoint.kind == "opcua")
        client = await asyncio.create_subprocess_exec(
            *(python, LOOK, url, NAME, folder / "seen.png"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(folder),
        )
        try:
            async with asyncio.timeout(120):
                out, err = await client.communicate()
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
    return client.returncode, out.decode(), err.decode()


@pytest.mark.long
def test_opcua_client_connects_to_the_demo_s_server_browses_it_and_ends(tmp_path):
    code, out, err = asyncio.run(_look(_installed(tmp_path), tmp_path))
    assert code == 0, err[-2000:]
    seen = json.loads(out.splitlines()[-1])
    assert "urn:minewatch:demo:drainage" in seen["namespaces"]
    assert {"Server", NAME, "Surface air pressure"} <= set(seen["objects"])
    assert seen["current"].endswith(";s=Main.Concentration")
    assert "Value" in seen["attributes"]
    [value] = seen["changes"]
    assert 0 < float(value) < 100
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")
