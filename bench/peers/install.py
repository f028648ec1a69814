"""Peers, built or installed into bench/.peers in the same run that measures them; what is there already is kept.

Nothing of it is part of minewatch or reaches a box. Each function gives where the peer is, or says what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from peers.children import BENCH, PeerFailed

PEERS = BENCH / ".peers"
THINGSBOARD = "thingsboard-gateway==3.8.5"
# What its Modbus connector would install by itself when it starts.
_THINGSBOARD_NEEDS = ("pymodbus==3.9.2", "pyserial", "pyserial-asyncio")
# 5.23.3: the newest whose dependencies are all in the npm registry.
_NODE_RED = ("node-red@4.1.15", "node-red-contrib-modbus@5.23.3")
_NODE_OPCUA = ("node-opcua@2.186.4",)
_AT_MOST_S = 400


def modbus_server() -> Path:
    """The server of shapes A to C."""
    return _compiled("modbus_server", ())


def libmodbus_client() -> Path:
    """The C client; needs the Debian package libmodbus-dev, installed where we may."""
    if not Path("/usr/include/modbus/modbus.h").exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update", "-qq"], ["install", "-y", "-qq", "libmodbus-dev"]):
            _run(["apt-get", *command], PEERS, env={"DEBIAN_FRONTEND": "noninteractive"})
    if not Path("/usr/include/modbus/modbus.h").exists():
        raise PeerFailed("install the Debian package libmodbus-dev")
    return _compiled("libmodbus_client", ("-I/usr/include/modbus", "-lmodbus"))


def thingsboard() -> Path:
    """The interpreter of an environment of its own that has the gateway."""
    python = PEERS / "thingsboard" / "bin" / "python"
    stamp = PEERS / "thingsboard" / f"{THINGSBOARD}.done"
    if not stamp.exists():
        _run([sys.executable, "-m", "venv", "--clear", PEERS / "thingsboard"], PEERS)
        _run([python, "-m", "pip", "install", "-q", THINGSBOARD, *_THINGSBOARD_NEEDS], PEERS)
        stamp.touch()
    return python


def node_red() -> Path:
    """The node_modules folder of Node-RED with its Modbus nodes."""
    return _npm("node-red", _NODE_RED)


def node_opcua() -> Path:
    """The node_modules folder of node-opcua: server of shape D, and client."""
    return _npm("node-opcua", _NODE_OPCUA)


def _npm(name: str, packages: Sequence[str]) -> Path:
    if shutil.which("npm") is None:
        raise PeerFailed("install Node.js with npm")
    folder = PEERS / name
    stamp = folder / f"{'+'.join(packages)}.done"
    if not stamp.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        _run(["npm", "install", "--no-audit", "--no-fund", "--save-exact", "--ignore-scripts", *packages], folder)
        stamp.touch()
    return folder / "node_modules"


def _compiled(name: str, flags: Sequence[str]) -> Path:
    source, program = BENCH / "peers" / f"{name}.c", PEERS / "bin" / name
    if shutil.which("gcc") is None:
        raise PeerFailed("install the Debian package gcc")
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        _run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source, *flags], PEERS)
    return program


def _run(command: Sequence[str | Path], cwd: Path, env: dict[str, str] | None = None) -> None:
    cwd.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=_AT_MOST_S
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"{words[0]} took more than {_AT_MOST_S} s") from None
    if done.returncode:
        raise PeerFailed(f"{' '.join(words[:4])} …: {' | '.join(done.stderr.strip().splitlines()[-3:])}")
